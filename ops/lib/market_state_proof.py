"""Is market state published: the publisher, every symbol's hash whole and fresh, the stream moving, real prices."""

import json
import math
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ops.lib import market_state_row, service_state
from ops.lib.market_state_row import PREFIX, Row
from ops.lib.redis_cli import CannotTell, Fault, RedisCli, pairs, redis_time_s, scanned, text
from ops.lib.report import (
    DEGRADED,
    MISSING,
    Finding,
    Verdict,
    aged,
    aligned,
    concluded,
    epoch,
    framed,
    shown,
    utc,
)
from ops.lib.service_state import Heartbeat, Service

UNIT = "quantum-marketstate"
TITLE = "Quantum Trader Market State Proof"
STREAM = "quantum:stream:marketstate"
STATUS_KEY = "quantum:marketstate_status"
REAL = "candles"
SLACK_S = 5


@dataclass(frozen=True)
class Seen:
    """All that was seen at about one moment."""

    service: Service
    status: dict[str, str]
    rows: tuple[Row, ...]
    missing: tuple[str, ...]
    """Symbols that were asked for and have no hash."""
    newest: dict[str, float]
    """By symbol, the newest publication in the stream."""
    stream_fault: str
    max_age_s: float
    most_skipped_pct: int
    was_asked: bool
    """Whether the operator said which symbols must be there."""
    now_s: float

    @cached_property
    def late(self) -> list[Row]:
        """Those that are too old, or from the future."""
        return [
            row for row in self.rows if not row.fault and not -SLACK_S <= self.now_s - row.published_s < self.max_age_s
        ]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what the script passes on."""
    service_state.add_arguments(parser)
    parser.add_argument("--symbols", default="")
    parser.add_argument("--interval", type=int, required=True)
    parser.add_argument("--max-skipped", type=int, required=True)


def prove(cli: RedisCli, arguments: Namespace) -> Verdict:
    """Look and judge.

    Raises:
        CannotTell: Redis did not answer.
    """
    # The status first: what it says was published is in Redis before it says so.
    status, time = cli.together(("HGETALL", STATUS_KEY), ("TIME",))
    now_s = redis_time_s(time)
    max_age_s = 2 * arguments.interval + SLACK_S
    asked = [symbol for symbol in arguments.symbols.split(",") if symbol]
    symbols = sorted(asked or (text(key).removeprefix(PREFIX) for key in scanned(cli, f"{PREFIX}*")))
    answers = cli.ask(*(words for name in symbols for words in (("HGETALL", PREFIX + name), ("PTTL", PREFIX + name))))
    by_symbol = list(zip(symbols, answers[::2], answers[1::2], strict=True))
    fields = {} if isinstance(status, Fault) else pairs(status)
    raw = f"a key of another type ({status.text})" if isinstance(status, Fault) else fields.get("last_cycle_epoch")
    heartbeat = Heartbeat(f"{STATUS_KEY} last_cycle_epoch", raw, now_s, max_age_s)
    newest, stream_fault = _stream(cli, 2 * len(symbols) + 100)
    return judged(
        Seen(
            service_state.look(UNIT, arguments, heartbeat),
            fields,
            tuple(market_state_row.read(name, raw, ttl) for name, raw, ttl in by_symbol if raw != []),
            tuple(name for name, raw, _ in by_symbol if raw == []),
            newest,
            stream_fault,
            max_age_s,
            arguments.max_skipped,
            bool(asked),
            now_s,
        )
    )


def judged(seen: Seen) -> Verdict:
    """Judge what was seen."""
    findings = [*seen.service.findings(), *_of_hashes(seen), *_of_status(seen), *_of_stream(seen)]
    lines = [*framed(TITLE), "", *seen.service.lines(), "", *aligned(_figures(seen))]
    return concluded(findings, "MARKET STATE PROVEN", lines, _facts(seen))


def _of_hashes(seen: Seen) -> Iterable[Finding]:
    if not seen.rows and not seen.missing:
        yield Finding(MISSING, f"no {PREFIX}{{symbol}} is there, expected one for each symbol")
    for symbol in seen.missing:
        yield Finding(MISSING, f"{PREFIX}{shown(symbol)} is missing, expected a hash")
    for row in seen.rows:
        if row.fault:
            yield Finding(MISSING, f"{PREFIX}{shown(row.symbol)} {row.fault}")
        else:
            yield from _of_row(row, seen)
    # The hash of a symbol that is skipped, or that left the universe, is not renewed, and expires.
    if seen.was_asked or len(seen.late) * 100 > len(seen.rows) * seen.most_skipped_pct:
        for row in seen.late:
            said = f"{PREFIX}{shown(row.symbol)} is {aged(seen.now_s - row.published_s)}"
            yield Finding(DEGRADED, f"{said}, expected under {seen.max_age_s:.0f}s")


def _of_row(row: Row, seen: Seen) -> Iterable[Finding]:
    name = f"{PREFIX}{shown(row.symbol)}"
    candle_age_s = row.published_s - row.candle_close_s
    if not -SLACK_S <= candle_age_s <= market_state_row.CANDLE_MAX_AGE_S:
        yield Finding(
            DEGRADED,
            f"{name} was made of a candle that had closed {candle_age_s:.0f}s before, "
            f"expected at most {market_state_row.CANDLE_MAX_AGE_S}s",
        )
    if row.source != REAL:
        yield Finding(DEGRADED, f"{name} source is {row.source}, expected {REAL}")
    if seen.stream_fault or row in seen.late:
        return
    if seen.newest.get(row.symbol, -math.inf) < row.published_s:
        yield Finding(DEGRADED, f"{STREAM} lacks {shown(row.symbol)} of {utc(row.published_s)}, expected its entry")


def _of_status(seen: Seen) -> Iterable[Finding]:
    if not seen.status:
        return  # the service's heartbeat is in it: said there
    published, skipped = (_count(seen.status.get(name)) for name in ("published", "skipped"))
    if published is None or skipped is None:
        said = ", ".join(f"{name} is {shown(seen.status.get(name, 'missing'))}" for name in ("published", "skipped"))
        yield Finding(MISSING, f"{STATUS_KEY}: {said}, expected two numbers")
        return
    if not seen.was_asked and len(seen.rows) < published:
        yield Finding(MISSING, f"{len(seen.rows)} symbols have a hash, expected the {published} that were published")
    if published == 0:
        yield Finding(MISSING, f"{STATUS_KEY} published is 0, skipped because: {_reasons(seen)}")
    elif skipped * 100 > (published + skipped) * seen.most_skipped_pct:
        yield Finding(
            DEGRADED,
            f"{skipped} of {published + skipped} symbols are skipped ({_reasons(seen)}), "
            f"expected at most {seen.most_skipped_pct} %",
        )


def _of_stream(seen: Seen) -> Iterable[Finding]:
    if seen.stream_fault:
        yield Finding(MISSING, f"{STREAM} {seen.stream_fault}")
        return
    age_s = seen.now_s - max(seen.newest.values())
    if not -SLACK_S <= age_s < seen.max_age_s:
        yield Finding(DEGRADED, f"the newest entry of {STREAM} is {aged(age_s)}, expected under {seen.max_age_s:.0f}s")


def _stream(cli: RedisCli, count: int) -> tuple[dict[str, float], str]:
    """Give each symbol's newest publication in the stream, and why there is none."""
    [answer] = cli.ask(("XREVRANGE", STREAM, "+", "-", "COUNT", count))
    if isinstance(answer, Fault):
        return {}, f"{answer.text}, expected a stream"
    if not isinstance(answer, list):
        raise CannotTell(f"{STREAM}: Redis answered {answer!r:.80}, expected entries")
    newest: dict[str, float] = {}
    for entry in answer:
        fields = pairs(entry[1] if isinstance(entry, list) and len(entry) == 2 else None)
        at_s = epoch(fields.get("timestamp"))
        if at_s is not None:
            newest.setdefault(fields.get("symbol", ""), at_s)
    if newest:
        return newest, ""
    return {}, "has no entry that can be read, expected one" if answer else "is missing or empty, expected entries"


