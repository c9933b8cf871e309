"""Closed 1-minute candles (`quantum:candles:{symbol}`), one per open time, and the feed's status hash."""

from typing import Annotated

import msgspec

from microservices.contracts.fields import Unreadable, from_json, unsigned_decimal, unsigned_text

STATUS_KEY = "quantum:candles:status"
INTERVAL_MS = 60_000
KEPT_DEFAULT = 1_500
_LAST_MS = 10**15


class Candle(
    msgspec.Struct,
    frozen=True,
    rename={"open_ms": "t", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"},
):
    """One closed candle: open time in epoch ms, prices and volume as decimal text."""

    open_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str


def key(symbol: str) -> str:
    """Name the sorted set of a symbol's candles; the score is the open time in ms."""
    return f"quantum:candles:{symbol}"


def encode(candle: Candle) -> bytes:
    """Write one member of the sorted set."""
    return msgspec.json.encode(candle)


def decode(raw: object, what: str) -> Candle:
    """Read one member of the sorted set.

    Raises:
        Unreadable: not the JSON of a candle, or a price or volume is not a plain decimal.
    """
    candle: Candle = from_json(raw, Candle, what)
    for name in ("open", "high", "low", "close", "volume"):
        unsigned_decimal(getattr(candle, name), f"{what} {name}")
    return candle


class _Close(msgspec.Struct, frozen=True, rename={"open_ms": "t", "close": "c"}):
    open_ms: Annotated[int, msgspec.Meta(ge=0, le=_LAST_MS)]
    close: str


_close_decoder = msgspec.json.Decoder(_Close)


def decode_close(raw: bytes, what: str) -> tuple[int, float]:
    """Read the open time in ms and the close alone, for whoever reads many candles for statistics.

    Raises:
        Unreadable: not the JSON of a candle, or the close is not a plain decimal.
    """
    try:
        candle = _close_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(what, str(error)) from None
    unsigned_text(candle.close, f"{what} close")
    return candle.open_ms, float(candle.close)


class FeedStatus(msgspec.Struct, frozen=True):
    """What the feed says of itself in `quantum:candles:status`."""

    symbols: int
    lagging: int
    last_close_epoch: int
    gaps_filled_total: int
    reconnects_total: int
    updated_at: int
    live: int = 0
    """Symbols whose candles come by stream."""
