"""The publisher on a real Redis: what it publishes, what it refuses to publish, when, and as a process."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from redis import Redis
from redis.exceptions import RedisError

from ai_engine.market_state import MarketState
from ai_engine.uncertainty import mu_interval, quality
from microservices.contracts import candles, market_state, universe
from microservices.contracts.candles import Candle
from microservices.contracts.control import Mode
from microservices.contracts.fields import hash_text
from microservices.contracts.market_state import MarketStateRow, Source
from microservices.market_state_publisher.service import Publisher
from microservices.market_state_publisher.settings import Settings
from microservices.runtime import load_settings
from tests.support.clock import FakeClock
from tests.support.price_paths import random_walk
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

NOW = 1_800_000_010.0
LAST_OPEN_MS = 1_799_999_940_000
MAIN = "microservices.market_state_publisher.main"


def feed(redis: Redis, symbol: str, closes: Iterable[float], last_open_ms: int = LAST_OPEN_MS) -> list[float]:
    """Store consecutive candles that end at the given open time, as the candle feed does."""
    values = [round(float(close), 6) for close in closes]
    first = last_open_ms - (len(values) - 1) * candles.INTERVAL_MS
    members = {}
    for index, close in enumerate(values):
        text, open_ms = f"{close:.6f}", first + index * candles.INTERVAL_MS
        members[candles.encode(Candle(open_ms, text, text, text, text, "1"))] = open_ms
    if members:
        redis.zadd(candles.key(symbol), members)
    return values


def walk(seed: int, count: int = 300) -> list[float]:
    """Make a price history."""
    return list(random_walk(np.random.default_rng(seed), count))


def publisher(redis: Redis, clock: FakeClock, **environ: str) -> Publisher:
    """Build the service from these variables."""
    return Publisher(load_settings(Settings, environ), redis, clock)


def published(redis: Redis, symbol: str) -> MarketStateRow | None:
    """Read a symbol's hash."""
    return market_state.decode(redis.hgetall(market_state.key(symbol)), symbol)


def status(redis: Redis) -> dict[str, str]:
    """Read the status hash."""
    return hash_text(redis.hgetall(market_state.STATUS_KEY), market_state.STATUS_KEY)


def stream(redis: Any) -> list[dict[str, str]]:
    """Read all entries of the stream."""
    return [hash_text(entry, "entry") for _, entry in redis.xrange(market_state.STREAM)]


def stream_symbols(redis: Redis) -> list[str]:
    """Read which symbols were published, in order."""
    return [entry["symbol"] for entry in stream(redis)]


