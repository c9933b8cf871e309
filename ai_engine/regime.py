"""Regime: variance ratio, scores and probabilities."""

from collections.abc import Mapping

import numpy as np

from ai_engine.prices import Floats
from ai_engine.theta import Theta

REGIMES = ("trend", "mr", "chop")


def variance_ratio(sums_variance: Floats, returns_variance: Floats, k: int, eps: float) -> Floats:
    """Divide the variance of overlapping sums of k returns by k times the variance of single returns.

    Lo and MacKinlay (1988), "Stock market prices do not follow random walks", without their bias correction: both
    variances with ddof 0, eps added to the divisor.
    """
    out: Floats = sums_variance / (k * returns_variance + eps)
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
