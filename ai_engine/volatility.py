"""Robust volatility: winsorised EWMA blended with the median absolute deviation."""

import numpy as np

from ai_engine.prices import Floats
from ai_engine.theta import Theta

MAD_TO_SIGMA = 1.4826
"""Makes the median absolute deviation of a normal sample estimate its standard deviation (1 / Φ⁻¹(3/4))."""


def sigma_and_spike(ewma_variance: Floats, median_deviation: Floats, theta: Theta) -> tuple[Floats, Floats]:
    """Blend the two measures of volatility.

    Args:
        ewma_variance: of the winsorised returns.
        median_deviation: of the same.
        theta: the parameters.

    Returns:
        sigma in log return per candle, and the ratio MAD / EWMA, clipped to its cap.
    """
    ewma = np.sqrt(ewma_variance)
    mad = MAD_TO_SIGMA * median_deviation
    spike_proxy = np.clip(mad / (ewma + theta.eps), 0.0, theta.spike_proxy_cap)
    weight = _logistic((spike_proxy - theta.spike_center) / theta.spike_scale)
    return np.maximum(theta.sigma_floor, (1.0 - weight) * ewma + weight * mad), spike_proxy


def _logistic(x: Floats) -> Floats:
    """Compute 1 / (1 + exp(−x)) without overflow on either side."""
    small = np.exp(-np.abs(x))
    out: Floats = np.where(x >= 0, 1.0, small) / (1.0 + small)
    return out
