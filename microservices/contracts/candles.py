"""Closed 1-minute candles (`quantum:candles:{symbol}`), one per open time, and the feed's status hash."""

import msgspec

from microservices.contracts.fields import from_json, unsigned_decimal

STATUS_KEY = "quantum:candles:status"
INTERVAL_MS = 60_000
KEPT_DEFAULT = 1_500


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


class FeedStatus(msgspec.Struct, frozen=True):
    """What the feed says of itself in `quantum:candles:status`."""

    symbols: int
    lagging: int
    last_close_epoch: int
    gaps_filled_total: int
    reconnects_total: int
    updated_at: int
