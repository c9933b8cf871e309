"""Rolling windows over the buckets: the current minute and those before it."""

import heapq
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from microservices.contracts.decision import COUNTED_DECISIONS, NO_REASON, TOP_MAX, Window

LONGEST_MINUTES = max(window.minutes for window in Window)

Bucket = Mapping[bytes, bytes]


class Totals(NamedTuple):
    """What one window says."""

    decisions: dict[str, int]
    """EXECUTE, SKIP, BLOCKED and ERROR always; UNKNOWN where there are any."""
    reasons: dict[str, int]
    """The most frequent reasons, at most 50, most frequent first; `none` is no reason."""
    symbol_reasons: dict[str, int]
    """The same by symbol, as `SYMBOL:reason`."""


class _Sums(NamedTuple):
    decision: Counter[bytes]
    reason: Counter[bytes]
    symbol_reason: Counter[bytes]


def totals(buckets: Mapping[int, Bucket], minute: int) -> dict[Window, Totals]:
    """Add up every window that ends with `minute`.

    Args:
        buckets: by their minute since the epoch, as Redis answers them; a missing one is an empty one.
        minute: the current minute.
    """
    sums = _Sums(Counter(), Counter(), Counter())
    ends = {window.minutes: window for window in Window}
    found = {}
    for back in range(LONGEST_MINUTES):
        _add(sums, buckets.get(minute - back, {}))
        if window := ends.get(back + 1):
            found[window] = _totals(sums)
    return found


def _add(sums: _Sums, bucket: Bucket) -> None:
    """Add a bucket; a field that is none of ours, or no count, adds nothing."""
    by_kind = {b"decision": sums.decision, b"reason": sums.reason, b"symbol_reason": sums.symbol_reason}
    for field, count in bucket.items():
        kind, _, name = field.partition(b":")
        if kind in by_kind and count.isdigit():
            by_kind[kind][name] += int(count)


def _totals(sums: _Sums) -> Totals:
    decisions = dict.fromkeys(COUNTED_DECISIONS, 0)
    decisions |= {name.decode("utf-8", "replace"): count for name, count in sums.decision.items()}
    none = NO_REASON.encode()
    return Totals(
        decisions,
        _top({name: count for name, count in sums.reason.items() if name != none}),
        _top({name: count for name, count in sums.symbol_reason.items() if not name.endswith(b":" + none)}),
    )


def _top(counts: Mapping[bytes, int]) -> dict[str, int]:
    """Keep the most frequent; of equals the first by name, so that every instance writes the same."""
    first = heapq.nsmallest(TOP_MAX, counts.items(), key=lambda item: (-item[1], item[0]))
    return {name.decode("utf-8", "replace"): count for name, count in first}
