"""Parameters: read-only defaults, and an error naming the key for everything unknown or impossible."""

import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from ai_engine.market_state import DEFAULT_THETA, MarketState


def test_defaults_cannot_be_changed() -> None:
    """No group and no list of the defaults can be edited, in any of the ways a dict or list offers."""
    before = json.dumps(DEFAULT_THETA)
    theta: Any = DEFAULT_THETA
    attempts: list[Callable[[], object]] = [
        lambda: theta.__setitem__("eps", 1),
        lambda: theta.update(eps=1),
        lambda: theta.pop("eps"),
        theta.clear,
        lambda: theta["vol"].setdefault("x", 1),
        lambda: theta["vol"].__delitem__("window"),
        lambda: theta["trend"]["windows"].append(1),
        theta["trend"]["windows"].sort,
        lambda: theta["trend"]["weights"].__setitem__(0, 1),
        theta["regime"]["score"].popitem,
    ]
    for attempt in attempts:
        with pytest.raises(TypeError, match="read-only"):
            attempt()
    assert json.dumps(DEFAULT_THETA) == before
    assert pickle.loads(pickle.dumps(DEFAULT_THETA)) == DEFAULT_THETA  # noqa: S301 - its own bytes


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ({"vola": {}}, "vola"),
        ({"vol": {"windw": 1}}, "vol.windw"),
        ({"regime": {"score": {"d1": 1}}}, "regime.score.d1"),
        ({"vol": 5}, "vol"),
        ({"regime": {"score": None}}, "regime.score"),
        ([1], "theta"),
        ({"eps": 0}, "eps"),
        ({"eps": "1e-12"}, "eps"),
        ({"vol": {"window": 1}}, "vol.window"),
        ({"vol": {"window": 256.0}}, "vol.window"),
        ({"vol": {"window": True}}, "vol.window"),
        ({"vol": {"ewma_lambda": 1}}, "vol.ewma_lambda"),
        ({"vol": {"ewma_lambda": math.nan}}, "vol.ewma_lambda"),
        ({"vol": {"winsor_q": [0.9, 0.1]}}, "vol.winsor_q"),
        ({"vol": {"winsor_q": [0.1]}}, "vol.winsor_q"),
        ({"vol": {"winsor_q": [-0.1, 0.9]}}, "vol.winsor_q"),
        ({"vol": {"spike_proxy_cap": 0}}, "vol.spike_proxy_cap"),
        ({"vol": {"spike_center": math.inf}}, "vol.spike_center"),
        ({"vol": {"spike_scale": 0}}, "vol.spike_scale"),
        ({"vol": {"sigma_floor": -1}}, "vol.sigma_floor"),
        ({"trend": {"windows": []}}, "trend.windows"),
        ({"trend": {"windows": "64"}}, "trend.windows"),
        ({"trend": {"windows": [64, 128, 1]}}, "trend.windows"),
        ({"trend": {"windows": [64]}}, "trend.weights"),
        ({"trend": {"weights": [0, 0, 0]}}, "trend.weights"),
        ({"trend": {"weights": [1, -1, 1]}}, "trend.weights"),
        ({"trend": {"method": "median"}}, "trend.method"),
        ({"trend": {"method": ["ols"]}}, "trend.method"),
        ({"regime": {"window": 1}}, "regime.window"),
        ({"regime": {"vr_k": 0}}, "regime.vr_k"),
        ({"regime": {"vr_k": 257}}, "regime.vr_k"),
        ({"regime": {"softmax_temp": 0}}, "regime.softmax_temp"),
        ({"regime": {"score": {"a1": None}}}, "regime.score.a1"),
    ],
)
def test_what_is_unknown_or_impossible_is_refused_by_name(override: Any, key: str) -> None:
    """Each wrong override raises a ValueError that begins with the key's full name."""
    with pytest.raises(ValueError, match=rf"^{key} is "):
        MarketState(override)


def test_a_refusal_names_the_true_bounds() -> None:
    """A decay of 1 is refused by a sentence that does not allow it."""
    with pytest.raises(ValueError, match=r"expected a number from 1e-09 to 0\.999999999$"):
        MarketState({"vol": {"ewma_lambda": 1}})


def test_none_and_empty_overrides_are_the_defaults() -> None:
    """No override and an empty one give the defaults."""
    assert MarketState().theta == MarketState({}).theta == MarketState({"vol": {}}).theta == DEFAULT_THETA
