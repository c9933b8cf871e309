"""What our own fills add up to, and how it compares with the exchange's position. Pure."""

from decimal import Decimal
from enum import Enum, StrEnum

import msgspec

from microservices.contracts import position
from microservices.contracts.fields import Unreadable, exact, stream_id
from microservices.contracts.plan import Side
from microservices.contracts.position import LedgerRow, side_of
from microservices.contracts.result import Result

NOTHING_HELD = LedgerRow(Decimal(0))
FLAT_ANSWERS_NEEDED = 2


class Agreement(Enum):
    """How our ledger compares with the exchange's position."""

    SAME = "same"
    WITHIN_TOLERANCE = "within_tolerance"
    OTHER_SIDE = "other_side"
    OTHER_SIZE = "other_size"

    @property
    def is_close_enough(self) -> bool:
        """Whether an open may be permitted on it."""
        return self in (Agreement.SAME, Agreement.WITHIN_TOLERANCE)


class DriftCause(StrEnum):
    """What a difference that we did not trade looks like; stands in the hold as `brain:<cause>`."""

    EXTERNAL_POSITION = "external_position"
    """A position where we hold none: opened by hand or by another program."""
    SIDE_MISMATCH = "side_mismatch"
    """A position on the other side of ours."""
    EXCHANGE_BELOW_LEDGER = "exchange_below_ledger"
    """Reduced by somebody else: by hand, liquidation or auto-deleveraging."""
    EXCHANGE_ABOVE_LEDGER = "exchange_above_ledger"
    """Increased by somebody else, or a fill that we did not learn of."""
    LEDGER_UNREADABLE = "ledger_unreadable"
    """Our own row says nothing that can be read."""
    NOT_ON_EXCHANGE = "not_on_exchange"
    """We hold a position in a symbol that is delisted, and the exchange names no position of it any more."""


class Adoption(StrEnum):
    """Why the ledger is set to the exchange's position."""

    WITHIN_TOLERANCE = "within_tolerance"
    FLAT_TWICE = "flat_in_two_answers"
    OPERATOR = "operator"


class Unsettled(msgspec.Struct, frozen=True):
    """Nothing can be said yet: a fill may be on its way, or a flat position must be seen again."""

    why: str


class Agreed(msgspec.Struct, frozen=True):
    """Ledger and position are the same."""


class Adopt(msgspec.Struct, frozen=True):
    """The ledger is to be set to the exchange's position."""

    why: Adoption


class Drift(msgspec.Struct, frozen=True):
    """Ledger and position differ by more than the tolerance."""

    cause: DriftCause


Reconciled = Unsettled | Agreed | Adopt | Drift


class Settlement(msgspec.Struct, frozen=True):
    """What must be quiet before ledger and position can be compared."""

    snapshot_ts_ms: int
    confirmed: bool
    has_open_claim: bool
    has_unread_result: bool
    flat_answers: int
    """In how many complete, settled answers in a row the position was flat, this one included."""


def applied(row: LedgerRow | None, fill: Result, result_id: str, now_s: int) -> LedgerRow | None:
    """Add a result to a ledger row.

    Args:
        row: as it stands; None where there is none, which counts as 0.
        fill: the result.
        result_id: its stream id; Redis made it, so its time is Redis's.
        now_s: epoch seconds.

    Returns:
        The row afterwards; None where the result changes nothing: nothing was filled, or the row has it already.

    Raises:
        Unreadable: something was filled, but the result does not say on which side.
    """
    if not fill.executed or fill.quantity <= 0:
        return None
    before = row or NOTHING_HELD
    if before.last_result_id and _numbers(result_id) <= _numbers(before.last_result_id):
        return None
    if fill.side is None:
        raise Unreadable(f"result {result_id}", f"{fill.quantity} filled without a side")
    with exact():
        change = fill.quantity if fill.side is Side.BUY else -fill.quantity
        amount = before.position_amt + change
    return LedgerRow(
        position_amt=amount,
        last_order_id=fill.order_id,
        last_plan_id=fill.plan_id,
        last_exec_ts_ms=_numbers(result_id)[0],
        last_result_id=result_id,
        updated_at=now_s,
    )


def agreement(exchange_amt: Decimal, ledger_amt: Decimal, step: Decimal | None, tolerance_pct: Decimal) -> Agreement:
    """Compare in sign and, within the tolerance, in size.

    Args:
        exchange_amt: the exchange's position, signed.
        ledger_amt: ours, signed.
        step: the instrument's market step; None where it is not known.
        tolerance_pct: percent of the exchange's position; at least one step is tolerated.
    """
    if exchange_amt == ledger_amt:
        return Agreement.SAME
    if side_of(exchange_amt) is not side_of(ledger_amt):
        return Agreement.OTHER_SIDE
    with exact():
        tolerated = max(abs(exchange_amt) * tolerance_pct / 100, step or Decimal(0))
        difference = abs(exchange_amt - ledger_amt)
    return Agreement.WITHIN_TOLERANCE if difference <= tolerated else Agreement.OTHER_SIZE


def reconcile(
    exchange_amt: Decimal, row: LedgerRow | None, settlement: Settlement, step: Decimal | None, tolerance_pct: Decimal
) -> Reconciled:
    """Judge what a complete answer means for one symbol's ledger; the account has a baseline."""
    ours = row or NOTHING_HELD
    if why := _why_unsettled(ours, settlement):
        return Unsettled(why)
    how = agreement(exchange_amt, ours.position_amt, step, tolerance_pct)
    if how is Agreement.SAME:
        return Agreed()
    if how is Agreement.WITHIN_TOLERANCE:
        return Adopt(Adoption.WITHIN_TOLERANCE)
    if exchange_amt.is_zero():
        if settlement.flat_answers < FLAT_ANSWERS_NEEDED:
            return Unsettled("flat in one answer")
        return Adopt(Adoption.FLAT_TWICE)
    return Drift(_cause(exchange_amt, ours.position_amt, how))


def is_settled(row: LedgerRow | None, settlement: Settlement) -> bool:
    """Tell whether ledger and position can be compared, whatever they say."""
    return not _why_unsettled(row or NOTHING_HELD, settlement)


def _why_unsettled(row: LedgerRow, settlement: Settlement) -> str:
    if settlement.has_open_claim:
        return "a claim is open"
    if settlement.has_unread_result:
        return "a result is unread"
    if not settlement.confirmed:
        return "the position vanished and must be seen again"
    if settlement.snapshot_ts_ms < row.last_exec_ts_ms + position.SETTLE_MS:
        return "executed a moment before the snapshot"
    return ""


def _cause(exchange_amt: Decimal, ledger_amt: Decimal, how: Agreement) -> DriftCause:
    if ledger_amt.is_zero():
        return DriftCause.EXTERNAL_POSITION
    if how is Agreement.OTHER_SIDE:
        return DriftCause.SIDE_MISMATCH
    is_below = abs(exchange_amt) < abs(ledger_amt)
    return DriftCause.EXCHANGE_BELOW_LEDGER if is_below else DriftCause.EXCHANGE_ABOVE_LEDGER


def _numbers(entry_id: str) -> tuple[int, int]:
    return stream_id(entry_id, "entry id")
