"""The environment of decision intelligence."""

import pytest

from microservices.decision_intelligence.settings import Settings
from microservices.runtime import SettingError, load_settings


def test_the_defaults_are_the_documented_ones() -> None:
    """An empty environment is a working one."""
    settings = load_settings(Settings, {})
    assert (settings.p35_batch_size, settings.p35_block_ms, settings.p35_claim_idle_ms) == (1000, 1000, 60_000)
    assert (settings.p35_max_reasons, settings.p35_max_symbol_reasons) == (100, 400)
    assert settings.p35_snapshot_interval_sec == 60
    assert settings.enable_symbol_breakdown is True
    assert settings.metrics_port == 8049


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("P35_BATCH_SIZE", "0"),
        ("P35_BATCH_SIZE", "many"),
        ("P35_BLOCK_MS", "5000"),
        ("P35_SNAPSHOT_INTERVAL_SEC", "0.5"),
        ("P35_SNAPSHOT_INTERVAL_SEC", "nan"),
        ("P35_CLAIM_IDLE_MS", "1"),
        ("P35_MAX_REASONS", "-1"),
        ("P35_METRICS_PORT", "65536"),
        ("P35_INSTANCE", "a b"),
        ("ENABLE_SYMBOL_BREAKDOWN", "perhaps"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str) -> None:
    """One line: the variable, what it was, what is allowed."""
    with pytest.raises(SettingError, match=f"^{name}='{value}': allowed is "):
        load_settings(Settings, {name: value})