def _figures(seen: Seen) -> dict[str, object]:
    good = [row for row in seen.rows if not row.fault]
    sources, regimes = (Counter(getattr(row, name) for row in good) for name in ("source", "regime"))
    ages = [seen.now_s - row.published_s for row in good]
    stream = f"newest entry {aged(seen.now_s - max(seen.newest.values()))}" if seen.newest else seen.stream_fault
    cycle = {name: shown(seen.status.get(name, "?")) for name in ("published", "skipped", "cycle_ms")}
    old = len(seen.late)
    return {
        "Symbols": f"{len(good)} whole of {len(seen.rows) + len(seen.missing)}"
        + (f", {old} of them old" if old else ""),
        "Age": f"{aged(min(ages))} to {aged(max(ages))}" if ages else "-",
        "Source": _counted(sources),
        "Regimes": _counted(regimes),
        "Stream": stream,
        "Last cycle": f"{cycle['published']} published, {cycle['skipped']} skipped ({_reasons(seen)}), "
        f"{cycle['cycle_ms']} ms",
    }


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "-"


def _reasons(seen: Seen) -> str:
    try:
        reasons = json.loads(seen.status.get("skipped_reasons", ""))
    except (ValueError, RecursionError):
        return "no reasons given"
    if not isinstance(reasons, dict):
        return "no reasons given"
    return shown(", ".join(f"{name} {count}" for name, count in reasons.items())) or "none"


def _count(raw: str | None) -> int | None:
    return int(raw) if raw is not None and raw.isascii() and raw.isdecimal() and len(raw) < 10 else None


def _facts(seen: Seen) -> dict[str, Any]:
    good = [row for row in seen.rows if not row.fault]
    return {
        "proof": "market-state",
        "symbols": len(seen.rows) + len(seen.missing),
        "whole": len(good),
        "missing": list(seen.missing),
        "oldest_s": round(max((seen.now_s - row.published_s for row in good), default=0), 3) if good else None,
        "late": len(seen.late),
        "max_age_s": seen.max_age_s,
        "sources": dict(Counter(row.source for row in good)),
        "stream_age_s": round(seen.now_s - max(seen.newest.values()), 3) if seen.newest else None,
        "published": _count(seen.status.get("published")),
        "skipped": _count(seen.status.get("skipped")),
        "service": seen.service.facts(),
    }
