"""What the proofs' `--json` is: one schema per proof, strict, with nothing in it that is not named here."""

from typing import Any

import msgspec


class ServiceDocument(msgspec.Struct, forbid_unknown_fields=True):
    """How a service was seen."""

    unit: str
    unit_state: str
    life: str
    heartbeat_age_s: float | None
    metrics_port: int
    metrics_answer: bool


class Document(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What every document has."""

    exit: int
    status: str
    problems: list[str]


class CannotTell(Document, kw_only=True):
    """All that a script knows that could not look."""


class SourceDocument(Document, kw_only=True):
    """ops/proof_p33_universe_source.sh."""

    proof: str
    source: str | None
    count: int | None
    age_s: float | None
    told_by: str | None
    mode: str | None
    service: ServiceDocument


class UniverseFacts(msgspec.Struct, forbid_unknown_fields=True):
    """What ops/proof_universe.sh says."""

    proof: str
    mode: str | None
    count: int | None
    meta_count: int | None
    asof_epoch: int | None
    age_s: int | None
    max_age_s: int
    stale: str | None
    error: str
    last_ok_epoch: float | None
    last_attempt_epoch: float | None
    dropped: str | None
    symbols: list[str]
    unit: str


class EventDocument(msgspec.Struct, forbid_unknown_fields=True):
    """One permit event."""

    age_s: float
    verdict: str
    plan_id: str
    symbol: str
    reason: str


class ListedDocument(msgspec.Struct, forbid_unknown_fields=True):
    """One symbol and the list in use."""

    symbol: str
    listed: bool | None
    last_event: EventDocument | None


class P33Document(SourceDocument, kw_only=True):
    """ops/proof_p33_universe.sh."""

    universe: str
    universe_facts: UniverseFacts
    symbols: list[ListedDocument]
    events: list[EventDocument]
    fail_closed: bool | None


class MarketStateDocument(Document, kw_only=True):
    """ops/verify_marketstate_metrics.sh."""

    proof: str
    symbols: int
    whole: int
    missing: list[str]
    late: int
    oldest_s: float | None
    max_age_s: float
    sources: dict[str, int]
    stream_age_s: float | None
    published: int | None
    skipped: int | None
    service: ServiceDocument


class Totals(msgspec.Struct, forbid_unknown_fields=True):
    """What was counted since the beginning."""

    processed: int
    dead_letter: int
    lost: int
    late: int


class DecisionsDocument(Document, kw_only=True):
    """ops/proof_p35_decision_intelligence.sh."""

    proof: str
    group: str | None
    lag: int | None
    pending: int | None
    totals: Totals
    snapshot_age_s: float | None
    windows: dict[str, dict[str, int]]
    service: ServiceDocument


_UNIVERSE_FIELDS = [(each.name, each.type) for each in msgspec.structs.fields(UniverseFacts)]
UniverseDocument = msgspec.defstruct("UniverseDocument", _UNIVERSE_FIELDS, bases=(Document,), kw_only=True)
"""ops/proof_universe.sh."""


class OrderDocument(Document, kw_only=True):
    """ops/proof_order_id.sh."""

    proof: str
    count: int
    looked_at: int
    symbol_asked: str | None
    plan_id_asked: str | None
    found: dict[str, str] | None
    newest: dict[str, str] | None = None


class SampleDocument(msgspec.Struct, forbid_unknown_fields=True):
    """One permit."""

    key: str
    ttl_s: int | None
    fault: str
    allow: bool | None
    symbol: str | None
    safe_qty: str | None
    reason: str | None


class DecisionDocument(msgspec.Struct, forbid_unknown_fields=True):
    """A gate's last decision."""

    entry_id: str
    age_s: float
    plan_id: str
    symbol: str
    allow: str
    reason: str


class GateDocument(msgspec.Struct, forbid_unknown_fields=True):
    """One permit source."""

    gate: str
    required: bool
    works: bool
    keys: int
    valid: int
    faults: list[str]
    samples: list[SampleDocument]
    last_decision: DecisionDocument | None
    heartbeat_age_s: float | None
    unit: str | None


class PermitsDocument(Document, kw_only=True):
    """ops/permit_audit.sh."""

    audit: str
    total: int
    gates: list[GateDocument]


class EntryDocument(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of a stream."""

    entry_id: str
    age_s: float
    fields: dict[str, str]


class VerdictDocument(msgspec.Struct, forbid_unknown_fields=True):
    """What a gate said, with its figures."""

    gate: str
    reason: str
    safe_qty: str
    allow: bool
    entry_id: str
    age_s: float
    context: dict[str, Any]


class ReachDocument(msgspec.Struct, forbid_unknown_fields=True):
    """How far back a stream goes."""

    entries: int
    first: float | None
    last: float | None


class WhyDocument(Document, kw_only=True):
    """ops/why.sh."""

    why: str
    kind: str | None
    symbol: str | None
    plan: EntryDocument | None
    verdicts: list[VerdictDocument]
    permits_s: dict[str, float]
    claim: dict[str, str] | None
    result: EntryDocument | None
    kill_switch: str | None
    hold: str | None
    top_reasons_1h: dict[str, str]
    symbol_reasons_1h: dict[str, str]
    top_reasons_age_s: float | None
    reach: dict[str, ReachDocument]
    looked_back_to: dict[str, float]


SCHEMAS: dict[str, type[msgspec.Struct]] = {
    "proof_p33_universe.sh": P33Document,
    "proof_p33_universe_source.sh": SourceDocument,
    "verify_marketstate_metrics.sh": MarketStateDocument,
    "proof_p35_decision_intelligence.sh": DecisionsDocument,
    "proof_universe.sh": UniverseDocument,
    "proof_order_id.sh": OrderDocument,
    "permit_audit.sh": PermitsDocument,
    "why.sh": WhyDocument,
}


def checked(script: str, text: str) -> Any:
    """Read what a script printed with --json, and refuse what is not its schema.

    Raises:
        msgspec.ValidationError: it is not.
    """
    could_look = len(msgspec.json.decode(text, type=dict[str, Any])) > len(CannotTell.__struct_fields__)
    return msgspec.json.decode(text, type=SCHEMAS[script] if could_look else CannotTell)
