"""How a plan ends: decision, one plain code, the gate it came from, and whether a new plan can succeed."""

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Decision, InvalidPlan, Plan, PlanHeader, Side
from microservices.contracts.reason import Reason, normalised
from microservices.contracts.result import Result

_DECISIONS = {
    Reason.NO_POSITION: Decision.SKIP,
    Reason.NOT_IN_ALLOWLIST: Decision.SKIP,
    Reason.DUPLICATE_PLAN: Decision.SKIP,
    Reason.DRY_RUN: Decision.SKIP,
    Reason.INVALID_PLAN: Decision.ERROR,
    Reason.ORDER_NOT_PLACED: Decision.ERROR,
    Reason.ORDER_REJECTED: Decision.ERROR,
}
"""Every other code is BLOCKED."""

RETRYABLE = frozenset(
    {
        Reason.PLAN_EXPIRED,
        Reason.NO_ALLOWLIST,
        Reason.NO_EXCHANGE_SNAPSHOT,
        Reason.STALE_EXCHANGE_STATE,
        Reason.PERMIT_OUTSTANDING,
        Reason.COOLDOWN_IN_FLIGHT,
        Reason.POSITION_CHANGED,
        Reason.DISPLACED_BY_EXIT,
        Reason.PERMIT_TIMEOUT,
        Reason.MAX_POSITIONS,
        Reason.MARK_LOST,
        Reason.ORDER_NOT_PLACED,
    }
)
"""What passes by itself: a new plan under a new id can succeed without anybody changing anything first."""

_CAME_WITHOUT_REASON = {
    Decision.SKIP: Reason.PLAN_SKIP,
    Decision.BLOCKED: Reason.PLAN_BLOCKED,
    Decision.ERROR: Reason.PLAN_ERROR,
}


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a plan ended; quantity and price are those of the fill, 0 without one."""

    decision: Decision
    error: str = ""
    gate: str = ""
    retryable: bool = False
    order_id: str = ""
    quantity: Decimal = Decimal(0)
    price: Decimal = Decimal(0)

    @property
    def executed(self) -> bool:
        """Whether anything was filled."""
        return self.decision is Decision.EXECUTE


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a result is about, as far as the entry could be read."""

    entry_id: str
    plan_id: str = ""
    symbol: str = ""
    side: Side | None = None
    reduce_only: bool | None = None
    source: str = ""


def ended(reason: Reason, gates: Iterable[Gate] = ()) -> Ending:
    """End with one of our own codes.

    Args:
        reason: the code.
        gates: the gates it came from, or that are missing.
    """
    return Ending(
        decision=_DECISIONS.get(reason, Decision.BLOCKED),
        error=reason.value,
        gate=",".join(gates),
        retryable=reason in RETRYABLE,
    )


def denied(gate: Gate, reason: str) -> Ending:
    """End with a gate's deny; a reason that is none of ours is kept in code form, and is BLOCKED."""
    code = normalised(reason)
    ours = next((known for known in Reason if known.value == code), None)
    if ours is not None:
        return ended(ours, [gate])
    return Ending(decision=Decision.BLOCKED, error=code or Reason.GATE_DENIED.value, gate=gate.value)


def came_as(header: PlanHeader) -> Ending:
    """End a plan that came as SKIP, BLOCKED or ERROR: its own decision, its first reason in code form."""
    codes = (normalised(raw) for raw in header.reason_codes)
    error = next((code for code in codes if code), _CAME_WITHOUT_REASON[header.decision].value)
    return Ending(decision=header.decision, error=error)


def subject_of(plan: Plan) -> Subject:
    """Name a valid plan."""
    return Subject(
        entry_id=plan.entry_id,
        plan_id=plan.plan_id,
        symbol=plan.symbol,
        side=plan.side,
        reduce_only=plan.reduce_only,
        source=plan.source,
    )


def subject_of_header(header: PlanHeader) -> Subject:
    """Name a plan of which only the header is read."""
    side = header.fields.get("side", "").upper()
    return Subject(
        entry_id=header.entry_id,
        plan_id=header.plan_id,
        symbol=header.symbol,
        side=Side(side) if side in Side.__members__ else None,
        source=header.source,
    )


def subject_of_invalid(entry_id: str, fault: InvalidPlan) -> Subject:
    """Name an entry that is no plan, by what could be read of it."""
    return Subject(entry_id=entry_id, plan_id=fault.plan_id, symbol=fault.symbol)


def result_of(
    subject: Subject, ending: Ending, *, mode: Mode, wait_ms: int, timestamp: int, client_order_id: str = ""
) -> Result:
    """Write the result of an ending.

    Args:
        subject: what it is about.
        ending: how it ended.
        mode: what the exchange is.
        wait_ms: how long the plan waited for its permits.
        timestamp: epoch seconds.
        client_order_id: the order's name; empty where none was ever to be sent.
    """
    return Result(
        plan_id=subject.plan_id,
        plan_entry_id=subject.entry_id,
        symbol=subject.symbol,
        decision=ending.decision,
        executed=ending.executed,
        error=ending.error,
        gate=ending.gate,
        retryable=ending.retryable,
        order_id=ending.order_id,
        client_order_id=client_order_id,
        side=subject.side,
        quantity=ending.quantity,
        price=ending.price,
        reduce_only=subject.reduce_only,
        source=subject.source,
        mode=mode,
        wait_ms=wait_ms,
        timestamp=timestamp,
    )
