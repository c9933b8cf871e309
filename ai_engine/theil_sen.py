"""Exact Theil–Sen slopes: the median of all n(n − 1)/2 pairwise slopes of an evenly spaced window.

Theil (1950), "A rank-invariant method of linear and polynomial regression analysis"; Sen (1968), "Estimates of the
regression coefficient based on Kendall's tau", JASA 63.
"""

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ai_engine.prices import Floats

_ROWS_AT_ONCE = 8
"""Rows whose slopes exist at the same time: 256 prices give 32,640 slopes, 255 KB, a row."""


def median_slopes(y: Floats) -> Floats:
    """Compute the Theil–Sen slope of each row against 0 … n − 1; shape (rows,).

    Every slope is (y[j] − y[i]) / (j − i) in float64, so the result is that of an all-pairs evaluation, bit for bit.
    """
    out = np.empty(len(y))
    for start in range(0, len(y), _ROWS_AT_ONCE):
        out[start : start + _ROWS_AT_ONCE] = _medians(pairwise_slopes(y[start : start + _ROWS_AT_ONCE]))
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
