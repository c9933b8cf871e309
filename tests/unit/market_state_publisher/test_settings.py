"""The publisher's environment: defaults, and one line for whatever cannot be."""

import pytest

from microservices.contracts.market_state import Source
from microservices.market_state_publisher.settings import Settings
from microservices.runtime import SettingError, load_settings


def load(**environ: str) -> Settings:
    """Read settings from these variables alone."""
    return load_settings(Settings, environ)


def test_defaults_are_the_specification_s() -> None:
    """An empty environment gives the documented values."""
    settings = load()
    assert settings.marketstate_symbols == ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    assert (settings.marketstate_publish_interval, settings.marketstate_window_size) == (60, 300)
    assert (settings.marketstate_source, settings.marketstate_max_age_sec) == (Source.CANDLES, 180)
    assert not settings.metrics_port
    assert not settings.follows_universe
    assert settings.theta == {}
    assert load(MARKETSTATE_SYMBOLS="universe").follows_universe


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MARKETSTATE_PUBLISH_INTERVAL", "0"),
        ("MARKETSTATE_WINDOW_SIZE", "256"),
        ("MARKETSTATE_WINDOW_SIZE", "1501"),
        ("MARKETSTATE_SOURCE", "mixed"),
        ("MARKETSTATE_MAX_AGE_SEC", "0"),
        ("MARKETSTATE_SYMBOLS", "BTCUSDT,universe"),
        ("MARKETSTATE_THETA_OVERRIDE", "{"),
        ("MARKETSTATE_THETA_OVERRIDE", "[]"),
        ("MARKETSTATE_THETA_OVERRIDE", '{"vol": {"windw": 3}}'),
        ("MARKETSTATE_THETA_OVERRIDE", '{"eps": 0}'),
        ("MARKETSTATE_LOG_LEVEL", "LOUD"),
        ("MARKETSTATE_REDIS_PORT", "0"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(name: str, value: str) -> None:
    """The line begins with the variable and its value."""
    with pytest.raises(SettingError) as refused:
        load(**{name: value})
    assert str(refused.value).startswith(f"{name}='{value}': allowed is ")
    assert "\n" not in str(refused.value)


def test_a_larger_theta_needs_a_larger_window() -> None:
    """What one state needs follows the parameters."""
    theta = '{"vol": {"window": 500}}'
    with pytest.raises(SettingError, match="501 or more"):
        load(MARKETSTATE_THETA_OVERRIDE=theta)
    settings = load(MARKETSTATE_THETA_OVERRIDE=theta, MARKETSTATE_WINDOW_SIZE="501")
    assert settings.theta == {"vol": {"window": 500}}


def test_own_redis_variables_override_the_common_ones() -> None:
    """Set, the publisher's own host, port and db count; unset, the common ones."""
    common = {"REDIS_HOST": "10.0.0.1", "REDIS_PORT": "7000", "REDIS_DB": "1"}
    settings = load(**common)
    assert (settings.redis_host, settings.redis_port, settings.redis_db) == ("10.0.0.1", 7000, 1)
    settings = load(**common, MARKETSTATE_REDIS_PORT="7001", MARKETSTATE_REDIS_DB="0")
    assert (settings.redis_host, settings.redis_port, settings.redis_db) == ("10.0.0.1", 7001, 0)
    settings = load(REDIS_URL="redis://10.0.0.9/3", MARKETSTATE_REDIS_HOST="10.0.0.2")
    assert (settings.redis_url, settings.redis_host) == ("", "10.0.0.2")
    with pytest.raises(SettingError, match="MARKETSTATE_REDIS_DB"):
        load(REDIS_URL="redis://10.0.0.9/3", MARKETSTATE_REDIS_DB="2")


def test_own_log_level_overrides_the_common_one() -> None:
    """Set, it counts; unset, the common one."""
    assert load(LOG_LEVEL="ERROR").log_level == "ERROR"
    assert load(LOG_LEVEL="ERROR", MARKETSTATE_LOG_LEVEL="DEBUG").log_level == "DEBUG"
