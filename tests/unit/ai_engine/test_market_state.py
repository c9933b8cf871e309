"""What MarketState v1.0 promises: the contract of its output, its formulas by hand, its golden values."""

import copy
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from ai_engine.market_state import DEFAULT_THETA, FIELDS, MarketState, dominant_regime, price_fault
from ai_engine.prices import Floats
from ai_engine.theta import TREND_METHODS
from tests.support.market_state_oracle import assert_equal, flat

STEPS = np.arange(300)
WAVE = 100 + np.sin(STEPS / 7) + 0.01 * STEPS
SPIKED_WAVE = np.where(STEPS == 250, WAVE * 1.2, WAVE)
TREND = 100 * np.exp(0.001 * STEPS)
WALK = 100 * np.exp(np.cumsum(np.random.RandomState(42).randn(300) * 0.01 + 0.002))

GOLDEN: dict[str, tuple[Floats, tuple[float, ...]]] = {
    "constant": (np.full(300, 100.0), (1e-06, 0, 0, 1 / 3, 1 / 3, 1 / 3, 1, 0, 0)),
    "exponential": (
        TREND,
        (0.0009820137252015938, 0.0009999999999999924, 1.018315705084866,
         0.7915484490632003, 0.10327131786765444, 0.10518023306914523, 1, 0, 0),
    ),
    "wave": (
        WAVE,
        (0.0013042958119012142, 7.493338579058577e-05, 0.05745122007553445,
         0.00382248714659412, 0.9924336553303277, 0.003743857523078264,
         0.9529411764705882, 4.790021830577196, 1.6331389070261124),
    ),
    "spiked wave": (
        SPIKED_WAVE,
        (0.0014241720332314048, 6.6117956777797e-05, 0.04642554072723345,
         0.3734505868526074, 0.24671380903676884, 0.3798356041106237,
         0.9450980392156862, 0.2157547706827414, 1.7439313004779933),
    ),
    "seed 42": (
        WALK,
        (0.009670799459574508, 0.0018624133816861847, 0.19258111899422484,
         0.30310201581541923, 0.1297207129198889, 0.5671772712646919,
         0.49411764705882355, 0.7376440626682149, 1.1070986195154193),
    ),
}  # fmt: skip


def state(prices: object, theta: dict[str, object] | None = None) -> dict[str, float]:
    """Compute one state, by the names of the fields."""
    result = MarketState(theta).get_state("BTCUSDT", np.asarray(prices, dtype=float))
    assert result is not None
    return flat(result)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values(name: str) -> None:
    """The locked numbers come out for the locked inputs."""
    prices, expected = GOLDEN[name]
    assert_equal(state(prices), dict(zip(FIELDS, expected, strict=True)))


def test_output_contract() -> None:
    """A state holds exactly the keys the specification names, floats and lists only, and can be written as JSON."""
    result = MarketState().get_state("BTCUSDT", list(WALK))
    assert result is not None
    assert set(result) == {"sigma", "mu", "ts", "regime_probs", "features", "windows", "ts_components"}
    assert result["windows"] == {"returns_n": 256, "trend_windows": [64, 128, 256], "regime_window": 256}
    assert result["ts_components"] == {"mu_abs": abs(result["mu"]), "sigma_used": result["sigma"]}
    assert all(type(value) is float for value in flat(result).values())
    assert json.loads(json.dumps(result)) == result


@pytest.mark.parametrize("name", GOLDEN)
def test_probabilities_sum_to_one(name: str) -> None:
    """The three probabilities sum to 1 on every golden input."""
    result = MarketState().get_state("BTCUSDT", GOLDEN[name][0])
    assert result is not None
    assert math.isclose(sum(result["regime_probs"].values()), 1.0, abs_tol=1e-12)


def test_probability_keys() -> None:
    """The probabilities are named trend, mr and chop."""
    result = MarketState().get_state("BTCUSDT", WALK)
    assert result is not None
    assert set(result["regime_probs"]) == {"trend", "mr", "chop"}


def test_sigma_rises_on_a_spike() -> None:
    """One candle 20 % off makes sigma larger."""
    assert state(SPIKED_WAVE)["sigma"] > state(WAVE)["sigma"]


