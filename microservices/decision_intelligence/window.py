"""Rolling windows over the buckets: the current minute and those before it, and each against the one before."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from microservices.contracts.decision import (
    COUNTED_DECISIONS,
    NO_REASON,
    SYMBOL_TOP_MAX,
    SYMBOLS_MAX,
    TOP_MAX,
    Window,
    decision_field,
    reason_field,
)

LONGEST_MINUTES = max(window.minutes for window in Window)
MINUTES_NEEDED = 2 * LONGEST_MINUTES
"""The longest window, and the one before it."""

Bucket = Mapping[bytes, bytes]


class Totals(NamedTuple):
    """What one window says."""

    decisions: dict[str, int]
    """EXECUTE, SKIP, BLOCKED and ERROR always; UNKNOWN where there are any."""
    reasons: dict[str, int]
    """The most frequent reasons, at most 50, most frequent first; `none` is no reason."""
    symbol_reasons: dict[str, int]
    """The same by symbol, as `SYMBOL:reason`."""
    by_symbol: dict[str, dict[str, int]]
    """Of the most frequent symbols, at most 400: the most frequent reasons, at most 10, most frequent first."""
    trend: dict[str, int]
    """By a bucket's fields: the count less that of the window before; decisions, and the top reasons of both."""


class _Counts(NamedTuple):
    decision: Counter[bytes]
    reason: Counter[bytes]

    def copy(self) -> "_Counts":
        return _Counts(self.decision.copy(), self.reason.copy())

    def less(self, other: "_Counts") -> "_Counts":
        return _Counts(self.decision - other.decision, self.reason - other.reason)


def totals(buckets: Mapping[int, Bucket], minute: int) -> dict[Window, Totals]:
    """Add up every window that ends with `minute`.

    Args:
        buckets: by their minute since the epoch, as Redis answers them; a missing one is an empty one.
        minute: the current minute.
    """
    sums, symbol_reasons = _Counts(Counter(), Counter()), Counter[bytes]()
    reached = {0: sums.copy()}
    """The sums over so many minutes."""
    shown: dict[Window, tuple[dict[str, int], dict[str, dict[str, int]]]] = {}
    windows = {window.minutes: window for window in Window}
    ends = windows.keys() | {2 * minutes for minutes in windows}
    kinds = {b"decision": sums.decision, b"reason": sums.reason, b"symbol_reason": symbol_reasons}
    for back in range(MINUTES_NEEDED):
        if back == LONGEST_MINUTES:
            del kinds[b"symbol_reason"]
        _add(kinds, buckets.get(minute - back, {}))
        if back + 1 in ends:
            reached[back + 1] = sums.copy()
        if window := windows.get(back + 1):
            shown[window] = _by_symbol(symbol_reasons)
    return {window: _totals(reached[window.minutes], reached[2 * window.minutes], *shown[window]) for window in Window}


def _add(kinds: Mapping[bytes, Counter[bytes]], bucket: Bucket) -> None:
    """Add a bucket; a field that is none of ours, or no count, adds nothing."""
    for field, count in bucket.items():
        kind, _, name = field.partition(b":")
        if kind in kinds and count.isdigit():
            kinds[kind][name] += int(count)


def _totals(
    now: _Counts, with_before: _Counts, symbol_reasons: dict[str, int], by_symbol: dict[str, dict[str, int]]
) -> Totals:
    before = with_before.less(now)
    decisions, reasons = _decisions(now), _top_reasons(now)
    trend = {
        decision_field(name): decisions.get(name, 0) - before.decision[name.encode()]
        for name in decisions | _decisions(before)
    }
    for name in reasons | _top_reasons(before):
        trend[reason_field(name)] = now.reason[name.encode()] - before.reason[name.encode()]
    return Totals(decisions, reasons, symbol_reasons, by_symbol, trend)


def _decisions(counts: _Counts) -> dict[str, int]:
    return dict.fromkeys(COUNTED_DECISIONS, 0) | {_text(name): count for name, count in counts.decision.items()}


def _top_reasons(counts: _Counts) -> dict[str, int]:
    return _top({name: count for name, count in counts.reason.items() if name != _NONE}, TOP_MAX)


def _by_symbol(symbol_reasons: Counter[bytes]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Give the most frequent pairs, and the reasons of each of the most frequent symbols."""
    pairs: dict[bytes, int] = {}
    symbols: Counter[bytes] = Counter()
    reasons_of: dict[bytes, dict[bytes, int]] = defaultdict(dict)
    for pair, count in symbol_reasons.items():
        symbol, _, reason = pair.partition(b":")
        if reason != _NONE:
            pairs[pair] = count
            symbols[symbol] += count
            reasons_of[symbol][reason] = count
    named = _first(symbols, SYMBOLS_MAX)
    return _top(pairs, TOP_MAX), {_text(symbol): _top(reasons_of[symbol], SYMBOL_TOP_MAX) for symbol in named}


def _top(counts: Mapping[bytes, int], most: int) -> dict[str, int]:
    return {_text(name): counts[name] for name in _first(counts, most)}


def _first(counts: Mapping[bytes, int], most: int) -> list[bytes]:
    """Name the most frequent; of equals the first by name, so that every instance writes the same."""
    return heapq.nsmallest(most, counts, key=lambda name: (-counts[name], name))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


_NONE = NO_REASON.encode()
