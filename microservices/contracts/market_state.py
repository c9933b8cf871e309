"""Published market state: a hash per symbol, the stream of publications, the publisher's status hash."""

from enum import StrEnum

import msgspec

from microservices.contracts import hashes
from microservices.contracts.fields import RawHash, WrittenFields

STREAM = "quantum:stream:marketstate"
STREAM_MAXLEN = 10_000
STATUS_KEY = "quantum:marketstate_status"
TTL_INTERVALS = 10
"""A hash lives this many publish intervals."""


class Regime(StrEnum):
    """The dominant regime."""

    TREND = "trend"
    MR = "mr"
    CHOP = "chop"


class Source(StrEnum):
    """Where the prices came from."""

    CANDLES = "candles"
    SYNTHETIC = "synthetic"


class MarketStateRow(msgspec.Struct, frozen=True):
    """One symbol's published state; sigma and mu are log return per candle, the rest is dimensionless."""

    sigma: float
    mu: float
    ts: float
    p_trend: float
    p_mr: float
    p_chop: float
    dp: float
    vr: float
    spike_proxy: float
    ts_timestamp: int
    buffer_size: int
    regime: Regime
    source: Source
    candle_close_epoch: int


class PublisherStatus(msgspec.Struct, frozen=True):
    """What the publisher says of its last cycle in `quantum:marketstate_status`."""

    published: int
    skipped: int
    skipped_reasons: str
    cycle_ms: int
    last_cycle_epoch: int


_EIGHT_DECIMALS = ("sigma", "mu")
_SIX_DECIMALS = ("ts", "p_trend", "p_mr", "p_chop", "dp", "vr", "spike_proxy")
_STREAM_FIELDS = ("ts", "sigma", "mu", "regime")


def key(symbol: str) -> str:
    """Name the hash of a symbol."""
    return f"quantum:marketstate:{symbol}"


def encode(row: MarketStateRow) -> WrittenFields:
    """Write the hash of a symbol."""
    return (
        {name: f"{getattr(row, name):.8f}" for name in _EIGHT_DECIMALS}
        | {name: f"{getattr(row, name):.6f}" for name in _SIX_DECIMALS}
        | {
            "ts_timestamp": str(row.ts_timestamp),
            "buffer_size": str(row.buffer_size),
            "regime": row.regime.value,
            "source": row.source.value,
            "candle_close_epoch": str(row.candle_close_epoch),
        }
    )


def encode_event(symbol: str, row: MarketStateRow) -> WrittenFields:
    """Write the stream entry of a publication."""
    encoded = encode(row)
    return {"symbol": symbol, "timestamp": str(row.ts_timestamp)} | {name: encoded[name] for name in _STREAM_FIELDS}


def decode(raw: RawHash, what: str) -> MarketStateRow | None:
    """Read the hash of a symbol; an empty answer is absence.

    Raises:
        Unreadable: a field is missing or not what the schema says.
    """
    return hashes.decode_or_absent(raw, MarketStateRow, what)
