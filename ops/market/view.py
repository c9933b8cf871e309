"""What the market board shows, as plain values: who is where, in which order, and in which colour."""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from microservices.contracts.market_state import MarketStateRow, PublisherStatus, Regime, Source

Colour = tuple[int, int, int]

BASIS_POINTS = 10_000
_DARK: Colour = (30, 34, 42)
_LEAST_SHARE = 0.18
"""How much of its colour the calmest symbol has; the wildest has all of it."""


class Mood(StrEnum):
    """What a symbol does: its regime, a trend by its direction."""

    UP = "trend up"
    DOWN = "trend down"
    MR = "mr"
    CHOP = "chop"


GLYPHS: Mapping[Mood, str] = MappingProxyType({Mood.UP: "▲", Mood.DOWN: "▼", Mood.MR: "~", Mood.CHOP: "·"})
COLOURS: Mapping[Mood, Colour] = MappingProxyType(
    {Mood.UP: (46, 174, 96), Mood.DOWN: (222, 74, 66), Mood.MR: (226, 168, 52), Mood.CHOP: (132, 152, 190)}
)


class Sort(StrEnum):
    """What the symbols are sorted by, the highest first; names and ages begin with the lowest."""

    SIGMA = "sigma"
    TREND = "trend"
    MR = "mr"
    CHOP = "chop"
    TS = "ts"
    MU = "mu"
    AGE = "age"
    SYMBOL = "symbol"


_KEYS: Mapping[Sort, Callable[[MarketStateRow], float]] = MappingProxyType(
    {
        Sort.SIGMA: lambda row: -row.sigma,
        Sort.TREND: lambda row: -row.p_trend,
        Sort.MR: lambda row: -row.p_mr,
        Sort.CHOP: lambda row: -row.p_chop,
        Sort.TS: lambda row: -row.ts,
        Sort.MU: lambda row: -row.mu,
        Sort.AGE: lambda row: -row.ts_timestamp,
        Sort.SYMBOL: lambda _row: 0.0,
    }
)


@dataclass(frozen=True)
class Cell:
    """One symbol."""

    symbol: str
    row: MarketStateRow
    mood: Mood
    colour: Colour

    @property
    def name(self) -> str:
        """Its name without the asset that all are quoted in."""
        return self.symbol.removesuffix("USDT") or self.symbol

    @property
    def sigma_bp(self) -> float:
        """Its volatility in basis points a candle."""
        return self.row.sigma * BASIS_POINTS


@dataclass(frozen=True)
class Market:
    """Everything the board shows, at one moment.

    Args:
        at: wall time in epoch seconds.
        states: what is published, by symbol.
        status: what the publisher says of its last cycle; None where it says nothing.
        faults: what could not be read.
    """

    at: float
    states: Mapping[str, MarketStateRow]
    status: PublisherStatus | None = None
    faults: tuple[str, ...] = ()

    def older_than(self, max_age_s: float) -> list[str]:
        """Name the symbols whose state was published longer ago."""
        return sorted(symbol for symbol, row in self.states.items() if self.at - row.ts_timestamp > max_age_s)

    def moods(self) -> dict[Mood, int]:
        """Count the symbols by what they do."""
        counts = Counter(mood_of(row) for row in self.states.values())
        return {mood: counts[mood] for mood in Mood}


def mood_of(row: MarketStateRow) -> Mood:
    """Tell what a symbol does."""
    if row.regime is Regime.TREND:
        return Mood.UP if row.mu >= 0 else Mood.DOWN
    return Mood.MR if row.regime is Regime.MR else Mood.CHOP


def cells(states: Mapping[str, MarketStateRow], sort: Sort = Sort.SIGMA) -> list[Cell]:
    """Put the symbols in order; a colour is the stronger the more volatile its symbol is beside the others.

    The rank decides and not the figure: one wild symbol would leave all others pale.
    """
    ranked = sorted(states, key=lambda symbol: states[symbol].sigma)
    last = max(len(ranked) - 1, 1)
    shares = {symbol: _LEAST_SHARE + (1 - _LEAST_SHARE) * rank / last for rank, symbol in enumerate(ranked)}
    ordered = sorted(states, key=lambda symbol: (_KEYS[sort](states[symbol]), symbol))
    return [_cell(symbol, states[symbol], shares[symbol]) for symbol in ordered]


def summary(market: Market) -> str:
    """Say in one line how the market is."""
    counts = "  ".join(f"{GLYPHS[mood]} {mood} {count}" for mood, count in market.moods().items())
    synthetic = sum(row.source is Source.SYNTHETIC for row in market.states.values())
    warning = f"  ⚠ {synthetic} SYNTHETIC, of no market" if synthetic else ""
    return f"MARKET    {len(market.states)} symbols: {counts}{warning}"


def volatility(shown: Sequence[Cell]) -> str:
    """Say in one line how wild it is."""
    figures = [cell.sigma_bp for cell in shown]
    wildest = max(shown, key=lambda cell: cell.sigma_bp)
    return (
        f"σ a minute: median {statistics.median(figures):.1f} bp, highest {wildest.sigma_bp:.1f} bp ({wildest.symbol})"
    )


def ages(market: Market) -> str:
    """Say in one line how old it is."""
    published = [market.at - row.ts_timestamp for row in market.states.values()]
    closes = [market.at - row.candle_close_epoch for row in market.states.values()]
    return f"published {_span(published)} ago, candles closed {_span(closes)} ago"


def _cell(symbol: str, row: MarketStateRow, share: float) -> Cell:
    mood = mood_of(row)
    red, green, blue = (round(dark + share * (full - dark)) for dark, full in zip(_DARK, COLOURS[mood], strict=True))
    return Cell(symbol, row, mood, (red, green, blue))


def _span(seconds: Sequence[float]) -> str:
    low, high = round(min(seconds)), round(max(seconds))
    return f"{low} s" if low == high else f"{low} to {high} s"
