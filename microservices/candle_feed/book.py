"""What is known of every followed symbol's candles, kept in step with Redis by the loops that fill it."""

import logging
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from redis.exceptions import RedisError

from microservices.candle_feed import metrics, planning
from microservices.candle_feed.history import VERIFY_EVERY_S, History
from microservices.candle_feed.planning import Request, Window
from microservices.candle_feed.store import CandleStore
from microservices.contracts.candles import INTERVAL_MS, Candle
from microservices.runtime import Clock

_log = logging.getLogger(__name__)


class Needs(NamedTuple):
    """What is to be asked for: missing open times by symbol, and requests that read candles again."""

    missing: dict[str, list[int]]
    verify: list[Request]


class Book:
    """Every symbol's history; whoever decides by it, stores, and notes what was stored does so under one lock.

    So an answer that was asked for before a live candle came never replaces it, whatever the threads do.

    Args:
        store: Redis.
        keep: candles kept of each symbol.
        clock: monotonic time.
    """

    def __init__(self, store: CandleStore, keep: int, clock: Clock) -> None:
        self._store = store
        self._keep = keep
        self._clock = clock
        self._lock = threading.Lock()
        self._histories: dict[str, History] = {}
        self._came: dict[str, set[int]] = {}
        """Minutes that streams brought since it was last found out what to ask for."""
        self.gaps_filled = 0
        self.newest_ms = 0

    def __len__(self) -> int:
        """Count the symbols."""
        return len(self._histories)

    def follow(self, symbols: Collection[str], newest_ms: int) -> None:
        """Take up symbols that came, with what is stored of them, and forget those that went.

        Args:
            symbols: all that are followed.
            newest_ms: the open time of the newest closed candle.

        Raises:
            redis.exceptions.RedisError: Redis did not answer; the symbols that were read before stay.
        """
        with self._lock:
            for symbol in symbols:
                if symbol not in self._histories:
                    self._take_up(symbol, newest_ms)
            for symbol in self._histories.keys() - set(symbols):
                del self._histories[symbol]
                self._came.pop(symbol, None)

    def needs(self, windows: Mapping[bool, Window], covered: Collection[str]) -> Needs:
        """Find out what is missing, and whose candles are due to be read again; no request is under way meanwhile.

        Args:
            windows: the wanted open times of symbols that are covered by a stream (True) and of the others.
            covered: the symbols that are.
        """
        now = self._clock.monotonic()
        with self._lock:
            self._came.clear()
            missing, verify = {}, []
            for symbol, history in self._histories.items():
                if history.ask_at > now:
                    continue
                window = windows[symbol in covered]
                missing[symbol] = history.missing(window, now)
                if window.last_ms in missing[symbol][-1:]:
                    # By stream the newest would be left for this gap before it, or came before the stream began.
                    missing[symbol] = history.missing(windows[False], now)
                if history.verify_at <= now and window.last_ms in history.stored:
                    verify.append(planning.verification(symbol, window))
            return Needs(missing, verify)

    def take_answer(self, request: Request, found: Sequence[Candle], newest_ms: int) -> None:
        """Store the candles of an answer, but for those that a stream brought since it was asked for.

        Args:
            request: what was asked.
            found: what came.
            newest_ms: the newest settled open time.

        Raises:
            redis.exceptions.RedisError: Redis did not take them.
        """
        with self._lock:
            history = self._histories.get(request.symbol)
            if history is None:  # it went while it was asked for
                return
            now = self._clock.monotonic()
            newer = self._came.get(request.symbol, ())
            kept = [candle for candle in found if candle.open_ms not in newer]
            if kept:
                self._write({request.symbol: kept})
            minutes = {candle.open_ms for candle in found}
            self._count_gaps(history.answered(request, minutes, newest_ms, now))
            if len(kept) < len(found):
                history.verify_at = now  # which of the two is the last word is asked once more
            elif request.limit >= planning.LIGHT_CANDLES and request.last_ms >= newest_ms - INTERVAL_MS:
                history.verify_at = now + VERIFY_EVERY_S

    def take_live(self, found: Mapping[str, Sequence[Candle]]) -> bool:
        """Store candles that a stream brought, and tell whether any was left because others are missing before it.

        Raises:
            redis.exceptions.RedisError: Redis did not take them; they are asked for later.
        """
        with self._lock:
            now = self._clock.monotonic()
            stored: dict[str, list[Candle]] = {}
            left = 0
            for symbol, some in found.items():
                history = self._histories.get(symbol)
                if history is None:
                    continue
                good = _continued(history, some, now)
                left += len(some) - len(good)
                if good:
                    stored[symbol] = good
            metrics.LIVE.labels(outcome="left_for_the_gap_before").inc(left)
            if stored:
                self._write_live(stored, now)
                self._note_live(stored)
            return left > 0

    def verify(self, symbols: Iterable[str]) -> None:
        """Have the newest candles of these symbols read again."""
        with self._lock:
            for symbol in symbols:
                if symbol in self._histories:
                    self._histories[symbol].verify_at = float("-inf")

    def postpone(self, symbol: str) -> None:
        """Leave a symbol alone for a while."""
        with self._lock:
            if symbol in self._histories:
                self._histories[symbol].postpone(self._clock.monotonic())

    def lagging(self, expected_ms: int) -> int:
        """Count the symbols that lack a candle."""
        with self._lock:
            return sum(expected_ms not in history.stored for history in self._histories.values())

    def next_ask_s(self) -> float:
        """Return the seconds until a symbol that is left alone may be asked again; infinite where none is."""
        now = self._clock.monotonic()
        with self._lock:
            return min(
                (each.ask_at - now for each in self._histories.values() if each.ask_at > now), default=float("inf")
            )

    def _take_up(self, symbol: str, newest_ms: int) -> None:
        history = History(self._store.take_up(symbol, newest_ms))
        self._histories[symbol] = history
        self.newest_ms = max(self.newest_ms, history.newest_ms() or 0)

    def _write(self, found: Mapping[str, Sequence[Candle]]) -> None:
        """Store, and read again what is there of a symbol of which less is there than was stored."""
        minutes = {symbol: {candle.open_ms for candle in some} for symbol, some in found.items()}
        from_ms = {
            symbol: max(self._histories[symbol].newest_ms() or 0, *some) - (self._keep - 1) * INTERVAL_MS
            for symbol, some in minutes.items()
        }
        answers = self._store.store(found, from_ms)
        for symbol, answer in answers.items():
            history = self._histories[symbol]
            self._count_gaps(history.add(minutes[symbol]))
            metrics.STORED.inc(len(minutes[symbol]))
            metrics.CORRECTED.inc(answer.corrected)
            self.newest_ms = max(self.newest_ms, *minutes[symbol])
            if answer.held < history.count_from(from_ms[symbol]):
                _log.warning("%s: candles were taken out of Redis, reading again what is there", symbol)
                history.stored = self._store.take_up(symbol, max(minutes[symbol] | history.stored))

    def _write_live(self, stored: Mapping[str, Sequence[Candle]], now: float) -> None:
        """Store; what Redis did not take may have been corrections of minutes that nothing else would ask for again."""
        try:
            self._write(stored)
        except RedisError:
            for symbol in stored:
                self._histories[symbol].verify_at = now
            raise

    def _note_live(self, stored: Mapping[str, Sequence[Candle]]) -> None:
        for symbol, some in stored.items():
            self._came.setdefault(symbol, set()).update(candle.open_ms for candle in some)
            metrics.LIVE.labels(outcome="stored").inc(len(some))

    def _count_gaps(self, filled: int) -> None:
        self.gaps_filled += filled
        metrics.GAPS_FILLED.inc(filled)


def _continued(history: History, some: Sequence[Candle], now: float) -> list[Candle]:
    """Take the candles, oldest first, that stand next to a stored one or to one that goes with them."""
    good: dict[int, Candle] = {}
    for candle in sorted(some, key=lambda each: each.open_ms):
        if candle.open_ms - INTERVAL_MS in good or history.continues(candle.open_ms, now):
            good[candle.open_ms] = candle
    return list(good.values())
