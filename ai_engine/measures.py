"""What the formulas need of a window of returns, in numpy. Rows are independent windows; `_measures.c` does the same.

Sums are made by numpy row by row, never by BLAS, whose last bits hang on how many rows there are: one window alone and
the same window among hundreds give the same bits.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ai_engine.prices import Floats
from ai_engine.theta import Theta

_ROWS_AT_ONCE = 60
"""Windows evaluated together: arrays of 120 KB stay in the cache, and malloc does not ask the kernel for each."""
_SEED_RETURNS = 10
"""The EWMA starts at the population variance of this many first returns."""


class Measures(NamedTuple):
    """One number per window each; returns are log returns per candle."""

    ewma_variance: Floats
    """Of the winsorised returns of the volatility window."""
    median_deviation: Floats
    """Median absolute deviation of the same from their median."""
    equal_signs: Floats
    """Share of neighbouring returns of the regime window with equal sign; 0 is a sign of its own."""
    sums_variance: Floats
    """Population variance of the overlapping sums of vr_k returns of the regime window."""
    returns_variance: Floats
    """Population variance of the returns of the regime window."""


class Quantile(NamedTuple):
    """Where a quantile lies among order statistics: behind the one at `below`, by `share` of the way to the next."""

    below: int
    share: float


def quantile_place(q: float, count: int) -> Quantile:
    """Find the place of a quantile by linear interpolation, as `numpy.quantile` has it."""
    position = q * (count - 1)
    return Quantile(int(position), position - int(position))


def ewma_powers(theta: Theta) -> Floats:
    """Give λ^n, λ^(n−1) … λ^0 for the n returns of the volatility window."""
    return np.asarray(theta.ewma_lambda ** np.arange(theta.vol_window, -1, -1, dtype=np.float64))


def measure(logs: Floats, theta: Theta) -> Measures:
    """Measure every row of log prices; shape (rows, theta.min_prices)."""
    columns = Measures(*(np.empty(len(logs)) for _ in Measures._fields))
    for start in range(0, len(logs), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        # Contiguous, because numpy adds up a row in another order where it is not.
        for column, values in zip(columns, _measure_some(np.ascontiguousarray(logs[rows]), theta), strict=True):
            column[rows] = values
    return columns


def _measure_some(logs: Floats, theta: Theta) -> Measures:
    returns = np.diff(logs, axis=1)
    vol, regime = returns[:, -theta.vol_window :], returns[:, -theta.regime_window :]
    ordered = np.sort(vol, axis=1)
    low, high = (_quantile(ordered, quantile_place(q, theta.vol_window)) for q in theta.winsor_q)
    regime_logs = logs[:, -theta.regime_window - 1 :]
    return Measures(
        ewma_variance=_ewma_variance(_clipped(vol, low, high), theta),
        # Clipping keeps the order, so the winsorised sample is sorted already.
        median_deviation=_median_deviation(_clipped(ordered, low, high)),
        equal_signs=_equal_signs(regime),
        # A sum of neighbouring returns is a difference of log prices.
        sums_variance=_variance(regime_logs[:, theta.vr_k :] - regime_logs[:, : -theta.vr_k]),
        returns_variance=_variance(regime),
    )


def _quantile(ordered: Floats, place: Quantile) -> Floats:
    lower, upper = ordered[:, place.below], ordered[:, min(place.below + 1, ordered.shape[1] - 1)]
    step = upper - lower
    out: Floats = lower + step * place.share if place.share < 0.5 else upper - step * (1.0 - place.share)
    return out


def _clipped(values: Floats, low: Floats, high: Floats) -> Floats:
    # Twice as fast as numpy.clip with bounds by row.
    out = np.maximum(values, low[:, None])
    return np.minimum(out, high[:, None], out=out)


def _ewma_variance(returns: Floats, theta: Theta) -> Floats:
    """Run v ← λ·v + (1 − λ)·r² over each row, in closed form: a weighted sum of positive terms."""
    powers = ewma_powers(theta)
    squares = np.square(returns)
    squares *= powers[1:]
    out: Floats = powers[0] * _variance(returns[:, :_SEED_RETURNS]) + (1.0 - theta.ewma_lambda) * squares.sum(axis=1)
    return out


def _median_deviation(ordered: Floats) -> Floats:
    deviations = ordered - _middle(ordered)[:, None]
    np.abs(deviations, out=deviations)
    deviations.sort(axis=1)
    return _middle(deviations)


def _middle(ordered: Floats) -> Floats:
    count = ordered.shape[1]
    out: Floats = 0.5 * (ordered[:, (count - 1) // 2] + ordered[:, count // 2])
    return out


def _equal_signs(returns: Floats) -> Floats:
    signs = np.sign(returns)
    equal = np.count_nonzero(signs[:, 1:] == signs[:, :-1], axis=1)
    return np.asarray(equal / (returns.shape[1] - 1.0))


def _variance(values: Floats) -> Floats:
    count = values.shape[1]
    away = values - values.sum(axis=1, keepdims=True) / count
    np.square(away, out=away)
    out: Floats = away.sum(axis=1) / count
    return out


class PlainMeasures:
    """Measures windows anew at every step, whatever lane they are of."""

    def __init__(self, theta: Theta) -> None:
        self._theta = theta

    def forget(self, lane: int) -> None:
        """Begin a lane anew: nothing is kept."""

    def push(self, lanes: npt.NDArray[np.int64], rows: Floats) -> Measures:  # noqa: ARG002 - the other way needs it
        """Measure the windows that end at the newest log price of each row."""
        return measure(rows, self._theta)
