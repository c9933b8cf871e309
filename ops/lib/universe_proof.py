"""Is the universe fresh: list and meta hash read in one moment, and held against each other and the clock."""

import json
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any

from ops.lib import units
from ops.lib.redis_cli import Answer, Fault, RedisCli, pairs, redis_time_s, text
from ops.lib.report import DEGRADED, FUTURE_TOLERANCE_S, MISSING, PROVEN, Verdict, epoch, shown, utc

UNIT = "quantum-universe-service"
ACTIVE_KEY = "quantum:cfg:universe:active"
LAST_OK_KEY = "quantum:cfg:universe:last_ok"
META_KEY = "quantum:cfg:universe:meta"
SOURCE = "binance_futures_exchangeInfo"
MODES = ("testnet", "mainnet", "paper")
SAMPLE = 20
LAST_EPOCH = 99_999_999_999
"""What is larger is no time in seconds; and a number without end is no reason to fail."""

_COUNT = re.compile("[0-9]{1,9}", re.ASCII)


class Unusable(Exception):
    """Something that must be there is missing or wrong; the message says what was seen and what was expected."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what the script passes on."""
    parser.add_argument("--max-age", type=int, required=True)


def prove(cli: RedisCli, arguments: Namespace) -> Verdict:
    """Look and judge.

    Raises:
        CannotTell: Redis did not answer.
    """
    active, meta, time = cli.together(("GET", ACTIVE_KEY), ("HGETALL", META_KEY), ("TIME",))
    return judged(active, meta, redis_time_s(time), max_age_s=arguments.max_age, unit_state=unit_state())


def judged(active: Answer, meta: Answer, now_s: float, *, max_age_s: int, unit_state: str) -> Verdict:
    """Judge what stands in Redis at a moment of Redis's own clock."""
    problems: list[str] = []
    document = _tried(lambda: read_document(active, ACTIVE_KEY, now_s), problems)
    fields = _tried(lambda: _meta(meta), problems)
    problems += _disagreements(document, fields)
    late = _late(document, fields, now_s, max_age_s)
    if problems:
        missing = active is None or meta == []
        verdict = Verdict(MISSING, "MISSING" if missing else "INVALID", problems=problems + late)
    elif late:
        verdict = Verdict(DEGRADED, "STALE", problems=late)
    else:
        verdict = Verdict(PROVEN, "FRESH")
    verdict.facts = _facts(document, fields, now_s, max_age_s) | {"unit": unit_state}
    verdict.lines = _lines(verdict, now_s)
    return verdict


def _tried(read: Callable[[], dict[str, Any]], problems: list[str]) -> dict[str, Any]:
    try:
        return read()
    except Unusable as fault:
        problems.append(str(fault))
        return {}


def read_document(raw: Answer, key: str, now_s: float) -> dict[str, Any]:
    """Read the list under one of its two keys.

    Raises:
        Unusable: it is missing, or not as its service writes it.
    """
    if raw is None:
        raise Unusable(f"{key} is missing, expected the list")
    if isinstance(raw, Fault):
        raise Unusable(f"{key}: {raw.text}, expected a string")
    try:
        document = json.loads(text(raw))
    except (ValueError, RecursionError) as fault:
        raise Unusable(f"{key} is {shown(text(raw))}, expected JSON ({fault})") from None
    if not isinstance(document, dict):
        raise Unusable(f"{key} is {shown(document)}, expected an object")
    for name, expected, is_right in (
        ("source", SOURCE, document.get("source") == SOURCE),
        ("mode", f"one of {', '.join(MODES)}", document.get("mode") in MODES),
        ("asof_epoch", "whole epoch seconds", _is_epoch(document.get("asof_epoch"))),
        ("symbols", "a list of different names", _is_list_of_names(document.get("symbols"))),
    ):
        if not is_right:
            raise Unusable(f"{key} {name} is {shown(json.dumps(document.get(name)))}, expected {expected}")
    if document["asof_epoch"] > now_s + FUTURE_TOLERANCE_S:
        ahead_s = document["asof_epoch"] - now_s
        raise Unusable(f"{key} asof_epoch is {ahead_s:.0f} s in the future, expected at most {FUTURE_TOLERANCE_S}")
    return document


def _is_epoch(value: object) -> bool:
    return type(value) is int and 0 <= value <= LAST_EPOCH


def _is_list_of_names(symbols: object) -> bool:
    return (
        isinstance(symbols, list)
        and bool(symbols)
        and all(isinstance(name, str) and name for name in symbols)
        and len(set(symbols)) == len(symbols)
    )


