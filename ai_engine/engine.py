"""What keeps windows up to date as candles arrive: the compiled code where it was built, else numpy. The same bits.

One engine serves the live publisher and the replay, so that a replay is the service's own numbers.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from ai_engine import compiled, measures, pairwise
from ai_engine.measures import Measures
from ai_engine.prices import Floats
from ai_engine.theta import Theta

_ROWS_AT_ONCE = 1024


class SlopeWindows(Protocol):
    """Windows of points that take one point at a time, one window per lane."""

    def fill(self, lane: int, y: Floats) -> None:
        """Begin a window anew with the last of these points."""

    def push(self, lanes: npt.NDArray[np.int64], y: Floats) -> Floats:
        """Add one point to each of these windows; return their median slopes, NaN where a window is not full."""


class ReturnWindows(Protocol):
    """Windows of returns that move one candle at a time, one window per lane."""

    def forget(self, lane: int) -> None:
        """Begin a lane anew."""

    def push(self, lanes: npt.NDArray[np.int64], rows: Floats) -> Measures:
        """Measure the windows that end at the newest log price of each row, one step after the lane's last row."""


def slope_windows(lanes: int, size: int) -> SlopeWindows:
    """Make empty windows of `size` points."""
    code = compiled.library()
    return pairwise.PairwiseWindows(lanes, size) if code is None else compiled.CompiledSlopes(code, lanes, size)


def return_windows(lanes: int, theta: Theta) -> ReturnWindows:
    """Make windows of which nothing is known."""
    code = compiled.library()
    return measures.PlainMeasures(theta) if code is None else compiled.CompiledMeasures(code, lanes, theta)


def moving_median_slopes(y: Floats, size: int) -> Floats:
    """Compute the slope of every window of `size` neighbouring points; shape (len(y) − size + 1,)."""
    code = compiled.library()
    if code is not None:
        return compiled.CompiledSlopes(code, 1, size).slide(y)
    windows = sliding_window_view(y, size)
    parts = range(0, len(windows), _ROWS_AT_ONCE)
    return np.concatenate([pairwise.median_slopes(windows[start : start + _ROWS_AT_ONCE]) for start in parts])


def moving_measures(windows: Floats, theta: Theta) -> Measures:
    """Measure every window of a history; windows[i] is one candle later than windows[i − 1]."""
    return return_windows(1, theta).push(np.zeros(len(windows), dtype=np.int64), windows)
