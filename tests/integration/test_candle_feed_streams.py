"""The feed's streams against the paper exchange: real connections, real threads, and everything that can go wrong."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from redis import Redis

from microservices.candle_feed.live import LiveCandles
from microservices.candle_feed.live_connection import LiveConnection
from microservices.candle_feed.service import UNIT, CandleFeed
from microservices.candle_feed.settings import Settings
from microservices.candle_feed.shards import Shard
from microservices.contracts import candles
from microservices.contracts.candles import INTERVAL_MS
from microservices.contracts.control import BACKOFF_KEY, Mode
from microservices.exchange import (
    ExchangeError,
    KlineEvent,
    PublicClient,
    ServerFault,
    SharedBackoff,
    Throttled,
    Unreachable,
    combined_url,
    kline_stream,
    read_kline,
)
from microservices.exchange.stream_connection import StreamConnection
from microservices.runtime import Context, Pauses, SystemClock
from microservices.runtime.daemon import LoopRunner
from tests.support.paper import PaperExchange
from tests.support.waiting import wait_until

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
STREAMS = [kline_stream(symbol) for symbol in SYMBOLS]
SPEED = 60
"""A minute of the exchange is a second here."""
KEEP = 300


@pytest.fixture(scope="module")
def paper() -> Iterator[PaperExchange]:
    """An exchange whose minutes are seconds."""
    with PaperExchange(settings={"PAPER_SPEED": str(SPEED)}) as exchange:
        yield exchange


@pytest.fixture
def well(paper: PaperExchange) -> PaperExchange:
    """The exchange, without the faults of the test before."""
    paper.clear_faults()
    return paper


@contextmanager
def connected(base: str, redis: Redis | None = None) -> Iterator[StreamConnection]:
    """A connection to all symbols' candles, that shares its back-off where there is a Redis."""
    backoff = SharedBackoff(redis, BACKOFF_KEY, UNIT) if redis is not None else None
    connection = StreamConnection(combined_url(base, STREAMS), clock=SystemClock(), backoff=backoff)
    try:
        yield connection
    finally:
        connection.close()


def closed_candle(connection: StreamConnection) -> KlineEvent:
    """Wait for the next closed candle."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        message = connection.receive(1.0)
        if message is not None and (event := read_kline(message)).closed:
            return event
    raise AssertionError("no closed candle came")


def listen(connection: StreamConnection, seconds: float) -> None:
    """Read whatever comes, for so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection.receive(0.2)


@pytest.mark.parametrize("path", ["/market", ""], ids=["the form of 2026", "the old form"])
def test_both_forms_of_address_bring_closed_candles(well: PaperExchange, path: str) -> None:
    """A closed candle is what klines serve for its minute, to the last digit."""
    with connected(f"ws://127.0.0.1:{well.port}{path}") as connection:
        event = closed_candle(connection)
    row = well.get("/fapi/v1/klines", symbol=event.symbol, interval="1m", startTime=event.kline.open_ms, limit=1).json[
        0
    ]
    kline = event.kline
    assert [kline.open_ms, kline.open, kline.high, kline.low, kline.close, kline.volume, kline.close_ms] == row[:7]


def test_pings_are_answered(well: PaperExchange) -> None:
    """The exchange pings ten times as often as it waits for a pong; the connection outlives many times its patience."""
    well.fault({"fault": "stream_rules", "ping_s": 0.05, "pong_s": 0.5})
    with connected(well.stream_url) as connection:
        listen(connection, 2)


@pytest.mark.parametrize("how", ["abort", "close", "its day is over"])
def test_an_ended_connection_is_an_error_of_ours(well: PaperExchange, how: str) -> None:
    """Broken off, closed with a frame, closed because it is a day old: `Unreachable`, with what was said."""
    if how == "its day is over":
        well.fault({"fault": "stream_rules", "life_s": 0.5})
    with connected(well.stream_url) as connection:
        if how != "its day is over":
            closed_candle(connection)
            well.fault({"fault": "drop_streams", "how": how})
        with pytest.raises(Unreachable, match="lost" if how == "abort" else "closed by the exchange: 10"):
            listen(connection, 20)


