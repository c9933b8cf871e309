"""ops/proof_p35_decision_intelligence.sh: the service's own counts are proven, and every way to be wrong is named."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from microservices.contracts import decision, result
from microservices.contracts.decision import Window
from microservices.contracts.plan import Decision
from microservices.decision_intelligence.service import DecisionIntelligence
from tests.support.http_server import HttpServer
from tests.support.ops import Proof, ops, proven, told
from tests.support.ops_worlds import built, counting_service, end_plans, put_unit
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

SCRIPT = "proof_p35_decision_intelligence.sh"
UNIT = "quantum-p35-decision-intelligence"
COMPLETE = "✅ P3.5 DECISION INTELLIGENCE PROVEN"


class Counting:
    """A Redis in which decision intelligence itself has counted three results, and its metrics."""

    def __init__(self, redis: Redis, port: int, metrics: HttpServer) -> None:
        self.redis: Any = redis
        self.port = port
        self.metrics = metrics
        metrics.say(built(UNIT))
        end_plans(redis, 2)
        end_plans(redis, 1, decision=Decision.EXECUTE, executed=True, error="")
        self.service: DecisionIntelligence = counting_service(redis)

    def prove(self, *arguments: str, **environment: str) -> Proof:
        """Run the proof."""
        where = {"P35_METRICS_PORT": str(self.metrics.port)} | environment
        return proven(SCRIPT, *arguments, port=self.port, **where)

    def bucket(self) -> str:
        """The newest bucket's key."""
        return str(max(self.redis.keys(f"{decision.BUCKET_PREFIX}*")), "ascii")


@pytest.fixture
def counting(redis_server: RedisServer, redis_client: Redis) -> Iterator[Counting]:
    """Decision intelligence at work."""
    with HttpServer() as metrics:
        yield Counting(redis_client, redis_server.port, metrics)


def test_counting_is_proven_with_its_figures(counting: Counting) -> None:
    """Exit 0, group, lag, totals, windows and the reasons of the last hour."""
    proof = counting.prove()
    assert (proof.code, proof.document.lag, proof.document.pending) == (0, 0, 0)
    assert proof.document.totals.processed == 3
    assert proof.document.windows["1h"] == {"EXECUTE": 1, "SKIP": 0, "BLOCKED": 2, "ERROR": 0}
    for words in (
        f"✅ {UNIT}.service is RUNNING",
        "Counted:      3 results, 0 dead letters, 0 lost, 0 late",
        "1h              1        0        2        0",
        "Reasons, last hour: kill_switch 2",
    ):
        assert words in proof.words
    assert proof.words.splitlines()[-1] == COMPLETE


def test_a_service_that_has_nothing_to_count_is_proven(redis_server: RedisServer, redis_client: Redis) -> None:
    """Just deployed, no result was ever written: its group, its heartbeat and windows of zeros are there."""
    counting_service(redis_client)
    proof = proven(SCRIPT, "--metrics-port", "0", port=redis_server.port)
    assert (proof.code, proof.document.totals.processed) == (0, 0)


def test_results_that_came_since_the_windows_were_written_are_no_contradiction(counting: Counting) -> None:
    """Buckets run ahead of windows by what has just been counted."""
    end_plans(counting.redis, 5)
    counting.service.consume()
    assert counting.prove().code == 0


def test_what_has_no_reason_stands_in_no_top_list(counting: Counting) -> None:
    """Buckets count `none` for what was executed; the top lists leave it out, and are the sums all the same."""
    counting.redis.hincrby(counting.bucket(), "reason:none", 50)
    assert counting.prove().code == 0


def test_who_may_not_see_what_is_pending_cannot_tell(counting: Counting) -> None:
    """A refusal of Redis is no proof that nothing is stuck."""
    counting.redis.execute_command("ACL", "SETUSER", "looker", "on", ">pw", "~*", "+@all", "-xpending")
    try:
        done = ops(SCRIPT, port=counting.port, REDIS_USERNAME="looker", REDIS_PASSWORD="pw")
    finally:
        counting.redis.execute_command("ACL", "DELUSER", "looker")
    assert (done.returncode, done.stdout) == (1, "")
    assert "XPENDING: NOPERM" in done.stderr


def forget_a_result(counting: Counting) -> None:
    """Let a bucket count what never came."""
    counting.redis.hincrby(counting.bucket(), "decision:BLOCKED", 50)


def miss_reasons(field: str) -> Callable[[Counting], object]:
    """Let a bucket count a reason that a top list lacks, while the decisions agree."""
    return lambda counting: counting.redis.hincrby(counting.bucket(), field, 50)


def read_and_leave(counting: Counting) -> None:
    """Let a consumer read a result, and never finish it."""
    end_plans(counting.redis)
    group = result.GROUP_DECISION_INTELLIGENCE
    [[_, [[entry_id, _]]]] = counting.redis.xreadgroup(group, "gone", {result.STREAM: ">"})
    counting.redis.xclaim(result.STREAM, group, "gone", 0, [entry_id], idle=600_000)


def fall_behind(counting: Counting) -> None:
    """Let results come that nobody reads."""
    end_plans(counting.redis, 20)


def replace(counting: Counting, key: str) -> None:
    """Put something of another type in a key's place."""
    counting.redis.delete(key)
    counting.redis.lpush(key, "x")


