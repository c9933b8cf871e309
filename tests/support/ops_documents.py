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


SCHEMAS: dict[str, type[Document]] = {
    "proof_p33_universe.sh": P33Document,
    "proof_p33_universe_source.sh": SourceDocument,
    "verify_marketstate_metrics.sh": MarketStateDocument,
    "proof_p35_decision_intelligence.sh": DecisionsDocument,
}


def checked(script: str, text: str) -> Any:
    """Read what a script printed with --json, and refuse what is not its schema.

    Raises:
        msgspec.ValidationError: it is not.
    """
    return msgspec.json.decode(text, type=SCHEMAS[script])
