"""Figures of decision intelligence beside a bare read-and-ack loop and a naive counter, in one run on one machine.

Usage: python -m tests.benchmarks.bench_decision_intelligence
"""

import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis

from microservices.contracts import decision
from microservices.decision_intelligence.message import Counted, Reader
from microservices.decision_intelligence.service import DecisionIntelligence
from microservices.decision_intelligence.settings import Settings
from microservices.runtime import SystemClock
from tests.support.counting import GROUP, STREAM, counted, status
from tests.support.ops import ops
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

MESSAGES = 200_000
NAIVE_MESSAGES = 10_000
MEMORY_MESSAGES = 1_000_000
ROUNDS = 3
BATCH = 1_000
SPACING_S = 0.1
SNAPSHOTS = 5
WHYS = 5
QUOTA = 0.20
ROOT = Path(__file__).parents[2]

REASONS = ("kill_score_close_ok", "duplicate_plan", "symbol_not_in_allowlist", "no_exchange_snapshot", "permit_timeout")
REASON_WEIGHTS = (40, 30, 12, 10, 8)
MAJORS = ("BTC", "ETH", "SOL", "XRP", "BNB", "ADA", "TRX", "LTC", "FIL", "INJ", "ZEC", "NEAR", "WAVES", "STX", "ARB")
SYMBOLS = tuple(f"{name}USDT" for name in (*MAJORS, *(f"ALT{number}" for number in range(35))))
SYMBOL_WEIGHTS = tuple(1 / (rank + 1) for rank in range(len(SYMBOLS)))


class Drain(NamedTuple):
    """How a consumer did."""

    rate: float
    """Messages per second of wall time."""
    cpu_us: float
    """Of this process, per message."""
    redis_us: float
    """CPU of Redis, per message."""

    @property
    def both_us(self) -> float:
        """CPU of both, per message: what counts where there is but one."""
        return self.cpu_us + self.redis_us


class Took(NamedTuple):
    """How long something took, in ms."""

    wall: float
    cpu: float
    """Of all that took part: what it takes at least, however busy the machine is."""


def fill(redis: Redis, count: int, *, spread: bool = True) -> None:
    """Add messages in the shape and the shares of a live stream, a tenth of a second apart, up to now.

    Args:
        redis: where to.
        count: how many.
        spread: whether their ids are as far apart as their timestamps; else they are of now.
    """
    rng = random.Random(1)
    begin = time.time() - count * SPACING_S
    pipeline = redis.pipeline(transaction=False)
    for number in range(count):
        skipped = rng.random() < 0.8
        fields: dict[Any, Any] = {
            "plan_id": f"{rng.getrandbits(64):016x}",
            "symbol": rng.choices(SYMBOLS, SYMBOL_WEIGHTS)[0],
            "decision": "SKIP" if skipped else "EXECUTE",
            "executed": "False" if skipped else "True",
            "would_execute": "False",
            "steps_results": "[]",
            "error": rng.choices(REASONS, REASON_WEIGHTS)[0] if skipped else "",
            "timestamp": f"{begin + number * SPACING_S:.0f}",
        }
        pipeline.xadd(STREAM, fields, id=f"{(begin + number * SPACING_S) * 1_000:.0f}-0" if spread else "*")
        if number % 2_000 == 1_999:
            pipeline.execute()
    pipeline.execute()


def begin_again(redis: Redis) -> None:
    """Forget everything but the messages, and make the group anew."""
    keys = list(redis.scan_iter("quantum:p35:*", count=1_000))
    for key in keys:
        redis.delete(key)
    redis.xgroup_destroy(STREAM, GROUP)
    redis.xgroup_create(STREAM, GROUP, "0")
    redis.config_resetstat()


def measured(drain: Callable[[Redis], int], redis: Redis) -> Drain:
    """Let one consumer drain the stream and say how it did."""
    begin_again(redis)
    theirs, wall, cpu = redis_cpu_s(redis), time.perf_counter(), time.process_time()
    count = drain(redis)
    rate, own_us = count / (time.perf_counter() - wall), (time.process_time() - cpu) / count * 1e6
    return Drain(rate, own_us, (redis_cpu_s(redis) - theirs) / count * 1e6)


def redis_cpu_s(redis: Redis) -> float:
    """What Redis says it has used."""
    used: dict[str, float] = redis.info("cpu")
    return used["used_cpu_user"] + used["used_cpu_sys"]


