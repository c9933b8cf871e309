"""After any sequence of faults the stored candles are what the exchange serves: none lost, none doubled, none wrong.

And on the way no state is published from anything else.

Each step is something that happens to the exchange, its streams, Redis, the machine or the feed; the feed is run after
each. In the end all faults are over, and the feed has the time after which it looks again at what it was told is not
there, and at what may have been corrected.
"""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from ai_engine.market_state import MarketState
from microservices.candle_feed.history import ABSENT_BELIEVED_S, VERIFY_EVERY_S
from microservices.contracts import candles, market_state
from microservices.contracts.candles import INTERVAL_MS
from microservices.contracts.control import BACKOFF_KEY
from microservices.market_state_publisher.service import Publisher
from microservices.market_state_publisher.settings import Settings as PublisherSettings
from microservices.runtime import Away, load_settings
from tests.support.candle_world import NOW, Market, World, usual_close
from tests.support.clock import FakeClock
from tests.support.http_server import answer
from tests.support.scale import model_settings

SYMBOLS = ("AUSDT", "BUSDT")
KEEP = 300
MAX_AGE_S = 180
STEPS = 12
HTML = answer(b"<html>bad gateway</html>")
TRUNCATED = answer(b'[[1799999940000,"1","1","1","1","1",17999999')
SLOW_DOWN, BANNED = answer(b"{}", 429, Retry_After="30"), answer(b"{}", 418, Retry_After="120")


class Story:
    """A feed and what befalls it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.redis = world.redis
        self.feed = world.feed(candles_keep=KEEP)
        self.publisher = Publisher(
            load_settings(PublisherSettings, {"MARKETSTATE_SYMBOLS": ",".join(SYMBOLS)}), self.redis, world.clock
        )
        self.corrected: dict[int, set[str]] = {}
        self.backup: dict[str, bytes] = {}
        self.listed: tuple[str, ...] = SYMBOLS
        self.world.live.connect()
        self.run()

    def run(self) -> None:
        """Run each loop once, as the runner would: what is away is met again at the next turn."""
        self.world.publish_universe(*self.listed)
        for tick in (self.feed.tick_universe, self.feed.tick_live, self.feed.tick_candles):
            try:
                tick()
            except Away:
                self.world.clock.advance(0.3)

    def publish(self) -> None:
        """Have the publisher run, and nothing left of what it published before."""
        self.redis.delete(*map(market_state.key, SYMBOLS))
        self.publisher.tick()

    def newest(self) -> int:
        """The newest closed minute."""
        return self.world.market.now_ms() // INTERVAL_MS * INTERVAL_MS - INTERVAL_MS

    def minute(self, says: str = "right") -> None:
        """Let a minute end, and the streams tell its candles right, not at all, twice, garbled, late or too early."""
        self.world.clock.advance(60)
        newest = self.newest()
        for symbol in SYMBOLS:
            row = self.world.market.row(newest)
            if says == "early":
                self.world.live.say(symbol, self.world.market.row(newest + INTERVAL_MS))
            elif says == "garbled":
                self.world.live.say(symbol, [*row[:2], "0.1", *row[3:]])
            elif says == "late":
                self.world.live.say(symbol, self.world.market.row(newest - 2 * INTERVAL_MS))
            for _ in range({"right": 1, "twice": 2}.get(says, 0)):
                self.world.live.say(symbol, row)
        self.run()

    def outage(self, minutes: int) -> None:
        """Lose the streams for so long."""
        self.world.live.disconnect()
        self.world.clock.advance(60 * minutes)
        self.run()
        self.world.live.reconnect()
        self.run()

    def correct(self, ago: int, *, is_said: bool) -> None:
        """Have the exchange correct a candle, and tell it or not."""
        minute = self.newest() - ago * INTERVAL_MS
        self.world.market.closes[minute] = f"{1_000 + ago}"
        self.corrected.setdefault(minute, set()).add(f"{1_000 + ago}")
        if is_said:
            self.world.live.say("AUSDT", self.world.market.row(minute))
        self.run()

    def lack(self, ago: int, count: int) -> None:
        """Have the exchange not serve some minutes for now."""
        self.world.market.lacks |= {self.newest() - (ago + number) * INTERVAL_MS for number in range(count)}
        self.run()

    def serve(self) -> None:
        """Have it serve everything again."""
        self.world.market.lacks.clear()
        self.run()

    def refuse(self, wrong: bytes, symbol: str) -> None:
        """Have REST answer wrongly for a while, in which a minute passes that the streams do not tell."""
        self.world.market.wrong = {symbol: wrong}
        self.minute("nothing")
        self.minute("nothing")
        self.world.market.wrong = {}
        self.run()

    def throttle(self) -> None:
        """429 and, because something was asked all the same, 418."""
        self.refuse(SLOW_DOWN, "AUSDT")
        self.refuse(BANNED, "AUSDT")
        self.redis.delete(BACKOFF_KEY)  # it is kept by Redis's own clock, which no test moves
        self.world.clock.advance(120)
        self.run()

    def save(self) -> None:
        """Have Redis write its data to disk."""
        self.backup = {symbol: self.redis.dump(candles.key(symbol)) for symbol in SYMBOLS}

    def restart_redis(self) -> None:
        """Have Redis come back with what was on disk, or with nothing."""
        self.redis.flushall()
        for symbol, dumped in self.backup.items():
            if dumped is not None:
                self.redis.restore(candles.key(symbol), 0, dumped)
        self.run()

    def spoil_redis(self) -> None:
        """Have somebody write rubbish into a symbol's candles."""
        key = candles.key("AUSDT")
        self.redis.zremrangebyrank(key, -3, -2)
        self.redis.zadd(key, {"rubbish": self.newest() - 30_000, "{}": self.newest() - 5 * INTERVAL_MS})
        self.restart_feed()

    def restart_feed(self) -> None:
        """Have the feed's process end and start again."""
        self.feed.close()
        self.feed = self.world.feed(candles_keep=KEEP)
        self.world.live.reconnect()
        self.run()

    def step_clock(self, seconds: float) -> None:
        """Have the machine's clock, and so the age of everything by it, stepped; the exchange's own stands."""
        self.world.market.ahead_s -= seconds
        self.world.clock.step(seconds)
        self.run()

    def delist(self) -> None:
        """Take a symbol out of the universe for two minutes."""
        self.listed = SYMBOLS[:1]
        self.minute()
        self.minute()
        self.listed = SYMBOLS
        self.run()

    def settle(self) -> None:
        """Let all faults be over, and so much time pass that everything has been looked at again."""
        self.serve()
        self.world.live.disconnect()
        for pause_s in (125, ABSENT_BELIEVED_S, VERIFY_EVERY_S, 61, 31, 31, 2):
            self.world.clock.advance(pause_s)
            self.run()
            self.run()


