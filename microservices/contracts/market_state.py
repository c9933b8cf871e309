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
    flat_share: float | None = None
    """Share of candles in the buffer that did not move."""
    gap_count: int | None = None
    """Minutes missing among the candles that were read, all of them before the buffer."""
    mu_low: float | None = None
    """Bounds of mu where the publisher was told to compute them."""
    mu_high: float | None = None


class PublisherStatus(msgspec.Struct, frozen=True):
    """What the publisher says of its last cycle in `quantum:marketstate_status`."""

    published: int
    skipped: int
    skipped_reasons: str
    cycle_ms: int
    last_cycle_epoch: int


_DECIMALS = dict.fromkeys(("sigma", "mu", "mu_low", "mu_high"), 8) | dict.fromkeys(
    ("ts", "p_trend", "p_mr", "p_chop", "dp", "vr", "spike_proxy", "flat_share"), 6
)
_STREAM_FIELDS = ("ts", "sigma", "mu", "regime")


def key(symbol: str) -> str:
    """Name the hash of a symbol."""
    return f"quantum:marketstate:{symbol}"


def encode(row: MarketStateRow) -> WrittenFields:
    """Write the hash of a symbol; what is unknown is written empty, so that no older value stays beside newer ones."""
    return {name: _written(name, getattr(row, name)) for name in row.__struct_fields__}


def _written(name: str, value: float | Regime | Source | None) -> str:
    if value is None:
        return ""
    return f"{value:.{_DECIMALS[name]}f}" if name in _DECIMALS else str(value)


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
