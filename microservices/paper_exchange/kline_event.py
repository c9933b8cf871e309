"""A candle as the stream `<symbol>@kline_1m` tells it.

Members and their order: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Kline-Candlestick-Streams
"""

import msgspec

from microservices.paper_exchange.candles import Candle
from microservices.paper_exchange.klines import wire_values

STREAM_SUFFIX = "@kline_1m"
_TRADE_IDS_A_MINUTE = 1_000_000


def stream_name(symbol: str) -> str:
    """Name a symbol's stream: "all symbols for streams are lowercase"."""
    return symbol.lower() + STREAM_SUFFIX


def kline_event(symbol: str, candle: Candle, *, event_ms: int, closed: bool) -> bytes:
    """Write one event.

    Args:
        symbol: whose candle it is.
        candle: the candle so far, or the closed one.
        event_ms: the exchange's time.
        closed: whether its minute is over (`x`).
    """
    open_ms, opened, high, low, close, volume, close_ms, quote, trades, taker, taker_quote = wire_values(candle)
    name = msgspec.json.encode(symbol).decode()
    first = candle.minute * _TRADE_IDS_A_MINUTE if trades else -1
    last = first + trades - 1 if trades else -1
    price, amount = candle.decimals, candle.volume_decimals
    return (
        f'{{"e":"kline","E":{event_ms},"s":{name},"k":{{"t":{open_ms},"T":{close_ms},"s":{name},"i":"1m",'
        f'"f":{first},"L":{last},"o":"{opened:.{price}f}","c":"{close:.{price}f}","h":"{high:.{price}f}",'
        f'"l":"{low:.{price}f}","v":"{volume:.{amount}f}","n":{trades},"x":{"true" if closed else "false"},'
        f'"q":"{quote:.5f}","V":"{taker:.{amount}f}","Q":"{taker_quote:.5f}","B":"0"}}}}'
    ).encode()


def combined(stream: str, event: bytes) -> bytes:
    """Wrap an event as combined connections get it."""
    return b'{"stream":%s,"data":%s}' % (msgspec.json.encode(stream), event)
