"""Figures of the position-state brain: plan to permit at a steady rate, throughput, a snapshot's CPU, start, memory.

Usage: python -m tests.benchmarks.bench_position_state_brain
The brain is a process of its own beside a paper exchange of 600 symbols and a Redis with AOF everysec. Plans are sent
by the clock, whether or not the one before was answered, so that waiting is counted.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from decimal import Decimal
from pathlib import Path

import msgspec
from redis import Redis

from microservices.contracts import control, permit, plan, position, universe
from microservices.contracts.control import Mode
from microservices.contracts.universe import Instrument, UniverseDocument, UniverseMeta
from microservices.exchange import PositionRow
from microservices.exchange.answers import decode
from microservices.paper_exchange.builtin_market import builtin_exchange_info
from microservices.position_state_brain.snapshot import AccountView, Expected, judge
from microservices.runtime.streams import entries_after
from tests.support.paper import PaperExchange
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
SYMBOLS = [f"{chr(65 + number // 26)}{chr(65 + number % 26)}{number}USDT" for number in range(600)]
RATE = 50
STEADY_PLANS = 500
FLOOD_PLANS = 5_000
SNAPSHOTS = 50


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
        "reduceOnly": "false", "qty": "20", "timestamp": f"{time.time():.3f}",
    }  # fmt: skip


def watch_answers(redis: Redis, answered: dict[str, float], wanted: int) -> None:
    """Note when each plan's event can be read."""
    after = "0-0"
    while len(answered) < wanted:
        for entry in entries_after(redis, permit.EVENTS, after, count=1_000, block_ms=1_000):
            after = entry.id
            answered.setdefault(permit.event_plan_id(entry.fields or {}, "event"), time.monotonic())


def steady(redis: Redis) -> list[float]:
    """Send plans by the clock; give the milliseconds from when each was due to its event, sorted."""
    answered: dict[str, float] = {}
    watcher = threading.Thread(target=watch_answers, args=(redis, answered, STEADY_PLANS))
    watcher.start()
    due: dict[str, float] = {}
    begin = time.monotonic()
    for number in range(STEADY_PLANS):
        plan_id = f"steady-{number}"
        due[plan_id] = begin + number / RATE
        time.sleep(max(0.0, due[plan_id] - time.monotonic()))
        redis.xadd(plan.STREAM, dict(plan_of(plan_id, SYMBOLS[number % len(SYMBOLS)]).items()))
    watcher.join(30)
    return sorted((answered[plan_id] - at) * 1_000 for plan_id, at in due.items())


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


def snapshot_cpu_ms(paper: PaperExchange) -> float:
    """Measure reading and judging one answer of 600 rows."""
    body = json.dumps(paper.signed("GET", "/fapi/v2/positionRisk").json).encode()
    expected = Expected(trading=frozenset(SYMBOLS), required=frozenset(SYMBOLS[:45]), ledger={SYMBOLS[0]: Decimal(0)})
    view = AccountView(one_way=True)
    began = time.process_time()
    for number in range(SNAPSHOTS):
        rows = decode("GET /fapi/v2/positionRisk", body, list[PositionRow])
        judged = judge(rows, number + 1, view, expected, empty_before=False)
        assert isinstance(judged, AccountView)
        view = judged
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
            redis.delete(permit.EVENTS)
            times_ms = steady(redis)
            rate = flood(redis)
            status = Path(f"/proc/{brain.pid}/status").read_text()
            brain.terminate()
        cpu_ms = snapshot_cpu_ms(paper)
    p50, p99 = times_ms[len(times_ms) // 2], times_ms[len(times_ms) * 99 // 100]
    resident_mb = int(status.partition("VmRSS:")[2].split()[0]) / 1024
    sys.stdout.write(f"start to first permit: {first_s:.2f} s\n")
    sys.stdout.write(f"plan to permit at {RATE} plans/s, {STEADY_PLANS} plans: p50 {p50:.2f} ms, p99 {p99:.2f} ms,")
    sys.stdout.write(f" worst {times_ms[-1]:.2f} ms\n")
    sys.stdout.write(f"{FLOOD_PLANS} plans at once: {rate:.0f} answers/s\n")
    sys.stdout.write(f"snapshot of {len(SYMBOLS)} rows, read and judged: {cpu_ms:.1f} ms of CPU\n")
    sys.stdout.write(f"resident memory: {resident_mb:.1f} MB\n")


if __name__ == "__main__":
    main()