def _meta(meta: Answer) -> dict[str, str]:
    if isinstance(meta, Fault):
        raise Unusable(f"{META_KEY}: {meta.text}, expected a hash")
    fields = pairs(meta)
    if not fields:
        raise Unusable(f"{META_KEY} is missing, expected the hash that vouches for the list")
    if fields.get("stale") not in ("0", "1"):
        raise Unusable(f"{META_KEY} stale is {shown(fields.get('stale'))}, expected 0 or 1")
    if not _COUNT.fullmatch(fields.get("count", "")):
        raise Unusable(f"{META_KEY} count is {shown(fields.get('count'))}, expected a number")
    return fields


def _disagreements(document: dict[str, Any], fields: dict[str, str]) -> list[str]:
    if not document or not fields:
        return []
    found = []
    if int(fields["count"]) != len(document["symbols"]):
        found.append(f"{META_KEY} count is {shown(fields['count'])}, the list holds {len(document['symbols'])}")
    if fields.get("mode", "") not in ("", document["mode"]):
        found.append(f"{META_KEY} mode is {shown(fields['mode'])}, the list's is {document['mode']}")
    return found


def _late(document: dict[str, Any], fields: dict[str, str], now_s: float, max_age_s: int) -> list[str]:
    found = []
    if fields.get("stale") == "1":
        found.append(f"{META_KEY} stale is 1, expected 0: {shown(fields.get('error') or 'no error given')}")
    if document and now_s - document["asof_epoch"] >= max_age_s:
        found.append(f"the list is {now_s - document['asof_epoch']:.0f} s old, expected under {max_age_s}")
    return found


def _facts(document: dict[str, Any], fields: dict[str, str], now_s: float, max_age_s: int) -> dict[str, Any]:
    symbols = document.get("symbols", [])
    asof_epoch = document.get("asof_epoch")
    return {
        "proof": "universe",
        "mode": document.get("mode"),
        "count": len(symbols) if document else None,
        "meta_count": int(fields["count"]) if fields else None,
        "asof_epoch": asof_epoch,
        "age_s": None if asof_epoch is None else int(now_s - asof_epoch),
        "max_age_s": max_age_s,
        "stale": fields.get("stale"),
        "error": fields.get("error", ""),
        "last_ok_epoch": epoch(fields.get("last_ok_epoch")),
        "last_attempt_epoch": epoch(fields.get("last_attempt_epoch")),
        "dropped": fields.get("dropped"),
        "symbols": symbols[:SAMPLE],
    }


def _lines(verdict: Verdict, now_s: float) -> list[str]:
    facts = verdict.facts
    known = facts["count"] is not None
    marks = {PROVEN: "✅ STATUS: FRESH (recently updated)", DEGRADED: "⚠️  STATUS: STALE"}
    lines = [
        f"Mode: {facts['mode'] or 'unknown'}",
        f"Active Symbols: {facts['count'] if known else 'unknown'}",
        f"Last Update: {utc(facts['asof_epoch']) if known else 'unknown'}",
        f"Age: {facts['age_s']}s" if known else "Age: unknown",
        marks.get(verdict.exit_code, f"❌ STATUS: {verdict.status}"),
        *(f"   {problem}" for problem in verdict.problems),
        f"Last OK: {_moment(facts['last_ok_epoch'], now_s)}",
        f"Error: {shown(facts['error']) or 'none'}",
        f"Dropped: {shown(facts['dropped'] if facts['dropped'] is not None else 'unknown')}",
        f"Service: {_service(facts, now_s)}",
    ]
    if known:
        lines += ["", f"Sample Symbols (first {SAMPLE}):"]
        lines += [f"{number:3}. {shown(symbol)}" for number, symbol in enumerate(facts["symbols"], 1)]
    return lines


def _moment(epoch_s: float | None, now_s: float) -> str:
    return f"{utc(epoch_s)} ({now_s - epoch_s:.0f}s ago)" if epoch_s else "never"


def unit_state(*, no_unit: bool = False) -> str:
    """Ask systemd for the service's unit, unless the operator said that it is not what runs."""
    return units.NOT_ASKED if no_unit else units.state(UNIT)


def unit_words(state: str) -> str:
    """Say how the service's unit is."""
    if state in (units.NOT_INSTALLED, units.NOT_ASKED):
        what = "is not installed here" if state == units.NOT_INSTALLED else "was not asked"
        return f"{UNIT}.service {what}, judged by its traces in Redis"
    return f"{'' if state == units.ACTIVE else '⚠ '}{UNIT}.service is {shown(state)}"


def _service(facts: dict[str, Any], now_s: float) -> str:
    words = unit_words(facts["unit"])
    joint = ":" if facts["unit"] in (units.NOT_INSTALLED, units.NOT_ASKED) else ";"
    return f"{words}{joint} last attempt {_moment(facts['last_attempt_epoch'], now_s)}"