def steps() -> st.SearchStrategy[tuple[str, Callable[[Story], None]]]:
    """What can happen, each with a name for the report."""
    says = st.sampled_from(["right", "right", "nothing", "twice", "garbled", "late", "early"])
    ago = st.integers(0, 30)
    return st.one_of(
        says.map(lambda how: (f"minute {how}", lambda story: story.minute(how))),
        st.integers(1, 12).map(lambda minutes: (f"outage {minutes}", lambda story: story.outage(minutes))),
        st.tuples(ago, st.booleans()).map(
            lambda it: (f"correct {it}", lambda story: story.correct(it[0], is_said=it[1]))
        ),
        st.tuples(st.integers(0, 30), st.integers(1, 5)).map(lambda it: (f"lack {it}", lambda story: story.lack(*it))),
        st.sampled_from([HTML, TRUNCATED, answer(b"", 503)]).map(
            lambda wrong: ("refuse", lambda story: story.refuse(wrong, "BUSDT"))
        ),
        st.sampled_from([-3600.0, -45.0, 45.0, 3600.0]).map(
            lambda seconds: (f"step {seconds}", lambda story: story.step_clock(seconds))
        ),
        st.sampled_from(["serve", "throttle", "save", "restart_redis", "spoil_redis", "restart_feed", "delist"]).map(
            lambda name: (name, lambda story: getattr(story, name)())
        ),
    )


@pytest.mark.soak
@model_settings(examples=40, steps=STEPS)
@given(st.lists(steps(), max_size=STEPS))
def test_after_any_faults_the_stored_candles_are_what_the_exchange_serves(
    redis_client: Redis, told: list[tuple[str, Callable[[Story], None]]]
) -> None:
    """Every kept minute, with the exchange's figures of today, once; whatever happened on the way."""
    redis_client.flushall()
    with Market(FakeClock(NOW)) as market:
        story = Story(World(redis_client, market))
        for _, happen in told:
            happen(story)
            story.publish()
            for symbol in SYMBOLS:
                assert_nothing_is_wrong(story, symbol)
        story.settle()
        for symbol in SYMBOLS:
            stored = story.world.stored(symbol)
            expected = [story.newest() - number * INTERVAL_MS for number in range(KEEP)][::-1]
            assert [candle.open_ms for candle in stored] == expected
            served = [market.row(minute)[4] for minute in expected]
            assert [candle.close for candle in stored] == served


def assert_nothing_is_wrong(story: Story, symbol: str) -> None:
    """No minute stands twice, each is as the exchange served it once, and what is published stands on such minutes."""
    stored = story.world.stored(symbol)
    minutes = [candle.open_ms for candle in stored]
    assert len(minutes) == len(set(minutes))
    for candle in stored:
        assert candle.close in {usual_close(candle.open_ms), *story.corrected.get(candle.open_ms, ())}
    assert_published_from_good_candles(story, symbol, minutes)


def assert_published_from_good_candles(story: Story, symbol: str, minutes: list[int]) -> None:
    """A state of this moment is of the newest candle, which is young, and of those before it without a gap."""
    row = market_state.decode(story.redis.hgetall(market_state.key(symbol)), symbol)
    if row is None:
        return
    now = story.world.clock.now()
    newest_ms = row.candle_close_epoch * 1000 - INTERVAL_MS
    assert minutes[-1] == newest_ms
    assert -1 <= now - row.candle_close_epoch <= MAX_AGE_S
    assert row.buffer_size >= MarketState().min_prices
    assert minutes[-row.buffer_size :] == [newest_ms - back * INTERVAL_MS for back in range(row.buffer_size)][::-1]