def test_ts_is_high_on_a_trend() -> None:
    """A steady trend is worth about one sigma a candle."""
    assert state(TREND)["ts"] > 0.9


def test_ts_is_low_in_chop() -> None:
    """Noise around one level has next to no trend strength."""
    chop = 100 + np.random.RandomState(7).randn(300) * 0.1
    assert state(chop)["ts"] < 0.05


def test_trend_probability_dominates_on_a_strong_trend() -> None:
    """A steady trend is called one, with more than half the probability."""
    strong = state(TREND)
    assert strong["p_trend"] > 0.5
    assert strong["p_trend"] == max(strong["p_trend"], strong["p_mr"], strong["p_chop"])


@pytest.mark.parametrize("count", [0, 1, 2, 256])
def test_too_few_prices_give_none(count: int) -> None:
    """Up to 256 prices give no state, 257 do."""
    assert MarketState().get_state("BTCUSDT", WALK[:count]) is None
    assert MarketState().get_state("BTCUSDT", WALK[:257]) is not None


def test_features_are_present_and_in_range() -> None:
    """dp, vr and spike_proxy are there, within the ranges their formulas allow."""
    result = MarketState().get_state("BTCUSDT", WALK)
    assert result is not None
    features = result["features"]
    assert set(features) == {"dp", "vr", "spike_proxy"}
    assert 0 <= features["dp"] <= 1
    assert features["vr"] >= 0
    assert 0 <= features["spike_proxy"] <= 5


def test_theta_override_changes_one_key_and_keeps_the_rest() -> None:
    """An override is merged key by key at every level."""
    market_state = MarketState({"vol": {"sigma_floor": 0.5}, "regime": {"score": {"a1": 2}}})
    result = market_state.get_state("BTCUSDT", WALK)
    assert result is not None
    assert result["sigma"] == 0.5
    assert market_state.theta["vol"]["window"] == 256
    assert market_state.theta["regime"]["score"] == DEFAULT_THETA["regime"]["score"] | {"a1": 2}


def test_three_trend_windows_are_used() -> None:
    """The trend mu is the weighted mean of the three windows' slopes, weights made to sum to 1."""
    single = [state(WALK, {"trend": {"windows": [n], "weights": [1]}})["mu"] for n in (64, 128, 256)]
    assert len(set(single)) == 3
    assert math.isclose(state(WALK)["mu"], 0.5 * single[0] + 0.3 * single[1] + 0.2 * single[2], rel_tol=1e-12)
    assert math.isclose(state(WALK, {"trend": {"weights": [5, 3, 2]}})["mu"], state(WALK)["mu"], rel_tol=1e-12)


def small(**regime: object) -> dict[str, object]:
    """Parameters small enough to follow by hand: 4 returns, 5 prices."""
    return {
        "vol": {"window": 4},
        "trend": {"windows": [4], "weights": [1]},
        "regime": {"window": 4, "vr_k": 2} | regime,
    }


def test_dp_by_hand() -> None:
    """Returns with signs + + 0 − have one equal pair of three."""
    assert state([100, 101, 102, 102, 101], small())["dp"] == pytest.approx(1 / 3)


def test_vr_by_hand() -> None:
    """Returns a, a, −a, −a: 2-sums 2a, 0, −2a with variance 8a²/3, over twice the variance a²."""
    a = 0.01
    prices = 100 * np.exp(a * np.array([0, 1, 2, 1, 0]))
    assert state(prices, small())["vr"] == pytest.approx((8 * a * a / 3) / (2 * a * a + 1e-12), rel=1e-9)


def test_winsorising_tames_an_outlier() -> None:
    """A return of 60 % moves sigma far less than it does without winsorising."""
    outlier = np.where(STEPS >= 295, WALK * 1.8, WALK)
    tamed = state(outlier)["sigma"]
    untamed = state(outlier, {"vol": {"winsor_q": [0, 1]}})["sigma"]
    assert tamed < 0.5 * untamed
    assert tamed < 3 * state(WALK)["sigma"]


@pytest.mark.parametrize("method", TREND_METHODS)
def test_every_trend_method_finds_the_slope_of_a_line(method: str) -> None:
    """On an exact exponential all three methods agree."""
    assert state(TREND, {"trend": {"method": method}})["mu"] == pytest.approx(0.001, rel=1e-9)


