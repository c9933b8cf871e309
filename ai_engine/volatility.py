"""Robust volatility: winsorised EWMA blended with the median absolute deviation. Rows are independent windows."""

import numpy as np

from ai_engine.prices import Floats
from ai_engine.regime import variance
from ai_engine.theta import Theta

MAD_TO_SIGMA = 1.4826
"""Makes the median absolute deviation of a normal sample estimate its standard deviation (1 / Φ⁻¹(3/4))."""
_SEED_RETURNS = 10
"""The EWMA starts at the population variance of this many first returns."""


def sigma_and_spike(returns: Floats, theta: Theta) -> tuple[Floats, Floats]:
    """Compute sigma and spike_proxy of every row.

    Args:
        returns: log returns, one window per row, oldest first; shape (rows, vol.window).
        theta: the parameters.

    Returns:
        sigma in log return per candle and the ratio MAD / EWMA, clipped to its cap; shape (rows,) each.
    """
    ordered = np.sort(returns, axis=1)
    low = quantile_of_sorted(ordered, theta.winsor_q[0])
    high = quantile_of_sorted(ordered, theta.winsor_q[1])
    ewma = np.sqrt(_ewma_variance(_clipped(returns, low, high), theta.ewma_lambda))
    # Clipping keeps the order, so the winsorised sample is sorted already.
    mad = MAD_TO_SIGMA * _mad_of_sorted(_clipped(ordered, low, high))
    spike_proxy = np.clip(mad / (ewma + theta.eps), 0.0, theta.spike_proxy_cap)
    weight = _logistic((spike_proxy - theta.spike_center) / theta.spike_scale)
    return np.maximum(theta.sigma_floor, (1.0 - weight) * ewma + weight * mad), spike_proxy


def quantile_of_sorted(ordered: Floats, q: float) -> Floats:
    """Interpolate linearly between the order statistics of each sorted row, as `numpy.quantile` does."""
    position = q * (ordered.shape[1] - 1)
    below = int(position)
    above = min(below + 1, ordered.shape[1] - 1)
    share = position - below
    lower, upper = ordered[:, below], ordered[:, above]
    step = upper - lower
    out: Floats = lower + step * share if share < 0.5 else upper - step * (1.0 - share)
    return out


def _clipped(values: Floats, low: Floats, high: Floats) -> Floats:
    # Twice as fast as numpy.clip with bounds by row.
    out = np.maximum(values, low[:, None])
    return np.minimum(out, high[:, None], out=out)


def _ewma_variance(returns: Floats, decay: float) -> Floats:
    """Run v ← decay·v + (1 − decay)·r² over each row, in closed form: a weighted sum of positive terms.

    Summed by numpy row by row, not by BLAS, whose last bits hang on how many rows there are.
    """
    count = returns.shape[1]
    powers = decay ** np.arange(count, -1, -1, dtype=np.float64)
    start = variance(returns[:, :_SEED_RETURNS])
    squares = np.square(returns)
    squares *= powers[1:]
    out: Floats = powers[0] * start + (1.0 - decay) * squares.sum(axis=1)
    return out


def _mad_of_sorted(ordered: Floats) -> Floats:
    deviations = ordered - median_of_sorted(ordered)[:, None]
    np.abs(deviations, out=deviations)
    deviations.sort(axis=1)
    return median_of_sorted(deviations)


def median_of_sorted(ordered: Floats) -> Floats:
    """Take the middle of each sorted row, the mean of the two middle ones where their number is even."""
    count = ordered.shape[1]
    out: Floats = 0.5 * (ordered[:, (count - 1) // 2] + ordered[:, count // 2])
    return out


def _logistic(x: Floats) -> Floats:
    """Compute 1 / (1 + exp(−x)) without overflow on either side."""
    small = np.exp(-np.abs(x))
    out: Floats = np.where(x >= 0, 1.0, small) / (1.0 + small)
    return out
