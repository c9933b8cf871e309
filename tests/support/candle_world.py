"""A candle feed in its world: a real Redis, a market whose candles a test decides, and a clock that tests move."""

import json
import socket
import threading
from collections.abc import Iterable
from typing import Any

from redis import Redis

from microservices.candle_feed.service import UNIT, CandleFeed
from microservices.candle_feed.settings import Settings
from microservices.contracts import candles, hashes, universe
from microservices.contracts.candles import INTERVAL_MS, Candle, FeedStatus
from microservices.contracts.control import BACKOFF_KEY, Mode
from microservices.contracts.universe import UniverseDocument, UniverseMeta
from microservices.exchange import Kline, KlineEvent, PublicClient, SharedBackoff
from microservices.runtime import Context
from tests.support.clock import FakeClock
from tests.support.http_server import HttpServer, Request, answer

NOW = 1_800_000_030
"""Half a minute after a full one."""
NEWEST_MS = 1_800_000_000_000 - INTERVAL_MS


class Market(HttpServer):
    """Plays the exchange: its time is the clock's but for `ahead_s`; every minute has a candle unless told so."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(self._serve_one)
        self.clock = clock
        self.lacks: set[int] = set()
        """Open times without a candle, of any symbol."""
        self.closes: dict[int, str] = {}
        """Closes that differ from the usual, by open time."""
        self.wrong: dict[str, bytes] = {}
        """Raw answers for symbols that get no candles."""
        self.headers: dict[str, str] = {}
        self.ahead_s = 0.0
        """How far its clock is ahead of the machine's."""

    def now_ms(self) -> int:
        """Its own time."""
        return int((self.clock.now() + self.ahead_s) * 1000)

    def asked(self) -> list[Request]:
        """The requests for candles, in the order of their arrival."""
        return [request for request in self.requests if request.path == "/fapi/v1/klines"]

    def asked_for(self) -> list[tuple[str, int]]:
        """Symbol and limit of each request for candles."""
        return [(request.query["symbol"], int(request.query["limit"])) for request in self.asked()]

    def _serve_one(self, request: Request, connection: socket.socket) -> None:
        now_ms = self.now_ms()
        if request.path == "/fapi/v1/time":
            connection.sendall(answer(json.dumps({"serverTime": now_ms}).encode()))
        elif request.query["symbol"] in self.wrong:
            connection.sendall(self.wrong[request.query["symbol"]])
        else:
            rows = self._rows(request.query, now_ms)
            connection.sendall(answer(json.dumps(rows).encode(), **self.headers))

    def _rows(self, query: dict[str, str], now_ms: int) -> list[list[object]]:
        running_ms = now_ms // INTERVAL_MS * INTERVAL_MS
        last_ms = min(int(query["endTime"]), running_ms)
        minutes = range(int(query["startTime"]), last_ms + 1, INTERVAL_MS)
        return [self.row(minute) for minute in minutes if minute not in self.lacks][: int(query["limit"])]

    def row(self, minute: int) -> list[object]:
        """The candle of a minute as klines has it."""
        close = self.closes.get(minute, usual_close(minute))
        return [minute, close, "99999", "0.5", close, "7", minute + INTERVAL_MS - 1, "0", 1, "0", "0", "0"]


def usual_close(minute: int) -> str:
    """The close of a minute: another one each minute, the same each time."""
    return f"{100 + minute // INTERVAL_MS % 977}.5"


class ScriptedLive:
    """Streams that say what a test lets them say; nothing is connected until `connect`."""

    def __init__(self) -> None:
        self.reconnects = 0
        self.symbols: frozenset[str] = frozenset()
        """What the feed asked for."""
        self._is_up = False
        self._events: list[KlineEvent] = []
        self._reopened: frozenset[str] = frozenset()

    def connect(self) -> None:
        """Have the candles of all symbols come; a second time counts as a reconnect."""
        self._is_up = True

    def disconnect(self) -> None:
        """Lose the connection; what is said from now on is not heard."""
        self._is_up = False

    def reconnect(self) -> None:
        """Have it back."""
        self._is_up = True
        self.reconnects += 1
        self._reopened = self.symbols

    def say(self, symbol: str, row: list[Any], event_ms: int | None = None) -> None:
        """Tell a closed candle, given as a row of klines."""
        if self._is_up:
            kline = Kline(*row[:7])
            self._events.append(KlineEvent(symbol, event_ms or kline.close_ms + 1, closed=True, kline=kline))

    def follow(self, symbols: Iterable[str]) -> None:
        self.symbols = frozenset(symbols)

    def covered(self) -> frozenset[str]:
        return self.symbols if self._is_up else frozenset()

    def reopened(self) -> frozenset[str]:
        reopened, self._reopened = self._reopened, frozenset()
        return reopened

    def take(self, timeout_s: float) -> list[KlineEvent]:
        events, self._events = self._events, []
        return [event for event in events if event.symbol in self.symbols]

    def close(self) -> None:
        self._is_up = False


class World:
    """One Redis, one market, one clock; feeds come and go."""

    def __init__(self, redis: Redis, market: Market) -> None:
        self.redis: Any = redis  # redis-py's stubs say bytes or str; this client answers bytes
        self.market = market
        self.clock = market.clock
        self.stop = threading.Event()
        self.live = ScriptedLive()

    def feed(self, *symbols: str, url: str = "", **settings: Any) -> CandleFeed:
        """Make a feed; without symbols it follows the universe."""
        told = Settings(
            trading_mode=Mode.PAPER,
            binance_futures_base_url=url or self.market.url,
            candles_symbols=symbols,
            **{"candles_keep": 600, **settings},
        )
        backoff = SharedBackoff(self.redis, BACKOFF_KEY, UNIT)
        client = PublicClient(told.base_url, clock=self.clock, timeout_s=2.0, backoff=backoff)
        return CandleFeed(Context(told, self.redis, self.clock, self.stop, "test"), client, backoff, self.live)

    def publish_universe(self, *symbols: str, mode: Mode = Mode.PAPER) -> None:
        """Put a fresh, valid list into Redis."""
        now = int(self.clock.now())
        document = UniverseDocument(now, universe.SOURCE, mode, tuple(sorted(symbols)), dict(universe.FILTERS))
        self.redis.set(universe.ACTIVE_KEY, universe.encode_document(document))
        self.redis.set(universe.LAST_OK_KEY, universe.encode_document(document))
        meta = UniverseMeta(now, now, len(symbols), 0, mode=mode)
        self.redis.hset(universe.META_KEY, mapping=hashes.encode(meta))

    def stored(self, symbol: str) -> list[Candle]:
        """The candles of a symbol as they stand in Redis, each decoded and under its own open time."""
        found = []
        for member, score in self.redis.zrange(candles.key(symbol), 0, -1, withscores=True):
            candle = candles.decode(member, symbol)
            assert candle.open_ms == score
            found.append(candle)
        return found

    def minutes(self, symbol: str) -> list[int]:
        """The open times that are stored, ascending."""
        return [candle.open_ms for candle in self.stored(symbol)]

    def status(self) -> FeedStatus:
        """The status hash."""
        return hashes.decode(self.redis.hgetall(candles.STATUS_KEY), FeedStatus, candles.STATUS_KEY)


def last(count: int, newest_ms: int = NEWEST_MS) -> list[int]:
    """The newest `count` open times, ascending."""
    return list(range(newest_ms - (count - 1) * INTERVAL_MS, newest_ms + 1, INTERVAL_MS))
