"""Judge what the candle feed holds for a symbol: a window of closes that may be used, or the reason why not."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from ai_engine.market_state import price_fault
from microservices.contracts import candles
from microservices.contracts.fields import Unreadable

CLOCK_TOLERANCE_S = 1.0
"""A candle may close this far ahead of our clock: the exchange's clock and ours are never quite the same."""


class SkipReason(StrEnum):
    """Why a symbol is not published."""

    MISSING = "missing"
    """No candle at all."""
    SHORT = "short"
    """Fewer candles than one state needs."""
    STALE = "stale"
    """The newest candle closed too long ago."""
    GAPPED = "gapped"
    """A minute is missing among the candles that one state needs."""
    UNCLOSED = "unclosed"
    """The newest candle closes in the future: somebody stores open candles."""
    FAULTY = "faulty"
    """A candle cannot be read, stands twice, or has a price no market has."""
    REFUSED = "refused"
    """Redis did not take the state: its key is of another type."""


@dataclass(frozen=True)
class Window:
    """Closes of consecutive minutes, oldest first, and when the newest candle closed."""

    closes: npt.NDArray[np.float64]
    close_epoch: int
    gap_count: int = 0
    """Minutes missing among the candles that were read; all of them lie before the closes."""


@dataclass(frozen=True)
class Skipped:
    """A symbol that is not published, and why, with figures."""

    reason: SkipReason
    detail: str


def judge(raw: Sequence[bytes], now: float, *, needed: int, max_age_s: float) -> Window | Skipped:
    """Judge the newest candles of one symbol.

    Args:
        raw: members of the symbol's sorted set, oldest first.
        now: wall time in epoch seconds.
        needed: closes that one state needs.
        max_age_s: how long ago the newest candle may have closed.

    Returns:
        The longest run of consecutive minutes that ends at the newest candle, if it is long enough.
    """
    if not raw:
        return Skipped(SkipReason.MISSING, "no candles")
    try:
        points = [candles.decode_close(member, "candle") for member in raw]
    except Unreadable as fault:
        return Skipped(SkipReason.FAULTY, str(fault))
    opens = np.array([open_ms for open_ms, _ in points], dtype=np.int64)
    closes = np.array([close for _, close in points], dtype=np.float64)
    return _fault_in_time(opens, now, max_age_s) or _usable(opens, closes, needed)


def _fault_in_time(opens: npt.NDArray[np.int64], now: float, max_age_s: float) -> Skipped | None:
    age_s = now - (int(opens[-1]) + candles.INTERVAL_MS) / 1000
    if age_s < -CLOCK_TOLERANCE_S:
        return Skipped(SkipReason.UNCLOSED, f"the newest candle closes in {-age_s:.0f} s")
    if age_s > max_age_s:
        return Skipped(SkipReason.STALE, f"the newest candle closed {age_s:.0f} s ago, limit {max_age_s:.0f} s")
    return None


def _usable(opens: npt.NDArray[np.int64], closes: npt.NDArray[np.float64], needed: int) -> Window | Skipped:
    steps = np.diff(opens)
    if (steps <= 0).any():
        return Skipped(SkipReason.FAULTY, "two candles of one minute, or not in the order of their open times")
    if len(closes) < needed:
        return Skipped(SkipReason.SHORT, f"{len(closes)} candles, {needed} needed")
    breaks = np.flatnonzero(steps != candles.INTERVAL_MS)
    start = int(breaks[-1]) + 1 if len(breaks) else 0
    run = closes[start:]
    if len(run) < needed:
        return Skipped(SkipReason.GAPPED, f"{len(run)} candles since the last gap, {needed} needed")
    fault = price_fault(run)
    if fault is not None:
        return Skipped(SkipReason.FAULTY, fault)
    missing = int(opens[-1] - opens[0]) // candles.INTERVAL_MS + 1 - len(opens)
    return Window(run, (int(opens[-1]) + candles.INTERVAL_MS) // 1000, missing)
