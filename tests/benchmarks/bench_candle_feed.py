"""The candle feed's figures: history of 600 symbols filled, 600 closes of one minute stored, CPU and memory.

Usage: python -m tests.benchmarks candle_feed
The feed is a process of its own, so is the exchange it asks and listens to; the closes are those of the next full
minute, so that it takes up to two.
"""

import os
import re
import statistics
import time
from pathlib import Path
from typing import Any

from redis import Redis

from microservices.candle_feed.book import Book
from microservices.candle_feed.store import CandleStore
from microservices.contracts import candles
from microservices.contracts.candles import INTERVAL_MS, Candle
from microservices.runtime import SystemClock
from tests.support.daemon import Daemon
from tests.support.paper import PaperExchange
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

SYMBOLS = 600
CANDLES = 300
ROUNDS = 5
SPARE = 30


def main() -> None:
    """Measure and print."""
    with RedisServer() as server, server.client() as redis:
        batches(redis)
        redis.flushall()
        with PaperExchange(settings={"PAPER_SYMBOLS": str(SYMBOLS + SPARE)}) as paper:
            process(paper, server, redis)


def batches(redis: Redis) -> None:
    """Store closes that came together."""
    names = [f"S{number}USDT" for number in range(SYMBOLS)]
    minute = 28_000_000 * INTERVAL_MS
    store = CandleStore(redis, CANDLES)
    history = [candle(minute - back * INTERVAL_MS) for back in range(CANDLES)]
    store.store(dict.fromkeys(names, history), dict.fromkeys(names, 0))
    book = Book(store, CANDLES, SystemClock())
    book.follow(names, minute)
    took = []
    for number in range(1, ROUNDS + 1):
        started = time.perf_counter()
        assert not book.take_live({name: [candle(minute + number * INTERVAL_MS)] for name in names})
        took.append(time.perf_counter() - started)
    print(
        f"{SYMBOLS} closes that came together, stored    {statistics.median(took) * 1000:6.0f} ms   (asked for: < 1 s)"
    )


def candle(open_ms: int) -> Candle:
    """A candle like any other."""
    return Candle(open_ms, "101500.1", "101510.0", "101490.2", "101500.3", "12.345")


def process(paper: PaperExchange, server: RedisServer, redis: Redis) -> None:
    """Start the feed and measure it from outside."""
    rows = paper.get("/fapi/v1/exchangeInfo").json["symbols"]
    # Those that will have a whole history; symbols are listed and halted all the time.
    old = (time.time() - 60 * (CANDLES + 10)) * 1000
    names = [row["symbol"] for row in rows if row["status"] == "TRADING" and row["onboardDate"] < old][:SYMBOLS]
    environment = {
        **paper.feed_environment(),
        "REDIS_PORT": str(server.port),
        "CANDLES_SYMBOLS": ",".join(names),
        "CANDLES_KEEP": str(CANDLES),
        "CANDLES_WEIGHT_PER_MIN": "1000000",
        "CANDLES_METRICS_PORT": "0",
    }
    started = time.monotonic()
    with Daemon("candle_feed", environment=environment) as daemon:
        wait_until(lambda: least(redis, names) >= CANDLES, 120, what="the history", every_s=0.1)
        filled_s = time.monotonic() - started
        print(f"{len(names)} symbols × {CANDLES} candles, from start    {filled_s:6.1f} s    (asked for: < 60 s)")
        minute = int(time.time()) // 60 * INTERVAL_MS  # the running one
        # What closed while the history was filled is still asked for, and is none of the next minute's requests.
        until_stored(redis, names, minute - INTERVAL_MS)
        asked = len(paper.requests(path="/fapi/v1/klines"))
        wait_until(lambda: time.time() * 1000 >= minute + INTERVAL_MS - 50, 70)
        cpu_s = used_cpu_s(daemon.pid)
        took = until_stored(redis, names, minute)
        print(f"a minute's {len(names)} closes stored, after it ended {took * 1000:6.0f} ms   (asked for: < 1 s)")
        print(f"of it the feed's own CPU              {(used_cpu_s(daemon.pid) - cpu_s) * 1000:6.0f} ms")
        print(f"requests it took                      {len(paper.requests(path='/fapi/v1/klines')) - asked:6d}")
        status: Any = redis.hgetall(candles.STATUS_KEY)
        print(f"symbols by stream                     {int(status[b'live']):6d}")
        print(f"resident memory at most               {memory_mb(daemon.pid):6.0f} MB")


def least(redis: Redis, names: list[str]) -> int:
    """The fewest candles that any symbol has."""
    pipeline = redis.pipeline(transaction=False)
    for name in names:
        pipeline.zcard(candles.key(name))
    counts: list[int] = pipeline.execute()
    return min(counts)


def until_stored(redis: Redis, names: list[str], minute: int) -> float:
    """Wait until a minute's candle of every symbol is stored; the seconds since the minute ended."""

    def stored() -> bool:
        pipeline = redis.pipeline(transaction=False)
        for name in names:
            pipeline.zcount(candles.key(name), minute, minute)
        return all(pipeline.execute())

    wait_until(stored, 60, what="the closes")
    return time.time() - (minute + INTERVAL_MS) / 1000


def used_cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """The most that a process has had resident."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    main()
