"""MarketState v1.0 written down from its formulas with scipy and numpy: slow, plain, the measure of exactness."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import huber
from scipy.stats import theilslopes

from ai_engine.market_state import DEFAULT_THETA, FIELDS
from ai_engine.theta import merged

Floats = npt.NDArray[np.float64]
RELATIVE, ABSOLUTE = 1e-9, 1e-12


def oracle(prices: npt.ArrayLike, theta: Mapping[str, Any] | None = None) -> dict[str, float]:
    """Evaluate every formula on the last prices, by the names of `FIELDS`."""
    parameters = merged(theta) if theta else DEFAULT_THETA
    vol, trend, regime, eps = parameters["vol"], parameters["trend"], parameters["regime"], parameters["eps"]
    logs = np.log(np.asarray(prices, dtype=float) + eps)
    returns = np.diff(logs)
    sigma, spike_proxy = _sigma(returns[-vol["window"] :], vol, eps)
    weights = np.asarray(trend["weights"]) / sum(trend["weights"])
    mu = sum(w * _slope(logs[-n:], trend["method"]) for w, n in zip(weights, trend["windows"], strict=True))
    ts = abs(mu) / (sigma + eps)
    recent = returns[-regime["window"] :]
    signs = np.sign(recent)
    dp = np.mean(signs[1:] == signs[:-1])
    k = regime["vr_k"]
    vr = np.convolve(recent, np.ones(k), "valid").var() / (k * recent.var() + eps)
    score, away = regime["score"], abs(vr - 1)
    scores = np.array(
        [
            score["a1"] * ts + score["a2"] * dp - score["a3"] * away,
            score["b1"] * away - score["b2"] * ts - score["b3"] * abs(dp),
            score["c1"] * (1 - abs(dp)) + score["c2"] * (1 - min(ts, 1)) - score["c3"] * away,
        ]
    )
    tempered = scores / regime["softmax_temp"]
    probabilities = np.exp(tempered - tempered.max())
    probabilities /= probabilities.sum()
    values = (sigma, mu, ts, *probabilities, dp, vr, spike_proxy)
    return {name: float(value) for name, value in zip(FIELDS, values, strict=True)}


def flat(state: Mapping[str, Any]) -> dict[str, float]:
    """Arrange what `get_state` returns by the names of `FIELDS`."""
    named = {f"p_{name}": value for name, value in state["regime_probs"].items()} | state["features"]
    return {name: named.get(name, state.get(name)) for name in FIELDS}


def assert_equal(actual: Mapping[str, float], expected: Mapping[str, float]) -> None:
    """Assert agreement to 1e-9 relative, 1e-12 absolute near zero."""
    for name in FIELDS:
        np.testing.assert_allclose(actual[name], expected[name], rtol=RELATIVE, atol=ABSOLUTE, err_msg=name)


def _sigma(returns: Floats, vol: Mapping[str, Any], eps: float) -> tuple[float, float]:
    low, high = np.quantile(returns, vol["winsor_q"])
    clipped = np.clip(returns, low, high)
    variance = clipped[:10].var()
    for value in clipped:
        variance = vol["ewma_lambda"] * variance + (1 - vol["ewma_lambda"]) * value**2
    ewma = np.sqrt(variance)
    mad = 1.4826 * np.median(np.abs(clipped - np.median(clipped)))
    spike_proxy = np.clip(mad / (ewma + eps), 0, vol["spike_proxy_cap"])
    weight = 1 / (1 + np.exp(-(spike_proxy - vol["spike_center"]) / vol["spike_scale"]))
    return max(vol["sigma_floor"], (1 - weight) * ewma + weight * mad), float(spike_proxy)


def _slope(logs: Floats, method: str) -> float:
    x = np.arange(len(logs), dtype=float)
    least_squares = np.polyfit(x, logs - logs[0], 1)
    if method == "theil_sen":
        return float(theilslopes(logs, x)[0])
    if method == "ols":
        return float(least_squares[0])

    def loss(line: Floats) -> float:
        return float(huber(1.35, logs - logs[0] - line[0] * x / len(x) - line[1]).sum())

    start = np.array([least_squares[0] * len(x), least_squares[1]])
    fit = minimize(loss, start, method="BFGS", options={"gtol": 1e-9})
    return float(fit.x[0] / len(x))
