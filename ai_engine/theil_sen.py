"""Exact Theil–Sen slopes: the median of all n(n − 1)/2 pairwise slopes of evenly spaced windows.

Theil (1950), "A rank-invariant method of linear and polynomial regression analysis"; Sen (1968), "Estimates of the
regression coefficient based on Kendall's tau", JASA 63. Selecting the median slope without looking at all of them:
Cole, Salowe, Steiger and Szemerédi (1989), "An optimal-time algorithm for slope selection", SIAM J. Comput. 18;
Matoušek (1991), "Randomized optimal algorithm for slope selection", Inf. Process. Lett. 39. What is done here is theirs
made incremental; `_theil_sen.c` says how.

Two ways give the same bits: the compiled one where it was built, and all pairs in numpy. Every slope is
(y[j] − y[i]) / (j − i) in float64; where the number of slopes is even the median is the mean of the two middle ones, as
`scipy.stats.theilslopes` has it.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from ai_engine import pairwise
from ai_engine.compiled import CompiledWindows, library
from ai_engine.prices import Floats

_ROWS_AT_ONCE = 1024


class SlidingWindows(Protocol):
    """Windows that take one point at a time, one window per lane."""

    def fill(self, lane: int, y: Floats) -> None:
        """Begin a window anew with the last of these points."""

    def push(self, lanes: npt.NDArray[np.int64], y: Floats) -> Floats:
        """Add one point to each of these windows; return their median slopes, NaN where a window is not full."""


def sliding_windows(lanes: int, size: int) -> SlidingWindows:
    """Make empty windows of `size` points."""
    code = library()
    return pairwise.PairwiseWindows(lanes, size) if code is None else CompiledWindows(code, lanes, size)


def median_slopes(y: Floats) -> Floats:
    """Compute the slope of each row against 0 … n − 1; shape (rows,)."""
    code = library()
    if code is None:
        return pairwise.median_slopes(y)
    windows = CompiledWindows(code, 1, y.shape[1])
    return np.array([windows.slide(row)[0] for row in y])


def moving_median_slopes(y: Floats, size: int) -> Floats:
    """Compute the slope of every window of `size` neighbouring points; shape (len(y) − size + 1,)."""
    code = library()
    if code is not None:
        return CompiledWindows(code, 1, size).slide(y)
    windows = sliding_window_view(y, size)
    return np.concatenate(
        [
            pairwise.median_slopes(windows[start : start + _ROWS_AT_ONCE])
            for start in range(0, len(windows), _ROWS_AT_ONCE)
        ]
    )
