"""What is known of one symbol's candles: which are stored, which the exchange does not have, when to ask again.

Pure: minutes and monotonic times in, minutes out. A minute is the open time of its candle, in epoch ms.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from microservices.candle_feed.planning import Request, Window
from microservices.contracts.candles import INTERVAL_MS

# A candle may reach the exchange's history late; one that is still not there after this is taken to be missing there.
LATE_CANDLES = 3
# How long an answer without a candle is believed, twice as long each time it is given again: soon asked after where the
# exchange stumbles, seldom where there is none (a listing, a halt).
ABSENT_BELIEVED_FIRST_S = 30.0
ABSENT_BELIEVED_S = 900.0
# How often a symbol's newest candles are read again, so that a candle that the exchange corrected is found.
VERIFY_EVERY_S = 900.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class Absent(NamedTuple):
    """Minutes that the exchange answered without, both ends included; until when that is believed, and for how long."""

    first_ms: int
    last_ms: int
    until: float
    believed_s: float

    def overlaps(self, other: "Absent") -> bool:
        """Tell whether they have a minute in common."""
        return self.first_ms <= other.last_ms and other.first_ms <= self.last_ms

    def without(self, other: "Absent") -> "list[Absent]":
        """Give what is left of it outside the other: nothing, or a part before, or one behind, or both."""
        if not self.overlaps(other):
            return [self]
        before = self._replace(last_ms=other.first_ms - INTERVAL_MS)
        behind = self._replace(first_ms=other.last_ms + INTERVAL_MS)
        return [part for part in (before, behind) if part.first_ms <= part.last_ms]


class History:
    """The stored minutes of one symbol.

    Args:
        stored: open times of the candles in Redis.
    """

    def __init__(self, stored: Iterable[int] = ()) -> None:
        self.stored = set(stored)
        self.ask_at = 0.0
        """Monotonic time before which the symbol is left alone."""
        self.verify_at = float("-inf")
        """Monotonic time at which its newest candles are read again; at once for what an earlier process stored."""
        self._absent: list[Absent] = []
        self._gaps: set[int] = set()
        self._pause_s = FIRST_PAUSE_S

    def missing(self, window: Window, now: float) -> list[int]:
        """Forget what has left the window, and list what is missing in it, ascending.

        Args:
            window: the wanted open times.
            now: monotonic seconds.
        """
        self._absent = [absent for absent in self._absent if absent.last_ms >= window.first_ms]
        minutes = range(window.first_ms, window.last_ms + 1, INTERVAL_MS)
        self.stored = {minute for minute in self.stored if minute >= window.first_ms}
        missing = [] if self.stored.issuperset(minutes) else self._lacking(minutes, now)
        oldest_ms = min(self.stored, default=window.last_ms)
        self._gaps = {minute for minute in missing if oldest_ms < minute < window.last_ms}
        return missing

    def answered(self, request: Request, stored: Collection[int], newest_ms: int, now: float) -> int:
        """Take in what was stored of an answer, and what the answer did not have.

        Args:
            request: what was asked.
            stored: open times that are in Redis now because of it.
            newest_ms: the newest settled open time.
            now: monotonic seconds.

        Returns:
            How many gaps were filled: runs of minutes, younger than the oldest stored one and older than the newest
            settled one, that were found missing.
        """
        filled = self.add(stored)
        asked = range(request.first_ms, request.last_ms + 1, INTERVAL_MS)
        lacking = [minute for minute in asked if minute not in stored]
        late_from_ms = newest_ms - (LATE_CANDLES - 1) * INTERVAL_MS
        for first_ms, last_ms in _runs([minute for minute in lacking if minute < late_from_ms]):
            self._note_absent(first_ms, last_ms, now)
        if any(minute >= late_from_ms for minute in lacking):
            self.postpone(now)
        else:
            self._pause_s = FIRST_PAUSE_S
        return filled

    def add(self, stored: Collection[int]) -> int:
        """Take in what is in Redis now, and return how many gaps that filled."""
        filled = sorted(self._gaps.intersection(stored))
        self._gaps.difference_update(filled)
        self.stored.update(stored)
        return len(_runs(filled))

    def continues(self, minute: int, now: float) -> bool:
        """Tell whether a candle may be stored without one missing before it that the exchange may still have."""
        before = minute - INTERVAL_MS
        if minute in self.stored or before in self.stored:
            return True
        return any(absent.first_ms <= before <= absent.last_ms and absent.until > now for absent in self._absent)

    def postpone(self, now: float) -> None:
        """Leave the symbol alone for a while, longer each time until an answer is whole again."""
        self.ask_at = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def count_from(self, first_ms: int) -> int:
        """Count what is stored from a minute on."""
        return sum(minute >= first_ms for minute in self.stored)

    def newest_ms(self) -> int | None:
        """Return the newest stored open time; None where nothing is stored."""
        return max(self.stored, default=None)

    def _note_absent(self, first_ms: int, last_ms: int, now: float) -> None:
        run = Absent(first_ms, last_ms, now, 0.0)
        before_s = max((absent.believed_s for absent in self._absent if absent.overlaps(run)), default=0.0)
        believed_s = min(2 * before_s, ABSENT_BELIEVED_S) or ABSENT_BELIEVED_FIRST_S
        self._absent = [part for absent in self._absent for part in absent.without(run)]
        self._absent.append(Absent(first_ms, last_ms, now + believed_s, believed_s))

    def _lacking(self, minutes: range, now: float) -> list[int]:
        excused = {
            minute
            for absent in self._absent
            if absent.until > now
            for minute in range(max(absent.first_ms, minutes.start), absent.last_ms + 1, INTERVAL_MS)
        }
        return [minute for minute in minutes if minute not in self.stored and minute not in excused]


def _runs(minutes: list[int]) -> list[tuple[int, int]]:
    """Join ascending minutes that follow one another; the first and the last of each run."""
    runs: list[tuple[int, int]] = []
    for minute in minutes:
        if runs and minute - runs[-1][1] == INTERVAL_MS:
            runs[-1] = (runs[-1][0], minute)
        else:
            runs.append((minute, minute))
    return runs
