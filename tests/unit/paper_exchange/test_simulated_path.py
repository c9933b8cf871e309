"""The simulated market: the same whenever and however it is asked, sound, and of more than one mood."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microservices.paper_exchange.builtin_market import BASE_PRICES, builtin_exchange_info
from microservices.paper_exchange.instruments import ExchangeInfo
from microservices.paper_exchange.noise import normals, stream_key, uniforms
from microservices.paper_exchange.simulated_path import (
    FIRST_MINUTE,
    PHASE_MINUTES,
    Regime,
    SimulatedPath,
    plausible_base_price,
)

INFO = ExchangeInfo(builtin_exchange_info())
NOW = 30_000_000  # 2027-01-15 08:00 UTC in minutes


def path_of(symbol: str, seed: int = 1) -> SimulatedPath:
    """A path of the built-in market."""
    return SimulatedPath(seed, INFO.instruments[symbol], float(BASE_PRICES[symbol]))


@settings(max_examples=40)
@given(st.integers(FIRST_MINUTE, NOW), st.integers(1, 1200), st.data())
def test_a_minute_has_one_candle_however_it_is_asked_for(first: int, count: int, data: st.DataObject) -> None:
    """The candle of a minute does not depend on the range, nor on what was asked before."""
    whole = path_of("ETHUSDT").candles(first, count)
    begin = data.draw(st.integers(0, count - 1))
    part = path_of("ETHUSDT").candles(first + begin, count - begin)
    for name in ("opens", "highs", "lows", "closes", "volume"):
        assert (getattr(whole, name)[begin:] == getattr(part, name)).all(), name


@pytest.mark.parametrize("symbol", ["BTCUSDT", "XRPUSDT", "1000PEPEUSDT"])
def test_candles_join_and_enclose(symbol: str) -> None:
    """Every candle opens where the one before closed, and its extremes enclose both, over phases and seasons."""
    candles = path_of(symbol).candles(NOW, 40_000)
    assert (candles.opens[1:] == candles.closes[:-1]).all()
    assert (candles.highs >= np.maximum(candles.opens, candles.closes)).all()
    assert (candles.lows <= np.minimum(candles.opens, candles.closes)).all()
    assert (candles.lows > 0).all()
    assert (candles.volume > 0).all()


def test_prices_stay_near_their_base_for_ever() -> None:
    """Twenty years of every built-in symbol: no day comes on which a quantity's worth surprises."""
    for symbol, base in BASE_PRICES.items():
        path, instrument = path_of(symbol), INFO.instruments[symbol]
        first_minutes = range(NOW, NOW + 20 * 525_600, 150 * PHASE_MINUTES)
        opens = [int(path.candles(minute, 1).opens[0]) for minute in first_minutes]
        ratios = np.array(opens) / 10.0**instrument.price_decimals / float(base)
        assert 0.7 < ratios.min() < 0.9, symbol
        assert 1.1 < ratios.max() < 1.4, symbol


def test_prices_are_plausible_and_on_the_tick() -> None:
    """A year of every built-in symbol stays near its base, in ticks, and moves like a market."""
    for symbol, instrument in INFO.instruments.items():
        path, base = path_of(symbol), BASE_PRICES[symbol]
        sampled = np.concatenate([path.candles(NOW - 525_600 + i * 17_520, 10).closes for i in range(30)])
        prices = [Decimal(int(units)).scaleb(-instrument.price_decimals) for units in sampled]
        assert all(
            base * Decimal("0.7") < price < base * Decimal("1.4") and price % instrument.tick == 0 for price in prices
        ), symbol
        day = path.candles(NOW, 1_440)
        sigma = np.diff(np.log(day.closes.astype(float))).std()
        assert 1e-4 < sigma < 3e-3, symbol


def test_another_seed_or_symbol_is_another_market() -> None:
    """Seeds and symbols do not share their noise."""
    one, other = path_of("BTCUSDT").candles(NOW, 100), path_of("BTCUSDT", seed=2).candles(NOW, 100)
    assert (one.closes != other.closes).any()
    btc, eth = (np.diff(np.log(path_of(symbol).candles(NOW, 5_000).closes)) for symbol in ("BTCUSDT", "ETHUSDT"))
    assert abs(np.corrcoef(btc, eth)[0, 1]) < 0.1


def test_moods_change_over_time_and_differ_between_symbols() -> None:
    """Each symbol goes through all regimes, and at any one moment the symbols are in different ones."""
    path = path_of("SOLUSDT")
    assert {path.regime(NOW + i * PHASE_MINUTES) for i in range(40)} == set(Regime)
    assert {path_of(symbol).regime(NOW) for symbol in INFO.instruments} == set(Regime)


def test_moods_show_in_the_figures_that_tell_them_apart() -> None:
    """A trend moves more than its noise, swings keep their direction for minutes, chop does neither."""
    trend, persistence = dict[Regime, list[float]](), dict[Regime, list[float]]()
    for symbol in INFO.instruments:
        path = path_of(symbol)
        for start in range(NOW, NOW + 6 * PHASE_MINUTES, 60):
            regime = path.regime(start)
            if path.regime(start + 255) is not regime or path.regime(start + 100) is not regime:
                continue
            returns = np.diff(np.log(path.candles(start, 256).closes))
            trend.setdefault(regime, []).append(abs(returns.mean()) / returns.std())
            persistence.setdefault(regime, []).append(float(np.corrcoef(returns[1:], returns[:-1])[0, 1]))
    typical = {regime: (np.median(trend[regime]), np.median(persistence[regime])) for regime in Regime}
    assert typical[Regime.TREND][0] > 0.3 > 3 * typical[Regime.CHOP][0]
    assert typical[Regime.SWINGS][1] > 0.4
    assert abs(typical[Regime.CHOP][1]) < 0.2


def test_an_unknown_symbol_gets_a_price_inside_its_filters() -> None:
    """A contract of which only the filters are known is quoted in thousands of ticks."""
    for instrument in INFO.instruments.values():
        price = plausible_base_price(7, instrument)
        assert 2_000 <= price / float(instrument.tick) <= 40_000
        assert instrument.min_price < price < instrument.max_price


def test_noise_is_what_it_says() -> None:
    """The hashed numbers are uniform and normal enough, and one place's do not tell the next's."""
    counters = np.arange(100_000)
    flat, bell = uniforms(stream_key(1, "a"), counters), normals(stream_key(1, "b"), counters)
    assert abs(flat.mean() - 0.5) < 0.005
    assert 0 < flat.min() < flat.max() < 1
    assert abs(bell.mean()) < 0.02
    assert abs(bell.std() - 1) < 0.02
    assert abs(np.corrcoef(bell[1:], bell[:-1])[0, 1]) < 0.01
    assert stream_key(1, "a", "b") != stream_key(1, "ab")