@pytest.mark.parametrize(
    ("status", "kind", "field"),
    [(503, ServerFault, None), (429, Throttled, "throttled_until_ms"), (418, Throttled, "banned_until_ms")],
)
def test_a_refused_handshake_says_why_and_is_shared(
    well: PaperExchange,
    redis_client: Redis,
    status: int,
    kind: type[ExchangeError],
    field: str | None,
) -> None:
    """I-24: 429 and 418 in place of a handshake are told to all services; another status is its own error."""
    well.fault({"fault": "refuse_streams", "seconds": 30, "status": status})
    with pytest.raises(kind), connected(well.stream_url, redis_client):
        pass
    assert set(redis_client.hgetall(BACKOFF_KEY)) == ({field.encode(), b"by"} if field else set())


def test_a_banned_address_does_not_try(well: PaperExchange, redis_client: Redis) -> None:
    """While another service's ban stands no connection is attempted; a 429 of REST holds no stream up."""
    seconds, _ = redis_client.time()
    redis_client.hset(BACKOFF_KEY, "throttled_until_ms", str((seconds + 60) * 1000))
    with connected(well.stream_url, redis_client):
        pass
    redis_client.hset(BACKOFF_KEY, "banned_until_ms", str((seconds + 60) * 1000))
    asked = len(well.requests())
    with pytest.raises(Unreachable, match="banned"), connected(well.stream_url, redis_client):
        pass
    assert len(well.requests()) == asked


def test_nobody_listens_is_unreachable() -> None:
    """A port without a server, and a name that does not exist."""
    for base in ("ws://127.0.0.1:1", "ws://nowhere.invalid"):
        with pytest.raises(Unreachable, match="no connection"), connected(base):
            pass


@contextmanager
def running(paper: PaperExchange, redis: Redis, **options: Any) -> Iterator[CandleFeed]:
    """A feed at work in its own threads, whose pauses between connections are short."""
    settings = Settings(
        trading_mode=Mode.PAPER,
        binance_futures_base_url=paper.base_url,
        candles_symbols=SYMBOLS,
        candles_keep=KEEP,
        candles_weight_per_min=1_000_000,
    )
    clock, stop = SystemClock(), threading.Event()
    shared = SharedBackoff(redis, BACKOFF_KEY, UNIT)

    def open_stream(symbols: Shard) -> StreamConnection:
        names = [kline_stream(symbol) for symbol in symbols]
        return StreamConnection(combined_url(paper.stream_url, names), clock=clock, backoff=shared)

    def make(*parts: Any) -> LiveConnection:
        return LiveConnection(*parts, pauses=Pauses(0.02, 0.1), **options)

    client = PublicClient(paper.base_url, clock=clock, timeout_s=4.0, backoff=shared)
    feed = CandleFeed(
        Context(settings, redis, clock, stop, "test"), client, shared, LiveCandles(open_stream, clock, make)
    )
    errors: list[Exception] = []
    runners = [LoopRunner(loop, stop, clock, ends=errors.append) for loop in feed.loops()]
    for runner in runners:
        runner.start()
    try:
        yield feed
    finally:
        stop.set()
        for runner in runners:
            runner.loop.wake.set()
            runner.thread.join(10)
        feed.close()


def served(paper: PaperExchange, symbol: str) -> list[tuple[int, str]]:
    """The newest closed candles as the exchange serves them: open time and close."""
    rows = paper.get("/fapi/v1/klines", symbol=symbol, interval="1m", limit=KEEP).json
    return [(row[0], row[4]) for row in rows[:-2]]  # the running one, and the one that has just closed


def stored(redis: Redis, symbol: str) -> list[tuple[int, str]]:
    """The candles in Redis."""
    found: Any = redis.zrange(candles.key(symbol), 0, -1)
    read = [candles.decode(member, symbol) for member in found]
    return [(candle.open_ms, candle.close) for candle in read]


