"""Decision intelligence's buckets and windows as they stand in Redis: are the ones the sums of the others?"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ops.lib.redis_cli import Answer, Fault, pairs
from ops.lib.report import DEGRADED, MISSING, Finding, shown

BUCKET_PREFIX = "quantum:p35:bucket:"
COUNTED = ("EXECUTE", "SKIP", "BLOCKED", "ERROR")
UNKNOWN = "UNKNOWN"
NO_REASON = "none"
"""Counted in the buckets, and shown in no top list."""
WINDOWS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60}
LONGEST_MINUTES = max(WINDOWS.values())
TOP_MAX = 50
LARGEST_DIGITS = 15
COUNTS, REASONS, SYMBOL_REASONS = "decision", "reason", "symbol_reason"


def bucket_key(minute: int) -> str:
    """Name the bucket of a minute, counted in minutes since the epoch."""
    return f"{BUCKET_PREFIX}{datetime.fromtimestamp(minute * 60, UTC):%Y%m%d%H%M}"


def window_keys(window: str) -> dict[str, str]:
    """Name a window's three keys, by what they count."""
    return {
        COUNTS: f"quantum:p35:decision:counts:{window}",
        REASONS: f"quantum:p35:reason:top:{window}",
        SYMBOL_REASONS: f"quantum:p35:symbol_reason:top:{window}",
    }


@dataclass
class Counted:
    """What buckets or a window count, by kind, and what is wrong with them."""

    counts: dict[str, Counter[str]] = field(
        default_factory=lambda: {kind: Counter() for kind in (COUNTS, REASONS, SYMBOL_REASONS)}
    )
    findings: list[Finding] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many results."""
        return self.counts[COUNTS].total()


def bucket(key: str, raw: Answer) -> Counted:
    """Read one minute's bucket; none is an empty one."""
    found = Counted()
    for name, value in _pairs(key, raw, "a hash", found):
        kind, _, what = name.partition(":")
        if kind not in found.counts or not what:
            found.findings.append(Finding(MISSING, f"{key} has a field {shown(name)}, expected decision or reason"))
        elif (count := count_of(value)) is None:
            found.findings.append(Finding(MISSING, f"{key} {shown(name)} is {shown(value)}, expected a count"))
        else:
            found.counts[kind][what] += count
    return found


def window(name: str, raw: Mapping[str, Answer]) -> Counted:
    """Read one window; its counts must be there, an empty top list may be absent."""
    found = Counted()
    for kind, key in window_keys(name).items():
        expected = "a hash" if kind == COUNTS else "a sorted set"
        for member, value in _pairs(key, raw[kind], expected, found):
            count = count_of(value)
            if count is None:
                found.findings.append(Finding(MISSING, f"{key} {shown(member)} is {shown(value)}, expected a count"))
            else:
                found.counts[kind][member] = count
        if kind != COUNTS and len(found.counts[kind]) > TOP_MAX:
            said = f"{key} has {len(found.counts[kind])} members, expected at most {TOP_MAX}"
            found.findings.append(Finding(DEGRADED, said))
    key = window_keys(name)[COUNTS]
    lacking = [decision for decision in COUNTED if decision not in found.counts[COUNTS]]
    strange = sorted(set(found.counts[COUNTS]) - {*COUNTED, UNKNOWN})
    if raw[COUNTS] == []:
        found.findings.append(Finding(MISSING, f"{key} is missing, expected the counts of the window"))
    elif lacking and not found.findings:
        found.findings.append(Finding(MISSING, f"{key} lacks {', '.join(lacking)}, expected all four decisions"))
    if strange:
        found.findings.append(Finding(MISSING, f"{key} has a field {shown(strange[0])}, expected decisions"))
    return found


def summed(buckets: Iterable[Counted]) -> Counted:
    """Add buckets up."""
    total = Counted()
    for each in buckets:
        for kind, counts in each.counts.items():
            total.counts[kind].update(counts)
    return total


def excess(name: str, said: Counted, sums: Counted) -> Iterable[Finding]:
    """Say where a window counts more than its buckets, which never shrink."""
    for kind, key in window_keys(name).items():
        for what, count in said.counts[kind].items():
            if count > sums.counts[kind][what]:
                yield Finding(
                    DEGRADED,
                    f"{key} says {shown(what)} {count}, its buckets add up to {sums.counts[kind][what]}, "
                    "expected no more than that",
                )


def lacking(name: str, said: Counted, sums: Counted) -> tuple[int, str]:
    """Say how many results a window lacks of those that its buckets count, and which of its keys lacks them.

    A result adds one to each kind at most, so that no key may lack more than came since it was written.
    """
    named = {
        REASONS: {reason: count for reason, count in sums.counts[REASONS].items() if reason != NO_REASON},
        SYMBOL_REASONS: {
            pair: count for pair, count in sums.counts[SYMBOL_REASONS].items() if pair.partition(":")[2] != NO_REASON
        },
    }
    due = {kind: sum(heapq.nlargest(TOP_MAX, counts.values())) for kind, counts in named.items()}
    due[COUNTS] = sums.total
    return max((due[kind] - said.counts[kind].total(), key) for kind, key in window_keys(name).items())


def _pairs(key: str, raw: Answer, expected: str, found: Counted) -> Iterable[tuple[str, str]]:
    if isinstance(raw, Fault):
        found.findings.append(Finding(MISSING, f"{key}: {raw.text}, expected {expected}"))
        return ()
    return pairs(raw).items()


def count_of(raw: str | None) -> int | None:
    """Read a count; None where it is none."""
    if raw is None or not (raw.isascii() and raw.isdecimal()) or len(raw) > LARGEST_DIGITS:
        return None
    return int(raw)
