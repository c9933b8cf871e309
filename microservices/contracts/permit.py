"""Permits (`quantum:permit:*`) and their event stream: what each gate decided on a plan."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from microservices.contracts import hashes
from microservices.contracts.control import Mode
from microservices.contracts.fields import RawHash, Unreadable, from_json, hash_text, required, shown
from microservices.contracts.plan import Side

EVENTS = "quantum:stream:permit.events"
EVENTS_MAXLEN = 200_000
VERSION = 1
TTL_S = 60
NOTHING = "0"
"""The safe quantity of a deny."""

SAFE_QTY = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
_CLOSING_BRACE = b"}"


class Gate(StrEnum):
    """Who may have to permit a plan."""

    GOVERNOR = "governor"
    P26 = "p26"
    P33 = "p33"


_KEY_PREFIX = {
    Gate.GOVERNOR: "quantum:permit:",
    Gate.P26: "quantum:permit:p26:",
    Gate.P33: "quantum:permit:p33:",
}


class PermitDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """A permit as it stands in Redis; a deny is written as explicitly as an allow."""

    v: int
    gate: Gate
    plan_id: str
    plan_digest: str
    symbol: str
    mode: Mode
    allow: bool
    safe_qty: str
    side: Side | None
    """None in the deny of a plan that named no valid side."""
    reason: str
    context: dict[str, Any]
    created_at: float
    expires_at_ms: int


class PermitEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the event stream; `plan_id` is as it came, even where it may not stand in a key.

    Plan id, entry id and symbol are empty where there is none: a plan may lack them, and an adoption is of no plan.
    """

    gate: Gate
    plan_id: str = ""
    plan_entry_id: str = ""
    symbol: str = ""
    allow: bool
    safe_qty: str
    reason: str
    context: str
    issued_at_ms: int


def key(gate: Gate, plan_id: str) -> str:
    """Name the permit of a gate for a plan."""
    return _KEY_PREFIX[gate] + plan_id


def encode_undated(fields: Mapping[str, object]) -> bytes:
    """Write a permit's JSON without its closing brace and its two dates.

    The script that commits it appends `,"created_at":…,"expires_at_ms":…}` from Redis's own clock: a permit's life is
    counted on one clock alone.

    Args:
        fields: all fields of `PermitDocument` but `created_at` and `expires_at_ms`.
    """
    return msgspec.json.encode({"v": VERSION} | dict(fields)).removesuffix(_CLOSING_BRACE)


def decode(raw: object, what: str) -> PermitDocument:
    """Read a permit. Whether it fits a plan and is unexpired is for the reader to judge.

    Raises:
        Unreadable: not the JSON of a permit, another version, or a safe quantity that is no plain decimal.
    """
    document = from_json(raw, PermitDocument, what)
    if document.v != VERSION:
        raise Unreadable(what, f"v is {document.v}, expected {VERSION}")
    if not SAFE_QTY.fullmatch(document.safe_qty):
        raise Unreadable(what, f"safe_qty is {shown(document.safe_qty)}, expected a plain decimal")
    return document


def decode_event(raw: RawHash, what: str) -> PermitEvent:
    """Read an entry of the event stream.

    Raises:
        Unreadable: a field is missing or not as the schema says.
    """
    return hashes.decode(raw, PermitEvent, what)


def event_plan_id(raw: RawHash, what: str) -> str:
    """Read only which plan an event is about: all that a waiting executor needs of it.

    Raises:
        Unreadable: the field is missing or not text.
    """
    given = raw.get(b"plan_id", raw.get("plan_id", b""))
    return required(hash_text({"plan_id": given}, what), "plan_id", what)
