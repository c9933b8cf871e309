"""The feed at work through trouble at REST, in Redis and in the universe: nothing is lost that is still served."""

import signal
import time
from typing import Any

import pytest
from redis import Redis

from microservices.contracts import candles, hashes, universe
from microservices.contracts.candles import INTERVAL_MS
from microservices.contracts.control import BACKOFF_KEY, Mode
from microservices.contracts.universe import UniverseDocument, UniverseMeta
from tests.support.paper import PaperExchange
from tests.support.redis_server import RedisServer
from tests.support.running_feed import SYMBOLS, RunningFeed, served, stored
from tests.support.waiting import wait_until

ASKED = {"path": "/fapi/v1/klines", "symbol": SYMBOLS[2]}
UNTOLD = {"fault": "stop_candles", "where": "stream", "symbol": SYMBOLS[2]}


@pytest.mark.parametrize(
    "fault",
    [{"fault": "truncate"}, {"fault": "html", "status": 200}, {"fault": "drop"}],
    ids=["truncated", "HTML", "dropped"],
)
def test_answers_that_are_none_cost_time_and_no_candle(
    sped_paper: PaperExchange, redis_client: Redis, fault: dict[str, Any]
) -> None:
    """A symbol that no stream tells anything of is answered wrongly twice: then everything is there."""
    before = last_request(sped_paper)
    sped_paper.fault(UNTOLD, {**fault, **ASKED, "times": 2})
    with RunningFeed(sped_paper, redis_client) as feed:
        wait_until(lambda: len(struck(sped_paper, before)) == 2, 30, what="the fault to strike")
        feed.wait_until_agreed()


def last_request(paper: PaperExchange) -> int:
    """The number of the newest request for candles; 0 before the first."""
    return max((int(request["seq"]) for request in paper.requests(path=ASKED["path"])), default=0)


def struck(paper: PaperExchange, after: int) -> list[int]:
    """The statuses of the requests for candles that a fault struck."""
    return [request["status"] for request in paper.requests(path=ASKED["path"], after=after) if request["faults"]]


def test_429_and_then_418_hold_it_up_and_cost_no_candle(sped_paper: PaperExchange, redis_client: Redis) -> None:
    """I-24: each is obeyed and told to the suite; when both are over the candles are complete."""
    before = last_request(sped_paper)
    limit = {"fault": "status", "retry_after_s": 1, "times": 1, **ASKED}
    sped_paper.fault(UNTOLD, {**limit, "status": 429}, {**limit, "status": 418, "after": 1})
    with RunningFeed(sped_paper, redis_client) as feed:
        wait_until(lambda: len(struck(sped_paper, before)) == 2, 30, what="429 and 418")
        assert struck(sped_paper, before) == [429, 418]
        feed.wait_until_agreed()
        raised: Any = redis_client.hkeys(BACKOFF_KEY)
        assert {b"throttled_until_ms", b"banned_until_ms"} <= set(raised)


@pytest.mark.parametrize("how", ["with its data", "with nothing"])
def test_redis_may_crash_and_come_back(sped_paper: PaperExchange, how: str) -> None:
    """Killed while candles come, for two minutes of the exchange: what it has lost is filled again."""
    with (
        RedisServer(appendonly=how == "with its data") as server,
        server.client() as redis,
        RunningFeed(sped_paper, redis) as feed,
    ):
        feed.wait_until_live()
        feed.wait_until_agreed()
        server.stop(signal.SIGKILL)
        minute = served(sped_paper, "BTCUSDT")[-1][0]
        wait_until(lambda: served(sped_paper, "BTCUSDT")[-1][0] >= minute + 2 * INTERVAL_MS, 30)
        server.start()
        feed.wait_until_agreed()
        assert feed.live.reconnects == 0, "the streams had no part in it"


def publish_universe(redis: Redis, *symbols: str) -> None:
    """Publish a list as the universe service does."""
    now = int(time.time())
    document = UniverseDocument(now, universe.SOURCE, Mode.PAPER, tuple(sorted(symbols)), dict(universe.FILTERS))
    redis.set(universe.ACTIVE_KEY, universe.encode_document(document))
    redis.hset(universe.META_KEY, mapping=hashes.encode(UniverseMeta(now, now, len(symbols), 0, mode=Mode.PAPER)))


def test_a_symbol_is_delisted_while_it_runs(sped_paper: PaperExchange, redis_client: Redis) -> None:
    """Its candles stop, the others' go on without a break, and it can come back."""
    publish_universe(redis_client, *SYMBOLS)
    with RunningFeed(sped_paper, redis_client, symbols=()) as feed:
        feed.wait_until_live()
        feed.wait_until_agreed()
        publish_universe(redis_client, *SYMBOLS[:2])
        feed.look_at_the_universe()
        feed.wait_until_live(symbols=SYMBOLS[:2])
        wait_until(
            lambda: redis_client.hget(candles.STATUS_KEY, "symbols") == b"2", 30, what="the feed to let go of it"
        )
        last = stored(redis_client, SYMBOLS[2])[-1]
        minute = served(sped_paper, SYMBOLS[0])[-1][0]
        wait_until(lambda: served(sped_paper, SYMBOLS[0])[-1][0] >= minute + 3 * INTERVAL_MS, 30)
        feed.wait_until_agreed(*SYMBOLS[:2])
        assert stored(redis_client, SYMBOLS[2])[-1] == last
        publish_universe(redis_client, *SYMBOLS)
        feed.look_at_the_universe()
        feed.wait_until_live()
        feed.wait_until_agreed()
        assert feed.live.reconnects == 0
