"""A candle feed at work in threads of its own beside a paper exchange whose minutes are seconds, and what must hold."""

import threading
from functools import partial
from typing import Any, Self

from redis import Redis

from microservices.candle_feed.live import LiveCandles
from microservices.candle_feed.live_connection import LiveConnection
from microservices.candle_feed.service import UNIT, CandleFeed
from microservices.candle_feed.settings import Settings
from microservices.candle_feed.shards import Shard
from microservices.contracts import candles
from microservices.contracts.control import BACKOFF_KEY, Mode
from microservices.exchange import PublicClient, SharedBackoff, combined_url, kline_stream
from microservices.exchange.stream_connection import StreamConnection
from microservices.runtime import Context, Pauses, SystemClock
from microservices.runtime.daemon import LoopRunner
from tests.support.paper import PaperExchange
from tests.support.waiting import wait_until

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
SPEED = 60
"""A minute of the exchange is a second here."""
KEEP = 300


class RunningFeed:
    """Run a feed's loops until the block ends; its pauses between connections are short.

    Args:
        paper: the exchange.
        redis: where candles go.
        symbols: whom it follows; none follows the universe.
        options: of its connections (`silent_s`, `renew_s`).
    """

    def __init__(
        self, paper: PaperExchange, redis: Redis, symbols: tuple[str, ...] = SYMBOLS, **options: float
    ) -> None:
        self._paper = paper
        self._redis = redis
        self._options: dict[str, Any] = options
        self._stop = threading.Event()
        self._errors: list[Exception] = []
        clock = SystemClock()
        settings = Settings(
            trading_mode=Mode.PAPER,
            binance_futures_base_url=paper.base_url,
            candles_symbols=symbols,
            candles_keep=KEEP,
            candles_weight_per_min=1_000_000,
        )
        backoff = SharedBackoff(redis, BACKOFF_KEY, UNIT)

        def open_stream(shard: Shard) -> StreamConnection:
            url = combined_url(paper.stream_url, [kline_stream(symbol) for symbol in shard])
            return StreamConnection(url, clock=clock, backoff=backoff)

        self.live = LiveCandles(open_stream, clock, self._connection)
        client = PublicClient(paper.base_url, clock=clock, timeout_s=4.0, backoff=backoff)
        self.feed = CandleFeed(Context(settings, redis, clock, self._stop, "test"), client, backoff, self.live)
        self._runners = [LoopRunner(loop, self._stop, clock, ends=self._errors.append) for loop in self.feed.loops()]

    def is_live(self, reconnects: int = 0, symbols: tuple[str, ...] = SYMBOLS) -> bool:
        """Whether these candles and no others come by stream, after so many reconnects at least."""
        return self.live.reconnects >= reconnects and self.live.covered() == frozenset(symbols)

    def wait_until_live(self, reconnects: int = 0, symbols: tuple[str, ...] = SYMBOLS) -> None:
        """Wait until they do."""
        wait_until(partial(self.is_live, reconnects, symbols), 30, what=f"live candles of {symbols}")

    def wait_until_agreed(self, *symbols: str) -> None:
        """Wait until the stored candles are as the exchange serves them."""
        for symbol in symbols or SYMBOLS:
            agreed = partial(agrees, self._paper, self._redis, symbol)
            wait_until(agreed, 30, every_s=0.1, what=f"{symbol} as the exchange serves it")

    def look_at_the_universe(self) -> None:
        """Have the universe read now, and not in its own time."""
        next(runner.loop for runner in self._runners if runner.loop.name == "universe").wake.set()

    def __enter__(self) -> Self:
        for runner in self._runners:
            runner.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for runner in self._runners:
            runner.loop.wake.set()
            runner.thread.join(10)
        self.feed.close()
        assert not self._errors

    def _connection(self, *parts: Any) -> LiveConnection:
        return LiveConnection(*parts, pauses=Pauses(0.02, 0.1), **self._options)


def agrees(paper: PaperExchange, redis: Redis, symbol: str) -> bool:
    """Whether every minute that the exchange serves is stored once, with its figures, and no minute twice."""
    wanted = served(paper, symbol)
    held = stored(redis, symbol)
    assert len({minute for minute, _ in held}) == len(held), "a minute is stored twice"
    known = dict(held)
    since = max(wanted[0][0], held[0][0] if held else 0)
    lacking = [minute for minute, close in wanted if minute >= since and known.get(minute) != close]
    return len(held) >= KEEP - 10 and not lacking


def served(paper: PaperExchange, symbol: str) -> list[tuple[int, str]]:
    """The newest closed candles as the exchange serves them: open time and close."""
    rows = paper.get("/fapi/v1/klines", symbol=symbol, interval="1m", limit=KEEP).json
    return [(row[0], row[4]) for row in rows[:-2]]  # not the running one, and not the one that has just closed


def stored(redis: Redis, symbol: str) -> list[tuple[int, str]]:
    """The candles in Redis."""
    found: Any = redis.zrange(candles.key(symbol), 0, -1)
    read = [candles.decode(member, symbol) for member in found]
    return [(candle.open_ms, candle.close) for candle in read]
