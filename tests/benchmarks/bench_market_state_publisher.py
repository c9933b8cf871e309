"""The publisher's figures: one cycle over 566 symbols from read to last write, skew, start to first publish, memory.

Usage: python -m tests.benchmarks market_state_publisher
"""

import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis

from microservices.contracts import candles, market_state
from microservices.contracts.candles import Candle
from microservices.market_state_publisher.service import Publisher
from microservices.market_state_publisher.settings import Settings
from microservices.runtime import load_settings
from tests.support.clock import FakeClock
from tests.support.price_paths import random_walk
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

SYMBOLS = 566
CANDLES = 300
CYCLES = 8
MAIN = "microservices.market_state_publisher.main"
NAMES = [f"S{number}USDT" for number in range(SYMBOLS)]


def main() -> None:
    """Measure and print."""
    with RedisServer() as server, server.client() as redis:
        now = (int(time.time()) // 60 - CYCLES) * 60
        walks = {name: random_walk(np.random.default_rng(n), CANDLES + CYCLES) for n, name in enumerate(NAMES)}
        for index in range(CANDLES):
            store(redis, walks, index, now - (CANDLES - index) * 60)
        cycles(redis, walks, now)
        process(server, redis)


def store(redis: Redis, walks: dict[str, np.ndarray], index: int, open_s: int) -> None:
    """Store one candle of every symbol."""
    pipeline = redis.pipeline(transaction=False)
    for name, prices in walks.items():
        price = f"{prices[index]:.6f}"
        member = candles.encode(Candle(open_s * 1000, price, price, price, price, "1234.5"))
        pipeline.zadd(candles.key(name), {member: open_s * 1000})
    pipeline.execute()


def cycles(redis: Redis, walks: dict[str, np.ndarray], now: int) -> None:
    """Run cycles a minute apart, a new candle of every symbol in between."""
    clock = FakeClock(now + 2)
    service = Publisher(load_settings(Settings, {"MARKETSTATE_SYMBOLS": ",".join(NAMES)}), redis, clock)
    durations, cpu, skews = [], [], []
    for cycle in range(CYCLES):
        redis.delete(market_state.STREAM)
        started, started_cpu = time.perf_counter(), time.process_time()
        service.tick()
        durations.append(time.perf_counter() - started)
        cpu.append(time.process_time() - started_cpu)
        entries: Any = redis.xrange(market_state.STREAM)
        ids = [int(entry_id.split(b"-")[0]) for entry_id, _ in entries]
        assert len(ids) == SYMBOLS
        skews.append(ids[-1] - ids[0])
        store(redis, walks, CANDLES + cycle, now + 60 * cycle)
        clock.advance(60)
    print(f"{SYMBOLS} symbols, {CANDLES} candles each, {CYCLES} cycles a minute apart")
    print(f"first cycle, read to last write       {durations[0] * 1000:6.0f} ms   (asked for: under 1000 ms)")
    print(f"later cycles, median                  {statistics.median(durations[1:]) * 1000:6.0f} ms")
    print(f"of it the publisher's own CPU, median {statistics.median(cpu[1:]) * 1000:6.0f} ms")
    print(f"first to last published symbol, worst {max(skews):6.0f} ms   (asked for: under 300 ms)")


def process(server: RedisServer, redis: Redis) -> None:
    """Start the daemon and measure it from outside."""
    redis.delete(market_state.STREAM)
    environ = {
        "PATH": os.environ["PATH"],
        "REDIS_PORT": str(server.port),
        "MARKETSTATE_SYMBOLS": ",".join(NAMES),
        "MARKETSTATE_MAX_AGE_SEC": "86400",
    }
    started = time.monotonic()
    daemon = subprocess.Popen([sys.executable, "-m", MAIN], env=environ, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: redis.xlen(market_state.STREAM), 20, what="the first state")
        first_s = time.monotonic() - started
        wait_until(lambda: redis.xlen(market_state.STREAM) == SYMBOLS, 20, what="all states")
        all_s = time.monotonic() - started
        memory = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{daemon.pid}/status").read_text())
        assert memory is not None
        print(f"start to first publish                {first_s * 1000:6.0f} ms   (asked for: under 3000 ms)")
        print(f"start to last symbol published        {all_s * 1000:6.0f} ms")
        print(f"resident memory at most               {int(memory[1]) / 1024:6.0f} MB   (asked for: under 70 MB)")
    finally:
        daemon.terminate()
        daemon.wait(10)


if __name__ == "__main__":
    main()
