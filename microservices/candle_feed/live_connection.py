"""One live connection, kept up in a thread of its own; closed candles go to an inbox."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Protocol

from redis.exceptions import RedisError

from microservices.candle_feed import metrics
from microservices.candle_feed.shards import Shard
from microservices.exchange import CONNECTION_LIVES_S, BadAnswer, KlineEvent, Throttled, read_kline
from microservices.runtime import Away, Clock, Pauses

RECEIVE_S = 0.5
# The exchange ends every connection after 24 hours; a new one is there before, at another time for each connection.
RENEW_S = CONNECTION_LIVES_S - 3_600.0
RENEW_SPREAD_S = 60.0
# More than a minute: by then every symbol's candle has closed once, so that somebody should have said something.
SILENT_S = 75.0
# A connection that lasted so long was none that is refused again and again.
LASTED_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0

_log = logging.getLogger(__name__)


class Stream(Protocol):
    """An open connection (`exchange.StreamConnection`)."""

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next message; None where none came in time.

        Raises:
            ExchangeError: it is lost.
        """

    def close(self) -> None:
        """Close it."""


Open = Callable[[Shard], Stream]


class LiveConnection:
    """Keeps one connection for the wanted symbols.

    A connection whose symbols have changed, or which is near its end, is replaced: the new one is there before the old
    is read to its end and closed, so that no candle falls between them. One that is lost or silent is made again after
    growing pauses.

    Args:
        number: which of the feed's connections.
        open_stream: opens a connection for symbols.
        inbox: takes the closed candles; what does not fit is left to be asked for.
        clock: monotonic time.
        stop: ends it.
        pauses: between two attempts.
        silent_s: so long without a message, and it is made anew.
        renew_s: at this age it is replaced.
    """

    def __init__(
        self,
        number: int,
        open_stream: Open,
        inbox: "queue.Queue[KlineEvent]",
        clock: Clock,
        stop: threading.Event,
        *,
        pauses: Pauses | None = None,
        silent_s: float = SILENT_S,
        renew_s: float = RENEW_S,
    ) -> None:
        self.wanted: Shard = frozenset()
        """Set by the owner at any time; empty closes the connection."""
        self.covered: Shard = frozenset()
        """Whose candles come now."""
        self.opened = 0
        """How often a connection was made."""
        self.reconnects = 0
        """How often one was made because the one before was lost or silent."""
        self._number = number
        self._open_stream = open_stream
        self._inbox = inbox
        self._clock = clock
        self._stop = stop
        self._pauses = pauses or Pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._silent_s = silent_s
        self._renew_s = renew_s - number % 30 * RENEW_SPREAD_S
        self._stream: Stream | None = None
        self._opened_at = self._heard_at = 0.0
        self._try_at = float("-inf")
        self._why_lost = ""
        self._said = ""

    def run(self) -> None:
        """Keep it up until stopped; the thread's body."""
        try:
            while not self._stop.is_set():
                self._step()
        finally:
            self._let_go()

    def _step(self) -> None:
        if not self.wanted:
            self._let_go()
            self._stop.wait(RECEIVE_S)
            return
        if self._wants_another() and self._clock.monotonic() >= self._try_at:
            self._open()
        if self._stream is None:
            self._stop.wait(min(RECEIVE_S, max(0.0, self._try_at - self._clock.monotonic())))
        else:
            self._read(self._stream)

    def _wants_another(self) -> bool:
        if self._stream is None or self.covered != self.wanted:
            return True
        return self._clock.monotonic() - self._opened_at >= self._renew_s

    def _open(self) -> None:
        """Open a connection for what is wanted now; the old one is read to its end behind it."""
        wanted = self.wanted
        try:
            stream = self._open_stream(wanted)
        except (Away, RedisError) as fault:
            self._failed(fault)
            return
        reason = self._why_lost or ("symbols" if self.covered != wanted else "renewed")
        old, self._stream = self._stream, stream
        self._opened_at = self._heard_at = self._clock.monotonic()
        self.covered = wanted
        self.opened += 1
        if self.opened > 1:
            metrics.RECONNECTS.labels(reason=reason).inc()
        if self._why_lost:
            self.reconnects += 1
        self._tell(f"connected for {len(wanted)} symbols" + (f" again ({reason})" if self.opened > 1 else ""))
        self._why_lost = ""
        if old is not None:
            self._read_to_the_end(old)

    def _failed(self, fault: Exception) -> None:
        pause_s = self._pauses.next()
        if isinstance(fault, Throttled):
            pause_s = max(pause_s, fault.retry_after_s)
        self._try_at = self._clock.monotonic() + pause_s
        metrics.STREAM_FAILURES.labels(error=type(fault).__name__).inc()
        self._tell(f"no connection ({fault}); trying again")

    def _read(self, stream: Stream) -> None:
        try:
            message = stream.receive(RECEIVE_S)
        except Away as fault:
            self._lost("lost", str(fault))
            return
        if message is not None:
            self._heard_at = self._clock.monotonic()
            self._take(message)
        elif self._clock.monotonic() - self._heard_at >= self._silent_s:
            # A base without /market connects at mainnet, and then says nothing for ever.
            self._lost("silent", f"no message for {self._silent_s:.0f} s; is BINANCE_FUTURES_WS_URL the current form?")

    def _lost(self, reason: str, said: str) -> None:
        """Let go of a connection that is of no use any more, and pause, longer the shorter it lasted."""
        now = self._clock.monotonic()
        self._let_go()
        if now - self._opened_at >= LASTED_S:
            self._pauses.reset()
        self._try_at = now + self._pauses.next()
        self._why_lost = reason
        self._tell(f"{reason}: {said}")

    def _let_go(self) -> None:
        self.covered = frozenset()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _read_to_the_end(self, old: Stream) -> None:
        """Take what a replaced connection still holds."""
        try:
            while (message := old.receive(0)) is not None:
                self._take(message)
        except Away:
            pass  # it ended by itself meanwhile
        finally:
            old.close()

    def _take(self, message: bytes) -> None:
        """Pass a closed candle on; a message that cannot be read costs nothing but itself."""
        try:
            event = read_kline(message)
        except BadAnswer:
            metrics.REFUSED.labels(fault="unreadable_message").inc()
            return
        if event.closed:
            try:
                self._inbox.put_nowait(event)
            except queue.Full:
                metrics.DROPPED.inc()

    def _tell(self, line: str) -> None:
        if line != self._said:
            self._said = line
            _log.info("Stream %d: %s", self._number, line)
