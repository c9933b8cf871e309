"""Names, addresses and messages of the market streams. Pure: text and bytes in, values out.

Binance's rules of a connection
(https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams):
combined streams are at `/stream?streams=<one>/<two>` and their events wrapped as `{"stream":…,"data":…}`; symbols are
lower case; a connection lives 24 hours; the server pings every 3 minutes and disconnects who does not answer within 10;
at most 10 messages a second may be sent to it. That page allows 1,024 streams a connection, the pages before it 200.
Candles: …/websocket-market-streams/Kline-Candlestick-Streams.
"""

from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote

import msgspec

from microservices.exchange.answers import decode
from microservices.exchange.models import Kline, PlainNumber

STREAMS_MAX = 200
CONNECTION_LIVES_S = 24 * 3_600.0


class KlineEvent(msgspec.Struct, frozen=True):
    """A candle as a stream tells it.

    Args:
        symbol: whose.
        event_ms: the exchange's time when it was sent.
        closed: whether the minute is over, so that this is the candle's last word.
        kline: the candle so far.
    """

    symbol: str
    event_ms: int
    closed: bool
    kline: Kline


class _Bar(msgspec.Struct, frozen=True, gc=False):
    open_ms: int = msgspec.field(name="t")
    close_ms: int = msgspec.field(name="T")
    interval: Literal["1m"] = msgspec.field(name="i")
    open: PlainNumber = msgspec.field(name="o")
    high: PlainNumber = msgspec.field(name="h")
    low: PlainNumber = msgspec.field(name="l")
    close: PlainNumber = msgspec.field(name="c")
    volume: PlainNumber = msgspec.field(name="v")
    closed: bool = msgspec.field(name="x")


class _Event(msgspec.Struct, frozen=True, gc=False):
    kind: Literal["kline"] = msgspec.field(name="e")
    event_ms: int = msgspec.field(name="E")
    symbol: str = msgspec.field(name="s")
    bar: _Bar = msgspec.field(name="k")


class _Combined(msgspec.Struct, frozen=True, gc=False):
    data: _Event


def kline_stream(symbol: str) -> str:
    """Name the stream of a symbol's 1-minute candles."""
    return f"{symbol.lower()}@kline_1m"


def combined_url(base: str, streams: Sequence[str]) -> str:
    """Give the address of several streams over one connection.

    Args:
        base: with or without the path of the traffic class, checked by `check_websocket_host`.
        streams: their names, at most `STREAMS_MAX`.

    Raises:
        ValueError: none, or more than the exchange takes.
    """
    if not 1 <= len(streams) <= STREAMS_MAX:
        raise ValueError(f"{len(streams)} streams for one connection, expected 1 to {STREAMS_MAX}")
    return f"{base.rstrip('/')}/stream?streams={'/'.join(quote(name, safe='@') for name in streams)}"


def read_kline(message: bytes) -> KlineEvent:
    """Read one message of a combined connection that carries candles alone.

    Raises:
        BadAnswer: anything else.
    """
    event = decode("kline stream", message, _Combined).data
    bar = event.bar
    kline = Kline(bar.open_ms, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.close_ms)
    return KlineEvent(event.symbol, event.event_ms, bar.closed, kline)
