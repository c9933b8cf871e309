"""Claims of the apply layer: one per plan that may become, or became, an order."""

import hashlib
from decimal import Decimal
from enum import StrEnum

import msgspec

from microservices.contracts import hashes
from microservices.contracts.control import Mode
from microservices.contracts.fields import RawHash, from_json
from microservices.contracts.plan import Action

OPEN_KEY = "quantum:apply:open"
LEASE_KEY = "quantum:apply:lease"
STATUS_KEY = "quantum:apply:status"
OPENS_KEY = "quantum:apply:opens"
"""Sorted set, plan id by the time in ms at which its OPEN was done: what the newest account row may not show yet."""
OPENS_KEPT_S = 120
DONE_WITH_ORDER_TTL_S = 24 * 3600
DONE_WITHOUT_ORDER_TTL_S = 10 * 60
HEARTBEAT_S = 10


class ClaimState(StrEnum):
    """How far a claim has come."""

    CLAIMED = "claimed"
    SENT = "sent"
    DONE = "done"


class Claim(msgspec.Struct, frozen=True):
    """A plan's claim; it has no TTL while open."""

    state: ClaimState
    client_order_id: str = ""
    symbol: str = ""
    qty: Decimal | None = None
    claimed_at_ms: int | None = None
    sent_at_ms: int | None = None
    done_at_ms: int | None = None
    plan_entry_id: str = ""
    """The stream entry whose plan this is: another entry under the same plan id is a duplicate."""
    result_id: str = ""
    """The id of the result that made the claim done."""


class OpenClaim(msgspec.Struct, frozen=True):
    """One field of `quantum:apply:open`: what the open claim of a plan is about."""

    symbol: str
    action: Action
    state: ClaimState
    plan_entry_id: str = ""
    """The claim's stream entry, which is still answered where the claim itself was deleted."""


class ApplyStatus(msgspec.Struct, frozen=True):
    """The apply layer's heartbeat."""

    last_ts: int
    mode: Mode
    build: str
    waiting: int
    open_claims: int
    unresolved: int = 0
    """Orders whose outcome is being asked for, or whose result is not written yet."""
    kill_switch: str = ""
    """The state in force; empty where it was not looked at yet."""
    held_up: str = ""
    """Why no order may be sent now, although plans and operators would let it; empty where it may."""


def key(plan_id: str) -> str:
    """Name the claim of a plan."""
    return f"quantum:apply:claim:{plan_id}"


def client_order_id(plan_id: str) -> str:
    """Name a plan's order at the exchange: `q` and 32 hex digits of SHA-256, within Binance's 36 characters."""
    return "q" + hashlib.sha256(plan_id.encode()).hexdigest()[:32]


def decode(raw: RawHash, plan_id: str) -> Claim | None:
    """Read a plan's claim; an empty answer is absence.

    Raises:
        Unreadable: it is there and not as the schema says.
    """
    return hashes.decode_or_absent(raw, Claim, key(plan_id))


def encode_open(claim: OpenClaim) -> bytes:
    """Write one field of `quantum:apply:open`."""
    return msgspec.json.encode(claim)


def decode_open(raw: object, plan_id: str) -> OpenClaim:
    """Read one field of `quantum:apply:open`.

    Raises:
        Unreadable: not the JSON of an open claim.
    """
    return from_json(raw, OpenClaim, f"{OPEN_KEY} {plan_id}")


def decode_status(raw: RawHash) -> ApplyStatus | None:
    """Read the apply layer's heartbeat; an empty answer is absence.

    Raises:
        Unreadable: it is there and not as the schema says.
    """
    return hashes.decode_or_absent(raw, ApplyStatus, STATUS_KEY)
