"""Recorded answers of the real exchange, and of others, each accepted or refused as it must be."""

import re

import pytest

from microservices.universe_service.filters import AnswerRejected, Selection, select
from tests.support.exchange_info import recorded

PATTERN = re.compile(r"^[A-Z0-9]{3,20}USDT$")


def read(body: bytes) -> Selection:
    """Select with the default settings."""
    return select(body, pattern=PATTERN, max_symbols=800, asof_epoch=1_800_000_000)


@pytest.mark.parametrize(
    ("file_name", "listed", "dropped", "perpetuals"),
    [
        ("mainnet_20210417_cryptofeed_fapi_exchangeInfo.json.gz", 108, 2, 110),
        ("mainnet_20210906_rezbot_fapi_exchangeInfo.json.gz", 122, 8, 130),
        ("mainnet_202312_himanshu_fapi_exchangeInfo_reserialised.json.gz", 236, 4, 240),
        ("mainnet_20241002_eddysan_fapi_exchangeInfo.json.gz", 286, 38, 342),
        ("testnet_20220219_nautilus_fapi_exchangeInfo_3symbols.json", 2, 0, 2),
        ("testnet_20250109_furnace_fapi_exchangeInfo.json.gz", 337, 41, 405),
        ("testnet_20250306_baouih_fapi_exchangeInfo.json.gz", 353, 50, 432),
        ("testnet_20251017_alphadogs_fapi_exchangeInfo.json.gz", 469, 73, 614),
        ("testnet_20251022_alphadogs_fapi_exchangeInfo.json.gz", 469, 74, 617),
        ("testnet_20251028_alphadogs_fapi_exchangeInfo.json.gz", 471, 76, 621),
        ("testnet_20251029_alphadogs_fapi_exchangeInfo.json.gz", 472, 77, 623),
        ("testnet_20251110_alphadogs_fapi_exchangeInfo.json.gz", 472, 78, 630),
        ("testnet_20251126_alphadogs_fapi_exchangeInfo.json.gz", 473, 79, 638),
    ],
)
def test_the_exchanges_own_answers_become_lists(file_name: str, listed: int, dropped: int, perpetuals: int) -> None:
    """Counted by hand from the files; from October 2025 on one perpetual has no tick size yet, and no rules here."""
    selection = read(recorded(file_name))
    assert (len(selection.symbols), selection.dropped, len(selection.instruments)) == (listed, dropped, perpetuals)


@pytest.mark.parametrize(
    ("file_name", "says"),
    [
        ("broken_pythonrepr_mainnet_20241002_eddysan_fapi_exchangeInfo.json.gz", "not JSON"),
        ("wrongendpoint_dapi_coinm_20210721_cryptofeed_exchangeInfo.json.gz", "36 of 36 entries without usable fields"),
        ("wrongexchange_bybit_20250910_haroon_instruments.json.gz", "not an object with a symbols list"),
        ("mainnet_20260730_earth10_symbolstatus_derived.json.gz", "not an object with a symbols list"),
        ("mainnet_20260801_earth10_symbolstatus_derived.json.gz", "not an object with a symbols list"),
        ("mainnet_20241024_freqtrade_binance_leverage_tiers.json.gz", "not an object with a symbols list"),
    ],
)
def test_what_is_no_answer_of_this_market_is_refused(file_name: str, says: str) -> None:
    """Python's own notation, COIN-M, another exchange, lists derived by somebody, leverage brackets."""
    with pytest.raises(AnswerRejected, match=says):
        read(recorded(file_name))


def test_names_in_other_scripts_and_short_names_are_left_out_and_counted() -> None:
    """The newest recorded answer has all the odd ones."""
    selection = read(recorded("testnet_20251126_alphadogs_fapi_exchangeInfo.json.gz"))
    assert {"测试测试USDT", "币安人生USDT", "IDOL", "4USDT", "OPUSDT"} & set(selection.outside_pattern) >= {
        "4USDT",
        "OPUSDT",
    }
    assert all(symbol.isascii() for symbol in selection.symbols)
    assert [line.split(":")[0] for line in selection.unusable] == ["OPENUSDT"]
    assert selection.instruments["TUSDT"].min_qty == "1"
