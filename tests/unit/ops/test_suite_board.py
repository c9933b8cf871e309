"""The board: it shows what an operator must see, and hostile values are only text."""

from collections import Counter
from decimal import Decimal

from rich.console import Console

from microservices.contracts.market_state import MarketStateRow, Regime, Source
from microservices.contracts.universe_reader import Tier
from ops.suite.board import render
from ops.suite.reading import PositionLine, ServiceLine, SuiteView

STATE = MarketStateRow(
    0.001, 0.0001, 0.5, 0.6, 0.1, 0.3, 0.5, 1.0, 1.0, 1_799_999_990, 300, Regime.TREND, Source.CANDLES, 1
)


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
        "positions": (PositionLine("BTCUSDT", Decimal("0.5"), Decimal("0.5"), Decimal(60000)),),
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
    for part in ("30 symbols, 12 s old", "BTCUSDT", "trend", "3 allowed, 2 denied", "ledger agrees", "EXECUTE 3"):
        assert part in text


def test_fail_closed_is_said_with_its_reasons() -> None:
    """No list means a line that says so and why, tier by tier."""
    text = shown(view(tier=Tier.NONE, refused=("universe: 400 s old, limit 300 s",)))
    assert "FAIL-CLOSED: universe: 400 s old, limit 300 s" in text


def test_a_position_that_differs_from_the_ledger_is_counted() -> None:
    """Disagreement stands in the heading, not only in the numbers."""
    text = shown(view(positions=(PositionLine("BTCUSDT", Decimal("0.5"), Decimal(0), None),)))
    assert "1 differ from the ledger" in text


def test_hostile_values_are_only_text() -> None:
    """A reason that looks like markup neither vanishes nor breaks the board."""
    text = shown(view(permits_denied=Counter({"[/red]": 1, "[bold]x": 1}), faults=("[link=http://x]y",)))
    assert "[/red]" in text
    assert "[link=http://x]y" in text
