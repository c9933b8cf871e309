"""Figures of the position-state brain: plan to permit at steady rates, catching up, a snapshot's CPU, start, memory.

Usage: python -m tests.benchmarks.bench_position_state_brain
The brain is a process of its own beside a paper exchange of 600 symbols and a Redis with AOF everysec. Plans are sent
by the clock, whether or not the one before was answered, and each is timed from when it was due: waiting is counted,
also the generator's own. Every permit is used up and its result written at once, so that the ledger works along.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from redis import Redis

from microservices.contracts import control, permit, plan, position, result, universe
from microservices.contracts.control import Mode
from microservices.contracts.universe import Instrument, UniverseDocument, UniverseMeta
from microservices.paper_exchange.builtin_market import builtin_exchange_info
from microservices.runtime.streams import entries_after, last_id
from tests.support.brain_world import POSITIONS_PATH, PRICES_PATH, WireExchange, World
from tests.support.paper import PaperExchange
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
SYMBOLS = [f"{chr(65 + number // 26)}{chr(65 + number % 26)}{number}USDT" for number in range(600)]
STEADY = ((50, 10.0), (500, 10.0))
"""Plans a second, and for how many seconds."""
FLOOD_PLANS = 5_000
SNAPSHOTS = 50
HELD = 45
"""Positions in a snapshot."""


def market_file(folder: Path) -> Path:
    """Write an exchangeInfo of 600 symbols."""
    document = builtin_exchange_info()
    rows = document["symbols"]
    document["symbols"] = [{**rows[number % len(rows)], "symbol": symbol} for number, symbol in enumerate(SYMBOLS)]
    path = folder / "exchangeInfo.json"
    path.write_text(json.dumps(document))
    return path


def publish(redis: Redis) -> None:
    """Publish the universe as the universe service does."""
    asof = int(time.time())
    document = UniverseDocument(asof, universe.SOURCE, Mode.PAPER, tuple(sorted(SYMBOLS)), universe.FILTERS)
    meta = msgspec.structs.asdict(UniverseMeta(asof, asof, len(SYMBOLS), 0))
    rules = universe.encode_instrument(
        Instrument("TRADING", asof, "0.0001", "0.001", "0.001", "100000", "5", 0, 4133404800)
    )
    redis.set(universe.ACTIVE_KEY, universe.encode_document(document))
    redis.hset(universe.META_KEY, mapping={name: str(value) for name, value in meta.items()})
    redis.hset(universe.INSTRUMENTS_KEY, mapping=dict.fromkeys(SYMBOLS, rules))
    redis.set(control.KILL_SWITCH_KEY, "off")


def plan_of(plan_id: str, symbol: str) -> dict[str, str]:
    """An OPEN that nothing speaks against but what is on its way already."""
    return {
        "plan_id": plan_id, "symbol": symbol, "side": "BUY", "decision": "EXECUTE", "action": "OPEN",
        "reduceOnly": "false", "qty": "10000", "timestamp": f"{time.time():.3f}",
    }  # fmt: skip


class Executor(threading.Thread):
    """Notes when each plan's event can be read, and ends what was permitted: permit gone, result written, no fill."""

    def __init__(self, server: RedisServer, wanted: int) -> None:
        super().__init__(daemon=True)
        self._redis = server.client()
        self._wanted = wanted
        self._after = last_id(self._redis, permit.EVENTS)
        self.answered: dict[str, float] = {}
        self.reasons = Counter[str]()

    def run(self) -> None:
        """Follow the events until all that is wanted is answered."""
        while len(self.answered) < self._wanted:
            for entry in entries_after(self._redis, permit.EVENTS, self._after, count=1_000, block_ms=1_000):
                self._after = entry.id
                event = permit.decode_event(entry.fields or {}, "event")
                self.answered.setdefault(event.plan_id, time.monotonic())
                self.reasons[event.reason] += 1
                if event.allow:
                    self._end(event)

    def _end(self, event: permit.PermitEvent) -> None:
        ended = result.Result(
            plan_id=event.plan_id, plan_entry_id=event.plan_entry_id, symbol=event.symbol,
            decision=plan.Decision.BLOCKED, executed=False, error="max_positions", mode=Mode.PAPER,
            timestamp=int(time.time()),
        )  # fmt: skip
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.delete(permit.key(permit.Gate.P33, event.plan_id))
        pipeline.xadd(result.STREAM, result.encode(ended))
        pipeline.execute()


