"""Every number against a direct scipy evaluation: any history, any length, any parameters."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import theilslopes

from ai_engine.market_state import FIELDS, MarketState
from ai_engine.prices import Floats
from ai_engine.theil_sen import median_slopes
from tests.support.market_state_oracle import assert_equal, flat, oracle
from tests.support.price_paths import PATHS, price_paths


@pytest.mark.parametrize("name", PATHS)
def test_every_kind_of_history_agrees_with_the_oracle(name: str) -> None:
    """Walks, trends, flats, ties, spikes, tiny and huge prices: all fields to 1e-9, one by one and in one call."""
    histories = {str(seed): PATHS[name](np.random.default_rng(seed), 257 + 20 * seed) for seed in range(4)}
    many = MarketState().get_states(histories)
    for seed, prices in histories.items():
        together, alone = many[seed], MarketState().get_state(seed, prices)
        assert together is not None
        assert together == alone
        assert_equal(flat(together), oracle(prices))


@settings(max_examples=60, deadline=None)
@given(price_paths())
def test_any_history_agrees_with_the_oracle(prices: Floats) -> None:
    """Whatever the history, all fields agree and none is NaN."""
    result = MarketState().get_state("X", prices)
    assert result is not None
    assert_equal(flat(result), oracle(prices))
    assert np.isfinite(list(flat(result).values())).all()


@st.composite
def thetas(draw: st.DrawFn) -> dict[str, Any]:
    """Draw parameters far from the defaults, with windows short enough to be fast."""
    windows = draw(st.lists(st.integers(2, 40), min_size=1, max_size=4))
    window = draw(st.integers(2, 60))
    return {
        "eps": draw(st.sampled_from([1e-12, 1e-9])),
        "vol": {
            "window": draw(st.integers(2, 60)),
            "ewma_lambda": draw(st.floats(0.01, 0.99)),
            "winsor_q": draw(st.sampled_from([[0, 1], [0.01, 0.99], [0.05, 0.7], [0.4, 0.6]])),
            "spike_proxy_cap": draw(st.floats(0.5, 10)),
        },
        "trend": {
            "windows": windows,
            "weights": draw(st.lists(st.floats(0.01, 5), min_size=len(windows), max_size=len(windows))),
            "method": draw(st.sampled_from(["theil_sen", "ols"])),
        },
        "regime": {"window": window, "vr_k": draw(st.integers(1, window)), "softmax_temp": draw(st.floats(0.1, 5))},
    }


@settings(max_examples=60, deadline=None)
@given(price_paths(least=61, most=90), thetas())
def test_any_parameters_agree_with_the_oracle(prices: Floats, theta: dict[str, Any]) -> None:
    """Whatever the windows, quantiles and weights, all fields agree."""
    result = MarketState(theta).get_state("X", prices)
    assert result is not None
    assert_equal(flat(result), oracle(prices, theta))


@settings(max_examples=60, deadline=None)
@given(price_paths(least=2, most=130))
def test_theil_sen_is_the_oracle_s_bit_for_bit(prices: Floats) -> None:
    """The median slope is exactly scipy's, for odd and even numbers of prices and of slopes."""
    logs = np.log(prices)
    assert median_slopes(logs[None, :])[0] == theilslopes(logs, np.arange(len(logs)))[0]


@pytest.mark.parametrize("seed", range(3))
def test_huber_minimises_its_loss(seed: int) -> None:
    """With prices a hundred times off for a while the Huber slope is the minimiser's, not least squares'."""
    rng = np.random.default_rng(seed)
    prices = PATHS["random_walk"](rng, 257)
    prices[rng.integers(0, 257, 25)] *= 100
    theta = {"trend": {"method": "huber"}}
    result = MarketState(theta).get_state("X", prices)
    least_squares = MarketState({"trend": {"method": "ols"}}).get_state("X", prices)
    assert result is not None
    assert least_squares is not None
    assert result["mu"] == pytest.approx(oracle(prices, theta)["mu"], rel=1e-6)
    assert abs(result["mu"] - least_squares["mu"]) > 1e-4


@pytest.mark.parametrize("seed", [0, 12, 15, 21])
def test_the_huber_slope_is_exact_where_hardly_a_point_is_near_the_line(seed: int) -> None:
    """With prices by turns 1e-12 of what they were, the loss' derivative at the slope and its best level is 0."""
    rng = np.random.default_rng(seed)
    prices = np.where(rng.random(257) < 0.5, 1e-10, 100.0)
    result = MarketState({"trend": {"method": "huber", "windows": [256], "weights": [1]}}).get_state("X", prices)
    assert result is not None
    x = np.arange(256) - 127.5
    away = np.log(prices[-256:] + 1e-12) - result["mu"] * x
    level = brentq(lambda at: np.clip(away - at, -1.35, 1.35).sum(), away.min(), away.max(), xtol=1e-14)
    pull = np.clip(away - level, -1.35, 1.35)
    assert abs((pull * x).sum()) < 1e-10 * (abs(pull) * abs(x)).sum()


def test_replay_agrees_with_the_oracle() -> None:
    """Sampled rows of a replay of all kinds of history are the oracle's."""
    for path in PATHS.values():
        prices = path(np.random.default_rng(5), 400)
        replay = MarketState().replay(prices)
        for row in (0, 71, 143):
            assert_equal({field: replay[field][row] for field in FIELDS}, oracle(prices[: 257 + row]))
