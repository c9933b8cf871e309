"""Does P3.3 trade by the universe: its service, the list, the tier in use, what it decides by it, and fail-closed."""

import random
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ops.lib import p33_events, p33_source, universe_proof
from ops.lib.p33_events import Event
from ops.lib.p33_source import ENV, LAST_OK, LIST_TOLERANCE_S, NONE, STATUS_KEY, UNIVERSE, WORDS, Source
from ops.lib.redis_cli import RedisCli, redis_time_s
from ops.lib.report import DEGRADED, PROVEN, Finding, Verdict, aligned, concluded, framed, shown, utc
from ops.lib.service_state import Life
from ops.lib.universe_proof import ACTIVE_KEY, LAST_OK_KEY, META_KEY, Unusable, read_document

TITLE = "P3.3 POSITION STATE BRAIN - UNIVERSE INTEGRATION PROOF"
SYMBOL = "BTCUSDT"
EVENTS_SHOWN = 10


@dataclass(frozen=True)
class Listed:
    """One symbol and the tier in use."""

    symbol: str
    is_listed: bool | None
    """None where the tier's list cannot be read here."""
    last_event: Event | None


@dataclass(frozen=True)
class Seen:
    """All that was seen."""

    source: Source
    universe: Verdict
    document: dict[str, Any] | None
    """The list of the tier in use; None where it is not in Redis or cannot be read."""
    symbols: tuple[Listed, ...]
    events: tuple[Event, ...]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what the script passes on."""
    universe_proof.add_arguments(parser)
    p33_source.add_arguments(parser)
    parser.add_argument("--symbol", default="")


def prove(cli: RedisCli, arguments: Namespace) -> Verdict:
    """Look and judge.

    Raises:
        CannotTell: Redis did not answer, or the event stream is none.
    """
    active, last_ok, meta, status, time = cli.together(
        ("GET", ACTIVE_KEY), ("GET", LAST_OK_KEY), ("HGETALL", META_KEY), ("HGETALL", STATUS_KEY), ("TIME",)
    )
    now_s = redis_time_s(time)
    events = p33_events.read(cli, now_s)
    source = p33_source.look(status, now_s, arguments)
    unit_state = universe_proof.unit_state(no_unit=arguments.no_unit)
    universe = universe_proof.judged(active, meta, now_s, max_age_s=arguments.max_age, unit_state=unit_state)
    document = None
    for tier, raw, key in ((UNIVERSE, active, ACTIVE_KEY), (LAST_OK, last_ok, LAST_OK_KEY)):
        if source.tier == tier:
            try:
                document = read_document(raw, key, now_s)
            except Unusable:
                document = None
    symbols = tuple(_listed(symbol, source, document, events) for symbol in _looked_at(arguments.symbol, document))
    return judged(Seen(source, universe, document, symbols, events))


def judged(seen: Seen) -> Verdict:
    """Judge what was seen."""
    sections = (
        ("Service Status", seen.source.service.lines()),
        ("Universe Service Meta", _meta_lines(seen)),
        ("P3.3 Allowlist Source", seen.source.lines()),
        ("Permit Logic", [line for each in seen.symbols for line in _listed_lines(each, seen.source)]),
        (f"Recent Activity (last {EVENTS_SHOWN} permit events)", _event_lines(seen.events)),
        ("Fail-Closed Status", _fail_closed_lines(seen)),
    )
    lines = framed(TITLE)
    for number, (heading, body) in enumerate(sections, 1):
        lines += ["", f"{number}. {heading}", *(f"   {line}" for line in body)]
    complete = "P3.3 UNIVERSE INTEGRATION PROOF COMPLETE"
    return concluded(_findings(seen), complete, lines, _facts(seen), missing="FAIL-CLOSED")


def _looked_at(symbol: str, document: dict[str, Any] | None) -> Iterable[str]:
    """Name the symbols whose permits are looked at: BTCUSDT, and the one asked for or any other of the list."""
    others = sorted(set(document["symbols"]) - {SYMBOL}) if document else []
    return dict.fromkeys([SYMBOL, *([symbol] if symbol else random.sample(others, min(1, len(others))))])


def _listed(symbol: str, source: Source, document: dict[str, Any] | None, events: Iterable[Event]) -> Listed:
    is_listed = symbol in document["symbols"] if document else False if source.tier == NONE else None
    return Listed(symbol, is_listed, next((event for event in events if event.symbol == symbol), None))


def _findings(seen: Seen) -> Iterable[Finding]:
    yield from seen.source.findings()
    for problem in seen.universe.problems:
        yield Finding(DEGRADED, problem)
    yield from _contradictions(seen)


def _contradictions(seen: Seen) -> Iterable[Finding]:
    """Hold what P3.3 says against the list in Redis, and what it decided against both."""
    source, document = seen.source, seen.document
    if document is None:
        if source.tier in (UNIVERSE, LAST_OK):
            yield Finding(DEGRADED, f"P3.3 uses {source.tier}, expected that list in Redis: it cannot be read there")
        return
    mode, first = source.status.get("mode"), source.told[0]
    if mode != document["mode"]:
        yield Finding(DEGRADED, f"P3.3's mode is {shown(mode)}, the list's is {document['mode']}, expected the same")
    if first.asof_epoch is not None and first.count is not None:
        ahead_s = first.asof_epoch - document["asof_epoch"]
        is_same = abs(ahead_s) <= LIST_TOLERANCE_S
        if ahead_s > LIST_TOLERANCE_S or (is_same and first.count != len(document["symbols"])):
            yield Finding(
                DEGRADED,
                f"P3.3 uses a list of {first.count} symbols of {utc(first.asof_epoch)}, the one in Redis holds "
                f"{len(document['symbols'])} of {utc(document['asof_epoch'])}, expected the same",
            )
    for each in seen.symbols:
        event = each.last_event
        if each.is_listed and event is not None and event.says_not_listed_since(document["asof_epoch"]):
            yield Finding(DEGRADED, f"{shown(each.symbol)} is listed, and yet its last permit event is {event}")


def _meta_lines(seen: Seen) -> list[str]:
    facts = seen.universe.facts
    is_known = facts["count"] is not None
    mark = "✅" if seen.universe.exit_code == PROVEN else "⚠️ "
    return [
        f"{mark} {seen.universe.status}",
        *aligned(
            {
                "Mode": facts["mode"] or "unknown",
                "Symbols": facts["count"] if is_known else "unknown",
                "Updated": f"{utc(facts['asof_epoch'])} ({facts['age_s']}s ago)" if is_known else "unknown",
                "Stale": shown(facts["stale"] if facts["stale"] is not None else "unknown"),
                "Error": shown(facts["error"]) or "none",
                "Service": universe_proof.unit_words(facts["unit"]),
            }
        ),
    ]


def _listed_lines(each: Listed, source: Source) -> list[str]:
    said = {
        True: f"✅ {shown(each.symbol)}: in the list in use ({source.tier}): an OPEN passes the allowlist",
        False: f"⚠️  {shown(each.symbol)}: not in the list in use ({source.tier}): an OPEN is denied",
        None: f"{shown(each.symbol)}: cannot be told here: "
        + (
            "tier env is in the brain's settings, not in Redis"
            if source.tier == ENV
            else "the list in use cannot be read"
        ),
    }[each.is_listed]
    last = "none among the newest" if each.last_event is None else str(each.last_event)
    return [said, f"   last permit event: {last}"]


def _event_lines(events: tuple[Event, ...]) -> list[str]:
    if not events:
        return ["none: whether P3.3 is idle or broken is told by its heartbeat"]
    return [event.row() for event in events[:EVENTS_SHOWN]]


def _fail_closed_lines(seen: Seen) -> list[str]:
    denied = sum(event.reason == "no_allowlist" for event in seen.events)
    note = f"   {denied} of the newest {len(seen.events)} permit events denied with no_allowlist"
    if seen.source.service.life is Life.UNSEEN:
        return ["❌ no brain was ever here: nothing is permitted", note]
    if seen.source.tier is None:
        return ["❌ unknown: nobody tells the tier in use", note]
    if seen.source.tier == NONE:
        return [f"{WORDS[NONE]} Every plan is denied.", note]
    return [f"✅ not fail-closed: plans are judged by {seen.source.tier}", note]


def _facts(seen: Seen) -> dict[str, Any]:
    return {
        "proof": "p33-universe",
        **seen.source.facts(),
        "universe": seen.universe.status,
        "universe_facts": seen.universe.facts,
        "symbols": [
            {
                "symbol": each.symbol,
                "listed": each.is_listed,
                "last_event": each.last_event.facts() if each.last_event else None,
            }
            for each in seen.symbols
        ],
        "events": [event.facts() for event in seen.events[:EVENTS_SHOWN]],
        "fail_closed": None if seen.source.tier is None else seen.source.tier == NONE,
    }