def bare(redis: Redis) -> int:
    """Only read and ack: the floor that Redis and the client set."""
    done = 0
    while True:
        answer: Any = redis.xreadgroup(GROUP, "bare", {STREAM: ">"}, count=BATCH)
        if not answer:
            return done
        ids = [entry_id for entry_id, _ in answer[0][1]]
        redis.xack(STREAM, GROUP, *ids)
        done += len(ids)


def naive(redis: Redis) -> int:
    """Send each increment by itself, as counters of this kind are often written."""
    reader, done = Reader(), 0
    while done < NAIVE_MESSAGES:
        answer: Any = redis.xreadgroup(GROUP, "naive", {STREAM: ">"}, count=BATCH)
        for entry_id, fields in answer[0][1]:
            outcome = reader.read(entry_id, list(chain.from_iterable(fields.items())), time.time())
            assert isinstance(outcome, Counted)
            key = decision.bucket_key(outcome.minute)
            redis.hincrby(key, decision.decision_field(outcome.decision), 1)
            redis.hincrby(key, decision.reason_field(outcome.reason), 1)
            redis.hincrby(key, decision.symbol_reason_field(outcome.symbol, outcome.reason), 1)
            redis.expire(key, decision.BUCKET_TTL_S)
            redis.xack(STREAM, GROUP, entry_id)
            done += 1
    return done


def service(redis: Redis) -> int:
    """The service itself, tick by tick."""
    instance = made(redis)
    while status(redis).processed_total < MESSAGES:
        for _ in range(20):
            instance.consume()
    return MESSAGES


def made(redis: Redis) -> DecisionIntelligence:
    """Make an instance with its default settings, but for the wait on an empty stream."""
    instance = DecisionIntelligence(Settings(p35_block_ms=1), redis, SystemClock(), "bench")
    instance.prepare()
    return instance


def commands_per_message(redis: Redis) -> float:
    """What the client sent; a look is MULTI, four questions, EXEC and the heartbeat, a note of the index two."""
    calls = {name: row["calls"] for name, row in redis.info("commandstats").items()}
    looks, notes = calls.get("cmdstat_multi", 0), calls["cmdstat_append"]
    return float(calls["cmdstat_evalsha"] + calls["cmdstat_xreadgroup"] + 7 * looks + 2 * notes) / MESSAGES


def blocking_ms(redis: Redis) -> dict[str, float]:
    """How long scripts held up Redis, by Redis's own percentiles."""
    row = redis.info("latencystats")["latency_percentiles_usec_evalsha"]
    return {name: float(value) / 1_000 for name, value in row.items()}


