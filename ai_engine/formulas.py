"""The formulas of MarketState v1.0 put together, on many windows at once, and how a state is written down."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ai_engine import fits, regime, theil_sen, volatility
from ai_engine.measures import Measures
from ai_engine.prices import Floats
from ai_engine.theta import Theta

FIELDS = ("sigma", "mu", "ts", "p_trend", "p_mr", "p_chop", "dp", "vr", "spike_proxy")
"""The numbers of one state, as `replay` names them."""

Columns = Mapping[str, Floats]
"""One array per field of `FIELDS`, a row a state."""

_SLOPES: Mapping[str, Callable[[Floats], Floats]] = {
    "theil_sen": theil_sen.median_slopes,
    "ols": fits.least_squares_slopes,
    "huber": fits.huber_slopes,
}


def trend(logs: Floats, theta: Theta) -> Floats:
    """Compute mu of each row of log prices: the weighted mean of the trend windows' slopes; log return per candle."""
    slope_of = _SLOPES[theta.trend_method]
    return weighted([slope_of(logs[:, -window:]) for window in theta.trend_windows], theta)


def weighted(slopes: list[Floats], theta: Theta) -> Floats:
    """Weigh the slopes of the trend windows, given in the order of the windows."""
    mu = np.zeros(len(slopes[0]))
    for slope, weight in zip(slopes, theta.trend_weights, strict=True):
        mu += weight * slope
    return mu


def compute(measures: Measures, mu: Floats, theta: Theta) -> Columns:
    """Evaluate the formulas.

    Args:
        measures: of each window.
        mu: the trend of each window, log return per candle.
        theta: the parameters.
    """
    sigma, spike_proxy = volatility.sigma_and_spike(measures.ewma_variance, measures.median_deviation, theta)
    ts = np.abs(mu) / (sigma + theta.eps)
    dp = measures.equal_signs
    vr = regime.variance_ratio(measures.sums_variance, measures.returns_variance, theta.vr_k, theta.eps)
    probabilities = regime.probabilities(ts, dp, vr, theta)
    return dict(zip(FIELDS, (sigma, mu, ts, *probabilities.T, dp, vr, spike_proxy), strict=True))


def states(columns: Columns, theta: Theta) -> Iterator[dict[str, Any]]:
    """Write each row down as `get_state` returns it."""
    windows = (theta.vol_window, theta.trend_windows, theta.regime_window)
    for row in zip(*(columns[name].tolist() for name in FIELDS), strict=True):
        yield _state(row, *windows)


def _state(
    row: tuple[float, ...], vol_window: int, trend_windows: tuple[int, ...], regime_window: int
) -> dict[str, Any]:
    sigma, mu, ts, p_trend, p_mr, p_chop, dp, vr, spike_proxy = row
    return {
        "sigma": sigma,
        "mu": mu,
        "ts": ts,
        "regime_probs": {"trend": p_trend, "mr": p_mr, "chop": p_chop},
        "features": {"dp": dp, "vr": vr, "spike_proxy": spike_proxy},
        "windows": {"returns_n": vol_window, "trend_windows": [*trend_windows], "regime_window": regime_window},
        "ts_components": {"mu_abs": abs(mu), "sigma_used": sigma},
    }
