"""One connection is kept up: replaced before it ends, made again after it is lost or silent, with growing pauses."""

import json
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from microservices.candle_feed.live import LiveCandles
from microservices.candle_feed.live_connection import LASTED_S, LiveConnection
from microservices.candle_feed.shards import Shard
from microservices.contracts.candles import INTERVAL_MS
from microservices.exchange import KlineEvent, Throttled, Unreachable
from microservices.runtime import Pauses
from tests.support.clock import FakeClock
from tests.support.waiting import wait_until

SYMBOLS = frozenset({"AUSDT"})
LOST = Unreachable("GET /stream", "the connection was lost", sent=True)


def said(minute: int, symbol: str = "AUSDT", *, closed: bool = True) -> bytes:
    """A message of a candle."""
    bar: dict[str, Any] = {"t": minute * INTERVAL_MS, "T": (minute + 1) * INTERVAL_MS - 1, "i": "1m", "x": closed}
    event = {"e": "kline", "E": (minute + 1) * INTERVAL_MS, "s": symbol, "k": bar | dict.fromkeys("ohlcv", "1")}
    return json.dumps({"stream": "", "data": event}).encode()


PAUSE = threading.Event()


class Script:
    """A stream that plays what it is given: messages, and errors that it raises; then it is quiet."""

    def __init__(self, symbols: Shard, *plays: bytes | Exception) -> None:
        self.symbols = symbols
        self.plays = deque(plays)
        self.is_closed = False

    def receive(self, timeout_s: float) -> bytes | None:
        if not self.plays:
            PAUSE.wait(min(timeout_s, 0.005))
            return None
        play = self.plays.popleft()
        if isinstance(play, Exception):
            raise play
        return play

    def close(self) -> None:
        self.is_closed = True


class Exchange:
    """Opens the streams that a test has prepared, in turn; an error in their place refuses."""

    def __init__(self, *prepared: tuple[bytes | Exception, ...] | Exception) -> None:
        self.prepared = deque(prepared)
        self.opened: list[Script] = []
        self.attempts = 0

    def open(self, symbols: Shard) -> Script:
        self.attempts += 1
        plays = self.prepared.popleft() if self.prepared else ()
        if isinstance(plays, Exception):
            raise plays
        self.opened.append(Script(symbols, *plays))
        return self.opened[-1]


class NoWait(threading.Event):
    """A sign to stop that nobody waits for: time passes only where a test says so."""

    def wait(self, timeout: float | None = None) -> bool:
        return False


