"""The board: it shows what an operator must see, and hostile values are only text."""

from collections import Counter
from decimal import Decimal

import msgspec
import pytest
from rich.console import Console

from microservices.contracts.claim import ApplyStatus
from microservices.contracts.control import Mode
from microservices.contracts.market_state import MarketStateRow, Regime, Source
from microservices.contracts.plan import Decision
from microservices.contracts.position import AccountRow, LedgerRow
from microservices.contracts.result import Result
from microservices.contracts.universe_reader import Tier
from ops.suite.board import render
from ops.suite.orders import OrdersLine, orders_line
from ops.suite.positions import Agreement, PositionLine, compare
from ops.suite.reading import ServiceLine, SuiteView

STATE = MarketStateRow(
    0.001, 0.0001, 0.5, 0.6, 0.1, 0.3, 0.5, 1.0, 1.0, 1_799_999_990, 300, Regime.TREND, Source.CANDLES, 1
)


RESULT = Result(
    plan_entry_id="1-0", decision=Decision.EXECUTE, executed=True, quantity=Decimal(1), mode=Mode.PAPER, wait_ms=7,
    timestamp=1,
)  # fmt: skip
HELD = PositionLine("BTCUSDT", Decimal("0.5"), Decimal("0.5"), Decimal(60000), Agreement.AGREES)


def view(**changes: object) -> SuiteView:
    """A suite at work, with changes."""
    fields: dict[str, object] = {
        "at": 1_800_000_000.0,
        "tier": Tier.UNIVERSE,
        "universe_count": 30,
        "universe_age_s": 12,
        "refused": (),
        "services": (ServiceLine("brain", ready=True, says="fine"),),
        "states": {"BTCUSDT": STATE},
        "permits_allowed": 3,
        "permits_denied": Counter({"no_position": 2}),
        "orders": OrdersLine(12, 1, (4, 812), 0, "", "off"),
        "positions": (HELD,),
        "decisions": {"EXECUTE": 3, "BLOCKED": 2},
        "reasons": (("no_position", 2),),
        "faults": (),
    }
    return SuiteView(**(fields | changes))  # type: ignore[arg-type]  # the fields above are of the view's types


def shown(board: SuiteView) -> str:
    """The board as plain text."""
    console = Console(
        width=118, record=True, markup=False, highlight=False, quiet=False, file=None, force_terminal=False
    )
    with console.capture() as capture:
        console.print(render(board, "TITLE"))
    return capture.get()


def test_a_suite_at_work_shows_each_of_its_parts() -> None:
    """Universe, market state, permits, positions against ledger, decisions."""
    text = shown(view())
    for part in (
        "30 symbols, 12 s old",
        "BTCUSDT",
        "trend",
        "3 allowed, 2 denied",
        "ledger agrees",
        "EXECUTE 3",
        "12 filled, 1 failed",
    ):
        assert part in text


def test_fail_closed_is_said_with_its_reasons() -> None:
    """No list means a line that says so and why, tier by tier."""
    text = shown(view(tier=Tier.NONE, refused=("universe: 400 s old, limit 300 s",)))
    assert "FAIL-CLOSED: universe: 400 s old, limit 300 s" in text


@pytest.mark.parametrize(
    ("status", "said", "is_well"),
    [
        (None, "? unresolved, kill switch ?", False),
        (ApplyStatus(1, Mode.PAPER, "b", 0, 0, 0, "off", ""), "1 failed, 0 unresolved, permits after 9 ms", True),
        (ApplyStatus(1, Mode.PAPER, "b", 0, 1, 1, "off", ""), "1 unresolved, permits", False),
        (ApplyStatus(1, Mode.PAPER, "b", 0, 0, 0, "full_stop", ""), "99 % within 9 ms, kill switch full_stop", False),
        (ApplyStatus(1, Mode.PAPER, "b", 0, 0, 0, "off", "by the exchange for 9 s"), "HELD UP by the exchange", False),
    ],
)
def test_what_keeps_orders_from_going_out_is_on_the_board(status: ApplyStatus | None, said: str, is_well: bool) -> None:
    """I-39: an order that nobody answered for, a ban, the kill switch: none of them is only in a log."""
    ends = [RESULT, msgspec.structs.replace(RESULT, wait_ms=9)]
    ends.append(msgspec.structs.replace(RESULT, decision=Decision.ERROR, executed=False, error="order_rejected"))
    line = orders_line(ends if status else [], status)
    assert line.is_well is is_well
    assert said in shown(view(orders=line))


def test_a_position_that_differs_from_the_ledger_is_said_in_the_heading() -> None:
    """Disagreement stands in the heading and in its row, not only in the numbers."""
    text = shown(view(positions=(HELD, PositionLine("ETHUSDT", Decimal(1), Decimal(0), None, Agreement.DIFFERS))))
    assert "2 open: 1 agrees, 1 DIFFERS" in text


FILLED_MS = 1_800_000_000_000
LEDGER = LedgerRow(Decimal(1), last_exec_ts_ms=FILLED_MS)


def account(ts_ms: int) -> AccountRow:
    """An account as it was seen at that time."""
    return AccountRow(ts_ms, Mode.PAPER, "a", complete=True, one_way=True, open_positions=1)


@pytest.mark.parametrize(
    ("seen_ms", "ledger", "agreement"),
    [
        (None, LEDGER, Agreement.UNKNOWN),
        (FILLED_MS - 1_000, LEDGER, Agreement.NOT_SEEN),
        (FILLED_MS + 1_999, LEDGER, Agreement.NOT_SEEN),
        (FILLED_MS + 2_000, LEDGER, Agreement.DIFFERS),
        (FILLED_MS, LedgerRow(Decimal(0)), Agreement.AGREES),
        (FILLED_MS, None, Agreement.AGREES),
    ],
)
def test_a_ledger_is_compared_with_what_can_show_its_last_fill(
    seen_ms: int | None, ledger: LedgerRow | None, agreement: Agreement
) -> None:
    """A flat snapshot from before our fill is no disagreement yet, one from after it is; no account is no knowledge."""
    seen = None if seen_ms is None else account(seen_ms)
    assert compare("BTCUSDT", seen, None, ledger).agreement is agreement


def test_hostile_values_are_only_text() -> None:
    """A reason that looks like markup neither vanishes nor breaks the board."""
    text = shown(view(permits_denied=Counter({"[/red]": 1, "[bold]x": 1}), faults=("[link=http://x]y",)))
    assert "[/red]" in text
    assert "[link=http://x]y" in text