def test_min_prices_follows_the_largest_window() -> None:
    """257 with the defaults, else the largest window and one."""
    assert MarketState().min_prices == 257
    assert MarketState({"trend": {"windows": [64, 400, 8]}}).min_prices == 401


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, -math.inf, None])
def test_a_bad_price_is_refused_with_symbol_and_index(bad: float | None) -> None:
    """Nothing is patched over: the error names the symbol and the index, also where the price is older than needed."""
    prices: list[float | None] = [*WALK]
    prices[3] = bad
    with pytest.raises(ValueError, match=r"ETHUSDT.*index 3 "):
        MarketState().get_state("ETHUSDT", prices)
    fault = price_fault(prices)
    assert fault is not None
    assert "index 3 " in fault


@pytest.mark.parametrize("bad", [[[1.0, 2.0]], 5.0, ["x"], [1 + 1j], [10**400]])
def test_what_is_no_sequence_of_numbers_is_refused(bad: list[object]) -> None:
    """Wrong shapes and kinds are a ValueError that names the symbol, and a fault beforehand."""
    with pytest.raises(ValueError, match="ETHUSDT"):
        MarketState().get_state("ETHUSDT", bad)
    assert price_fault(bad) is not None
    assert price_fault(WALK) is None
    assert price_fault([]) is None


def test_get_states_mixes_ready_and_short_symbols() -> None:
    """Many symbols at once give what each gives alone; the short ones None."""
    many = MarketState().get_states({"A": WALK, "B": WAVE[:100], "C": list(WAVE)})
    assert many == {"A": MarketState().get_state("A", WALK), "B": None, "C": MarketState().get_state("C", WAVE)}
    assert MarketState().get_states({}) == {}


def test_replay_equals_get_state_on_every_prefix() -> None:
    """Row i of a replay is the state of the prefix that ends at min_prices − 1 + i, for one history and for many."""
    market_state = MarketState()
    replay = market_state.replay(WALK)
    assert all(len(replay[name]) == 44 and replay[name].dtype == np.float64 for name in FIELDS)
    for row in range(44):
        assert_equal({name: replay[name][row] for name in FIELDS}, state(WALK[: 257 + row]))
    many = market_state.replay({"A": WALK, "B": WAVE[:10]})
    assert all((many["A"][name] == replay[name]).all() and len(many["B"][name]) == 0 for name in FIELDS)
    with pytest.raises(ValueError, match=r"B.*index 1"):
        market_state.replay({"A": WALK, "B": [1, -1]})


def test_dominant_regime_gives_ties_to_chop() -> None:
    """The likeliest regime is named; a tie for the first place is chop."""
    assert dominant_regime({"trend": 0.5, "mr": 0.3, "chop": 0.2}) == "trend"
    assert dominant_regime({"trend": 0.2, "mr": 0.5, "chop": 0.3}) == "mr"
    assert dominant_regime({"trend": 0.4, "mr": 0.4, "chop": 0.2}) == "chop"
    assert dominant_regime({"trend": 1 / 3, "mr": 1 / 3, "chop": 1 / 3}) == "chop"


def test_a_deep_copy_of_the_defaults_is_an_override_to_edit() -> None:
    """The usual way to write an override, copying the defaults and editing them, works and changes nobody else."""
    edited = copy.deepcopy(DEFAULT_THETA)
    assert edited == DEFAULT_THETA
    edited["trend"]["windows"].append(32)
    edited["trend"]["weights"].append(0.1)
    assert MarketState(edited).theta["trend"]["windows"] == [64, 128, 256, 32]
    assert MarketState().theta["trend"]["windows"] == [64, 128, 256]


def test_importing_the_calculator_loads_nothing_that_reaches_outside() -> None:
    """Market state costs no process scipy, and brings no Redis, HTTP or service along."""
    listing = subprocess.run(
        [sys.executable, "-c", "import sys, ai_engine.market_state; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    outside = {"scipy", "redis", "requests", "urllib3", "aiohttp", "websockets", "microservices", "prometheus_client"}
    assert "ai_engine.market_state" in listing
    assert not {name.split(".")[0] for name in listing} & outside
