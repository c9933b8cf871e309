"""Regime: directional persistence, variance ratio, scores and probabilities. Rows are independent windows."""

from collections.abc import Mapping

import numpy as np

from ai_engine.prices import Floats
from ai_engine.theta import Theta

REGIMES = ("trend", "mr", "chop")


def directional_persistence(returns: Floats) -> Floats:
    """Give the share of neighbouring returns with equal sign; 0 is a sign of its own. In [0, 1], one per row."""
    signs = np.sign(returns)
    out: Floats = np.mean(signs[:, 1:] == signs[:, :-1], axis=1)
    return out


def variance_ratio(logs: Floats, returns: Floats, k: int, eps: float) -> Floats:
    """Divide the variance of overlapping k-sums of returns by k times the variance of single returns; one per row.

    Lo and MacKinlay (1988), "Stock market prices do not follow random walks", without their bias correction: both
    variances with ddof 0, eps added to the divisor. A sum of k neighbouring returns is a difference of log prices.

    Args:
        logs: log prices, one more than returns.
        returns: their differences.
        k: returns in a sum.
        eps: added to the divisor.
    """
    out: Floats = variance(logs[:, k:] - logs[:, :-k]) / (k * variance(returns) + eps)
    return out


def variance(values: Floats) -> Floats:
    """Compute the population variance of each row, as `numpy.var` does and without its overhead."""
    count = values.shape[1]
    centred = values - values.sum(axis=1, keepdims=True) / count
    np.square(centred, out=centred)
    out: Floats = centred.sum(axis=1) / count
    return out


def probabilities(ts: Floats, dp: Floats, vr: Floats, theta: Theta) -> Floats:
    """Score the three regimes and take their softmax; shape (rows, 3) in the order of `REGIMES`."""
    a1, a2, a3, b1, b2, b3, c1, c2, c3 = theta.score
    away = np.abs(vr - 1.0)
    scores = np.stack(
        (
            a1 * ts + a2 * dp - a3 * away,
            b1 * away - b2 * ts - b3 * np.abs(dp),
            c1 * (1.0 - np.abs(dp)) + c2 * (1.0 - np.minimum(ts, 1.0)) - c3 * away,
        ),
        axis=1,
    )
    scores /= theta.softmax_temp
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    out: Floats = weights / weights.sum(axis=1, keepdims=True)
    return out


def dominant_regime(regime_probs: Mapping[str, float]) -> str:
    """Name the likeliest regime; a tie for the first place goes to chop."""
    likeliest = max(regime_probs[name] for name in REGIMES)
    leaders = [name for name in REGIMES if regime_probs[name] == likeliest]
    return leaders[0] if len(leaders) == 1 else "chop"