def agrees(paper: PaperExchange, redis: Redis, symbol: str) -> bool:
    """Whether every minute that the exchange serves is stored once, with its figures, and no minute twice."""
    wanted = served(paper, symbol)
    held = stored(redis, symbol)
    assert len({minute for minute, _ in held}) == len(held), "a minute is stored twice"
    known = dict(held)
    since = max(wanted[0][0], held[0][0] if held else 0)
    lacking = [minute for minute, close in wanted if minute >= since and known.get(minute) != close]
    return len(held) >= KEEP - 10 and not lacking


def all_agree(paper: PaperExchange, redis: Redis) -> None:
    """Wait until all symbols' candles are as the exchange serves them."""
    for symbol in SYMBOLS:
        wait_until(partial(agrees, paper, redis, symbol), 30, every_s=0.1, what=f"{symbol} as the exchange serves it")


def is_live(feed: CandleFeed, reconnects: int) -> bool:
    """Whether all candles come by stream again, after so many reconnects at least."""
    return feed._live.reconnects >= reconnects and feed._live.covered() == frozenset(SYMBOLS)


def newest(paper: PaperExchange) -> int:
    """The minute that runs at the exchange."""
    return int(paper.get("/fapi/v1/time").json["serverTime"]) // INTERVAL_MS


def is_past(paper: PaperExchange, minute: int) -> bool:
    """Whether a minute is over."""
    return newest(paper) > minute


def test_twenty_forced_disconnects_lose_and_double_nothing(well: PaperExchange, redis_client: Redis) -> None:
    """Broken off and closed in turn, some candles told by no stream, some twice, some garbled: none is missing."""
    spoilers: Iterator[dict[str, Any]] = itertools.cycle(
        [
            {"fault": "skip_candles", "where": "stream", "count": 2, "ago": -2},
            {"fault": "repeat_candle", "where": "stream"},
            {"fault": "garble_streams", "how": "truncate", "times": 2},
            {"fault": "delay_streams", "seconds": 0.3},
            {"fault": "garble_streams", "how": "number", "times": 2},
        ]
    )
    with running(well, redis_client) as feed:
        wait_until(lambda: is_live(feed, 0), 20)
        all_agree(well, redis_client)
        for number in range(20):
            minute = newest(well)
            well.fault(next(spoilers), {"fault": "drop_streams", "how": "close" if number % 2 else "abort"})
            wait_until(partial(is_live, feed, number + 1), 20)
            if number % 2:
                wait_until(partial(is_past, well, minute), 20)
            if number % 5 == 4:
                well.clear_faults()
        well.clear_faults()
        all_agree(well, redis_client)
        assert feed._live.reconnects >= 20


def test_silence_costs_requests_and_no_candle(well: PaperExchange, redis_client: Redis) -> None:
    """Connected and mute, as the retired address is: REST brings the candles, and the connection is made again."""
    with running(well, redis_client, silent_s=1.0) as feed:
        wait_until(lambda: is_live(feed, 0), 20)
        all_agree(well, redis_client)
        well.fault({"fault": "silence_streams"})
        wait_until(lambda: is_live(feed, 2), 30)
        all_agree(well, redis_client)
        well.clear_faults()
        all_agree(well, redis_client)


def test_the_end_of_a_connections_day_loses_nothing(well: PaperExchange, redis_client: Redis) -> None:
    """The exchange ends each connection after 2 s, the feed replaces each after 1 s: it never comes to the end."""
    well.fault({"fault": "stream_rules", "life_s": 2.0})
    with running(well, redis_client, renew_s=1.0) as feed:
        wait_until(lambda: is_live(feed, 0), 20)
        connection = feed._live._connections[0]  # type: ignore[attr-defined]
        wait_until(lambda: connection.opened >= 5, 30)
        assert connection.reconnects == 0
        all_agree(well, redis_client)
