"""MarketState on recorded candles, where there are any: QUANTUM_RECORDED_DATA or ../shared/data beside the checkout."""

from pathlib import Path

import numpy as np
import pytest

from ai_engine.market_state import FIELDS, MarketState
from tests.support.market_state_oracle import assert_equal, flat, oracle
from tests.support.recorded import FILES, FOLDER, histories

ENOUGH = 300

pytestmark = pytest.mark.skipif(not FILES, reason=f"no recorded candles in {FOLDER}")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_replay_equals_get_state_and_the_oracle_on_real_candles(path: Path) -> None:
    """At sampled candles of every recording the replay, get_state and the oracle agree, all fields to 1e-9."""
    for closes in list(histories(path, ENOUGH).values())[:20]:
        window = closes[:2_000]
        replay = MarketState().replay(window)
        rows = np.linspace(0, len(window) - 257, 4).astype(int)
        for row in rows.tolist():
            replayed = {field: replay[field][row] for field in FIELDS}
            state = MarketState().get_state(path.name, window[: row + 257])
            assert state is not None
            assert flat(state) == replayed
            assert_equal(replayed, oracle(window[row : row + 257]))


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_live_engine_agrees_over_a_whole_recording(path: Path) -> None:
    """Pushed through its last 1,000 candles after a replay of everything, the live engine gives the replay's rows."""
    for name, closes in histories(path, ENOUGH).items():
        replay = MarketState().replay(closes)
        start = max(257, len(closes) - 1_000)
        engine = MarketState().live([name])
        engine.seed(name, closes[:start])
        for index in range(start, len(closes)):
            columns, _ = engine.push_columns({name: closes[index]})
            assert all(columns[field][0] == replay[field][index - 256] for field in FIELDS)
