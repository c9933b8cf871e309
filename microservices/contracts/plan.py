"""Plans (`quantum:stream:apply.plan`): what a strategy wants done, and the digest that every permit for it carries."""

import hashlib
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

import msgspec

from microservices.contracts.fields import (
    RawHash,
    Unreadable,
    WrittenFields,
    boolean,
    codes,
    hash_text,
    matching,
    plain,
    required,
)

E = TypeVar("E", bound=StrEnum)

STREAM = "quantum:stream:apply.plan"
GROUP_BRAIN = "p33"
GROUP_BRAIN_DRY_RUN = "p33_dryrun"
GROUP_GOVERNOR = "governor"
GROUP_PORTFOLIO_GATE = "p26_portfolio_gate"
GROUP_APPLY = "apply_layer"
GROUPS = (GROUP_BRAIN, GROUP_GOVERNOR, GROUP_PORTFOLIO_GATE, GROUP_APPLY)
CONSUMER_BRAIN = "brain"
CONSUMER_APPLY = "apply"

_PLAN_ID = re.compile(r"(?!p26:|p33:)[A-Za-z0-9:_.-]{1,128}", re.ASCII)
_SYMBOL = re.compile(r"\w{1,40}")
"""Letters and digits of any script: the exchange lists 币安人生USDT and its like, and a position in one must close."""
_QTY = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_SIGNED_QTY = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?", re.ASCII)


class Decision(StrEnum):
    """What the plan's maker decided."""

    EXECUTE = "EXECUTE"
    SKIP = "SKIP"
    BLOCKED = "BLOCKED"
    ERROR = "ERROR"


class Side(StrEnum):
    """The order's side."""

    BUY = "BUY"
    SELL = "SELL"


class Action(StrEnum):
    """What is to be done with the position."""

    OPEN = "OPEN"
    FULL_CLOSE_PROPOSED = "FULL_CLOSE_PROPOSED"
    PARTIAL_75 = "PARTIAL_75"
    PARTIAL_50 = "PARTIAL_50"
    PARTIAL_25 = "PARTIAL_25"

    @property
    def is_exit(self) -> bool:
        """Whether it makes a position smaller: every action but OPEN."""
        return self is not Action.OPEN

    @property
    def closed_fraction(self) -> Decimal:
        """The share of the position an exit closes; 0 for OPEN."""
        return _CLOSED_FRACTION[self]


_CLOSED_FRACTION = {
    Action.OPEN: Decimal(0),
    Action.FULL_CLOSE_PROPOSED: Decimal(1),
    Action.PARTIAL_75: Decimal("0.75"),
    Action.PARTIAL_50: Decimal("0.50"),
    Action.PARTIAL_25: Decimal("0.25"),
}


class PlanHeader(msgspec.Struct, frozen=True):
    """What every plan must have to be answered at all, whatever its decision; the rest is still unread text."""

    entry_id: str
    plan_id: str
    symbol: str
    decision: Decision
    fields: dict[str, str]

    @property
    def reason_codes(self) -> tuple[str, ...]:
        """The maker's reasons as they came."""
        return codes(self.fields.get("reason_codes", ""))

    @property
    def source(self) -> str:
        """Who made the plan; empty where it does not say."""
        return self.fields.get("source", "")


class Plan(msgspec.Struct, frozen=True):
    """A plan to EXECUTE, every field valid. Quantities are in units of the base asset."""

    entry_id: str
    plan_id: str
    symbol: str
    action: Action
    side: Side
    qty: Decimal
    """For an OPEN the quantity; for an exit an upper bound, 0 where there is none."""
    expected_position: Decimal | None
    source: str
    timestamp: Decimal
    """Epoch seconds as the maker wrote them."""

    @property
    def is_exit(self) -> bool:
        """Whether it makes a position smaller."""
        return self.action.is_exit

    @property
    def reduce_only(self) -> bool:
        """Whether the order may only make a position smaller: true for every exit, false for an OPEN."""
        return self.is_exit

    @property
    def digest(self) -> str:
        """Hex SHA-256 that ties a permit to exactly this plan (redis-schema, Plans)."""
        expected = "" if self.expected_position is None else plain(self.expected_position)
        parts = (
            self.plan_id,
            self.symbol,
            Decision.EXECUTE.value,
            self.action.value,
            self.side.value,
            "true" if self.reduce_only else "false",
            plain(self.qty),
            expected,
        )
        return hashlib.sha256("|".join(parts).encode()).hexdigest()


