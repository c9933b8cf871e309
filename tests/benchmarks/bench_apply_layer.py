"""Figures of the apply layer: plan to filled order at three rates, plans that end at once, waiting plans, memory.

Usage: python -m tests.benchmarks.bench_apply_layer
The apply layer is a process of its own beside a paper exchange and a Redis with AOF everysec; the permit is written
right after its plan, so that the figures are the apply layer's own. Plans are sent by the clock.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from redis import Redis

from microservices.contracts import claim, plan, result
from tests.support.apply_paper import Desk
from tests.support.paper import PaperExchange
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
QUANTITIES = {
    "SOLUSDT": "1", "LTCUSDT": "1", "XRPUSDT": "20", "ADAUSDT": "100", "DOGEUSDT": "300", "TRXUSDT": "100",
    "AVAXUSDT": "4", "DOTUSDT": "20", "XLMUSDT": "200", "ATOMUSDT": "20", "ETCUSDT": "4", "FILUSDT": "20",
}  # fmt: skip
RATES = ((1, 10), (10, 100), (100, 150))
"""Plans a second, and how many; the exchange takes 300 orders in 10 s."""
SKIPPED = 5_000
WAITING = 1_000
CPU_S = 4


def latencies(desk: Desk, rate: int, count: int) -> tuple[list[int], Counter[str]]:
    """Send permitted opens by the clock; give the milliseconds from plan to result, sorted, and the codes."""
    before = desk.redis.xlen(result.STREAM)
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        symbol = list(QUANTITIES)[number % len(QUANTITIES)]
        desk.open(symbol, QUANTITIES[symbol], price="0.01")
    wait_until(lambda: desk.redis.xlen(result.STREAM) >= before + count, 60)
    rows: Any = desk.redis.xrange(result.STREAM)
    took = sorted(_ms(entry) - _ms(fields[b"plan_entry_id"]) for entry, fields in rows[before:])
    return took, Counter(fields[b"error"].decode() or "filled" for _, fields in rows[before:])


def ended_at_once(redis: Redis) -> float:
    """Add many plans that came as SKIP; give the results per second."""
    before = redis.xlen(result.STREAM)
    pipeline = redis.pipeline(transaction=False)
    for number in range(SKIPPED):
        fields = {"plan_id": f"skip-{number}", "symbol": "BTCUSDT", "decision": "SKIP", "reason_codes": "action_hold"}
        pipeline.xadd(plan.STREAM, plan.encode(fields))
    pipeline.execute()
    began = time.monotonic()
    wait_until(lambda: redis.xlen(result.STREAM) >= before + SKIPPED, 60)
    return SKIPPED / (time.monotonic() - began)


def cpu_share(process: subprocess.Popen[bytes]) -> float:
    """Measure the share of one core a process takes."""
    ticks = _cpu_ticks(process.pid)
    time.sleep(CPU_S)
    return (_cpu_ticks(process.pid) - ticks) / os.sysconf("SC_CLK_TCK") / CPU_S


def main() -> None:
    """Measure and print."""
    with (
        RedisServer(appendonly=True) as server,
        PaperExchange() as paper,
        tempfile.TemporaryDirectory() as folder,
        server.client() as redis,
    ):
        desk = Desk(redis, paper, Path(folder))
        environment = paper.environment() | {
            "PATH": os.environ["PATH"], "REDIS_PORT": str(server.port), "STATE_DIRECTORY": folder,
            "APPLY_MODE": "paper", "APPLY_GATES_OPEN": "p33", "APPLY_METRICS_PORT": "0",
            "APPLY_MAX_POSITIONS": "1000", "LOG_LEVEL": "ERROR",
        }  # fmt: skip
        command = [sys.executable, "-m", "microservices.apply_layer.main"]
        with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
            try:
                wait_until(lambda: redis.hget(claim.STATUS_KEY, "last_ts"), 20)
                report(desk, process)
            finally:
                process.terminate()


def report(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    """Print all figures."""
    for rate, count in RATES:
        took, codes = latencies(desk, rate, count)
        p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
        print(f"plan to filled order at {rate:>3}/s   p50 {p50} ms   p99 {p99} ms   {dict(codes)}", flush=True)
    print(f"plans that end at once          {ended_at_once(desk.redis):.0f} results/s", flush=True)
    print(f"idle                            {cpu_share(process):.1%} of a core")
    for _ in range(WAITING):
        desk.world.add()
    print(f"{WAITING} exits that wait            {cpu_share(process):.1%} of a core")
    status = Path(f"/proc/{process.pid}/status").read_text()
    print(next(line for line in status.splitlines() if line.startswith("VmRSS")).replace("\t", " "))


def _ms(entry_id: bytes) -> int:
    return int(entry_id.split(b"-")[0])


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    main()
