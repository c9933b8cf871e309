"""No secret that a log, a metric or Redis shows goes into the ledger, and nothing else is taken out."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.record.masking import LINE_MAX_CHARS, LINES_MAX, MASK, fit

EXCHANGE_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"


@pytest.mark.parametrize(
    "text",
    [
        "REDIS_PASSWORD=hunter22",
        "password: hunter22",
        "'password': 'hunter22', 'port': 1",
        '{"api_secret":"hunter22","a":1}',
        "requirepass\nhunter22",
        "--requirepass hunter22",
        "redis://user:hunter22@10.0.0.1:6379/0",
        "redis://:hunter22@10.0.0.1",
        "Authorization: Bearer hunter22x",
        "GET /x?signature=hunter22&symbol=BTCUSDT",
        "X-MBX-APIKEY: hunter22",
        "AUTH hunter22",
        "AUTH user hunter22",
        "BINANCE_API_KEY = hunter22",
        "secret_token='hunter22'",
        "-----BEGIN PRIVATE KEY-----\nhunter22\n-----END PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter22",
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    """The value is gone, that there was one is seen."""
    masked = fit(text, {})
    assert "hunter22" not in masked
    assert MASK in masked


def test_an_exchange_key_is_masked_and_a_digest_is_not() -> None:
    """Both have 64 characters; a digest is one that the ledger is for."""
    assert fit(f"key {EXCHANGE_KEY} used", {}) == f"key {MASK} used"
    assert fit("0123456789abcdef" * 4, {}) == "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "text",
    [
        "cluster_stress\n0.788493010732072\nupdated_ts\n1769492127",
        "p27_corr_ready 1.0",
        'universe_refreshes_total{outcome="published"} 5',
        "2026-11-28T20:00:00+0000 vps quantum-apply-layer[7]: plan p2 BTCUSDT denied: no_permit",
        "author: nobody\nauthored 2 files",
        "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.",
        "client auth failed",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """Evidence that was masked for nothing is none."""
    assert fit(text, {}) == text


def test_the_environments_own_secrets_are_masked_by_any_name(tmp_path: Path) -> None:
    """Values of variables, of files that variables name, and of the credentials' folder."""
    (tmp_path / "file").write_text("from-a-file\n")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "BINANCE_API_SECRET").write_text("from-credentials")
    environment = {
        "REDISCLI_AUTH": "from-environment",
        "REDIS_PASSWORD_FILE": str(tmp_path / "file"),
        "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
        "HOME": "/root/x",
        "API_TOKEN": "1",
    }
    text = "a from-environment b from-a-file c from-credentials /root/x 1"
    assert fit(text, environment) == f"a {MASK} b {MASK} c {MASK} /root/x 1"


@settings(deadline=None)
@given(st.text(max_size=200))
def test_collected_text_is_printable_and_bounded(text: str) -> None:
    """Whatever a tool prints becomes lines that a terminal and an editor show as they are."""
    shown = fit(text * 3, {})
    assert all(line.isprintable() and line == line.rstrip() for line in shown.split("\n"))


def test_long_text_is_cut_and_says_so() -> None:
    """Neither a line nor their number is without a bound, and nothing is cut in silence."""
    assert fit("x" * 1_000_000, {}) == "x" * LINE_MAX_CHARS + "…"
    assert fit("x-" * 500_000, {}) == "x-" * (LINE_MAX_CHARS // 2) + "…"
    assert fit("x\n" * 10_000, {}).split("\n")[LINES_MAX:] == [f"… {10_000 - LINES_MAX} lines more"]