class InvalidPlan(Unreadable):
    """A plan that cannot be decided on. `plan_id` is empty where not even that is usable as a key."""

    def __init__(self, why: str, plan_id: str = "", symbol: str = "") -> None:
        super().__init__("plan", why)
        self.plan_id = plan_id
        self.symbol = symbol


def is_plan_id(value: str) -> bool:
    """Tell whether this may stand in a key as a plan's id."""
    return _PLAN_ID.fullmatch(value) is not None


def decode_header(entry_id: str, raw: RawHash) -> PlanHeader:
    """Read what the first check needs: plan id, symbol and decision.

    Raises:
        InvalidPlan: one of them is missing or invalid, or a field is not text.
    """
    plan_id = symbol = ""
    try:
        plan_id = _id_alone(raw)
        fields = hash_text(raw, "plan")
        symbol = matching(required(fields, "symbol", "plan").upper(), _SYMBOL, "plan symbol")
        decision = _member(Decision, fields, "decision")
    except Unreadable as fault:
        raise InvalidPlan(str(fault), plan_id, symbol) from None
    return PlanHeader(entry_id, plan_id, symbol, decision, fields)


def decode(header: PlanHeader) -> Plan:
    """Read the rest of a plan to EXECUTE.

    Raises:
        InvalidPlan: a field is missing, contradictory or not as the schema says.
    """
    try:
        return _decode(header)
    except Unreadable as fault:
        raise InvalidPlan(str(fault), header.plan_id, header.symbol) from None


def encode(fields: Mapping[str, object]) -> WrittenFields:
    """Write a plan's fields as a strategy adds them: decimals plain, booleans as words, None left out."""
    written: WrittenFields = {}
    for name, value in fields.items():
        if isinstance(value, bool):
            written[name] = "true" if value else "false"
        elif value is not None:
            written[name] = plain(value) if isinstance(value, Decimal) else str(value)
    return written


def _decode(header: PlanHeader) -> Plan:
    fields = header.fields
    action = _member(Action, fields, "action")
    _check_reduce_only(fields, action)
    return Plan(
        entry_id=header.entry_id,
        plan_id=header.plan_id,
        symbol=header.symbol,
        action=action,
        side=_member(Side, fields, "side"),
        qty=_quantity(fields, action),
        expected_position=_expected_position(fields),
        source=header.source,
        timestamp=Decimal(matching(required(fields, "timestamp", "plan"), _TIMESTAMP, "plan timestamp")),
    )


def _id_alone(raw: RawHash) -> str:
    """Read the plan id first and by itself, so that rubbish in another field still leaves an answer under its id."""
    given = raw.get(b"plan_id", raw.get("plan_id"))
    if given is None:
        raise Unreadable("plan", "plan_id is missing")
    return matching(hash_text({"plan_id": given}, "plan")["plan_id"], _PLAN_ID, "plan plan_id")


def _member(kind: type[E], fields: Mapping[str, str], name: str) -> E:
    given = required(fields, name, "plan").upper()
    if given not in kind.__members__.values():
        raise Unreadable("plan", f"{name} is {given[:40]!r}, expected one of {', '.join(kind)}")
    return kind(given)


def _check_reduce_only(fields: Mapping[str, str], action: Action) -> None:
    """An OPEN says `false`, an exit `true` or nothing: a missing word must never turn an exit into an open."""
    given = fields.get("reduceOnly", "")
    if given == "" and action.is_exit:
        return
    if given == "":
        raise Unreadable("plan", "reduceOnly is missing; an OPEN must say false")
    if boolean(given, "plan reduceOnly") is not action.is_exit:
        raise Unreadable("plan", f"reduceOnly is {given} for {action}")


def _quantity(fields: Mapping[str, str], action: Action) -> Decimal:
    given = fields.get("qty", "")
    quantity = Decimal(matching(given, _QTY, "plan qty")) if given else Decimal(0)
    if quantity <= 0 and not action.is_exit:
        raise Unreadable("plan", f"qty is {given!r}; an OPEN needs one above 0")
    return quantity


def _expected_position(fields: Mapping[str, str]) -> Decimal | None:
    given = fields.get("expected_position", "")
    return Decimal(matching(given, _SIGNED_QTY, "plan expected_position")) if given else None
