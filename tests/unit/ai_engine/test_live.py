"""The engine that keeps its state gives what get_state gives, after any number of candles, in any order of symbols."""

import numpy as np
import pytest

from ai_engine import compiled
from ai_engine.market_state import FIELDS, MarketState
from tests.support.market_state_oracle import assert_equal, flat, oracle
from tests.support.price_paths import PATHS, mixed


@pytest.fixture(params=["compiled", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with the compiled code and without it."""
    if request.param == "numpy":
        monkeypatch.setattr(compiled, "library", lambda: None)
    elif compiled.library() is None:
        pytest.skip("the compiled code was not built on this machine: no C compiler at set-up")
    return str(request.param)


def test_pushed_candles_give_what_get_state_gives(way: str) -> None:
    """All kinds of history side by side: every push of every symbol equals get_state on the same closes, to the bit."""
    histories = {name: path(np.random.default_rng(3), 300) for name, path in PATHS.items()}
    market_state = MarketState()
    engine = market_state.live(histories)
    for name, prices in histories.items():
        engine.seed(name, prices[:260])
    for index in range(260, 300):
        states = engine.push({name: float(prices[index]) for name, prices in histories.items()})
        assert states == market_state.get_states({name: prices[: index + 1] for name, prices in histories.items()})


def test_symbols_may_be_short_late_and_pushed_alone(way: str) -> None:
    """None until there are enough closes; each symbol keeps its own time; a new seed begins anew."""
    prices = PATHS["random_walk"](np.random.default_rng(1), 300)
    market_state = MarketState()
    engine = market_state.live(["A", "B", "C"])
    engine.seed("A", prices[:255])
    assert engine.push({"A": prices[255]}) == {"A": None}
    assert engine.push({"A": prices[256], "C": prices[0]}) == {
        "A": market_state.get_state("A", prices[:257]),
        "C": None,
    }
    engine.seed("B", prices[:280])
    pushed = engine.push({"B": prices[280], "A": prices[257]})
    assert pushed == {
        "B": market_state.get_state("B", prices[:281]),
        "A": market_state.get_state("A", prices[:258]),
    }
    engine.seed("A", prices[20:299])
    assert engine.push({"A": prices[299]}) == {"A": market_state.get_state("A", prices[20:300])}
    assert engine.push({}) == {}


@pytest.mark.parametrize("method", ["ols", "huber"])
def test_the_other_trend_methods_are_served_too(method: str) -> None:
    """An engine with another trend method gives get_state's numbers."""
    prices = PATHS["spiked"](np.random.default_rng(1), 270)
    market_state = MarketState({"trend": {"method": method}})
    engine = market_state.live(["A"])
    engine.seed("A", prices[:269])
    assert engine.push({"A": prices[269]}) == {"A": market_state.get_state("A", prices)}


def test_a_faulty_push_is_refused_whole() -> None:
    """One bad close or unknown symbol: an error that names it, and no symbol has moved."""
    prices = PATHS["random_walk"](np.random.default_rng(1), 300)
    engine = MarketState().live(["A", "B"])
    for symbol in ("A", "B"):
        engine.seed(symbol, prices[:299])
    for bad in ({"A": 1.0, "B": 0.0}, {"A": 1.0, "B": float("nan")}, {"A": 1.0, "B": "x"}, {"A": 1.0, "X": 1.0}):
        with pytest.raises(ValueError, match=r"^[BX]"):
            engine.push(bad)  # type: ignore[arg-type]  # what a careless caller passes
    assert engine.push({"A": prices[299]}) == {"A": MarketState().get_state("A", prices)}
    with pytest.raises(ValueError, match=r"B.*index 2"):
        engine.seed("B", [1, 2, -3])
    with pytest.raises(ValueError, match="X"):
        engine.seed("X", prices)
    with pytest.raises(ValueError, match="twice"):
        MarketState().live(["A", "A"])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PATHS, "mixed"])
def test_no_drift_after_a_hundred_thousand_candles(name: str) -> None:
    """After 100,000 incremental steps of every kind of history the states are the oracle's still."""
    if compiled.library() is None:
        pytest.skip("without the compiled code nothing is incremental: every window is evaluated anew")
    count = 100_000
    path = PATHS.get(name, mixed)
    prices = np.clip(path(np.random.default_rng(11), count + 256), 1e-7, 1e7)
    replay = MarketState().replay(prices)
    sampled = np.random.default_rng(0).choice(count, 60, replace=False)
    for row in [*sampled.tolist(), 0, count - 1]:
        assert_equal({field: replay[field][row] for field in FIELDS}, oracle(prices[row : row + 257]))


@pytest.mark.slow
def test_a_live_engine_does_not_drift_either() -> None:
    """Twelve kinds of history pushed 20,000 times one candle at a time end on the oracle's numbers."""
    histories = {name: np.clip(path(np.random.default_rng(4), 20_300), 1e-7, 1e7) for name, path in PATHS.items()}
    engine = MarketState().live(histories)
    for name, prices in histories.items():
        engine.seed(name, prices[:300])
    for index in range(300, 20_300):
        columns, ready = engine.push_columns({name: prices[index] for name, prices in histories.items()})
        if index % 2_000 == 299:
            assert all(ready)
            for lane, prices in enumerate(histories.values()):
                expected = oracle(prices[index - 256 : index + 1])
                assert_equal({field: columns[field][lane] for field in FIELDS}, expected)
    final = engine.push({name: prices[-1] for name, prices in histories.items()})
    for name, prices in histories.items():
        state = final[name]
        assert state is not None
        assert_equal(flat(state), oracle(np.append(prices[-256:], prices[-1])))
