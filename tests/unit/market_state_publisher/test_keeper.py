"""The keeper's states are get_states' on the same closes, whatever happened to the closes between two cycles."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_engine.market_state import MarketState
from microservices.market_state_publisher.keeper import Closes, StateKeeper
from tests.support.price_paths import PATHS

WINDOW = 300
PATH = PATHS["random_walk"](np.random.default_rng(1), 2_000)
MARKET_STATE = MarketState()


def window(end: int, length: int = WINDOW) -> Closes:
    """Cut the closes that end before this index."""
    return PATH[end - length : end].copy()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["next", "same", "skip", "correct", "short", "away", "new symbol"]), max_size=8))
def test_states_are_those_of_the_closes_whatever_happened(events: list[str]) -> None:
    """New, unchanged, skipped and corrected candles, shorter windows, absent and new symbols: always get_states."""
    keeper, symbols, end = StateKeeper(MARKET_STATE), ["A", "B"], 400
    for event in ["next", *events]:
        end += {"next": 1, "skip": 5}.get(event, 0)
        symbols += ["C"] if event == "new symbol" and "C" not in symbols else []
        closes = {symbol: window(end + 100 * lane) for lane, symbol in enumerate(symbols)}
        if event == "correct":
            closes["A"][-10] *= 1.001
        if event == "short":
            closes["B"] = closes["B"][-MARKET_STATE.min_prices :]
        if event == "away":
            del closes["A"]
        assert keeper.states(closes, symbols) == MARKET_STATE.get_states(closes)


def test_closes_corrected_in_place_are_seen() -> None:
    """A caller that corrects an old close in the array it handed over gets the corrected state, not a mixture."""
    keeper = StateKeeper(MARKET_STATE)
    closes = window(400)
    keeper.states({"A": closes}, ["A"])
    closes[-10] *= 1.001
    assert keeper.states({"A": closes}, ["A"]) == MARKET_STATE.get_states({"A": closes})


def test_a_symbol_that_left_is_forgotten() -> None:
    """When the universe drops a symbol its state is gone; when it returns it is begun anew."""
    keeper = StateKeeper(MARKET_STATE)
    keeper.states({"A": window(400), "B": window(500)}, ["A", "B"])
    assert set(keeper.states({"A": window(401)}, ["A"])) == {"A"}
    closes = {"A": window(402), "B": window(502)}
    assert keeper.states(closes, ["A", "B"]) == MARKET_STATE.get_states(closes)
    assert keeper.states({}, []) == {}
