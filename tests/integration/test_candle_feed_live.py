"""Live candles: stored as they come, never before what is missing, never over what is newer."""

import json
import logging
from collections.abc import Iterator

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from microservices.candle_feed.history import VERIFY_EVERY_S
from microservices.candle_feed.service import CandleFeed
from microservices.candle_feed.store import CandleStore
from microservices.contracts import candles
from microservices.contracts.candles import INTERVAL_MS
from tests.support.candle_world import NEWEST_MS, NOW, Market, World, last
from tests.support.clock import FakeClock
from tests.support.http_server import answer


@pytest.fixture
def world(redis_client: Redis) -> Iterator[World]:
    """A market with its clock, and an empty Redis; streams are connected."""
    with Market(FakeClock(NOW)) as market:
        world = World(redis_client, market)
        world.live.connect()
        yield world


def filled(world: World, *symbols: str) -> CandleFeed:
    """A feed that has all history, 31 seconds before the next close."""
    feed = world.feed(*symbols)
    feed.tick_live()
    feed.tick_candles()
    assert all(world.minutes(symbol) == last(600) for symbol in symbols)
    return feed


def close(world: World, *symbols: str, minute: int = NEWEST_MS + INTERVAL_MS) -> None:
    """Let a minute end and the streams say its candle."""
    world.clock.advance((minute + INTERVAL_MS) / 1000 + 0.05 - world.clock.now())
    for symbol in symbols:
        world.live.say(symbol, world.market.row(minute))


def wake_of(feed: CandleFeed) -> bool:
    """Whether the loop that asks was woken."""
    return next(loop for loop in feed.loops() if loop.name == "candles").wake.is_set()


def test_a_close_is_stored_at_once_and_nothing_is_asked(world: World) -> None:
    """50 ms after the close both candles are stored; REST is not asked for what the stream brought."""
    feed = filled(world, "AUSDT", "BUSDT")
    asked = len(world.market.asked())
    close(world, "AUSDT", "BUSDT")
    feed.tick_live()
    assert world.minutes("AUSDT") == world.minutes("BUSDT") == last(600, NEWEST_MS + INTERVAL_MS)
    world.clock.advance(6)
    feed.tick_candles()
    assert len(world.market.asked()) == asked
    assert (world.status().live, world.status().lagging) == (2, 0)


def test_what_the_stream_leaves_out_is_asked_for_after_five_seconds(world: World) -> None:
    """One symbol's candle does not come: it alone is asked for, once the stream has had its time."""
    feed = filled(world, "AUSDT", "BUSDT")
    asked = len(world.market.asked())
    close(world, "AUSDT")
    feed.tick_live()
    pause_s = feed.tick_candles()
    assert len(world.market.asked()) == asked
    world.clock.advance(max(pause_s, 5.0))
    feed.tick_candles()
    assert world.market.asked_for()[asked:] == [("BUSDT", 2)]
    assert world.minutes("BUSDT") == last(600, NEWEST_MS + INTERVAL_MS)


def test_a_start_just_after_a_close_asks_each_symbol_once(world: World) -> None:
    """Streams that began after the close never tell its candle: the request for the history brings it too."""
    world.clock.advance(32)  # two seconds after the close, in the time that is left to streams
    feed = world.feed("AUSDT", "BUSDT", candles_keep=300)
    feed.tick_live()
    feed.tick_candles()
    newest = NEWEST_MS + INTERVAL_MS
    assert world.minutes("AUSDT") == world.minutes("BUSDT") == last(300, newest)
    world.clock.advance(5)
    feed.tick_candles()
    assert sorted(world.market.asked_for()) == [("AUSDT", 300), ("BUSDT", 300)]


def test_while_depth_is_filled_the_newest_is_left_to_the_stream(world: World) -> None:
    """Older candles are missing all the while: the newest one is not asked for in the time that a stream has."""
    feed = world.feed("AUSDT", candles_weight_per_min=10)
    feed.tick_live()
    feed.tick_candles()
    assert world.minutes("AUSDT") == last(600)
    world.redis.zremrangebyrank(candles.key("AUSDT"), 0, 99)
    close(world)
    feed = world.feed("AUSDT", candles_weight_per_min=10)  # a new process, which finds depth missing
    world.clock.advance(2)
    feed.tick_live()
    asked = len(world.market.asked())
    feed.tick_candles()
    newest = NEWEST_MS + INTERVAL_MS
    assert len(world.market.asked()) > asked
    assert all(int(request.query["endTime"]) < newest for request in world.market.asked()[asked:])
    world.live.say("AUSDT", world.market.row(newest))
    feed.tick_live()
    assert world.minutes("AUSDT") == last(600, newest)


