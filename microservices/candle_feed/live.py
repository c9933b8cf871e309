"""The live candles of all followed symbols: as many connections as they need, and one inbox."""

import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from microservices.candle_feed.live_connection import LiveConnection, Open
from microservices.candle_feed.shards import Shard, share_out
from microservices.exchange import KlineEvent
from microservices.runtime import Clock

# Closed candles that wait to be stored: several minutes of 2,000 symbols. What does not fit is asked for by REST.
INBOX = 10_000
BATCH = 2_000
# Connections at most: one for every 200 of the 2,000 symbols that a universe may have, and room for gaps among them.
CONNECTIONS_MAX = 16


class Live(Protocol):
    """What the feed needs of its live candles."""

    @property
    def reconnects(self) -> int:
        """How often a connection was made again because one was lost or silent."""

    def follow(self, symbols: Iterable[str]) -> None:
        """Have these symbols' candles come, and no others'."""

    def covered(self) -> frozenset[str]:
        """Tell whose candles come now."""

    def reopened(self) -> frozenset[str]:
        """Tell whose candles nobody heard for a while since the last call, and now are heard again."""

    def take(self, timeout_s: float) -> list[KlineEvent]:
        """Return the closed candles that have come; wait for the first of them."""

    def close(self) -> None:
        """End all connections."""


class LiveCandles:
    """Runs the connections, each in a thread of its own.

    Args:
        open_stream: opens a connection for symbols.
        clock: monotonic time.
        make: makes a connection; a test has shorter pauses.
    """

    def __init__(self, open_stream: Open, clock: Clock, make: Callable[..., LiveConnection] = LiveConnection) -> None:
        self._open_stream = open_stream
        self._clock = clock
        self._make = make
        self._ended = threading.Event()
        self._inbox: queue.Queue[KlineEvent] = queue.Queue(INBOX)
        self._pool = ThreadPoolExecutor(CONNECTIONS_MAX, thread_name_prefix="stream")
        self._connections: list[LiveConnection] = []
        self._running: list[Future[None]] = []
        self._seen: list[int] = []

    @property
    def reconnects(self) -> int:
        """How often a connection was made again because one was lost or silent."""
        return sum(connection.reconnects for connection in self._connections)

    def follow(self, symbols: Iterable[str]) -> None:
        """Share the symbols out among the connections.

        Raises:
            Exception: a connection's thread ended by an error, which is raised here; the thread runs again.
        """
        for number, shard in enumerate(share_out([connection.wanted for connection in self._connections], symbols)):
            if number == len(self._connections):
                self._add(number)
            self._connections[number].wanted = shard
        for number, running in enumerate(self._running):
            if running.done() and not self._ended.is_set():
                self._running[number] = self._pool.submit(self._connections[number].run)
                running.result()

    def covered(self) -> frozenset[str]:
        """Tell whose candles come now."""
        return Shard().union(*(connection.covered for connection in self._connections))

    def reopened(self) -> frozenset[str]:
        """Tell whose candles nobody heard for a while since the last call, and now are heard again."""
        symbols = Shard()
        for number, connection in enumerate(self._connections):
            reconnects = connection.reconnects
            if reconnects != self._seen[number]:
                self._seen[number] = reconnects
                symbols |= connection.wanted
        return symbols

    def take(self, timeout_s: float) -> list[KlineEvent]:
        """Return the closed candles that have come; wait for the first of them, not for more."""
        events: list[KlineEvent] = []
        try:
            events.append(self._inbox.get(timeout=timeout_s))
            while len(events) < BATCH:
                events.append(self._inbox.get_nowait())
        except queue.Empty:
            pass
        return events

    def close(self) -> None:
        """Tell all connections to end; each does within a second."""
        self._ended.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _add(self, number: int) -> None:
        connection = self._make(number, self._open_stream, self._inbox, self._clock, self._ended)
        self._connections.append(connection)
        self._seen.append(0)
        self._running.append(self._pool.submit(connection.run))