def snapshot(redis: Redis) -> Took:
    """Add up and replace all windows over buckets filled to the caps, and those of the hour before; medians of five."""
    minute = int(time.time() // 60)
    names = [decision.reason_field(f"reason_{number}") for number in range(100)]
    pairs = ((f"SYMBOL{number % 80}USDT", f"reason_{number // 80}") for number in range(400))
    names += [decision.symbol_reason_field(symbol, reason) for symbol, reason in pairs]
    bucket: dict[Any, Any] = dict.fromkeys(names, 7) | {decision.decision_field("SKIP"): 700}
    for back in range(-1, 121):
        redis.hset(decision.bucket_key(minute - back), mapping=bucket)
    instance, took = made(redis), []
    for _ in range(SNAPSHOTS):
        theirs, own, wall = redis_cpu_s(redis), time.process_time(), time.perf_counter()
        instance.snapshot()
        wall, own = time.perf_counter() - wall, time.process_time() - own
        took.append(Took(wall * 1_000, (own + redis_cpu_s(redis) - theirs) * 1_000))
    return medians(took)


def memory_mb(server: RedisServer, redis: Redis) -> float:
    """Let a process of its own count a million messages and look how large it is."""
    redis.flushall()
    environment = os.environ | {"REDIS_PORT": str(server.port), "P35_METRICS_PORT": "0", "LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-m", "microservices.decision_intelligence.main"]
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    try:
        for done in range(MESSAGES, MEMORY_MESSAGES + 1, MESSAGES):
            fill(redis, MESSAGES, spread=False)
            wait_until(lambda reached=done: status(redis).processed_total >= reached, 600)  # type: ignore[misc]
            redis.xtrim(STREAM, maxlen=0)
        rows = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS:")) / 1024
    finally:
        process.terminate()
        process.wait(10)


def buckets_mb(redis: Redis) -> float:
    """What a day of buckets, one a minute, weighs by Redis's own measure."""
    return statistics.mean(sizes_of(redis, "quantum:p35:bucket:*")) * 1_440 / 1e6


def index_mb(redis: Redis) -> float:
    """What a day of index, one key a minute, weighs by Redis's own measure."""
    return statistics.mean(sizes_of(redis, "quantum:p35:index:*")) * 1_440 / 1e6


def sizes_of(redis: Redis, pattern: str) -> list[int]:
    """What each key of a pattern weighs, in bytes."""
    return [int(redis.memory_usage(key) or 0) for key in redis.scan_iter(pattern, count=1_000)]


def why(server: RedisServer, redis: Redis) -> Took:
    """Ask for the oldest and the newest plan and for one that is not there, as an operator does: the slowest."""
    ends: Any = [redis.xrange(STREAM, count=1), redis.xrevrange(STREAM, count=1)]
    slowest = Took(0, 0)
    path = f"{os.defpath}:{os.environ['PATH']}"  # the machine's own python3, as on a server
    for plan_id in [*(fields[b"plan_id"].decode() for [(_, fields)] in ends), "never-there"]:
        took = []
        for _ in range(WHYS):
            cpu, wall = children_cpu_s(), time.perf_counter()
            ops("why.sh", plan_id, port=server.port, path=path)
            took.append(Took((time.perf_counter() - wall) * 1_000, (children_cpu_s() - cpu) * 1_000))
        slowest = max(slowest, medians(took))
    return slowest


def children_cpu_s() -> float:
    """What processes that were started here and have ended have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def medians(took: list[Took]) -> Took:
    """Give the median of each figure."""
    return Took(*(statistics.median(figures) for figures in zip(*took, strict=True)))


def main() -> None:
    """Print the specification's table with what was measured."""
    with RedisServer() as server, server.client() as redis:
        fill(redis, MESSAGES)
        slow = measured(naive, redis)
        rounds = [(measured(bare, redis), measured(service, redis)) for _ in range(ROUNDS)]
        floor, own = (max(rates) for rates in zip(*rounds, strict=True))
        assert sum(counted(redis).decisions.values()) == MESSAGES
        commands, blocked = commands_per_message(redis), blocking_ms(redis)
        day_mb, noted_mb = buckets_mb(redis), index_mb(redis)
        asked, added_up = why(server, redis), snapshot(redis)
        rows = [
            ("bare read-and-ack loop", f"{floor.rate:,.0f}/s", ""),
            ("one increment per command", f"{slow.rate:,.0f}/s", ""),
            ("decision intelligence", f"{own.rate:,.0f}/s", ""),
            ("of the bare loop", f"{own.rate / floor.rate:.2f}", "at least 0.50"),
            ("of the bare loop, both CPUs added", f"{floor.both_us / own.both_us:.2f}", ""),
            ("times the naive counter", f"{own.rate / slow.rate:.1f}", "at least 15"),
            ("one script blocks Redis, p99", f"{blocked['p99']:.2f} ms", "below 2 ms"),
            ("client commands per message", f"{commands:.4f}", "below 0.05"),
            ("a snapshot of 60 full buckets", f"{added_up.wall:.0f} ms", f"below 100 ms (CPU {added_up.cpu:.0f})"),
            ("a day of buckets and index", f"{day_mb + noted_mb:.1f} MB", f"below 50 MB (index {noted_mb:.1f})"),
            (f"why.sh over {MESSAGES:,} results", f"{asked.wall:.0f} ms", f"below 300 ms (CPU {asked.cpu:.0f})"),
            (f"within {QUOTA:.0%} of a CPU", f"{QUOTA * 1e6 / own.cpu_us:,.0f}/s", "above 5,000/s"),
            ("memory after a million messages", f"{memory_mb(server, redis):.1f} MB", "below 45 MB"),
        ]
    print(f"{MESSAGES:,} messages, batches of {BATCH:,}, best of {ROUNDS}")
    for name, figure, wanted in rows:
        print(f"{name:<34} {figure:>12}   {wanted}")


if __name__ == "__main__":
    main()
