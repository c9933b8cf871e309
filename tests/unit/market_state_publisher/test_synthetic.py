"""The synthetic market: the same for a symbol everywhere, different between symbols, growing by the minute."""

import subprocess
import sys

import numpy as np

from microservices.market_state_publisher.synthetic import SyntheticMarket

NOW = 1_800_000_000.0


def test_a_symbol_has_the_same_prices_in_every_process() -> None:
    """The seed is a stable hash: another process with another hash seed makes the same prices."""
    program = (
        "from microservices.market_state_publisher.synthetic import SyntheticMarket;"
        f"print(SyntheticMarket(300).closes('BTCUSDT', {NOW}).closes.tolist())"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == str(SyntheticMarket(300).closes("BTCUSDT", NOW).closes.tolist())


def test_symbols_differ_and_prices_are_usable() -> None:
    """Two symbols never share a path; every price is finite and above 0."""
    market = SyntheticMarket(300)
    first, second = (market.closes(symbol, NOW).closes for symbol in ("BTCUSDT", "ETHUSDT"))
    assert len(first) == len(second) == 300
    assert not np.allclose(first, second)
    assert (first > 0).all()
    assert np.isfinite(first).all()


def test_the_window_moves_by_one_close_a_minute() -> None:
    """A minute later the window is the old one shifted by one; an hour later by sixty; backwards it stands still."""
    market = SyntheticMarket(300)
    first = market.closes("BTCUSDT", NOW)
    second = market.closes("BTCUSDT", NOW + 60)
    assert (second.closes[:-1] == first.closes[1:]).all()
    assert second.close_epoch == first.close_epoch + 60 == 1_800_000_060
    assert (market.closes("BTCUSDT", NOW).closes == second.closes).all()
    later = market.closes("BTCUSDT", NOW + 3660)
    assert (later.closes[:-60] == second.closes[60:]).all()
    assert len(market.closes("BTCUSDT", NOW + 10_000_000).closes) == 300
