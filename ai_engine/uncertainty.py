"""How sure a state is: additions beside the locked v1.0, which it neither uses nor changes.

`mu_interval` says how far the trend could lie from mu if candles scattered independently about a line. Prices do not:
a random walk wanders away from any line, and of its intervals far fewer than the stated share hold the drift (docs/
market-state.md has the measured shares). Read it as the scatter about the line, never as a forecast.
`quality` says what the candles themselves are worth: how many did not move, how many are missing, what time they span.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from ai_engine import pairwise
from ai_engine.prices import Floats, Prices, checked, log_prices
from ai_engine.theta import check, merged


@dataclass(frozen=True)
class Interval:
    """Bounds of mu in log return per candle; low ≤ mu ≤ high."""

    low: float
    high: float


@dataclass(frozen=True)
class Quality:
    """What a window of candles is worth."""

    flat_share: float
    """Share of returns that are exactly 0: a price that stands still, or a symbol nobody trades. In [0, 1]."""
    gap_count: int
    """Candles missing between the first and the last; 0 where open times are not known."""
    span_s: float
    """From the open of the first candle to the close of the last; by their number where open times are not known."""


def mu_interval(prices: Prices, confidence: float = 0.95, theta: Mapping[str, Any] | None = None) -> Interval | None:
    """Bound mu by the ranks of the pairwise slopes (Sen 1968, section 4, with his correction for ties).

    Each trend window has its own bounds; they are weighed like the slopes, which is wider than a joint interval of the
    same confidence would be, because the windows overlap.

    Args:
        prices: closes, oldest first.
        confidence: share of intervals that hold the trend where candles scatter independently; in (0, 1).
        theta: parameters to change, as for `MarketState`.

    Returns:
        None where there are fewer prices than one state needs.

    Raises:
        ValueError: a price or parameter that `MarketState` refuses, or a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence!r}, expected a number between 0 and 1")
    parameters = check(merged(theta))
    closes = checked("prices", prices)
    if len(closes) < parameters.min_prices:
        return None
    logs = log_prices(closes, parameters.eps)
    bounds = [_slope_interval(logs[-window:], confidence) for window in parameters.trend_windows]
    weights = parameters.trend_weights
    return Interval(
        sum(weight * bound.low for weight, bound in zip(weights, bounds, strict=True)),
        sum(weight * bound.high for weight, bound in zip(weights, bounds, strict=True)),
    )


def _slope_interval(y: Floats, confidence: float) -> Interval:
    slopes = pairwise.pairwise_slopes(y[None, :])[0]
    reach = NormalDist().inv_cdf(0.5 + 0.5 * confidence) * math.sqrt(_concordance_variance(y))
    low = max(0, round((len(slopes) - reach) / 2) - 1)
    high = min(len(slopes) - 1, round((len(slopes) + reach) / 2))
    slopes.partition((low, high))
    return Interval(float(slopes[low]), float(slopes[high]))


def _concordance_variance(y: Floats) -> float:
    """Give the variance of concordant less discordant pairs under independence (Kendall), less that of tied y."""
    ties = np.unique(y, return_counts=True)[1].astype(np.float64)
    return max(0.0, (_pairs_variance(float(len(y))) - math.fsum(map(_pairs_variance, ties.tolist()))) / 18)


def _pairs_variance(count: float) -> float:
    return count * (count - 1) * (2 * count + 5)


def quality(prices: Prices, open_ms: Sequence[int] | npt.NDArray[np.int64] = (), interval_s: float = 60.0) -> Quality:
    """Judge a window of candles.

    Args:
        prices: closes, oldest first.
        open_ms: open times of the same candles, where they are known.
        interval_s: what one candle covers.

    Raises:
        ValueError: a price as in `MarketState.get_state`, or open times that are not as many as prices or do not rise.
    """
    closes = checked("prices", prices)
    flat_share = float(np.mean(closes[1:] == closes[:-1])) if len(closes) > 1 else 0.0
    opens = np.asarray(open_ms, dtype=np.int64)
    if not len(opens):
        return Quality(flat_share, 0, len(closes) * interval_s)
    steps = np.diff(opens)
    if len(opens) != len(closes) or (steps <= 0).any():
        raise ValueError(
            f"{len(opens)} open times for {len(closes)} prices, expected as many, each later than the last"
        )
    missing = np.rint(steps / (1000 * interval_s)).astype(np.int64) - 1
    span_s = float(opens[-1] - opens[0]) / 1000 + interval_s
    return Quality(flat_share, int(missing.clip(min=0).sum()), span_s)
