"""Figures of the apply layer: plan to filled order at three rates, claims, plans that end at once, waiting, memory.

Usage: python -m tests.benchmarks.bench_apply_layer
The apply layer is a process of its own beside a paper exchange and a Redis with AOF everysec; the permit is written
right after its plan, so that the figures are the apply layer's own. Plans are sent by the clock and measured from the
moment they were due, so that a delay is not hidden by the plans that it delays.
"""

import os
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from redis import Redis

from microservices.apply_layer.scripts import Claimed
from microservices.contracts import claim, plan, result
from tests.support.apply_bench import P33, Bench
from tests.support.apply_paper import Desk
from tests.support.apply_process import process
from tests.support.apply_world import World, redis_ms
from tests.support.paper import PaperExchange
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

QUANTITIES = {
    "SOLUSDT": "1", "LTCUSDT": "1", "XRPUSDT": "20", "ADAUSDT": "100", "DOGEUSDT": "300", "TRXUSDT": "100",
    "AVAXUSDT": "4", "DOTUSDT": "20", "XLMUSDT": "200", "ATOMUSDT": "20", "ETCUSDT": "4", "FILUSDT": "20",
}  # fmt: skip
RATES = ((1, 10), (10, 100), (100, 150))
"""Plans a second, and how many; the exchange takes 300 orders in 10 s."""
CLAIMS = 2_000
SKIPPED = 5_000
WAITING = 1_000
CPU_S = 4


def latencies(desk: Desk, rate: int, count: int) -> tuple[list[float], Counter[str]]:
    """Send permitted opens by the clock; give the ms from when each was due to its result, sorted, and the codes."""
    before = desk.redis.xlen(result.STREAM)
    began, offset_ms = time.monotonic(), redis_ms(desk.redis) - time.monotonic() * 1000
    due_ms: dict[str, float] = {}
    for number in range(count):
        due_s = began + number / rate
        time.sleep(max(0.0, due_s - time.monotonic()))
        symbol = list(QUANTITIES)[number % len(QUANTITIES)]
        due_ms[desk.open(symbol, QUANTITIES[symbol], price="0.01")] = due_s * 1000 + offset_ms
    wait_until(lambda: desk.redis.xlen(result.STREAM) >= before + count, 60)
    rows: Any = desk.redis.xrange(result.STREAM)
    took = sorted(_ms(entry) - due_ms[fields[b"plan_entry_id"].decode()] for entry, fields in rows[before:])
    return took, Counter(fields[b"error"].decode() or "filled" for _, fields in rows[before:])


def permitted_exits(world: World) -> list[str]:
    """Add exits with their permits, each of a symbol of its own."""
    entries = [world.add(symbol=f"C{number}USDT") for number in range(CLAIMS)]
    for entry_id in entries:
        world.permit(entry_id, event=False)
    return entries


def claims_of_the_script() -> float:
    """Claim permitted exits one after another with nothing around it; give the claims per second."""
    with RedisServer(appendonly=True) as server, server.client() as redis:
        bench = Bench(redis)
        plans = [bench.world.plan(entry_id) for entry_id in permitted_exits(bench.world)]
        began = time.monotonic()
        answers = [bench.scripts.consume(plan, P33, may_claim=True) for plan in plans]
        took_s = time.monotonic() - began
        assert all(isinstance(answer, Claimed) for answer in answers)
        return CLAIMS / took_s


def claims_of_the_service(paper: PaperExchange) -> float:
    """Have a dry run take permitted exits that are all there at its start; give the claims with results per second."""
    with (
        RedisServer(appendonly=True) as server,
        tempfile.TemporaryDirectory() as folder,
        server.client() as redis,
    ):
        desk = Desk(redis, paper, Path(folder))
        permitted_exits(desk.world)
        with process(server, desk, variables={"APPLY_MODE": "dry_run", "LOG_LEVEL": "ERROR"}):
            wait_until(lambda: redis.xlen(result.STREAM) >= CLAIMS, 60)
        rows: Any = redis.xrange(result.STREAM)
        assert {fields[b"error"] for _, fields in rows} == {b"dry_run"}
        return CLAIMS / ((_ms(rows[-1][0]) - _ms(rows[0][0])) / 1000)


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
        variables = {"APPLY_MAX_POSITIONS": "1000", "LOG_LEVEL": "ERROR"}
        with process(server, desk, variables=variables) as running:
            wait_until(lambda: redis.hget(claim.STATUS_KEY, "last_ts"), 20)
            report(desk, running)
        print(f"claims of the script alone      {claims_of_the_script():.0f}/s")
        print(f"claims of a dry run             {claims_of_the_service(paper):.0f}/s, each with its result")


def report(desk: Desk, process: subprocess.Popen[bytes]) -> None:
    """Print all figures."""
    for rate, count in RATES:
        took, codes = latencies(desk, rate, count)
        p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
        print(f"plan to filled order at {rate:>3}/s   p50 {p50:.0f} ms   p99 {p99:.0f} ms   {dict(codes)}", flush=True)
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
