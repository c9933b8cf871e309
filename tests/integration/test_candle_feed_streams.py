"""The feed's streams against the paper exchange: real connections, real threads, and everything that can go wrong."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from redis import Redis

from microservices.candle_feed.service import UNIT
from microservices.contracts.candles import INTERVAL_MS
from microservices.contracts.control import BACKOFF_KEY
from microservices.exchange import (
    BadAnswer,
    ExchangeError,
    KlineEvent,
    ServerFault,
    SharedBackoff,
    Throttled,
    Unreachable,
    combined_url,
    kline_stream,
    read_kline,
)
from microservices.exchange.stream_connection import StreamConnection
from microservices.runtime import SystemClock
from tests.support.paper import PaperExchange
from tests.support.running_feed import SYMBOLS, RunningFeed
from tests.support.waiting import wait_until

STREAMS = [kline_stream(symbol) for symbol in SYMBOLS]


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
def test_both_forms_of_address_bring_closed_candles(sped_paper: PaperExchange, path: str) -> None:
    """A closed candle is what klines serve for its minute, to the last digit."""
    with connected(f"ws://127.0.0.1:{sped_paper.port}{path}") as connection:
        event = closed_candle(connection)
    asked = {"symbol": event.symbol, "interval": "1m", "startTime": event.kline.open_ms, "limit": 1}
    row = sped_paper.get("/fapi/v1/klines", **asked).json[0]
    kline = event.kline
    assert [kline.open_ms, kline.open, kline.high, kline.low, kline.close, kline.volume, kline.close_ms] == row[:7]


def test_pings_are_answered(sped_paper: PaperExchange) -> None:
    """The exchange pings forty times as often as it waits for a pong; the connection outlives its patience."""
    # On a busy machine pongs come in a bunch, which must not be more messages than it takes in a second.
    sped_paper.fault({"fault": "stream_rules", "ping_s": 0.1, "pong_s": 4.0, "messages_per_s": 1_000})
    with connected(sped_paper.stream_url) as connection:
        listen(connection, 5.0)


@pytest.mark.parametrize("how", ["abort", "close", "its day is over"])
def test_an_ended_connection_is_an_error_of_ours(sped_paper: PaperExchange, how: str) -> None:
    """Broken off, closed with a frame, closed because it is a day old: `Unreachable`, with what was said."""
    if how == "its day is over":
        sped_paper.fault({"fault": "stream_rules", "life_s": 0.5})
    with connected(sped_paper.stream_url) as connection:
        if how != "its day is over":
            closed_candle(connection)
            sped_paper.fault({"fault": "drop_streams", "how": how})
        with pytest.raises(Unreachable, match="lost" if how == "abort" else "closed by the exchange: 10"):
            listen(connection, 20)


@pytest.mark.parametrize(
    ("status", "kind", "field"),
    [(503, ServerFault, None), (429, Throttled, "throttled_until_ms"), (418, Throttled, "banned_until_ms")],
)
def test_a_refused_handshake_says_why_and_is_shared(
    sped_paper: PaperExchange,
    redis_client: Redis,
    status: int,
    kind: type[ExchangeError],
    field: str | None,
) -> None:
    """I-24: 429 and 418 in place of a handshake are told to all services; another status is its own error."""
    sped_paper.fault({"fault": "refuse_streams", "seconds": 30, "status": status})
    with pytest.raises(kind), connected(sped_paper.stream_url, redis_client):
        pass
    assert set(redis_client.hgetall(BACKOFF_KEY)) == ({field.encode(), b"by"} if field else set())


@pytest.mark.parametrize(
    ("fault", "kind", "what"),
    [
        ({"fault": "html", "status": 200}, BadAnswer, "HTTP 200"),
        ({"fault": "html", "status": 502}, ServerFault, "502"),
        ({"fault": "drop"}, ExchangeError, "GET /stream"),
        ({"fault": "status", "status": 429, "retry_after_s": 90}, Throttled, "429"),
    ],
    ids=["a page instead", "a proxy's error", "nothing", "Retry-After"],
)
def test_a_handshake_that_goes_wrong_is_an_error_of_ours(
    sped_paper: PaperExchange, fault: dict[str, Any], kind: type[ExchangeError], what: str
) -> None:
    """Whatever comes in place of the handshake has its type, and the next attempt succeeds."""
    sped_paper.fault({**fault, "path": "/market", "times": 1})
    with pytest.raises(kind, match=what) as caught, connected(sped_paper.stream_url):
        pass
    if isinstance(caught.value, Throttled):
        assert caught.value.retry_after_s == 90
    with connected(sped_paper.stream_url) as connection:
        closed_candle(connection)


def test_a_banned_address_does_not_try(sped_paper: PaperExchange, redis_client: Redis) -> None:
    """While another service's ban stands no connection is attempted; a 429 of REST holds no stream up."""
    seconds, _ = redis_client.time()
    redis_client.hset(BACKOFF_KEY, "throttled_until_ms", str((seconds + 60) * 1000))
    with connected(sped_paper.stream_url, redis_client):
        pass
    redis_client.hset(BACKOFF_KEY, "banned_until_ms", str((seconds + 60) * 1000))
    asked = len(sped_paper.requests())
    with pytest.raises(Unreachable, match="banned"), connected(sped_paper.stream_url, redis_client):
        pass
    assert len(sped_paper.requests()) == asked


