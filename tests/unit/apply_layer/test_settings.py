"""The apply layer's settings: what is refused at start, in one line."""

from decimal import Decimal
from pathlib import Path

import pytest

from microservices.apply_layer.settings import ApplyMode, Settings
from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate
from microservices.runtime import SettingError, load_settings

KEYS = {"BINANCE_API_KEY": "key", "BINANCE_API_SECRET": "secret"}
MAINNET = {"TRADING_MODE": "mainnet", "APPLY_MODE": "mainnet"}


def test_without_a_word_nothing_is_ever_sent() -> None:
    """The defaults are those of the spec: testnet, dry run, all three gates for opens, p33 for exits."""
    settings = load_settings(Settings, KEYS)
    assert (settings.trading_mode, settings.apply_mode, settings.is_dry_run) == (Mode.TESTNET, ApplyMode.DRY_RUN, True)
    assert settings.apply_gates_open == (Gate.GOVERNOR, Gate.P26, Gate.P33)
    assert settings.apply_gates_exit == (Gate.P33,)
    assert (settings.apply_max_notional_usdt, settings.apply_max_positions) == (Decimal(200), 10)
    assert (settings.apply_permit_wait_ms, settings.apply_exit_wait_ms) == (1200, 15_000)
    assert (settings.apply_plan_max_age_s, settings.apply_workers, settings.apply_order_timeout_ms) == (60, 8, 10_000)
    assert (settings.apply_stream_keep_h, settings.metrics_port) == (48, 8043)
    assert settings.base_url == "https://testnet.binancefuture.com"
    assert settings.state_path == Path.home() / ".local/state/quantum-apply-layer"


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"BINANCE_API_KEY": ""}, "BINANCE_API_KEY"),
        ({"BINANCE_API_SECRET": ""}, "BINANCE_API_SECRET"),
        ({"APPLY_MODE": "live"}, "APPLY_MODE"),
        ({"APPLY_MODE": "mainnet"}, "APPLY_MODE"),
        ({"APPLY_MODE": "paper"}, "APPLY_MODE"),
        ({"TRADING_MODE": "paper", "APPLY_MODE": "testnet"}, "APPLY_MODE"),
        (MAINNET, "APPLY_CONFIRM_MAINNET"),
        (MAINNET | {"APPLY_CONFIRM_MAINNET": "i_understand"}, "APPLY_CONFIRM_MAINNET"),
        ({"APPLY_GATES_EXIT": "governor"}, "APPLY_GATES_EXIT"),
        ({"APPLY_GATES_OPEN": "p34"}, "APPLY_GATES_OPEN"),
        ({"APPLY_MAX_NOTIONAL_USDT": "0"}, "APPLY_MAX_NOTIONAL_USDT"),
        ({"APPLY_MAX_NOTIONAL_USDT": "nan"}, "APPLY_MAX_NOTIONAL_USDT"),
        ({"APPLY_MAX_POSITIONS": "0"}, "APPLY_MAX_POSITIONS"),
        ({"APPLY_WORKERS": "0"}, "APPLY_WORKERS"),
        ({"APPLY_PERMIT_WAIT_MS": "1.5"}, "APPLY_PERMIT_WAIT_MS"),
        ({"BINANCE_FUTURES_BASE_URL": "https://fapi.binance.com"}, "BINANCE_FUTURES_BASE_URL"),
        ({"TRADING_MODE": "paper", "BINANCE_FUTURES_BASE_URL": "http://10.0.0.1:8060"}, "BINANCE_FUTURES_BASE_URL"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line_that_names_it(variables: dict[str, str], name: str) -> None:
    """Every contradiction that could send an order to the wrong place, or none at all, stops the start."""
    with pytest.raises(SettingError) as refusal:
        load_settings(Settings, KEYS | variables)
    assert refusal.value.name == name
    assert str(refusal.value).startswith(f"{name}='")
    assert "\n" not in str(refusal.value)
    assert "secret" not in str(refusal.value).replace("(a secret)", "")


def test_mainnet_is_confirmed_by_exactly_one_word() -> None:
    """Real money needs two settings that say so."""
    settings = load_settings(Settings, KEYS | MAINNET | {"APPLY_CONFIRM_MAINNET": "I_UNDERSTAND"})
    assert settings.apply_mode is ApplyMode.MAINNET
    assert not settings.is_dry_run


def test_a_dry_run_on_mainnet_needs_no_confirmation() -> None:
    """It sends nothing."""
    assert load_settings(Settings, KEYS | {"TRADING_MODE": "mainnet"}).is_dry_run


def test_a_mainnet_that_leaves_out_gates_starts_and_says_so_by_its_results() -> None:
    """Exits must go on there: each open is refused by itself (`gate_not_configured`)."""
    confirmed = MAINNET | {"APPLY_CONFIRM_MAINNET": "I_UNDERSTAND", "APPLY_GATES_OPEN": "p33"}
    assert load_settings(Settings, KEYS | confirmed).apply_gates_open == (Gate.P33,)
