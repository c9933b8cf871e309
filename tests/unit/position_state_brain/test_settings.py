"""The settings: defaults as documented, and what is refused."""

from decimal import Decimal
from pathlib import Path

import pytest

from microservices.contracts.control import Mode
from microservices.position_state_brain.settings import AllowlistSource, Settings
from microservices.runtime import SettingError, load_settings

KEYS = {"BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s"}


def loaded(**changes: str) -> Settings:
    """Settings of an environment."""
    return load_settings(Settings, KEYS | changes)


def test_the_defaults_are_the_documented_ones() -> None:
    """Whoever sets only the keys gets these."""
    settings = loaded()
    assert settings.p33_allowlist_source is AllowlistSource.UNIVERSE
    assert settings.p33_universe_key_active == "quantum:cfg:universe:active"
    assert (settings.p33_universe_max_age_s, settings.p33_allowlist_refresh_s) == (300, 60)
    assert settings.p33_allowlist == ()
    assert (settings.p33_poll_sec, settings.p33_stale_threshold_sec) == (5, 10)
    assert (settings.p33_permit_ttl, settings.p33_plan_max_age_s) == (60, 60)
    assert (settings.p33_ondemand_snapshot, settings.p33_dry_run) == (True, False)
    assert (settings.trading_mode, settings.metrics_port) == (Mode.TESTNET, 8045)
    assert settings.base_url == "https://testnet.binancefuture.com"
    assert settings.state_path.is_relative_to(Path.home())


def test_the_evaluations_limits_are_in_milliseconds() -> None:
    """As everything else it compares."""
    limits = loaded(P33_COOLDOWN_SEC="1.5", P33_QTY_TOLERANCE_PCT="0.5", P33_EXIT_WITHOUT_ALLOWLIST="true").limits
    assert (limits.plan_max_age_ms, limits.snapshot_max_age_ms, limits.cooldown_ms) == (60_000, 10_000, 1_500)
    assert limits.qty_tolerance_pct == Decimal("0.5")
    assert limits.exit_without_allowlist


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("P33_POLL_SEC", "10"),
        ("P33_POLL_SEC", "0.5"),
        ("P33_QTY_TOLERANCE_PCT", "-1"),
        ("P33_QTY_TOLERANCE_PCT", "101"),
        ("P33_QTY_TOLERANCE_PCT", "NaN"),
        ("P33_ALLOWLIST_SOURCE", "redis"),
        ("P33_PERMIT_TTL", "0"),
        ("BINANCE_FUTURES_BASE_URL", "https://fapi.binance.com"),
        ("BINANCE_FUTURES_BASE_URL", "ftp://x"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, value: str) -> None:
    """A poll slower than the staleness limit would deny everything; a mainnet host never belongs to testnet."""
    with pytest.raises(SettingError) as refused:
        loaded(**{name: value})
    assert str(refused.value).startswith(f"{name}=")


@pytest.mark.parametrize("name", KEYS)
def test_the_keys_are_needed(name: str) -> None:
    """Without them nobody knows the account."""
    with pytest.raises(SettingError, match=name):
        load_settings(Settings, {key: value for key, value in KEYS.items() if key != name})


def test_lists_and_paper() -> None:
    """The third tier's symbols, and a paper exchange of the operator's own."""
    settings = loaded(
        TRADING_MODE="paper", BINANCE_FUTURES_BASE_URL="http://127.0.0.1:9", P33_ALLOWLIST="BTCUSDT, ETHUSDT"
    )
    assert settings.p33_allowlist == ("BTCUSDT", "ETHUSDT")
    assert settings.base_url == "http://127.0.0.1:9"
    assert loaded(STATE_DIRECTORY="/var/lib/x").state_path == Path("/var/lib/x")
