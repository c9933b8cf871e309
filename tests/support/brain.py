"""Plans and facts for tests of the brain: by default all is well, and a test changes what it is about."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from microservices.contracts import plan
from microservices.contracts.claim import ClaimState, OpenClaim
from microservices.contracts.control import KillSwitch, Mode
from microservices.contracts.plan import Action, Plan, Side
from microservices.contracts.position import Baseline, InflightMark, LedgerRow
from microservices.contracts.result import Result
from microservices.contracts.universe import Instrument
from microservices.contracts.universe_reader import Allowlist, Tier
from microservices.exchange import PositionRow, PositionSide
from microservices.position_state_brain.facts import Facts
from microservices.position_state_brain.snapshot import AccountView, SymbolPosition

NOW_MS = 1_800_000_000_000
NOW_S = NOW_MS // 1000
SYMBOL = "BTCUSDT"
ENTRY_ID = f"{NOW_MS - 200}-0"
ASOF_EPOCH = NOW_S - 40
LONG = Decimal("0.5")

INSTRUMENT = Instrument(
    status="TRADING",
    seen_epoch=ASOF_EPOCH,
    tick_size="0.1",
    step_size="0.001",
    min_qty="0.001",
    max_qty="100",
    min_notional="5",
    onboard_epoch=0,
    delivery_epoch=4133404800,
)

BASELINE = Baseline(
    adopted_at_ms=NOW_MS - 3_600_000, by="jana", snapshot_ts_ms=NOW_MS - 3_600_100, positions=0, result_id="0-0"
)


def plan_fields(**changes: object) -> dict[str, str]:
    """The fields of an OPEN to EXECUTE as a strategy adds them; None leaves one out."""
    fields: dict[str, object] = {
        "plan_id": "p1",
        "symbol": SYMBOL,
        "side": Side.BUY,
        "decision": "EXECUTE",
        "action": Action.OPEN,
        "reduceOnly": False,
        "qty": Decimal("0.01"),
        "source": "test",
        "timestamp": NOW_S,
    }
    return {str(name): str(value) for name, value in plan.encode(fields | changes).items()}


def exit_fields(**changes: object) -> dict[str, str]:
    """The fields of a plan to close a long position."""
    default = {"side": Side.SELL, "action": Action.FULL_CLOSE_PROPOSED, "reduceOnly": None, "qty": None}
    return plan_fields(**(default | changes))


def open_plan(entry_id: str = ENTRY_ID, **changes: object) -> Plan:
    """A valid OPEN."""
    return plan.decode(plan.decode_header(entry_id, plan_fields(**changes)))


def exit_plan(entry_id: str = ENTRY_ID, **changes: object) -> Plan:
    """A valid exit."""
    return plan.decode(plan.decode_header(entry_id, exit_fields(**changes)))


def held(amount: Decimal | str = LONG, **changes: Any) -> SymbolPosition:
    """What an answer showed of a symbol, a second ago."""
    fields: dict[str, Any] = {
        "position_amt": Decimal(amount),
        "entry_price": Decimal(60_000),
        "mark_price": Decimal(60_000),
        "unrealized_pnl": Decimal(0),
        "leverage": Decimal(20),
        "ts_ms": NOW_MS - 1_000,
    }
    return SymbolPosition(**(fields | changes))


def view_of(*, ts_ms: int = NOW_MS - 1_000, **rows: SymbolPosition) -> AccountView:
    """An account in one-way mode with these rows, and mark prices of the same age."""
    return AccountView(
        ts_ms=ts_ms,
        rows=rows,
        one_way=True,
        sequence=1,
        mark_prices=dict.fromkeys(rows, Decimal(60_000)),
        mark_prices_ts_ms=ts_ms,
    )


def facts_of(position_amt: Decimal | str = "0", **changes: Any) -> Facts:
    """Everything an open of a flat symbol, or an exit of this position, needs; the ledger agrees."""
    amount = Decimal(position_amt)
    fields: dict[str, Any] = {
        "now_ms": NOW_MS,
        "allowlist": Allowlist(Tier.UNIVERSE, frozenset({SYMBOL}), ASOF_EPOCH),
        "account": view_of(BTCUSDT=held(amount)),
        "kill_switch": KillSwitch.OFF,
        "ledger": LedgerRow(amount),
        "baseline": BASELINE,
        "instrument": INSTRUMENT,
    }
    return Facts(**(fields | changes))


def mark_of(action: Action, plan_id: str = "p0", entry_id: str = "1-0") -> InflightMark:
    """The mark of another plan."""
    return InflightMark(plan_id, entry_id, action)


def claim_of(action: Action, symbol: str = SYMBOL) -> OpenClaim:
    """An open claim."""
    return OpenClaim(symbol, action, ClaimState.SENT)


def result_of(**changes: Any) -> Result:
    """A filled BUY of 0.01."""
    fields: dict[str, Any] = {
        "plan_id": "p1",
        "plan_entry_id": ENTRY_ID,
        "symbol": SYMBOL,
        "decision": plan.Decision.EXECUTE,
        "executed": True,
        "order_id": "77",
        "side": Side.BUY,
        "quantity": Decimal("0.01"),
        "mode": Mode.PAPER,
        "timestamp": NOW_S,
    }
    return Result(**(fields | changes))


def position_row(symbol: str, amount: Decimal | str = "0", **changes: Any) -> PositionRow:
    """A row of the exchange's answer."""
    fields: Mapping[str, Any] = {
        "symbol": symbol,
        "position_amt": Decimal(amount),
        "entry_price": Decimal(100),
        "mark_price": Decimal(100),
        "unrealized_profit": Decimal(0),
        "leverage": Decimal(20),
        "position_side": PositionSide.BOTH,
        "update_time": 0,
    }
    return PositionRow(**{**fields, **changes})
