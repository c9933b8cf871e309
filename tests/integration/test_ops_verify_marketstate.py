"""ops/verify_marketstate_metrics.sh: market state that is whole, fresh, moving and real, and everything that is not."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from microservices.contracts import market_state
from microservices.contracts.market_state import Source
from tests.support.http_server import HttpServer
from tests.support.ops import Proof, proven, told
from tests.support.ops_worlds import SYMBOLS, built, cycle, publish_states, put_unit, state_row
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

SCRIPT = "verify_marketstate_metrics.sh"
UNIT = "quantum-marketstate"
COMPLETE = "✅ MARKET STATE PROVEN"
BTC = market_state.key("BTCUSDT")


@pytest.fixture
def prove(redis_server: RedisServer, redis_client: Redis) -> Callable[..., Proof]:
    """Run it on a Redis with the market state of three symbols, published 5 s ago."""
    publish_states(redis_client)
    return lambda *arguments, **environment: proven(SCRIPT, *arguments, port=redis_server.port, **environment)


def test_market_state_is_proven_with_its_figures(prove: Callable[..., Proof]) -> None:
    """Exit 0, the service, how many symbols, how old, where the prices came from."""
    proof = prove()
    assert (proof.code, proof.document.whole, proof.document.symbols) == (0, 3, 3)
    assert proof.document.sources == {"candles": 3}
    for words in (
        f"✅ {UNIT}.service is RUNNING",
        "unit not installed here: judged by heartbeat and metrics",
        "Symbols:    3 whole of 3",
        "Source:     candles 3",
        "Regimes:    trend 3",
        "Last cycle: 3 published, 0 skipped (none), 12 ms",
    ):
        assert words in proof.words
    assert proof.words.splitlines()[-1] == COMPLETE


Spoil = Callable[[Any], object]
WORLDS: dict[str, tuple[Spoil, int, str]] = {
    "empty": (lambda redis: redis.flushall(), 3, "no quantum:marketstate:{symbol} is there"),
    "one is gone": (
        lambda redis: redis.delete(BTC),
        3,
        "2 symbols have a hash, expected the 3 that were published",
    ),
    "no stream": (lambda redis: redis.delete(market_state.STREAM), 3, "is missing or empty, expected entries"),
    "stream of another type": (lambda redis: redis.rename(BTC, market_state.STREAM), 3, "expected a stream"),
    "rubbish stream": (
        lambda redis: (redis.delete(market_state.STREAM), redis.xadd(market_state.STREAM, {"a": "b"})),
        3,
        "has no entry that can be read",
    ),
    "no status": (lambda redis: redis.delete(market_state.STATUS_KEY), 3, "it never ran on this Redis"),
    "hash of another type": (lambda redis: (redis.delete(BTC), redis.lpush(BTC, "x")), 3, "expected a hash"),
    "half a hash": (lambda redis: redis.hdel(BTC, "sigma"), 3, "sigma is missing, expected a number"),
    "no number": (lambda redis: redis.hset(BTC, "mu", "nan"), 3, "mu is nan, expected a number"),
    "negative": (lambda redis: redis.hset(BTC, "sigma", "-1"), 3, "sigma is -1, expected 0 or more"),
    "probabilities": (lambda redis: redis.hset(BTC, "p_trend", "0.9"), 3, "add up to 1.43, expected 1"),
    "regime": (lambda redis: redis.hset(BTC, "regime", "bull\n$(id)"), 3, "regime is bull\\n$(id), expected one of"),
    "for ever": (lambda redis: redis.persist(BTC), 3, "has no TTL"),
    "one is old": (
        lambda redis: redis.hset(BTC, mapping=market_state.encode(state_row(200))),
        2,
        "BTCUSDT is 2",
    ),
    "all are old": (lambda redis: publish_states(redis, age_s=200), 2, "hangs or does not run"),
    "future": (lambda redis: publish_states(redis, age_s=-600), 2, "s in the future, expected under 125s"),
    "old candle": (
        lambda redis: publish_states(redis, candle_close_epoch=1_700_000_000),
        2,
        "was made of a candle that had closed",
    ),
    "made up": (
        lambda redis: publish_states(redis, source=Source.SYNTHETIC),
        2,
        "source is synthetic, expected candles",
    ),
    "another writer": (
        lambda redis: redis.hset(BTC, mapping=market_state.encode(state_row(-1))),
        2,
        "lacks BTCUSDT of",
    ),
    "skipped": (
        lambda redis: cycle(redis, skipped=1, reasons='{"stale": 1}'),
        2,
        "1 of 4 symbols are skipped (stale 1), expected at most 5 %",
    ),
    "none published": (lambda redis: cycle(redis, published=0, skipped=3, reasons="{"), 3, "published is 0"),
    "rubbish status": (lambda redis: redis.hset(market_state.STATUS_KEY, "skipped", "-"), 3, "skipped is -, expected"),
}


@pytest.mark.parametrize("world", WORLDS)
def test_anything_less_is_no_proof(redis_server: RedisServer, redis_client: Redis, world: str) -> None:
    """Missing and corrupt are 3, stale and not real are 2; what was seen is named."""
    spoil, code, words = WORLDS[world]
    publish_states(redis_client)
    spoil(redis_client)
    document = told(SCRIPT, port=redis_server.port)
    assert (document.exit, document.status) == (code, {2: "DEGRADED", 3: "MISSING"}[code])
    assert any(words in problem for problem in document.problems), document.problems


@pytest.mark.parametrize("world", ["one is old", "regime"])
def test_a_person_is_told_the_same(redis_client: Redis, prove: Callable[..., Proof], world: str) -> None:
    """The problems stand below the last line, on lines of their own, and nothing says proven."""
    spoil, code, words = WORLDS[world]
    spoil(redis_client)
    proof = prove()
    assert proof.code == code
    assert words in proof.words.split("❌ NOT PROVEN: ")[1]
    assert COMPLETE not in proof.words


def test_the_symbols_that_must_be_there_can_be_named(prove: Callable[..., Proof]) -> None:
    """One that has no hash is missing, whatever its name; those that were not asked for do not matter."""
    assert prove("--symbols", "BTCUSDT").document.symbols == 1
    proof = prove("--symbols", "BTCUSDT,$(id)'\"")
    assert (proof.code, proof.document.missing) == (3, ["$(id)'\""])
    assert "quantum:marketstate:$(id)'\" is missing, expected a hash" in proof.words


def test_some_symbols_of_many_may_lack_candles(redis_client: Redis, prove: Callable[..., Proof]) -> None:
    """A new listing is skipped and a delisted one's hash runs out: up to --max-skipped percent is no fault."""
    publish_states(redis_client, [f"A{number}USDT" for number in range(40)])
    redis_client.hset(market_state.key("A7USDT"), mapping=market_state.encode(state_row(200)))
    cycle(redis_client, published=40, skipped=2, reasons='{"short": 2}')
    proof = prove()
    assert (proof.code, proof.document.late) == (0, 1)
    assert "43 whole of 43, 1 of them old" in proof.words
    assert "40 published, 2 skipped (short 2)" in proof.words
    assert prove("--max-skipped", "1").code == 2