def test_what_settles_while_a_round_is_under_way_is_asked_for_in_the_next(world: World) -> None:
    """A round of other requests lasts beyond the five seconds: no heartbeat is waited out before what is left out."""
    feed = filled(world, "AUSDT", "BUSDT")
    close(world, "AUSDT")
    feed.tick_live()
    world.clock.advance(4.5)
    row_of, late = world.market.row, iter([1.0])

    def slow(minute: int) -> list[object]:
        world.clock.advance(next(late, 0.0))
        return row_of(minute)

    world.market.row = slow  # type: ignore[method-assign]  # the exchange takes a second over its first answer
    world.live.reconnect()  # which has the newest candles of both read again
    feed.tick_live()
    assert feed.tick_candles() == 0.0
    feed.tick_candles()
    assert world.minutes("BUSDT") == last(600, NEWEST_MS + INTERVAL_MS)


def test_no_candle_is_stored_before_the_gap_behind_it(world: World) -> None:
    """Three minutes are missed, the fourth comes: it is stored only together with the three, which are asked for."""
    feed = filled(world, "AUSDT")
    world.clock.advance(180)
    close(world, "AUSDT", minute=NEWEST_MS + 4 * INTERVAL_MS)
    feed.tick_live()
    assert world.minutes("AUSDT") == last(600), "the gap is not skipped"
    assert wake_of(feed)
    world.clock.advance(1)
    feed.tick_candles()
    world.clock.advance(5)
    feed.tick_candles()
    assert world.minutes("AUSDT") == last(600, NEWEST_MS + 4 * INTERVAL_MS)
    assert world.status().gaps_filled_total == 1


def test_while_disconnected_rest_is_asked_each_minute(world: World) -> None:
    """Without a stream every candle comes by REST, a second after its close, and the loop is woken by the loss."""
    feed = filled(world, "AUSDT")
    world.live.disconnect()
    feed.tick_live()
    assert wake_of(feed)
    world.clock.advance(31.1)
    feed.tick_candles()
    assert world.minutes("AUSDT") == last(600, NEWEST_MS + INTERVAL_MS)
    assert world.status().live == 0


def test_a_correction_replaces_by_either_way(world: World) -> None:
    """The stream says a minute again with another close; one corrected unheard is found after the reconnect."""
    feed = filled(world, "AUSDT")
    said, unheard = last(600)[-3], last(600)[-40]
    world.market.closes |= {said: "55", unheard: "66"}
    world.live.say("AUSDT", world.market.row(said))
    feed.tick_live()
    assert world.stored("AUSDT")[-3].close == "55"
    world.live.disconnect()
    world.live.reconnect()
    feed.tick_live()
    feed.tick_candles()
    assert world.stored("AUSDT")[-40].close == "66"
    assert len(world.minutes("AUSDT")) == 600
    assert world.status().reconnects_total == 1


