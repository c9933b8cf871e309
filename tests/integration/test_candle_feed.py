"""The candle feed against a real Redis and a market that behaves as the test says."""

import logging
from collections.abc import Iterator

import pytest
from redis import Redis

from microservices.candle_feed.fetching import WORKERS
from microservices.candle_feed.history import ABSENT_BELIEVED_FIRST_S
from microservices.candle_feed.planning import weight_of
from microservices.contracts import candles, universe
from microservices.contracts.candles import INTERVAL_MS
from microservices.contracts.control import BACKOFF_KEY, Mode
from microservices.exchange import ExchangeError
from microservices.runtime import Away
from tests.support.candle_world import NEWEST_MS, NOW, Market, World, last, usual_close
from tests.support.clock import FakeClock
from tests.support.http_server import answer
from tests.support.ports import free_port


@pytest.fixture
def world(redis_client: Redis) -> Iterator[World]:
    """A market with its clock, and an empty Redis."""
    with Market(FakeClock(NOW)) as market:
        yield World(redis_client, market)


def test_history_is_filled(world: World) -> None:
    """All candles that are kept are stored, closed ones alone, as the exchange gave them, and the status says so."""
    feed = world.feed("AUSDT", "BUSDT")
    feed.tick_candles()
    for symbol in ("AUSDT", "BUSDT"):
        assert world.minutes(symbol) == last(600)
        assert world.stored(symbol)[-1].close == usual_close(NEWEST_MS)
    status = world.status()
    assert (status.symbols, status.lagging, status.gaps_filled_total, status.reconnects_total) == (2, 0, 0, 0)
    assert status.last_close_epoch == (NEWEST_MS + INTERVAL_MS) // 1000
    assert status.updated_at == NOW
    assert feed.status_line() == "2 symbols, 0 live, 0 lagging, newest close 08:00 UTC"


def test_the_newest_300_of_all_come_before_depth(world: World) -> None:
    """With little weight to spend every symbol has its newest 300 before any symbol has more."""
    feed = world.feed(*"ABCDE", candles_weight_per_min=15)
    feed.tick_candles()
    assert sorted(world.market.asked_for()) == [(symbol, 300) for symbol in "ABCDE"]
    assert all(world.minutes(symbol) == last(300) for symbol in "ABCDE")
    world.clock.advance(60)
    feed.tick_candles()
    assert all(world.minutes(symbol)[-1] == NEWEST_MS + INTERVAL_MS for symbol in "ABCDE")
    assert max(len(world.minutes(symbol)) for symbol in "ABCDE") == 600


def test_the_budget_holds_in_every_minute(world: World) -> None:
    """Whatever there is to fetch, no 60 seconds weigh more than allowed, the questions for the time included."""
    symbols = [f"S{number}USDT" for number in range(8)]
    feed = world.feed(*symbols, candles_weight_per_min=15)
    spent: list[tuple[float, int]] = []
    for number in range(200):
        before = len(world.market.requests)
        if number % 4 == 3:
            world.live.reconnect()  # which has the exchange's time asked for again
            feed.tick_live()
        pause_s = feed.tick_candles()
        now = world.clock.monotonic()
        spent += [(now, weight_of(int(request.query.get("limit", "1")))) for request in world.market.requests[before:]]
        assert sum(weight for at, weight in spent if at > now - 60) <= 15
        world.clock.advance(max(pause_s, 0.05))
        if all(len(world.minutes(symbol)) == 600 for symbol in symbols):
            break
    assert all(len(world.minutes(symbol)) == 600 for symbol in symbols)


