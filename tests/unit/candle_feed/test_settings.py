"""The feed's variables, and what is refused."""

import pytest

from microservices.candle_feed.settings import Settings
from microservices.contracts.control import Mode
from microservices.runtime import SettingError, load_settings


def test_defaults_are_the_documented_ones() -> None:
    """Without any variable it keeps 1,500 candles of the testnet's universe at half of the exchange's weight."""
    settings = load_settings(Settings, {})
    assert (settings.candles_symbols, settings.candles_keep, settings.candles_weight_per_min) == ((), 1500, 1200)
    assert (settings.trading_mode, settings.base_url) == (Mode.TESTNET, "https://testnet.binancefuture.com")
    assert settings.stream_url == "wss://fstream.binancefuture.com/market"
    assert settings.metrics_port == 8042


def test_variables_are_read() -> None:
    """Every variable arrives."""
    settings = load_settings(
        Settings,
        {
            "CANDLES_SYMBOLS": "BTCUSDT, ETHUSDT",
            "CANDLES_KEEP": "300",
            "CANDLES_WEIGHT_PER_MIN": "100000",
            "TRADING_MODE": "paper",
            "BINANCE_FUTURES_BASE_URL": "http://127.0.0.1:1234",
            "BINANCE_FUTURES_WS_URL": "ws://127.0.0.1:1234",
            "CANDLES_METRICS_PORT": "0",
        },
    )
    assert settings.candles_symbols == ("BTCUSDT", "ETHUSDT")
    assert (settings.base_url, settings.metrics_port) == ("http://127.0.0.1:1234", 0)
    assert settings.stream_url == "ws://127.0.0.1:1234", "the old form, without a path"


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"CANDLES_KEEP": "299"}, "CANDLES_KEEP"),
        ({"CANDLES_KEEP": "many"}, "CANDLES_KEEP"),
        ({"CANDLES_WEIGHT_PER_MIN": "9"}, "CANDLES_WEIGHT_PER_MIN"),
        ({"CANDLES_WEIGHT_PER_MIN": "2401"}, "CANDLES_WEIGHT_PER_MIN"),
        ({"TRADING_MODE": "live"}, "TRADING_MODE"),
        ({"BINANCE_FUTURES_BASE_URL": "https://fapi.binance.com"}, "BINANCE_FUTURES_BASE_URL"),
        ({"TRADING_MODE": "paper", "BINANCE_FUTURES_BASE_URL": "https://fapi.binance.com"}, "BINANCE_FUTURES_BASE_URL"),
        ({"TRADING_MODE": "mainnet", "BINANCE_FUTURES_BASE_URL": "http://127.0.0.1:1"}, "BINANCE_FUTURES_BASE_URL"),
        ({"BINANCE_FUTURES_WS_URL": "wss://fstream.binance.com/market"}, "BINANCE_FUTURES_WS_URL"),
        ({"BINANCE_FUTURES_WS_URL": "wss://fstream.binancefuture.com/private"}, "BINANCE_FUTURES_WS_URL"),
    ],
)
def test_refused(environ: dict[str, str], name: str) -> None:
    """A value out of bounds, a mode that is none and a host of another mode are refused by the variable's name."""
    with pytest.raises(SettingError, match=rf"\A{name}="):
        load_settings(Settings, environ)