def test_what_was_corrected_unheard_is_found_in_time(world: World) -> None:
    """Without any reconnect the newest candles are read again every quarter of an hour."""
    feed = filled(world, "AUSDT")
    asked = len(world.market.asked())
    corrected = last(600)[-10]
    feed.tick_candles()  # the first reading of what it just filled
    world.market.closes[corrected] = "77"
    for number in range(1, int(VERIFY_EVERY_S) // 60 + 2):
        close(world, "AUSDT", minute=NEWEST_MS + number * INTERVAL_MS)
        feed.tick_live()
        feed.tick_candles()
    candle = next(candle for candle in world.stored("AUSDT") if candle.open_ms == corrected)
    assert candle.close == "77"
    assert len(world.market.asked()) <= asked + 2


def test_a_correction_that_redis_did_not_take_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis was away when the stream corrected a stored minute: REST is asked at the next turn, not in its own time."""
    feed = filled(world, "AUSDT")
    feed.tick_candles()  # the first reading of what it just filled

    def away(*_: object) -> None:
        raise RedisConnectionError("away")

    world.market.closes[last(600)[-3]] = "55"
    world.live.say("AUSDT", world.market.row(last(600)[-3]))
    with monkeypatch.context() as patch:
        patch.setattr(CandleStore, "store", away)
        with pytest.raises(RedisConnectionError):
            feed.tick_live()
    feed.tick_candles()
    assert world.stored("AUSDT")[-3].close == "55"


def test_an_answer_never_replaces_what_came_by_stream_meanwhile(world: World) -> None:
    """The answer was made before the correction, and arrives after it: the correction stays, and is asked for again."""
    feed = filled(world, "AUSDT")
    corrected = last(600)[-2]
    old = world.market.row(corrected)
    world.market.closes[corrected] = "88"

    def correct_meanwhile(minute: int) -> list[object]:
        if minute == corrected:
            world.live.say("AUSDT", row_of(minute))
            feed.tick_live()
            return old
        return row_of(minute)

    row_of = world.market.row
    world.market.row = correct_meanwhile  # type: ignore[method-assign]  # the exchange is slower than its stream
    world.live.disconnect()
    world.live.reconnect()
    feed.tick_live()
    feed.tick_candles()
    assert world.stored("AUSDT")[-2].close == "88"
    world.market.row = row_of  # type: ignore[method-assign]
    asked = len(world.market.asked())
    feed.tick_candles()
    assert len(world.market.asked()) == asked + 1
    assert world.stored("AUSDT")[-2].close == "88"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({0: NEWEST_MS + 2 * INTERVAL_MS, 6: NEWEST_MS + 3 * INTERVAL_MS - 1}, "not closed yet"),
        ({0: NEWEST_MS + INTERVAL_MS + 1, 6: NEWEST_MS + 2 * INTERVAL_MS}, "misaligned"),
        ({6: NEWEST_MS + 2 * INTERVAL_MS}, "two minutes long"),
        ({3: "0"}, "a low of 0"),
        ({2: "1"}, "a high below its close"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_live_candle_is_judged_as_an_answer_is(world: World, change: dict[int, object], what: str) -> None:
    """A candle that cannot be is not stored, whoever says that it is closed."""
    feed = filled(world, "AUSDT")
    close(world)
    row = world.market.row(NEWEST_MS + INTERVAL_MS)
    world.live.say("AUSDT", [change.get(column, value) for column, value in enumerate(row)])
    feed.tick_live()
    assert world.minutes("AUSDT") == last(600), what


def test_the_exchanges_clock_is_measured_again_when_a_close_is_ahead_of_it(world: World) -> None:
    """The exchange's clock was set forward two minutes: the first close says so, and is stored."""
    feed = filled(world, "AUSDT")
    world.clock.step(120)  # the market's time; the feed counts on by its monotonic clock
    for number in (1, 2):
        world.live.say("AUSDT", world.market.row(NEWEST_MS + number * INTERVAL_MS))
    feed.tick_live()
    assert world.minutes("AUSDT") == last(600, NEWEST_MS + 2 * INTERVAL_MS)


def test_live_candles_go_on_while_rest_is_away(world: World) -> None:
    """REST answers HTML for minutes: what the stream brings is stored all the same, and the status goes on."""
    feed = filled(world, "AUSDT")
    world.market.wrong = {"AUSDT": answer(b"<html></html>")}
    for number in (1, 2, 3):
        close(world, "AUSDT", minute=NEWEST_MS + number * INTERVAL_MS)
        feed.tick_live()
        feed.tick_candles()
        assert world.minutes("AUSDT")[-1] == NEWEST_MS + number * INTERVAL_MS
        assert world.status().updated_at == int(world.clock.now())
    assert world.status().lagging == 0


def test_a_symbol_that_goes_is_not_followed_by_stream_either(world: World) -> None:
    """A delisting while it runs: the streams are told, and a candle that still comes is not stored."""
    feed = world.feed()
    world.publish_universe("AUSDT", "BUSDT")
    feed.tick_universe()
    feed.tick_live()
    feed.tick_candles()
    assert world.live.symbols == {"AUSDT", "BUSDT"}
    world.publish_universe("AUSDT")
    feed.tick_universe()
    close(world, "AUSDT", "BUSDT")
    feed.tick_live()
    feed.tick_candles()
    assert world.live.symbols == {"AUSDT"}
    assert world.minutes("AUSDT")[-1] == NEWEST_MS + INTERVAL_MS
    assert world.minutes("BUSDT") == last(600)


@pytest.mark.parametrize("lost", ["everything", "the newest ten", "some in between"])
def test_what_redis_lost_is_found_at_the_next_close(world: World, lost: str, caplog: pytest.LogCaptureFixture) -> None:
    """Redis came back with less than was stored, also with as many candles of an older day: all of it is refilled."""
    feed = filled(world, "AUSDT")
    key = candles.key("AUSDT")
    if lost == "everything":
        world.redis.delete(key)
    elif lost == "the newest ten":
        world.redis.zremrangebyrank(key, -10, -1)
        older = [NEWEST_MS - (600 + number) * INTERVAL_MS for number in range(10)]
        world.redis.zadd(key, {json.dumps({"t": minute, **dict.fromkeys("ohlcv", "1")}): minute for minute in older})
    else:
        world.redis.zremrangebyrank(key, 300, 320)
    caplog.set_level(logging.WARNING)
    close(world, "AUSDT")
    feed.tick_live()
    world.clock.advance(5)
    feed.tick_candles()
    assert world.minutes("AUSDT") == last(600, NEWEST_MS + INTERVAL_MS)
    assert "candles were taken out of Redis" in caplog.text


def test_what_is_no_candle_is_taken_out_at_the_start(world: World) -> None:
    """Rubbish, a candle of tomorrow, one under another's score, two of one minute: gone, and the minutes are filled."""
    key = candles.key("AUSDT")
    tomorrow = NEWEST_MS + 1_440 * INTERVAL_MS
    good = {minute: json.dumps({"t": minute, **dict.fromkeys("ohlcv", "1")}) for minute in (*last(3), tomorrow)}
    twice = json.dumps({"t": last(3)[1], **dict.fromkeys("ohlcv", "2")})
    scores = {"rubbish": last(5)[0], good[last(3)[0]]: last(3)[0] + 1, good[last(3)[1]]: last(3)[1], twice: last(3)[1]}
    world.redis.zadd(key, scores | {good[last(3)[2]]: last(3)[2], good[tomorrow]: tomorrow})
    filled(world, "AUSDT")
