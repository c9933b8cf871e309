"""The additions beside v1.0: an interval for mu against scipy's, its coverage, and what candles are worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import theilslopes

from ai_engine.market_state import MarketState
from ai_engine.prices import Floats
from ai_engine.uncertainty import Interval, Quality, mu_interval, quality
from tests.support.price_paths import price_paths

ONE_WINDOW = {"trend": {"windows": [64], "weights": [1]}, "vol": {"window": 32}, "regime": {"window": 32}}


@settings(max_examples=40, deadline=None)
@given(price_paths(least=257, most=280))
def test_the_interval_holds_mu(prices: Floats) -> None:
    """Whatever the history, mu lies between its bounds, and more confidence is never narrower."""
    state, interval, wider = MarketState().get_state("X", prices), mu_interval(prices), mu_interval(prices, 0.99)
    assert state is not None
    assert interval is not None
    assert wider is not None
    assert interval.low - 1e-15 <= state["mu"] <= interval.high + 1e-15
    assert wider.low <= interval.low <= interval.high <= wider.high


@settings(max_examples=40, deadline=None)
@given(price_paths(least=65, most=80))
def test_a_window_s_bounds_are_scipy_s(prices: Floats) -> None:
    """The bounds are the same order statistics of the slopes as scipy's, correction for ties included."""
    interval = mu_interval(prices, 0.95, ONE_WINDOW)
    _, _, low, high = theilslopes(np.log(prices[-64:] + 1e-12), np.arange(64), 0.95)
    assert interval == Interval(low, high)


def test_the_stated_share_of_intervals_holds_the_slope_of_independent_noise() -> None:
    """Of 400 lines with independent noise about 95 % of the intervals hold the slope."""
    rng, theta = np.random.default_rng(0), ONE_WINDOW
    held = 0
    for _ in range(400):
        interval = mu_interval(100 * np.exp(0.001 * np.arange(65) + rng.normal(0, 0.01, 65)), 0.95, theta)
        assert interval is not None
        held += interval.low <= 0.001 <= interval.high
    assert 0.92 <= held / 400 <= 0.985


def test_flat_prices_have_a_point_for_an_interval() -> None:
    """Where nothing moves nothing is uncertain; where there is too little there is no interval."""
    assert mu_interval([5.0] * 300) == Interval(0.0, 0.0)
    assert mu_interval([5.0] * 256) is None


@pytest.mark.parametrize("confidence", [0, 1, -1, 2])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    """Confidence is a share between 0 and 1."""
    with pytest.raises(ValueError, match="confidence"):
        mu_interval([5.0] * 300, confidence)


def test_quality_counts_flats_gaps_and_span() -> None:
    """By hand: two of four returns are 0; two candles are missing; seven minutes are spanned."""
    opens = [0, 60_000, 120_000, 300_000, 360_000]
    assert quality([1, 1, 2, 2, 3], opens) == Quality(flat_share=0.5, gap_count=2, span_s=420.0)
    assert quality([1, 2, 3]) == Quality(flat_share=0.0, gap_count=0, span_s=180.0)
    assert quality([1]) == Quality(flat_share=0.0, gap_count=0, span_s=60.0)


@pytest.mark.parametrize("opens", [[0], [0, 0], [60_000, 0]])
def test_open_times_that_do_not_fit_are_refused(opens: list[int]) -> None:
    """As many as prices, each later than the last."""
    with pytest.raises(ValueError, match="open times"):
        quality([1, 2], opens)
