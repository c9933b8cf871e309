"""A price path with things that happened to it: prices pushed away for good or for a while, and trading halted.

What happened is asked for by minute, so that a path that is a function of the minute stays one.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from microservices.paper_exchange.candles import Candles, PricePath, Units
from microservices.paper_exchange.noise import Floats

Minutes = NDArray[np.int64]


class Halt(NamedTuple):
    """Minutes without a trade, `last` included; None: it has not ended yet."""

    first: int
    last: int | None


class Happenings(Protocol):
    """What happens to a symbol's price."""

    def push(self, minutes: Minutes) -> Floats:
        """Give by how much the logarithm of the price is moved at the beginning of each minute."""
        ...

    def halts(self, first: int, last: int) -> Iterable[Halt]:
        """Give the halts that reach into these minutes."""
        ...


class ChangedPath:
    """A path and what happens to it.

    Args:
        path: the price as it would have been.
        happenings: what happens.
    """

    def __init__(self, path: PricePath, happenings: Happenings) -> None:
        self._path = path
        self._happenings = happenings

    def first_minute(self) -> int:
        """Give the earliest minute there is a candle of."""
        return self._path.first_minute()

    def candles(self, first: int, count: int) -> Candles:
        """Give `count` candles from minute `first` on."""
        candles = self._pushed(first, count)
        for halt in self._happenings.halts(first, first + count - 1):
            candles = self._halted(candles, halt)
        return candles

    def _pushed(self, first: int, count: int) -> Candles:
        candles = self._path.candles(first, count)
        push = self._happenings.push(np.arange(first, first + count + 1))
        if not push.any():
            return candles
        factor: Floats = np.exp(push)
        before: Floats = factor[:-1]
        after: Floats = factor[1:]
        tick = candles.tick
        opens, closes = _on_tick(candles.opens, before, tick), _on_tick(candles.closes, after, tick)
        highs = _on_tick(candles.highs, np.maximum(before, after), tick)
        lows = _on_tick(candles.lows, np.minimum(before, after), tick)
        return Candles(
            first=first,
            decimals=candles.decimals,
            tick=tick,
            volume_decimals=candles.volume_decimals,
            opens=opens,
            highs=np.maximum(highs, np.maximum(opens, closes)),
            lows=np.minimum(lows, np.minimum(opens, closes)),
            closes=closes,
            volume=candles.volume,
        )

    def _halted(self, candles: Candles, halt: Halt) -> Candles:
        """Let the price stand where it stood when the halt began, and nothing be traded."""
        minutes = np.arange(candles.first, candles.first + len(candles))
        still = (minutes >= halt.first) & (minutes <= (minutes[-1] if halt.last is None else halt.last))
        price = self._price_before(halt.first)
        columns = (np.where(still, price, column) for column in _columns(candles))
        opens, highs, lows, closes = columns
        return Candles(
            first=candles.first,
            decimals=candles.decimals,
            tick=candles.tick,
            volume_decimals=candles.volume_decimals,
            opens=opens,
            highs=highs,
            lows=lows,
            closes=closes,
            volume=np.where(still, 0.0, candles.volume),
        )

    def _price_before(self, minute: int) -> int:
        """Give the last price before a minute, or the minute's first where nothing was before."""
        if minute <= self.first_minute():
            return int(self._pushed(self.first_minute(), 1).opens[0])
        return int(self._pushed(minute - 1, 1).closes[0])


class DoneByHand:
    """What was done to one symbol by faults, for good: price moves and halts, in the order of time."""

    def __init__(self) -> None:
        self._moves: list[tuple[int, int, float]] = []
        self._halts: list[Halt] = []

    def move(self, first: int, minutes: int, log_share: float) -> None:
        """Move the price over so many minutes, and leave it there."""
        self._moves.append((first, minutes, log_share))

    def halt(self, first: int) -> None:
        """Halt trading from a minute on, unless it is halted; a halt that ends there goes on."""
        last = self._halts[-1].last if self._halts else -1
        if last is not None:
            begun = self._halts.pop().first if last == first - 1 else first
            self._halts.append(Halt(begun, None))

    def resume(self, first: int) -> None:
        """Let trading go on from a minute on; a halt that has not begun is none."""
        if self._halts and self._halts[-1].last is None:
            begun = self._halts.pop()
            if begun.first < first:
                self._halts.append(Halt(begun.first, first - 1))

    def push(self, minutes: Minutes) -> Floats:
        """Give by how much the logarithm of the price is moved at the beginning of each minute."""
        moved = np.zeros(len(minutes))
        for first, length, log_share in self._moves:
            moved += log_share * np.clip((minutes - first) / length, 0.0, 1.0)
        return moved

    def halts(self, first: int, last: int) -> Iterable[Halt]:
        """Give the halts that reach into these minutes."""
        return [halt for halt in self._halts if halt.first <= last and (halt.last is None or halt.last >= first)]


def _columns(candles: Candles) -> tuple[Units, Units, Units, Units]:
    return candles.opens, candles.highs, candles.lows, candles.closes


def _on_tick(units: Units, factor: Floats, tick: int) -> Units:
    ticks: Units = np.maximum(np.rint(units * factor / tick).astype(np.int64), 1)
    return ticks * tick
