"""Names, addresses and messages of market streams."""

import json
from typing import Any

import pytest

from microservices.exchange import STREAMS_MAX, BadAnswer, Kline, combined_url, kline_stream, read_kline

# The example of Kline-Candlestick-Streams, wrapped as combined streams are.
BAR: dict[str, Any] = {
    "t": 1638747660000, "T": 1638747719999, "s": "BTCUSDT", "i": "1m", "f": 100, "L": 200, "o": "0.0010", "c": "0.0020",
    "h": "0.0025", "l": "0.0005", "v": "1000", "n": 100, "x": False, "q": "1.0000", "V": "500", "Q": "0.500", "B": "0",
}  # fmt: skip
EVENT: dict[str, Any] = {"e": "kline", "E": 1638747660100, "s": "BTCUSDT", "k": BAR}


def message(**bar: Any) -> bytes:
    """The documented message, with changes of its candle."""
    return json.dumps({"stream": "btcusdt@kline_1m", "data": EVENT | {"k": BAR | bar}}).encode()


def test_the_documented_message_is_read() -> None:
    """Symbol, times, prices and whether it is closed, each from its own letter."""
    event = read_kline(message(x=True))
    assert (event.symbol, event.event_ms, event.closed) == ("BTCUSDT", 1638747660100, True)
    assert event.kline == Kline(1638747660000, "0.0010", "0.0025", "0.0005", "0.0020", "1000", 1638747719999)
    assert not read_kline(message()).closed


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html></html>",
        message()[:-20],
        b'{"result":null,"id":1}',
        json.dumps(EVENT).encode(),
        json.dumps({"data": EVENT | {"e": "markPriceUpdate"}}).encode(),
        message(i="5m"),
        message(c="NaN"),
        message(c=0.002),
        message(x="true"),
        message(t="1638747660000"),
    ],
    ids=[
        "nothing", "HTML", "cut", "an answer", "a raw stream's", "another event", "another interval", "NaN", "a number",
        "true as text", "a time as text",
    ],
)  # fmt: skip
def test_anything_else_is_refused(raw: bytes) -> None:
    """What is not exactly a 1-minute candle is no candle."""
    with pytest.raises(BadAnswer):
        read_kline(raw)


@pytest.mark.parametrize("base", ["wss://fstream.binance.com/market", "wss://fstream.binance.com/market/"])
def test_a_combined_address(base: str) -> None:
    """The form of 2026 with its path, symbols in lower case."""
    url = combined_url(base, [kline_stream("BTCUSDT"), kline_stream("ETHUSDT")])
    assert url == "wss://fstream.binance.com/market/stream?streams=btcusdt@kline_1m/ethusdt@kline_1m"


def test_the_old_form_and_a_symbol_of_other_letters() -> None:
    """Without a path it is the old form; what is not ASCII is encoded."""
    assert combined_url("ws://127.0.0.1:1", [kline_stream("币USDT")]) == (
        "ws://127.0.0.1:1/stream?streams=%E5%B8%81usdt@kline_1m"
    )


@pytest.mark.parametrize("count", [0, STREAMS_MAX + 1])
def test_no_address_for_what_the_exchange_would_refuse(count: int) -> None:
    """None, or more than a connection takes."""
    with pytest.raises(ValueError, match=f"{count} streams"):
        combined_url("ws://127.0.0.1:1", ["a@kline_1m"] * count)