def test_nobody_listens_is_unreachable() -> None:
    """A port without a server, and a name that does not exist."""
    for base in ("ws://127.0.0.1:1", "ws://nowhere.invalid"):
        with pytest.raises(Unreachable, match="no connection"), connected(base):
            pass


def newest(paper: PaperExchange) -> int:
    """The minute that runs at the exchange."""
    return int(paper.get("/fapi/v1/time").json["serverTime"]) // INTERVAL_MS


def is_past(paper: PaperExchange, minute: int) -> bool:
    """Whether a minute is over."""
    return newest(paper) > minute


def test_twenty_forced_disconnects_lose_and_double_nothing(sped_paper: PaperExchange, redis_client: Redis) -> None:
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
    with RunningFeed(sped_paper, redis_client) as feed:
        feed.wait_until_live()
        feed.wait_until_agreed()
        for number in range(20):
            minute = newest(sped_paper)
            sped_paper.fault(next(spoilers), {"fault": "drop_streams", "how": "close" if number % 2 else "abort"})
            feed.wait_until_live(number + 1)
            if number % 2:
                wait_until(partial(is_past, sped_paper, minute), 20)
            if number % 5 == 4:
                sped_paper.clear_faults()
        sped_paper.clear_faults()
        feed.wait_until_agreed()
        assert feed.live.reconnects >= 20


def test_silence_costs_requests_and_no_candle(sped_paper: PaperExchange, redis_client: Redis) -> None:
    """Connected and mute, as the retired address is: REST brings the candles, and the connection is made again."""
    with RunningFeed(sped_paper, redis_client, silent_s=1.0) as feed:
        feed.wait_until_live()
        feed.wait_until_agreed()
        sped_paper.fault({"fault": "silence_streams"})
        feed.wait_until_live(2)
        feed.wait_until_agreed()
        sped_paper.clear_faults()
        feed.wait_until_agreed()


def test_the_end_of_a_connections_day_loses_nothing(sped_paper: PaperExchange, redis_client: Redis) -> None:
    """The exchange ends each connection after 4 s, the feed replaces each after 0.4 s: it never comes to the end."""
    sped_paper.fault({"fault": "stream_rules", "life_s": 4.0})
    with RunningFeed(sped_paper, redis_client, renew_s=0.4) as feed:
        feed.wait_until_live()
        connection = feed.live._connections[0]
        wait_until(lambda: connection.opened >= 11, 60, what="more renewals than one life has room for")
        assert connection.reconnects == 0
        feed.wait_until_agreed()
