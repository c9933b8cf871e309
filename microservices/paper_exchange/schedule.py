"""What happens to a symbol of the large simulated market, and when: a function of seed, symbol and minute alone.

A day (from the symbol's own hour on) may bring a crash or a spike that wears off by the day's end, and a halt. A few
symbols come and go: each is listed, trades for about two days, and is delisted, again and again.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from microservices.paper_exchange.candles import MINUTE_MS
from microservices.paper_exchange.changed_path import Halt, Minutes
from microservices.paper_exchange.noise import Floats, stream_key, uniforms

DAY = 1440
PERIOD = 3 * DAY
PENDING_MINUTES, SETTLING_MINUTES = 60, 30
NO_DELIVERY_MS = 4_133_404_800_000
CRASH_SHARE = 0.03
"""Of days with a crash: with 570 symbols one every hour and a half."""

HALT_SHARE = 0.02
"""Of days with a halt: with 570 symbols one every two hours."""

COMING_SHARE = 0.06
"""Of symbols that come and go: with 570 of them a listing and a delisting every two hours."""

_DRAWS = 8


class Listing(NamedTuple):
    """How exchangeInfo shows a symbol; `first` and `last` bound its candles, None: no bound."""

    status: str
    onboard_ms: int | None = None
    delivery_ms: int | None = None
    first: int | None = None
    last: int | None = None


class _Day(NamedTuple):
    """One day of a symbol, in minutes: a move of the log price, then its return by `end`; and perhaps a halt."""

    begin: int
    reached: int
    end: int
    log_share: float
    halt: Halt | None


class Schedule:
    """One symbol's.

    Args:
        seed: of the market.
        symbol: whose.
    """

    def __init__(self, seed: int, symbol: str) -> None:
        self._key = stream_key(seed, symbol, "schedule")
        character = uniforms(stream_key(seed, symbol, "schedule character"), np.arange(2))
        self._offset = int(character[0] * PERIOD)
        self.comes_and_goes = bool(character[1] < COMING_SHARE)
        self._days: dict[int, _Day] = {}

    def push(self, minutes: Minutes) -> Floats:
        """Give by how much the logarithm of the price is moved at the beginning of each minute."""
        moved = np.zeros(len(minutes))
        for day in self._days_of(int(minutes[0]), int(minutes[-1])):
            if day.log_share:
                stations = [day.begin, day.reached, day.end]
                moved += np.interp(minutes, stations, [0.0, day.log_share, 0.0], left=0.0, right=0.0)
        return moved

    def halts(self, first: int, last: int) -> Iterable[Halt]:
        """Give the halts that reach into these minutes."""
        found = (day.halt for day in self._days_of(first, last))
        return [halt for halt in found if halt and halt.first <= last and (halt.last or 0) >= first]

    def listing(self, minute: int) -> Listing | None:
        """Tell how the symbol is listed at a minute; None where it is not."""
        halted = any(self.halts(minute, minute))
        if not self.comes_and_goes:
            return Listing("PRE_SETTLE" if halted else "TRADING")
        period, within = divmod(minute + self._offset, PERIOD)
        trading = int(PERIOD * (0.5 + 0.3 * self._draw(period, 7)))
        begin = period * PERIOD - self._offset
        if within < trading:
            delivery = (begin + trading) * MINUTE_MS if within >= trading - DAY else NO_DELIVERY_MS
            return Listing("PRE_SETTLE" if halted else "TRADING", begin * MINUTE_MS, delivery, begin)
        if within < trading + SETTLING_MINUTES:
            end = begin + trading
            return Listing("SETTLING", begin * MINUTE_MS, end * MINUTE_MS, begin, end - 1)
        if within >= PERIOD - PENDING_MINUTES:
            following = begin + PERIOD
            return Listing("PENDING_TRADING", following * MINUTE_MS, NO_DELIVERY_MS, following)
        return None

    def _days_of(self, first: int, last: int) -> list[_Day]:
        numbers = range((first + self._offset) // DAY, (last + self._offset) // DAY + 1)
        return [self._day(number) for number in numbers]

    def _day(self, number: int) -> _Day:
        if number not in self._days:
            if len(self._days) > PERIOD // DAY:
                self._days.clear()
            self._days[number] = self._made_day(number)
        return self._days[number]

    def _made_day(self, number: int) -> _Day:
        begin = number * DAY - self._offset
        crash, at, size, length, way, halts, halt_at = (self._draw(number, i) for i in range(7))
        start = begin + int(at * DAY / 2)
        depth = 0.10 + 0.35 * size
        log_share = 0.0 if crash >= CRASH_SHARE else float(np.log1p(-depth if way < 0.7 else depth))
        halt = None
        if halts < HALT_SHARE:
            first = begin + int(halt_at * (DAY - 80))
            halt = Halt(first, first + 10 + int(50 * size))
        return _Day(start, start + 3 + int(12 * length), begin + DAY, log_share, halt)

    def _draw(self, number: int, which: int) -> float:
        return float(uniforms(self._key, np.array([number * _DRAWS + which]))[0])
