"""The shared back-off in a real Redis."""

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from microservices.exchange import (
    BackoffLevel,
    BackoffUnreadable,
    PublicClient,
    SharedBackoff,
    Throttled,
)
from microservices.runtime import SystemClock
from tests.support.http_server import HttpServer
from tests.support.ports import free_port

KEY = "quantum:exchange:backoff"


def throttled(status: int, retry_after_s: float) -> Throttled:
    """An answer that throttles."""
    return Throttled("GET /x", status, retry_after_s)


def redis_ms(redis: Redis) -> int:
    """Redis's clock in epoch ms."""
    seconds, microseconds = redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def test_free_where_nothing_stands(redis_client: Redis) -> None:
    """An absent hash holds nobody up."""
    backoff = SharedBackoff(redis_client, KEY, "test")
    for level in BackoffLevel:
        assert backoff.remaining_s(level) == 0


@pytest.mark.parametrize(
    ("status", "held"),
    [
        (429, {BackoffLevel.MARKET_DATA: True, BackoffLevel.SNAPSHOTS: True, BackoffLevel.ORDERS: False}),
        (418, {BackoffLevel.MARKET_DATA: True, BackoffLevel.SNAPSHOTS: True, BackoffLevel.ORDERS: True}),
    ],
)
def test_who_obeys_what(redis_client: Redis, status: int, held: dict[BackoffLevel, bool]) -> None:
    """429 holds up market data and snapshots, only 418 also orders; the time is Redis's plus Retry-After."""
    SharedBackoff(redis_client, KEY, "feed").note_throttled(throttled(status, 30))
    reader = SharedBackoff(redis_client, KEY, "brain")
    for level, is_held in held.items():
        assert (29 < reader.remaining_s(level) <= 30) == is_held
    assert redis_client.hget(KEY, "by") == b"feed"


def test_a_refused_order_holds_up_orders_and_nobody_else(redis_client: Redis) -> None:
    """The limit of orders is its own: queries, snapshots and market data go on."""
    SharedBackoff(redis_client, KEY, "apply").note_order_throttled(throttled(429, 8))
    reader = SharedBackoff(redis_client, KEY, "apply")
    held = {level: reader.remaining_s(level) > 7 for level in BackoffLevel}
    assert held == {level: level is BackoffLevel.NEW_ORDERS for level in BackoffLevel}


def test_no_single_answer_holds_up_orders_for_more_than_a_minute(redis_client: Redis) -> None:
    """I-43: a 429 that asks for days would keep every exit from going out; what stands is not shortened by it."""
    backoff = SharedBackoff(redis_client, KEY, "apply")
    backoff.note_order_throttled(throttled(429, 259_200))
    until_ms = int(redis_client.hget(KEY, "orders_until_ms") or 0)
    assert 0 < until_ms - redis_ms(redis_client) <= 60_000
    backoff.note_order_throttled(throttled(429, 1))
    assert redis_client.hget(KEY, "orders_until_ms") == str(until_ms).encode()


def test_used_weight_holds_up_market_data_until_the_next_minute(redis_client: Redis) -> None:
    """Over 80 % of 2,400 the candle feed and the universe wait for the next minute, and nobody else does."""
    backoff = SharedBackoff(redis_client, KEY, "feed")
    backoff.note_weight(1_920)
    assert backoff.remaining_s(BackoffLevel.MARKET_DATA) == 0
    backoff.note_weight(1_921)
    until_ms = int(redis_client.hget(KEY, "weight_until_ms") or 0)
    assert until_ms % 60_000 == 1_000
    assert 0 < until_ms - redis_ms(redis_client) <= 61_000
    assert backoff.remaining_s(BackoffLevel.SNAPSHOTS) == 0
    assert backoff.remaining_s(BackoffLevel.ORDERS) == 0


def test_a_time_is_only_ever_raised(redis_client: Redis) -> None:
    """A shorter Retry-After that comes later does not shorten what stands, and does not change who said it."""
    SharedBackoff(redis_client, KEY, "first").note_throttled(throttled(418, 600))
    stands = redis_client.hgetall(KEY)
    SharedBackoff(redis_client, KEY, "second").note_throttled(throttled(418, 5))
    assert redis_client.hgetall(KEY) == stands
    SharedBackoff(redis_client, KEY, "second").note_throttled(throttled(418, 900))
    assert redis_client.hget(KEY, "by") == b"second"
    assert int(redis_client.hget(KEY, "banned_until_ms") or 0) > int(stands[b"banned_until_ms"])


@pytest.mark.parametrize("value", ["soon", "-1", "1e12", "", "9" * 16])
def test_what_is_no_time_is_not_taken_for_free(redis_client: Redis, value: str) -> None:
    """A value that cannot be read raises, so that the caller does not ask; the next throttling repairs it."""
    redis_client.hset(KEY, "banned_until_ms", value)
    backoff = SharedBackoff(redis_client, KEY, "test")
    with pytest.raises(BackoffUnreadable):
        backoff.remaining_s(BackoffLevel.ORDERS)
    backoff.note_throttled(throttled(418, 30))
    assert backoff.remaining_s(BackoffLevel.ORDERS) > 29


def test_trouble_with_redis_is_told(redis_client: Redis) -> None:
    """A key of another type, or a Redis that is away, raises: unknown is not free."""
    redis_client.set(KEY, "x")
    with pytest.raises(BackoffUnreadable, match="quantum:exchange:backoff is no hash: delete it"):
        SharedBackoff(redis_client, KEY, "test").remaining_s(BackoffLevel.ORDERS)
    away = Redis(port=free_port(), retry=Retry(NoBackoff(), 0))
    with pytest.raises(RedisError):
        SharedBackoff(away, KEY, "test").remaining_s(BackoffLevel.ORDERS)


def test_a_client_tells_the_others(redis_client: Redis) -> None:
    """I-24: whoever sees 429 or a high used weight raises the back-off by itself."""
    backoff = SharedBackoff(redis_client, KEY, "feed")
    with HttpServer() as server:
        client = PublicClient(server.url, clock=SystemClock(), backoff=backoff)
        server.say(b"{}", X_MBX_USED_WEIGHT_1M="2000")
        client.ping()
        assert backoff.remaining_s(BackoffLevel.MARKET_DATA) > 0
        assert backoff.remaining_s(BackoffLevel.SNAPSHOTS) == 0
        server.say(b"{}", 429, Retry_After="20")
        with pytest.raises(Throttled):
            client.ping()
        assert 19 < backoff.remaining_s(BackoffLevel.SNAPSHOTS) <= 20


def test_a_redis_that_is_away_hides_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    """What the exchange said reaches the caller also where it cannot be shared."""
    away = Redis(port=free_port(), retry=Retry(NoBackoff(), 0))
    with HttpServer() as server:
        client = PublicClient(server.url, clock=SystemClock(), backoff=SharedBackoff(away, KEY, "feed"))
        server.say(b'{"serverTime":5}', X_MBX_USED_WEIGHT_1M="2300")
        assert client.server_time_ms() == 5
        server.say(b"{}", 418)
        with pytest.raises(Throttled):
            client.ping()
    assert "could not be shared" in caplog.text