class Steady(NamedTuple):
    """What came of plans at a steady rate: milliseconds from when each was due to its answer, sorted."""

    rate: int
    times_ms: list[float]
    late_ms: float
    """By how much the generator itself was late at worst; it is in the times."""
    reasons: Counter[str]
    answers_per_s: float

    def share(self, percent: int) -> float:
        """Give a percentile."""
        return self.times_ms[len(self.times_ms) * percent // 100]


def cpu_s(pid: int) -> float:
    """Give the processor's time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def steady(server: RedisServer, redis: Redis, rate: int, seconds: float) -> Steady:
    """Send plans by the clock."""
    plans = round(rate * seconds)
    executor = Executor(server, plans)
    executor.start()
    due: dict[str, float] = {}
    late_s = 0.0
    begin = time.monotonic()
    for number in range(plans):
        plan_id = f"steady-{rate}-{number}"
        due[plan_id] = begin + number / rate
        time.sleep(max(0.0, due[plan_id] - time.monotonic()))
        late_s = max(late_s, time.monotonic() - due[plan_id])
        redis.xadd(plan.STREAM, dict(plan_of(plan_id, SYMBOLS[number % len(SYMBOLS)]).items()))
    executor.join(60)
    took_s = max(executor.answered.values()) - begin
    times_ms = sorted((executor.answered[plan_id] - at) * 1_000 for plan_id, at in due.items())
    return Steady(rate, times_ms, late_s * 1_000, executor.reasons, plans / took_s)


def flood(redis: Redis) -> float:
    """Add many plans at once; give the answers per second."""
    before = redis.xlen(permit.EVENTS)
    pipeline = redis.pipeline(transaction=False)
    for number in range(FLOOD_PLANS):
        pipeline.xadd(plan.STREAM, dict(plan_of(f"flood-{number}", SYMBOLS[number % len(SYMBOLS)]).items()))
    pipeline.execute()
    began = time.monotonic()
    wait_until(lambda: redis.xlen(permit.EVENTS) >= before + FLOOD_PLANS, 120, every_s=0.02)
    return FLOOD_PLANS / (time.monotonic() - began)


def snapshot_cpu_ms(server: RedisServer, folder: Path) -> float:
    """Measure a whole poll of 600 rows in this process: read, judge, compare with the books, write."""
    with server.client() as redis, pytest.MonkeyPatch.context() as patch:
        redis.flushall()
        exchange = WireExchange()
        exchange.positions = {symbol: "1" if number < HELD else "0" for number, symbol in enumerate(SYMBOLS)}
        world = World(redis, folder, patch, exchange)
        world.publish_universe(*SYMBOLS)
        exchange.bodies = {
            POSITIONS_PATH: json.dumps(exchange.position_rows()).encode(),
            PRICES_PATH: json.dumps(exchange.price_rows()).encode(),
        }
        world.brain.prepare()
        world.snapshot()
        began = time.process_time()
        for _ in range(SNAPSHOTS):
            world.snapshot()
        assert world.brain.snapshots.shortfall() == ""
        return (time.process_time() - began) / SNAPSHOTS * 1_000


def main() -> None:
    """Measure and print."""
    with (
        tempfile.TemporaryDirectory() as folder,
        RedisServer(appendonly=True) as server,
        PaperExchange(settings={"PAPER_EXCHANGE_INFO": str(market_file(Path(folder)))}) as paper,
        server.client() as redis,
    ):
        publish(redis)
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **paper.environment(),
            "REDIS_PORT": str(server.port), "STATE_DIRECTORY": folder, "P33_METRICS_PORT": "0", "LOG_LEVEL": "WARNING",
        }  # fmt: skip
        command = [sys.executable, "-m", "microservices.position_state_brain.main"]
        began = time.monotonic()
        with subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL) as brain:
            wait_until(lambda: redis.exists(position.BASELINE_KEY), 20, what="the first snapshot")
            redis.xadd(plan.STREAM, dict(plan_of("first", SYMBOLS[-1]).items()))
            wait_until(lambda: redis.exists(permit.key(permit.Gate.P33, "first")), 5, every_s=0.001)
            first_s = time.monotonic() - began
            found = [steady(server, redis, rate, seconds) for rate, seconds in STEADY]
            before_s = cpu_s(brain.pid)
            flood_rate = flood(redis)
            flood_cpu_ms = (cpu_s(brain.pid) - before_s) / FLOOD_PLANS * 1_000
            status = Path(f"/proc/{brain.pid}/status").read_text()
            brain.terminate()
        cpu_ms = snapshot_cpu_ms(server, Path(folder) / "in-process")
    resident_mb = int(status.partition("VmRSS:")[2].split()[0]) / 1024
    sys.stdout.write(f"start to first permit: {first_s:.2f} s\n")
    for at in found:
        sys.stdout.write(f"plan to permit at {at.rate} plans/s, {len(at.times_ms)} plans:")
        sys.stdout.write(f" p50 {at.share(50):.2f} ms, p99 {at.share(99):.2f} ms, worst {at.times_ms[-1]:.2f} ms,")
        sys.stdout.write(f" {at.answers_per_s:.0f} answers/s, generator late by {at.late_ms:.2f} ms at worst;")
        sys.stdout.write(f" {', '.join(f'{reason} {number}' for reason, number in at.reasons.most_common())}\n")
    sys.stdout.write(f"catching up with {FLOOD_PLANS} plans at once: {flood_rate:.0f} answers/s,")
    sys.stdout.write(f" {flood_cpu_ms:.2f} ms of the brain's CPU each\n")
    sys.stdout.write(f"a whole poll of {len(SYMBOLS)} rows, {HELD} held, with mark prices: {cpu_ms:.1f} ms of CPU\n")
    sys.stdout.write(f"resident memory: {resident_mb:.1f} MB\n")


if __name__ == "__main__":
    main()