def test_a_cycle_publishes_hash_lifetime_stream_and_status(
    redis_client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """One good symbol: every number of the hash is MarketState's, the stream has its entry, the status counts it."""
    closes = feed(redis_client, "BTCUSDT", walk(1))
    with caplog.at_level(logging.INFO):
        service = publisher(redis_client, FakeClock(NOW), MARKETSTATE_SYMBOLS="BTCUSDT")
        service.prepare()
        service.tick()
    state, row = MarketState().get_state("BTCUSDT", closes), published(redis_client, "BTCUSDT")
    assert state is not None
    assert row is not None
    assert (row.sigma, row.mu) == (round(state["sigma"], 8), round(state["mu"], 8))
    assert (row.ts, row.p_mr) == (round(state["ts"], 6), round(state["regime_probs"]["mr"], 6))
    assert (row.buffer_size, row.source) == (300, Source.CANDLES)
    assert (row.ts_timestamp, row.candle_close_epoch) == (1_800_000_010, 1_800_000_000)
    assert 599_000 < redis_client.pttl(market_state.key("BTCUSDT")) <= 600_000
    [entry] = stream(redis_client)
    assert entry == {
        "symbol": "BTCUSDT",
        "timestamp": "1800000010",
        "ts": f"{state['ts']:.6f}",
        "sigma": f"{state['sigma']:.8f}",
        "mu": f"{state['mu']:.8f}",
        "regime": row.regime.value,
    }
    counted = status(redis_client)
    assert counted.pop("cycle_ms").isdigit()
    assert counted == {"published": "1", "skipped": "0", "skipped_reasons": "{}", "last_cycle_epoch": "1800000010"}
    assert caplog.messages[0] == "Initialized with symbols=BTCUSDT interval=60 source=candles"
    assert caplog.messages[1].startswith(f"BTCUSDT: σ={state['sigma']:.6f} μ={state['mu']:.6f} TS={state['ts']:.4f} ")


def test_bounds_of_mu_are_published_where_asked_for_and_never_left_behind(redis_client: Redis) -> None:
    """With a confidence the hash bounds mu; without one the bounds are empty again, not those of before."""
    closes = feed(redis_client, "BTCUSDT", walk(1))
    asked = {"MARKETSTATE_SYMBOLS": "BTCUSDT", "MARKETSTATE_MU_CONFIDENCE": "0.95"}
    publisher(redis_client, FakeClock(NOW), **asked).tick()
    row, interval = published(redis_client, "BTCUSDT"), mu_interval(closes, 0.95)
    assert row is not None
    assert interval is not None
    assert (row.mu_low, row.mu_high) == (round(interval.low, 8), round(interval.high, 8))
    assert (row.flat_share, row.gap_count) == (round(quality(closes).flat_share, 6), 0)
    publisher(redis_client, FakeClock(NOW), MARKETSTATE_SYMBOLS="BTCUSDT").tick()
    row = published(redis_client, "BTCUSDT")
    assert row is not None
    assert (row.mu_low, row.mu_high) == (None, None)


def test_what_is_not_good_is_not_published_and_counted_by_reason(
    redis_client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Each kind of bad candles costs its own symbol only (failures.md I-26: an old state never looks new)."""
    feed(redis_client, "GOODUSDT", walk(1))
    feed(redis_client, "SHORTUSDT", walk(2, 256))
    feed(redis_client, "STALEUSDT", walk(3), LAST_OPEN_MS - 240_000)
    feed(redis_client, "GAPUSDT", walk(4, 100))
    feed(redis_client, "GAPUSDT", walk(4, 200), LAST_OPEN_MS - 6_060_000)
    feed(redis_client, "OPENUSDT", walk(5), LAST_OPEN_MS + 60_000)
    feed(redis_client, "ZEROUSDT", [*walk(6, 299), 0.0])
    redis_client.set(candles.key("TYPEUSDT"), "x")
    names = "GOODUSDT,SHORTUSDT,STALEUSDT,GAPUSDT,OPENUSDT,ZEROUSDT,TYPEUSDT,NONEUSDT"
    publisher(redis_client, FakeClock(NOW), MARKETSTATE_SYMBOLS=names).tick()
    assert redis_client.keys("quantum:marketstate:*") == [market_state.key("GOODUSDT").encode()]
    assert redis_client.xlen(market_state.STREAM) == 1
    counted = status(redis_client)
    assert (counted["published"], counted["skipped"]) == ("1", "7")
    assert json.loads(counted["skipped_reasons"]) == {
        "faulty": 2,
        "gapped": 1,
        "missing": 1,
        "short": 1,
        "stale": 1,
        "unclosed": 1,
    }
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "STALEUSDT stale (the newest candle closed 250 s ago, limit 180 s)" in warning


def test_an_old_state_is_left_to_expire(redis_client: Redis) -> None:
    """When a symbol's candles stop, its hash is not touched again, neither renewed nor filled from elsewhere."""
    feed(redis_client, "BTCUSDT", walk(1))
    clock = FakeClock(NOW)
    service = publisher(redis_client, clock, MARKETSTATE_SYMBOLS="BTCUSDT")
    service.tick()
    redis_client.pexpire(market_state.key("BTCUSDT"), 300_000)
    clock.advance(600)
    service.tick()
    row = published(redis_client, "BTCUSDT")
    assert row is not None
    assert row.ts_timestamp == int(NOW)
    assert redis_client.pttl(market_state.key("BTCUSDT")) <= 300_000
    assert status(redis_client)["skipped_reasons"] == '{"stale": 1}'


def test_the_first_publish_waits_for_the_feed_and_not_for_the_interval(redis_client: Redis) -> None:
    """With nothing to publish it looks again after a second; late symbols follow as they come; then the grid holds."""
    clock = FakeClock(NOW)
    service = publisher(redis_client, clock, MARKETSTATE_SYMBOLS="BTCUSDT,ETHUSDT")
    assert service.tick() == 1.0
    clock.advance(1)
    feed(redis_client, "BTCUSDT", walk(1))
    assert service.tick() == 1.0
    assert published(redis_client, "BTCUSDT") is not None
    clock.advance(1)
    feed(redis_client, "ETHUSDT", walk(2))
    assert service.tick() == pytest.approx(50.0)
    assert stream_symbols(redis_client) == ["BTCUSDT", "ETHUSDT"]
    assert (status(redis_client)["published"], status(redis_client)["skipped"]) == ("2", "0")
    clock.advance(50)
    assert service.tick() == pytest.approx(60.0)
    assert redis_client.xlen(market_state.STREAM) == 4


def test_a_clock_set_back_does_not_silence_the_service(redis_client: Redis) -> None:
    """After the wall clock was set back an hour the next tick is a cycle again."""
    feed(redis_client, "BTCUSDT", walk(1))
    clock = FakeClock(NOW)
    service = publisher(redis_client, clock, MARKETSTATE_SYMBOLS="BTCUSDT", MARKETSTATE_SOURCE="synthetic")
    service.tick()
    clock.step(-3600)
    assert service.tick() <= 60
    assert redis_client.xlen(market_state.STREAM) == 2


def test_synthetic_prices_are_marked_and_candles_are_not_read(redis_client: Redis) -> None:
    """In synthetic mode the source says so, whatever candles there are; the same symbol gives the same state."""
    feed(redis_client, "BTCUSDT", walk(1))
    rows = []
    for _ in range(2):
        publisher(redis_client, FakeClock(NOW), MARKETSTATE_SOURCE="synthetic").tick()
        rows.append(published(redis_client, "BTCUSDT"))
    assert rows[0] == rows[1]
    assert rows[0] is not None
    assert rows[0].source is Source.SYNTHETIC
    state = MarketState().get_state("BTCUSDT", feed(redis_client, "BTCUSDT", walk(1)))
    assert state is not None
    assert rows[0].sigma != round(state["sigma"], 8)


def universe_of(redis: Redis, symbols: list[str], asof: int = int(NOW)) -> None:
    """Publish a universe as its service does."""
    document = universe.UniverseDocument(asof, universe.SOURCE, Mode.TESTNET, tuple(symbols), universe.FILTERS)
    redis.set(universe.ACTIVE_KEY, universe.encode_document(document))
    meta: dict[Any, Any] = {"asof_epoch": asof, "last_ok_epoch": asof, "count": len(symbols), "stale": 0, "error": ""}
    redis.hset(universe.META_KEY, mapping=meta)


def test_the_universe_s_symbols_come_and_go(redis_client: Redis) -> None:
    """With `universe` the list is read anew each cycle; without a usable list nothing is published."""
    for seed, symbol in enumerate(("AUSDT", "BUSDT", "CUSDT")):
        feed(redis_client, symbol, walk(seed))
    clock = FakeClock(NOW)
    service = publisher(redis_client, clock, MARKETSTATE_SYMBOLS="universe")
    assert service.tick() == 1.0
    assert redis_client.xlen(market_state.STREAM) == 0
    universe_of(redis_client, ["AUSDT", "BUSDT"])
    clock.advance(1)
    service.tick()
    assert stream_symbols(redis_client) == ["AUSDT", "BUSDT"]
    universe_of(redis_client, ["BUSDT", "CUSDT"])
    clock.advance(60)
    service.tick()
    assert stream_symbols(redis_client)[2:] == ["BUSDT", "CUSDT"]
    assert status(redis_client)["published"] == "2"


def test_a_state_key_of_another_type_costs_its_own_symbol(redis_client: Redis) -> None:
    """Redis refuses one hash; all others are published and the refused one is counted (failures.md I-06)."""
    feed(redis_client, "BTCUSDT", walk(1))
    feed(redis_client, "ETHUSDT", walk(2))
    redis_client.set(market_state.key("BTCUSDT"), "x")
    publisher(redis_client, FakeClock(NOW), MARKETSTATE_SYMBOLS="BTCUSDT,ETHUSDT").tick()
    assert published(redis_client, "ETHUSDT") is not None
    assert status(redis_client)["skipped_reasons"] == '{"refused": 1}'


def test_without_redis_the_cycle_stays_due() -> None:
    """An outage in the middle of everything: the error is the runner's, and the next tick is the whole cycle."""
    with RedisServer() as server, server.client() as client:
        feed(client, "BTCUSDT", walk(1))
        service = publisher(client, FakeClock(NOW), MARKETSTATE_SYMBOLS="BTCUSDT")
        server.stop()
        with pytest.raises(RedisError):
            service.tick()
        server.start()
        feed(client, "BTCUSDT", walk(1))
        service.tick()
        assert published(client, "BTCUSDT") is not None


def environment(server: RedisServer, **more: str) -> dict[str, str]:
    """Give a process only what it needs."""
    return {"PATH": os.environ["PATH"], "MARKETSTATE_REDIS_PORT": str(server.port)} | more


def test_once_publishes_and_ends(redis_server: RedisServer, redis_client: Redis) -> None:
    """`--once` from a bare environment does one cycle and exits 0, with the log lines an operator knows."""
    done = subprocess.run(
        [sys.executable, "-m", MAIN, "--once"],
        env=environment(redis_server, MARKETSTATE_SOURCE="synthetic"),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert "[INFO] Initialized with symbols=BTCUSDT,ETHUSDT,SOLUSDT interval=60 source=synthetic" in done.stderr
    assert "[INFO] ETHUSDT: σ=" in done.stderr
    assert redis_client.xlen(market_state.STREAM) == 3


def test_once_with_nothing_to_publish_exits_1_and_says_why(redis_server: RedisServer, redis_client: Redis) -> None:
    """A run for one cycle never claims success where no symbol had good candles."""
    done = subprocess.run(
        [sys.executable, "-m", MAIN, "--once"],
        env=environment(redis_server),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "Not published: BTCUSDT missing (no candles)" in done.stderr
    assert redis_client.xlen(market_state.STREAM) == 0


def test_a_wrong_override_stops_the_start_with_one_line() -> None:
    """A parameter that cannot be: exit 78 and one line that names it."""
    done = subprocess.run(
        [sys.executable, "microservices/market_state_publisher/main.py", "--check-config"],
        env={"PATH": os.environ["PATH"], "MARKETSTATE_THETA_OVERRIDE": '{"vol": {"window": 0}}'},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 78
    [line] = (done.stderr + done.stdout).strip().splitlines()
    assert "MARKETSTATE_THETA_OVERRIDE=" in line
    assert "vol.window" in line


def test_the_daemon_publishes_from_its_start_on(redis_server: RedisServer, redis_client: Redis) -> None:
    """The first states without waiting for an interval, and a clean end on SIGTERM; the benchmark measures how soon."""
    process = subprocess.Popen(
        [sys.executable, "-m", MAIN],
        env=environment(redis_server, MARKETSTATE_SOURCE="synthetic", MARKETSTATE_PUBLISH_INTERVAL="3600"),
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: redis_client.xlen(market_state.STREAM) == 3, 30, what="the first publication")
    finally:
        process.terminate()
        assert process.wait(20) == 0