M5 = decision.counts_key(Window.M5)
TOP = decision.reasons_key(Window.H1)
WORLDS: dict[str, tuple[Callable[[Counting], object], int, str]] = {
    "empty": (lambda c: c.redis.flushall(), 3, "it never ran on this Redis"),
    "no stream": (
        lambda c: c.redis.delete(result.STREAM),
        3,
        "quantum:stream:apply.result is missing, expected it with",
    ),
    "stream of another type": (lambda c: replace(c, result.STREAM), 3, "expected a stream"),
    "no group": (
        lambda c: c.redis.xgroup_destroy(result.STREAM, result.GROUP_DECISION_INTELLIGENCE),
        3,
        "has no group p35_decision_intel",
    ),
    "no status": (lambda c: c.redis.delete(decision.STATUS_KEY), 3, "it never ran on this Redis"),
    "status of another type": (lambda c: replace(c, decision.STATUS_KEY), 3, "WRONGTYPE"),
    "no snapshot": (lambda c: c.redis.hdel(decision.STATUS_KEY, "snapshot_ts"), 3, "snapshot_ts is missing"),
    "no window": (lambda c: c.redis.delete(M5), 3, f"{M5} is missing, expected the counts"),
    "half a window": (lambda c: c.redis.hdel(M5, "SKIP"), 3, "lacks SKIP, expected all four decisions"),
    "window of another type": (lambda c: replace(c, M5), 3, f"{M5}: WRONGTYPE"),
    "rubbish in a window": (lambda c: c.redis.hset(M5, "SKIP", "-1"), 3, "SKIP is -1, expected a count"),
    "strange decision": (lambda c: c.redis.hset(M5, "MAYBE$(id)\n", "1"), 3, "a field MAYBE$(id)\\n, expected"),
    "top of another type": (lambda c: replace(c, TOP), 3, "expected a sorted set"),
    "too long a top": (
        lambda c: c.redis.zadd(TOP, {f"r{number}": 1 for number in range(60)}),
        2,
        "members, expected at most 50",
    ),
    "rubbish in a bucket": (
        lambda c: c.redis.hset(c.bucket(), "decision:SKIP", "many"),
        3,
        "is many, expected a count",
    ),
    "strange bucket": (lambda c: c.redis.hset(c.bucket(), "x\x1b" * 5_000, "1"), 3, "has a field x\\x1b"),
    "bucket of another type": (lambda c: replace(c, c.bucket()), 3, "expected a hash"),
    "window over its buckets": (
        lambda c: c.redis.hset(M5, "BLOCKED", "9"),
        2,
        "says BLOCKED 9, its buckets add up to 2",
    ),
    "top over its buckets": (lambda c: c.redis.zadd(TOP, {"kill_switch": 7}), 2, "says kill_switch 7, its buckets"),
    "window under its buckets": (forget_a_result, 2, "lacks 50 results that its buckets count"),
    "top under its buckets": (miss_reasons("reason:kill_switch"), 2, "reason:top:"),
    "breakdown under its buckets": (miss_reasons("symbol_reason:BTCUSDT:kill_switch"), 2, "symbol_reason:top:"),
    "old windows": (
        lambda c: c.redis.hset(decision.STATUS_KEY, "snapshot_ts", int(time.time()) - 500),
        2,
        "s old, expected under 125s",
    ),
    "behind": (fall_behind, 2, "lag is 20 results, expected at most 10"),
    "stuck": (read_and_leave, 2, "has been pending for over 180s"),
    "metrics of another": (lambda c: c.metrics.say(built("quantum-apply-layer")), 2, "answered by quantum-apply-layer"),
}


@pytest.mark.parametrize("world", WORLDS)
def test_anything_less_is_no_proof(counting: Counting, world: str) -> None:
    """Missing and corrupt are 3; behind, stale and contradictory are 2; what was seen is named."""
    spoil, code, words = WORLDS[world]
    spoil(counting)
    document = told(SCRIPT, "--max-lag", "10", port=counting.port, P35_METRICS_PORT=str(counting.metrics.port))
    assert (document.exit, document.status) == (code, {2: "DEGRADED", 3: "MISSING"}[code])
    assert any(words in problem for problem in document.problems), document.problems


@pytest.mark.parametrize("world", ["strange decision", "strange bucket", "window under its buckets"])
def test_a_person_is_told_the_same(counting: Counting, world: str) -> None:
    """The problems stand below the last line, printable, on lines of their own, and nothing says proven."""
    spoil, code, words = WORLDS[world]
    spoil(counting)
    proof = counting.prove()
    assert proof.code == code
    assert words in proof.words.split("❌ NOT PROVEN: ")[1]
    assert COMPLETE not in proof.words
    assert all(line.isprintable() for line in proof.words.splitlines())


@pytest.mark.parametrize(
    ("state", "age_s", "expected"),
    [("active", 2, (0, "RUNNING")), ("inactive", 2, (1, "DEAD")), ("active", 60, (2, "HUNG")), ("", 60, (2, "HUNG"))],
)
def test_a_service_that_does_not_work_is_no_proof(
    counting: Counting, tmp_path: Path, state: str, age_s: float, expected: object
) -> None:
    """Dead is 1 and hung is 2; without a unit, metrics that answer tell the one from the other."""
    counting.redis.hset(decision.STATUS_KEY, "last_ts", int(time.time() - age_s))
    if state:
        put_unit(tmp_path, state)
    proof = counting.prove(path=f"{tmp_path}:{os.environ['PATH']}")
    assert (proof.code, proof.document.service.life) == expected


def test_a_service_whose_metrics_are_gone_too_is_dead(counting: Counting) -> None:
    """Without a unit: an old heartbeat, and nobody at the port."""
    counting.redis.hset(decision.STATUS_KEY, "last_ts", int(time.time() - 60))
    proof = counting.prove("--metrics-port", str(free_port()))
    assert (proof.code, proof.document.service.life) == (1, "DEAD")
