"""Median slopes from all pairs, in numpy: the way that works everywhere. Rows are independent windows."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from ai_engine.prices import Floats

_ROWS_AT_ONCE = 4
"""Rows whose slopes exist at the same time: 256 prices give 32,640 slopes, 255 KB, a row."""
_SAMPLE = 256
_SAMPLE_REACH = 20
"""Ranks to either side of the sample's median that bound the first guess: 2.5 standard deviations of its rank."""
_GUESS_FROM = 4096
"""With fewer slopes than this a row is selected from at once."""


def median_slopes(y: Floats) -> Floats:
    """Compute the Theil–Sen slope of each row against 0 … n − 1; shape (rows,)."""
    out = np.empty(len(y))
    for start in range(0, len(y), _ROWS_AT_ONCE):
        slopes = pairwise_slopes(y[start : start + _ROWS_AT_ONCE])
        medians = _medians if slopes.shape[1] < _GUESS_FROM else _medians_by_guess
        out[start : start + _ROWS_AT_ONCE] = medians(slopes)
    return out


def pairwise_slopes(y: Floats) -> Floats:
    """Compute all slopes of each row; shape (rows, n(n − 1)/2), in no particular order.

    Row d of the table below holds the pairs (i, i + d mod n): distances d and n − d together, so half the table is all
    pairs and nothing is computed twice. A pair that wraps around has both differences negated, which changes no bit.
    """
    rows, count = y.shape
    pairs = count * (count - 1) // 2
    twice = np.concatenate((y, y), axis=1)
    table = as_strided(
        twice[:, 1:],
        (rows, count // 2, count),
        (twice.strides[0], twice.strides[1], twice.strides[1]),
        writeable=False,
    )
    slopes = (table - y[:, None, :]).reshape(rows, -1)[:, :pairs]
    slopes /= _distances(count)
    return slopes


@lru_cache(maxsize=16)
def _distances(count: int) -> Floats:
    start = np.arange(count)
    steps = np.arange(1, count // 2 + 1)[:, None]
    table = ((start + steps) % count - start).astype(np.float64)
    distances = table.reshape(-1)[: count * (count - 1) // 2]
    distances.flags.writeable = False
    return distances


def _medians(values: Floats) -> Floats:
    count = values.shape[1]
    lower, upper = (count - 1) // 2, count // 2
    ordered = np.partition(values, (lower, upper), axis=1)
    out: Floats = 0.5 * (ordered[:, lower] + ordered[:, upper])
    return out


def _medians_by_guess(values: Floats) -> Floats:
    """Bound the median by a sample's middle, count what lies below, and select among what lies within."""
    rows, count = values.shape
    lower, upper = (count - 1) // 2, count // 2
    sample = np.sort(values[:, _sample_of(count)], axis=1)
    low, high = sample[:, _SAMPLE // 2 - _SAMPLE_REACH, None], sample[:, _SAMPLE // 2 + _SAMPLE_REACH, None]
    not_below = values >= low
    within = not_below & (values <= high)
    out = np.empty(rows)
    for row in range(rows):
        below = count - int(np.count_nonzero(not_below[row]))
        out[row] = _median_within(values[row], within[row], lower - below, upper - below)
    return out


@lru_cache(maxsize=16)
def _sample_of(count: int) -> npt.NDArray[np.intp]:
    """Choose which slopes are the sample: the same ones always, and without the table's regularity."""
    return np.random.default_rng(0).choice(count, _SAMPLE, replace=False)


def _median_within(values: Floats, within: npt.NDArray[np.bool_], lower: int, upper: int) -> float:
    candidates = values[within]
    if lower < 0 or upper >= len(candidates):
        return float(_medians(values[None, :])[0])
    candidates.partition((lower, upper))
    return float(0.5 * (candidates[lower] + candidates[upper]))


class PairwiseWindows:
    """Sliding windows that are evaluated anew at every step, one per lane.

    Args:
        lanes: number of windows.
        size: points of a full window.
    """

    def __init__(self, lanes: int, size: int) -> None:
        self._points = np.full((lanes, size), np.nan)

    def fill(self, lane: int, y: Floats) -> None:
        """Begin a window anew with the last of these points."""
        size = self._points.shape[1]
        kept = y[-size:]
        self._points[lane] = np.nan
        self._points[lane, size - len(kept) :] = kept

    def push(self, lanes: npt.NDArray[np.int64], y: Floats) -> Floats:
        """Add one point to each of these windows; return their median slopes, NaN where a window is not full."""
        points = self._points[lanes]
        points[:, :-1] = points[:, 1:]
        points[:, -1] = y
        self._points[lanes] = points
        out = np.full(len(lanes), np.nan)
        full = np.isfinite(points[:, 0])
        out[full] = median_slopes(points[full])
        return out