def test_fresh_is_a_matter_of_the_interval(redis_client: Redis, prove: Callable[..., Proof]) -> None:
    """Younger than two intervals and a moment: given by option or by the publisher's own variable."""
    publish_states(redis_client, age_s=40)
    assert prove().code == 0
    assert prove("--interval", "10").code == 2
    assert prove(MARKETSTATE_PUBLISH_INTERVAL="10").code == 2
    assert prove("--interval", "600").code == 0


@pytest.mark.parametrize(
    ("state", "age_s", "expected"),
    [("active", 5, (0, "RUNNING")), ("failed", 5, (1, "DEAD")), ("active", 200, (2, "HUNG")), ("", 200, (2, "HUNG"))],
)
def test_a_publisher_that_does_not_work_is_no_proof(
    redis_client: Redis, prove: Callable[..., Proof], tmp_path: Path, *, state: str, age_s: float, expected: object
) -> None:
    """Dead is 1, hung is 2; without unit and metrics nobody can tell the one from the other."""
    publish_states(redis_client, age_s=age_s)
    if state:
        put_unit(tmp_path, state)
    proof = prove(path=f"{tmp_path}:{os.environ['PATH']}")
    assert (proof.code, proof.document.service.life) == expected


def test_a_publisher_whose_port_is_silent_is_dead(redis_client: Redis, prove: Callable[..., Proof]) -> None:
    """Without a unit: it should serve metrics, does not, and has not published for long."""
    publish_states(redis_client, age_s=200)
    proof = prove("--metrics-port", str(free_port()))
    assert (proof.code, proof.document.service.life) == (1, "DEAD")


def test_metrics_count_where_they_are_asked_for(prove: Callable[..., Proof]) -> None:
    """Off by default; with a port they must be the publisher's."""
    with HttpServer() as metrics:
        metrics.say(built(UNIT))
        assert prove("--metrics-port", str(metrics.port)).document.service.metrics_answer
        metrics.say(built("quantum-candle-feed"))
        assert prove("--metrics-port", str(metrics.port)).code == 2


def test_many_problems_are_cut_for_a_person_and_whole_for_a_program(
    redis_client: Redis, prove: Callable[..., Proof]
) -> None:
    """Ten lines on the screen; the document names every one, keys of 10 KB and control characters too."""
    names = [f"S{number}USDT" for number in range(12)] + ["x" * 10_000, "\x1b[31m\n"]
    for name in names:
        redis_client.hset(market_state.key(name), "sigma", "x")
    proof = prove()
    assert proof.code == 3
    assert len(proof.document.problems) == len(names)
    assert f"and {len(names) - 10} more: --json lists them" in proof.words
    assert all(line.isprintable() for line in proof.words.splitlines())
    assert max(map(len, proof.words.splitlines())) < 800


def test_the_symbols_of_the_world_are_those_of_the_contracts() -> None:
    """The world itself is what the publisher's contract writes."""
    assert market_state.decode({**market_state.encode(state_row())}, "row") is not None
    assert len(SYMBOLS) == 3