class Kept:
    """A connection in its world, stepped by hand."""

    def __init__(self, exchange: Exchange, **options: Any) -> None:
        self.exchange = exchange
        self.clock = FakeClock()
        self.inbox: queue.Queue[KlineEvent] = queue.Queue(options.pop("room", 100))
        pauses = Pauses(1.0, 8.0, spread=0.0)
        stop = NoWait()
        self.connection = LiveConnection(0, exchange.open, self.inbox, self.clock, stop, pauses=pauses, **options)
        self.connection.wanted = SYMBOLS

    def step(self, times: int = 1, *, after_s: float = 0.0) -> None:
        """Let time pass and do some steps."""
        self.clock.advance(after_s)
        for _ in range(times):
            self.connection._step()

    def is_up(self) -> bool:
        """Whether the wanted symbols' candles are said to come."""
        return self.connection.covered == self.connection.wanted

    def minutes(self) -> list[int]:
        """What has come, by minute."""
        found = []
        while not self.inbox.empty():
            found.append(self.inbox.get().kline.open_ms // INTERVAL_MS)
        return found


def test_closed_candles_come_and_nothing_else() -> None:
    """A running candle, rubbish and another event are passed over; the closed ones arrive in order."""
    kept = Kept(Exchange((said(1), said(2, closed=False), b"<html>", b'{"result":null}', said(3))))
    kept.step(6)
    assert kept.minutes() == [1, 3]
    assert kept.connection.covered == SYMBOLS


def test_a_lost_connection_is_made_again_after_growing_pauses() -> None:
    """Each that does not last costs a longer pause: 1, 2, 4, 8, 8 s; meanwhile nobody's candles are said to come."""
    kept = Kept(Exchange(*[(LOST,)] * 5))
    kept.step(1)
    for number, pause_s in enumerate([1.0, 2.0, 4.0, 8.0, 8.0], start=1):
        assert kept.connection.covered == frozenset()
        kept.step(3, after_s=pause_s - 0.01)
        assert kept.exchange.attempts == number
        kept.step(after_s=0.02)
        assert kept.exchange.attempts == number + 1
    assert kept.connection.reconnects == 5


def test_a_connection_that_lasted_is_made_again_at_once() -> None:
    """After ten good seconds the pauses begin anew."""
    kept = Kept(Exchange((LOST,), (LOST,), (said(1), said(2), LOST), (said(3),)))
    kept.step(1)
    kept.step(1, after_s=1)
    kept.step(2, after_s=2)
    kept.step(1, after_s=LASTED_S)
    assert kept.connection.covered == frozenset()
    kept.step(2, after_s=1.0)
    assert kept.connection.covered == SYMBOLS
    assert kept.minutes() == [1, 2, 3]


def test_a_refused_handshake_is_tried_again_later_and_later() -> None:
    """503 in place of the handshake, three times: the pauses grow, and then it is there."""
    refusal = Unreachable("GET /stream", "no connection", sent=False)
    kept = Kept(Exchange(refusal, refusal, refusal))
    kept.step(5)
    assert kept.exchange.attempts == 1
    for pause_s in (1, 2, 4):
        kept.step(2, after_s=pause_s)
    assert kept.exchange.attempts == 4
    assert kept.connection.covered == SYMBOLS


def test_a_429_in_place_of_the_handshake_is_obeyed() -> None:
    """I-24: nothing is tried before its Retry-After, however short the own pause is."""
    kept = Kept(Exchange(Throttled("GET /stream", 429, 40.0)))
    kept.step(1)
    kept.step(2, after_s=39)
    assert kept.exchange.attempts == 1
    kept.step(1, after_s=1)
    assert kept.exchange.attempts == 2
    assert kept.is_up()


def test_a_silent_connection_is_given_up() -> None:
    """Connected, and not a word for 75 s, as the retired address is: it is closed and made again."""
    kept = Kept(Exchange((said(1),), (said(2),)))
    kept.step(2)
    kept.step(2, after_s=74)
    assert kept.is_up()
    kept.step(1, after_s=1)
    assert not kept.is_up()
    assert kept.exchange.opened[0].is_closed
    kept.step(2, after_s=1)
    assert kept.minutes() == [1, 2]
    assert kept.connection.reconnects == 1


def test_a_connection_is_replaced_before_its_day_ends_and_nothing_falls_between() -> None:
    """An hour before the exchange ends it the next is opened; what the old one still held is read before it goes."""
    kept = Kept(Exchange((said(1),), (said(3),)), silent_s=1e9)
    kept.step(2)
    kept.exchange.opened[0].plays.extend([said(2), said(3)])
    kept.step(2, after_s=23 * 3600)
    assert kept.minutes() == [1, 2, 3, 3]
    assert [stream.is_closed for stream in kept.exchange.opened] == [True, False]
    assert (kept.connection.opened, kept.connection.reconnects) == (2, 0)


def test_an_old_connection_stays_while_no_new_one_can_be_had() -> None:
    """The renewal is refused: candles go on coming by the old one, and it is tried again later."""
    kept = Kept(Exchange((said(1),), LOST, ()), silent_s=1e9)
    kept.step(2)
    kept.exchange.opened[0].plays.append(said(2))
    kept.step(2, after_s=23 * 3600)
    assert kept.minutes() == [1, 2]
    assert [stream.is_closed for stream in kept.exchange.opened] == [False]
    kept.step(1, after_s=1)
    assert [stream.is_closed for stream in kept.exchange.opened] == [True, False]
    assert kept.connection.covered == SYMBOLS


def test_other_symbols_get_a_connection_of_their_own_first() -> None:
    """A listing: the new connection is there before the old is closed; with nobody left it is closed."""
    kept = Kept(Exchange((said(1),), ()))
    kept.step(2)
    kept.connection.wanted = SYMBOLS | {"BUSDT"}
    kept.step(1)
    assert kept.connection.covered == kept.exchange.opened[1].symbols == {"AUSDT", "BUSDT"}
    assert kept.exchange.opened[0].is_closed
    kept.connection.wanted = frozenset()
    kept.step(1)
    assert kept.exchange.opened[1].is_closed
    assert kept.connection.covered == frozenset()


def test_a_full_inbox_loses_candles_and_nothing_else() -> None:
    """While nobody stores, what does not fit is dropped: it is asked for later."""
    kept = Kept(Exchange((said(1), said(2), said(3))), room=2)
    kept.step(4)
    assert kept.minutes() == [1, 2]
    assert kept.connection.covered == SYMBOLS


def waiting(live: LiveCandles, symbols: list[str]) -> Callable[[], bool]:
    """A question for `wait_until`: are these covered, and no others?"""

    def covered() -> bool:
        live.follow(symbols)
        return live.covered() == frozenset(symbols)

    return covered


def test_450_symbols_have_three_connections() -> None:
    """All are covered, no connection has more than 200, and all end when they are told to."""
    exchange = Exchange()
    live = LiveCandles(exchange.open, FakeClock())
    try:
        symbols = [f"S{number}USDT" for number in range(450)]
        wait_until(waiting(live, symbols), 20)
        assert sorted(len(stream.symbols) for stream in exchange.opened) == [50, 200, 200]
        assert live.reopened() == frozenset()
    finally:
        live.close()
    wait_until(lambda: all(stream.is_closed for stream in exchange.opened), 20)


def test_what_comes_is_taken_in_one_go_and_a_reconnect_is_told_once() -> None:
    """Two candles that wait come together; after a loss those symbols are named, one time."""
    exchange = Exchange((said(1), said(2), LOST), (said(3),))
    live = LiveCandles(exchange.open, FakeClock(), make=quick)
    try:
        live.follow(["AUSDT"])
        found: list[int] = []

        def three() -> bool:
            found.extend(event.kline.open_ms // INTERVAL_MS for event in live.take(0.1))
            return len(found) == 3

        wait_until(three, 20)
        assert found == [1, 2, 3]
        assert live.reopened() == SYMBOLS
        assert live.reopened() == frozenset()
        assert live.reconnects == 1
    finally:
        live.close()


def quick(*parts: Any) -> LiveConnection:
    """A connection whose pauses are over when they begin, by a clock that stands still."""
    connection = LiveConnection(*parts)
    connection._pauses = Pauses(1e-9, 1e-9)
    connection._clock = SteadyClock()
    return connection


class SteadyClock(FakeClock):
    """A clock that moves on a little whenever it is asked."""

    def monotonic(self) -> float:
        self.advance(0.001)
        return super().monotonic()


def test_a_bug_in_a_connections_thread_is_not_silent() -> None:
    """An error that is nobody's absence is raised where the loop sees it, and the thread runs again."""
    exchange = Exchange(ZeroDivisionError("a bug"))
    live = LiveCandles(exchange.open, FakeClock())
    try:
        live.follow(["AUSDT"])
        wait_until(live._running[0].done, 20)
        with pytest.raises(ZeroDivisionError):
            live.follow(["AUSDT"])
        wait_until(waiting(live, ["AUSDT"]), 20)
    finally:
        live.close()
