"""Results (`quantum:stream:apply.result`): how every stream entry of a plan ended, exactly one each."""

from decimal import Decimal

import msgspec

from microservices.contracts import hashes
from microservices.contracts.control import Mode
from microservices.contracts.fields import RawHash, WrittenFields
from microservices.contracts.plan import Decision, Side

STREAM = "quantum:stream:apply.result"
GROUP_DECISION_INTELLIGENCE = "p35_decision_intel"


class Result(msgspec.Struct, frozen=True, kw_only=True, rename={"reduce_only": "reduceOnly"}):
    """How one plan entry ended: `executed` and `quantity` come from what was filled, whatever the status said."""

    plan_id: str = ""
    plan_entry_id: str
    symbol: str = ""
    decision: Decision
    executed: bool
    error: str = ""
    """One code of `reason.Reason` or `exchange_error_<digits>`; empty if none."""
    gate: str = ""
    retryable: bool = False
    order_id: str = ""
    client_order_id: str = ""
    side: Side | None = None
    quantity: Decimal = Decimal(0)
    price: Decimal = Decimal(0)
    reduce_only: bool | None = None
    source: str = ""
    mode: Mode
    wait_ms: int = 0
    timestamp: int
    """Epoch seconds."""


def encode(result: Result) -> WrittenFields:
    """Write a result; every field of the schema is there, empty where it does not apply."""
    fields = hashes.encode(result)
    return {"side": "", "reduceOnly": ""} | fields


def decode(raw: RawHash, what: str) -> Result:
    """Read one of our own results; decision intelligence reads every shape in the wild by rules of its own.

    Raises:
        Unreadable: a field is missing or not as the schema says.
    """
    return hashes.decode(raw, Result, what)
