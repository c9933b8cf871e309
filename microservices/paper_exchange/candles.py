"""One-minute candles as columns of whole price units, and what the price was at a moment inside a minute."""

from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

Units = NDArray[np.int64]

MINUTE_MS = 60_000


class Candles(msgspec.Struct, frozen=True):
    """Consecutive minutes; row i is minute `first + i` (minutes since the epoch).

    Prices are whole numbers of 10^-`decimals`, so that they are exact, and move by `tick` of them; `volume` is in the
    base asset.
    """

    first: int
    decimals: int
    tick: int
    volume_decimals: int
    opens: Units
    highs: Units
    lows: Units
    closes: Units
    volume: NDArray[np.float64]

    def __len__(self) -> int:
        """Count the minutes."""
        return len(self.opens)

    def part(self, first: int, end: int) -> "Candles":
        """Take out the minutes from `first` up to, not including, `end`, as far as they are there."""
        cut = slice(max(first - self.first, 0), max(end - self.first, 0))
        return Candles(
            first=self.first + cut.start,
            decimals=self.decimals,
            tick=self.tick,
            volume_decimals=self.volume_decimals,
            opens=self.opens[cut],
            highs=self.highs[cut],
            lows=self.lows[cut],
            closes=self.closes[cut],
            volume=self.volume[cut],
        )

    def row(self, minute: int) -> "Candle":
        """Take one minute out."""
        i = minute - self.first
        opened, high, low, close = (int(column[i]) for column in (self.opens, self.highs, self.lows, self.closes))
        units = (self.decimals, self.tick, self.volume_decimals)
        return Candle(minute, *units, opened, high, low, close, float(self.volume[i]))


class Candle(msgspec.Struct, frozen=True):
    """One minute, in the units of `Candles`."""

    minute: int
    decimals: int
    tick: int
    volume_decimals: int
    opened: int
    high: int
    low: int
    close: int
    volume: float

    def price_at(self, elapsed_ms: int) -> int:
        """Give the price `elapsed_ms` after the minute began.

        The price goes in straight lines from the open to the one extreme, to the other, and to the close, a third of
        the minute each; a rising minute visits its low first. So both extremes are touched, and the minute ends at
        the close that its candle will show.
        """
        stations = self._stations()
        leg, within = divmod(min(max(elapsed_ms, 0), MINUTE_MS) * 3, MINUTE_MS)
        if leg == 3:
            return self.close
        start, end = stations[leg], stations[leg + 1]
        return start + round((end - start) * within / (MINUTE_MS * self.tick)) * self.tick

    def so_far(self, elapsed_ms: int) -> "Candle":
        """Give the candle as it stands `elapsed_ms` after its minute began."""
        price = self.price_at(elapsed_ms)
        passed = min(max(elapsed_ms, 0), MINUTE_MS) * 3 // MINUTE_MS
        seen = [*self._stations()[: passed + 1], price]
        volume = self.volume * (min(max(elapsed_ms, 0), MINUTE_MS) / MINUTE_MS)
        units = (self.decimals, self.tick, self.volume_decimals)
        return Candle(self.minute, *units, self.opened, max(seen), min(seen), price, volume)

    def corrected(self, share: float) -> "Candle":
        """Give the candle with its close moved by this share, a tick at least, and its extremes reaching there."""
        ticks = round(self.close * share / self.tick) or (1 if share > 0 else -1)
        close = max(self.close + ticks * self.tick, self.tick)
        units = (self.decimals, self.tick, self.volume_decimals)
        high, low = max(self.high, close), min(self.low, close)
        return Candle(self.minute, *units, self.opened, high, low, close, self.volume * (1 + abs(share)))

    def _stations(self) -> tuple[int, int, int, int]:
        extremes = (self.low, self.high) if self.close >= self.opened else (self.high, self.low)
        return (self.opened, *extremes, self.close)


class PricePath(Protocol):
    """Where a symbol's candles come from: a function of the minute alone, so that history never changes."""

    def first_minute(self) -> int:
        """Give the earliest minute there is a candle of."""
        ...

    def candles(self, first: int, count: int) -> Candles:
        """Give `count` candles from minute `first` on, none of them before `first_minute()`."""
        ...