def test_each_minute_brings_one_small_request(world: World) -> None:
    """Just after a close every symbol is asked for its new candle and the one before, and a correction replaces."""
    feed = world.feed("AUSDT", "BUSDT")
    feed.tick_candles()
    asked = len(world.market.asked())
    pause_s = feed.tick_candles()
    assert pause_s == 10.0, "the heartbeat, while the close is further away"
    world.clock.advance(20)
    pause_s = feed.tick_candles()
    assert pause_s == pytest.approx(10.0, abs=0.01)
    world.clock.advance(10.5)
    assert feed.tick_candles() == pytest.approx(0.5, abs=0.01), "a second after the close, not before"
    assert len(world.market.asked()) == asked
    world.market.closes[NEWEST_MS] = "55"
    world.clock.advance(0.6)
    feed.tick_candles()
    assert sorted(world.market.asked_for()[asked:]) == [("AUSDT", 2), ("BUSDT", 2)]
    stored = world.stored("AUSDT")
    assert [candle.open_ms for candle in stored] == last(600, NEWEST_MS + INTERVAL_MS)
    assert stored[-2].close == "55"


def test_a_restart_asks_only_for_what_is_missing(world: World) -> None:
    """After ten minutes away a new process fetches those ten minutes and nothing else, and counts the gap."""
    world.feed("AUSDT").tick_candles()
    asked = len(world.market.asked())
    world.clock.advance(600)
    world.feed("AUSDT").tick_candles()
    assert world.market.asked_for()[asked:] == [("AUSDT", 11)]
    assert world.minutes("AUSDT") == last(600, NEWEST_MS + 10 * INTERVAL_MS)
    assert world.status().gaps_filled_total == 1


def test_a_late_candle_is_fetched_as_soon_as_it_is_there(world: World) -> None:
    """A newest candle the exchange does not have yet is asked for again after a second, and lags after 15."""
    world.market.lacks = {NEWEST_MS}
    feed = world.feed("AUSDT")
    assert feed.tick_candles() == pytest.approx(1.0, abs=0.01)
    assert world.status().lagging == 1
    world.market.lacks = set()
    world.clock.advance(1.01)
    feed.tick_candles()
    assert world.minutes("AUSDT") == last(600)
    assert world.status().lagging == 0


def test_a_hole_of_the_exchange_is_filled_when_it_can_be(world: World) -> None:
    """Minutes the exchange lacks are not asked for over and over, but once more later; then they count as a gap."""
    hole = last(600)[-50:-45]
    world.market.lacks = set(hole)
    feed = world.feed("AUSDT")
    feed.tick_candles()
    asked = len(world.market.asked())
    feed.tick_candles()
    assert len(world.market.asked()) == asked
    assert world.minutes("AUSDT") == [minute for minute in last(600) if minute not in hole]
    world.market.lacks = set()
    world.clock.advance(ABSENT_BELIEVED_FIRST_S)
    feed.tick_candles()
    assert world.minutes("AUSDT") == last(600)
    assert world.status().gaps_filled_total == 1


def test_a_young_symbol_has_what_there_is(world: World) -> None:
    """A symbol that is listed since an hour is complete with an hour of candles."""
    world.market.lacks = set(last(600)[:-60])
    feed = world.feed("AUSDT")
    feed.tick_candles()
    asked = len(world.market.asked())
    assert world.minutes("AUSDT") == last(60)
    feed.tick_candles()
    assert len(world.market.asked()) == asked


@pytest.mark.parametrize(("status", "field"), [(429, b"throttled_until_ms"), (418, b"banned_until_ms")])
def test_throttling_is_obeyed_and_told(world: World, status: int, field: bytes) -> None:
    """I-24: after 429 or 418 it is told to the suite, and nothing is asked before Retry-After, whatever Redis says."""
    symbols = ["AUSDT", *(f"S{number}USDT" for number in range(30))]
    feed = world.feed(*symbols)
    world.market.wrong = dict.fromkeys(symbols, answer(b"{}", status, Retry_After="40"))
    feed.tick_candles()
    world.market.wrong = {}
    asked = len(world.market.asked())
    assert asked <= WORKERS
    assert field in world.redis.hgetall(BACKOFF_KEY)
    world.redis.delete(BACKOFF_KEY)
    world.clock.advance(39)
    feed.tick_candles()
    assert len(world.market.asked()) == asked
    assert "held up by the exchange" in feed.status_line()
    world.clock.advance(2)
    feed.tick_candles()
    assert world.minutes("AUSDT") == last(600, NEWEST_MS + INTERVAL_MS)


