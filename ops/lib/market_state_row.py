"""Read one symbol's published market state, and say what makes it none."""

from dataclasses import dataclass

from ops.lib.redis_cli import Answer, Fault, pairs
from ops.lib.report import epoch, shown

PREFIX = "quantum:marketstate:"
REGIMES = ("trend", "mr", "chop")
SOURCES = ("candles", "synthetic")
CANDLE_MAX_AGE_S = 180
"""How long before the publication the newest candle may have closed (MARKETSTATE_MAX_AGE_SEC)."""
NUMBERS = ("sigma", "mu", "ts", "p_trend", "p_mr", "p_chop", "dp", "vr", "spike_proxy")
EPOCHS = ("ts_timestamp", "buffer_size", "candle_close_epoch")
SUM_TOLERANCE = 1e-4
"""Three probabilities of six decimals each."""


@dataclass(frozen=True)
class Row:
    """One symbol's hash; where it has a fault nothing else of it counts."""

    symbol: str
    fault: str = ""
    published_s: float = 0.0
    candle_close_s: float = 0.0
    source: str = ""
    regime: str = ""


def read(symbol: str, raw: Answer, ttl_ms: Answer) -> Row:
    """Read a hash and its remaining life."""
    if isinstance(raw, Fault):
        return Row(symbol, f"{raw.text}, expected a hash")
    fields = pairs(raw)
    if fault := _fault(fields, ttl_ms):
        return Row(symbol, fault)
    return Row(
        symbol,
        "",
        float(fields["ts_timestamp"]),
        float(fields["candle_close_epoch"]),
        fields["source"],
        fields["regime"],
    )


def _fault(fields: dict[str, str], ttl_ms: Answer) -> str:
    """Say what is wrong with it; empty where nothing is."""
    if fault := _unreadable(fields):
        return fault
    shares = [float(fields[f"p_{regime}"]) for regime in REGIMES]
    if min(shares) < 0 or abs(sum(shares) - 1) > SUM_TOLERANCE:
        return f"p_trend, p_mr and p_chop add up to {sum(shares):g}, expected 1 of parts that are none below 0"
    for name in ("sigma", *EPOCHS):
        if float(fields[name]) < 0:
            return f"{name} is {shown(fields[name])}, expected 0 or more"
    if not isinstance(ttl_ms, int) or ttl_ms < 0:
        return "has no TTL, expected ten publish intervals: the publisher did not write it"
    return ""


def _unreadable(fields: dict[str, str]) -> str:
    for name in (*NUMBERS, *EPOCHS):
        if epoch(fields.get(name)) is None:
            return f"{name} is {shown(fields.get(name, 'missing'))}, expected a number"
    for name, allowed in (("regime", REGIMES), ("source", SOURCES)):
        if fields.get(name) not in allowed:
            return f"{name} is {shown(fields.get(name, 'missing'))}, expected one of {', '.join(allowed)}"
    return ""