@pytest.mark.parametrize("field", ["weight_until_ms", "throttled_until_ms", "banned_until_ms"])
def test_anothers_back_off_is_obeyed(world: World, field: str) -> None:
    """The feed asks nothing while any of the three back-offs that another service raised stands."""
    seconds, _ = world.redis.time()
    world.redis.hset(BACKOFF_KEY, field, (seconds + 600) * 1000)
    feed = world.feed("AUSDT")
    assert feed.tick_candles() == pytest.approx(10.0, abs=0.1)
    assert not world.market.asked()
    assert 500 < float(feed.status_line().split()[-2]) <= 600


def test_an_unknown_back_off_is_not_taken_for_none(world: World) -> None:
    """A back-off that cannot be read stops the asking, as something to wait for."""
    world.redis.hset(BACKOFF_KEY, "banned_until_ms", "soon")
    with pytest.raises(Away, match="back-off"):
        world.feed("AUSDT").tick_candles()
    assert not world.market.asked()


def test_used_weight_over_80_percent_is_told_and_obeyed(world: World) -> None:
    """An answer that says 2,000 of 2,400 are used stops the feed until the exchange's minute is over."""
    world.market.headers = {"X_MBX_USED_WEIGHT_1M": "2000"}
    feed = world.feed(*"ABCDE", candles_weight_per_min=15)
    before_s, _ = world.redis.time()
    feed.tick_candles()
    after_s, _ = world.redis.time()
    until_ms = int(world.redis.hget(BACKOFF_KEY, "weight_until_ms"))
    assert (before_s // 60 + 1) * 60 + 1 <= until_ms / 1000 <= (after_s // 60 + 1) * 60 + 1
    world.redis.hset(BACKOFF_KEY, "weight_until_ms", until_ms + 600_000)  # the real minute may end here
    world.clock.advance(60)  # its own budget is whole again, and candles are missing
    feed.tick_candles()
    assert sorted(world.market.asked_for()) == [(symbol, 300) for symbol in "ABCDE"]


@pytest.mark.parametrize(
    "wrong",
    [
        answer(b'{"code":-1121,"msg":"Invalid symbol."}', 400),
        answer(b"<html></html>"),
        answer(b'[[1,"1","1","1","1","NaN",2]]'),
        answer(b"", 503),
    ],
    ids=["unknown symbol", "HTML", "NaN", "503"],
)
def test_one_bad_symbol_holds_up_no_other(world: World, wrong: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A symbol whose answers are bad is named once, tried again ever less often, and told when it is good again."""
    caplog.set_level(logging.INFO)
    world.market.wrong = {"BADUSDT": wrong}
    feed = world.feed("AUSDT", "BADUSDT", "CUSDT")
    feed.tick_candles()
    feed.tick_candles()
    assert world.minutes("AUSDT") == world.minutes("CUSDT") == last(600)
    assert world.minutes("BADUSDT") == []
    assert world.status().lagging == 1
    assert feed.shortfall() == "1 of 3 symbols lack their newest candle"
    assert caplog.text.count("BADUSDT") == 1
    world.market.wrong = {}
    world.clock.advance(10)
    feed.tick_candles()
    assert world.minutes("BADUSDT") == last(600)
    assert feed.shortfall() == ""
    assert "BADUSDT: candles are good again" in caplog.text


def test_rows_that_are_no_candles_are_left_out(world: World) -> None:
    """A row whose high is below its close is not stored, and the rest of the answer is."""
    world.market.closes = {last(600)[-7]: "100000"}
    feed = world.feed("AUSDT")
    feed.tick_candles()
    assert world.minutes("AUSDT") == [minute for minute in last(600) if minute != last(600)[-7]]


def test_an_exchange_that_is_away_is_waited_for(world: World) -> None:
    """With nobody there the loop fails as away and stores nothing; what follows succeeds."""
    feed = world.feed("AUSDT", url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ExchangeError):
        feed.tick_candles()
    feed = world.feed(*"ABCDE")
    feed.tick_universe()
    world.market.wrong = dict.fromkeys("ABCDE", answer(b"", 502))
    with pytest.raises(ExchangeError, match="502"):
        feed.tick_candles()
    world.market.wrong = {}
    feed.tick_candles()
    assert world.minutes("E") == last(600)


def test_candles_taken_out_of_redis_come_back(world: World) -> None:
    """A Redis that lost its data under a running feed is filled again with the next minute."""
    feed = world.feed("AUSDT")
    feed.tick_candles()
    world.redis.flushall()
    world.clock.advance(60)
    feed.tick_candles()
    feed.tick_candles()
    assert world.minutes("AUSDT") == last(600, NEWEST_MS + INTERVAL_MS)


def test_what_stands_there_wrong_is_replaced(world: World) -> None:
    """A member that is unreadable, under a wrong time, doubled, or too old is gone after the first fill."""
    key = candles.key("AUSDT")
    world.feed("AUSDT").tick_candles()
    good = last(600)
    for number, (score, member) in enumerate(
        [(good[-3], "not a candle"), (good[-5] + 1, "{}"), (good[-9], "doubled"), (good[0] - INTERVAL_MS, "old")]
    ):
        if number == 0:
            world.redis.zremrangebyscore(key, score, score)
        world.redis.zadd(key, {member: score})
    world.feed("AUSDT").tick_candles()
    assert b"doubled" not in world.redis.zrange(key, 0, -1)
    assert b"not a candle" not in world.redis.zrange(key, 0, -1)
    assert world.redis.zscore(key, "old") is None


@pytest.mark.parametrize("at", ["start", "work"])
def test_a_key_of_another_type_is_replaced(world: World, at: str, caplog: pytest.LogCaptureFixture) -> None:
    """What somebody put in the place of one symbol's candles stops neither that symbol nor any other."""
    feed = world.feed("AUSDT", "BUSDT")
    if at == "work":
        feed.tick_candles()
        world.clock.advance(60)
    world.redis.delete(candles.key("AUSDT"))
    world.redis.set(candles.key("AUSDT"), "rubbish")
    for _ in range(2):
        feed.tick_candles()
    newest_ms = NEWEST_MS + (INTERVAL_MS if at == "work" else 0)
    assert world.minutes("AUSDT") == world.minutes("BUSDT") == last(600, newest_ms)
    assert f"{candles.key('AUSDT')} is of another type" in caplog.text or at == "work"


def test_symbols_come_and_go_with_the_universe(world: World) -> None:
    """The universe's symbols are followed, its changes too, and its loss does not stop the candles."""
    feed = world.feed()
    assert feed.status_line() == "waiting for the universe"
    assert feed.tick_universe() == 0.5
    feed.tick_candles()
    assert world.status().symbols == 0
    world.publish_universe("AUSDT", "BUSDT")
    assert feed.tick_universe() == 10.0
    wake = next(loop for loop in feed.loops() if loop.name == "candles").wake
    assert wake.is_set()
    feed.tick_candles()
    assert world.minutes("AUSDT") == world.minutes("BUSDT") == last(600)
    world.publish_universe("BUSDT", "CUSDT")
    feed.tick_universe()
    feed.tick_candles()
    assert world.minutes("CUSDT") == last(600)
    assert world.status().symbols == 2
    world.redis.delete(universe.ACTIVE_KEY, universe.LAST_OK_KEY)
    world.clock.advance(60)
    feed.tick_universe()
    feed.tick_candles()
    assert world.minutes("CUSDT") == last(600, NEWEST_MS + INTERVAL_MS)
    assert world.minutes("AUSDT") == last(600), "a symbol that left is not followed any more"


def test_another_modes_universe_is_not_followed(world: World) -> None:
    """A mainnet list in Redis gives a paper feed no symbols."""
    world.publish_universe("AUSDT", mode=Mode.MAINNET)
    feed = world.feed()
    feed.tick_universe()
    feed.tick_candles()
    assert world.status().symbols == 0
    assert not world.market.asked()
