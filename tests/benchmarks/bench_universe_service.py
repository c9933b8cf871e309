"""Figures of the universe service: start to first list, CPU of a refresh, memory after many.

Usage: python -m tests.benchmarks.bench_universe_service
A local server answers with a listing of 1.7 MB; Redis is a real one. The service runs in a process of its own.
"""

import subprocess
import sys
import time
from pathlib import Path
from threading import Event

from microservices.contracts import universe
from tests.support.daemon import ROOT, Daemon
from tests.support.exchange_info import answer, entry, name
from tests.support.http_server import HttpServer
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

SYMBOLS = 640
ANSWER_BYTES = 1_700_000
REFRESHES = 1_000
START_SYMBOLS = 800
STARTS = 5


def big_answer() -> bytes:
    """Make a listing of the size that the exchange's own has; the padding stands where unread fields stand there."""
    padding = "x" * (ANSWER_BYTES // SYMBOLS - len(answer([entry("AAAAUSDT")])) + 90)
    return answer([entry(f"{name(number)}USDT", unread=padding) for number in range(SYMBOLS)])


def seconds_to_first_list() -> float:
    """Start the service on an empty Redis and wait for its list."""
    with HttpServer() as server, RedisServer() as redis, redis.client() as client:
        server.say(answer([entry(f"{name(number)}USDT") for number in range(START_SYMBOLS)]))
        environment = {"UNIVERSE_MODE": "paper", "BINANCE_FUTURES_BASE_URL": server.url, "REDIS_PORT": str(redis.port)}
        began = time.monotonic()
        with Daemon("universe_service", environment=environment) as daemon:
            wait_until(lambda: client.hget(universe.META_KEY, "stale") == b"0", 10, every_s=0.002)
            took_s = time.monotonic() - began
            daemon.end()
        return took_s


def refresh_many(url: str, redis_port: int) -> None:
    """In a process of its own: refresh, and print CPU seconds of one refresh and resident memory in MB."""
    from redis import Redis

    from microservices.contracts.control import BACKOFF_KEY, Mode
    from microservices.exchange import PublicClient, SharedBackoff
    from microservices.runtime import SystemClock
    from microservices.universe_service.service import UNIT, UniverseService
    from microservices.universe_service.settings import Settings

    redis, clock = Redis(port=redis_port, protocol=2), SystemClock()
    backoff = SharedBackoff(redis, BACKOFF_KEY, UNIT)
    client = PublicClient(url, clock=clock, backoff=backoff)
    settings = Settings(universe_mode=Mode.PAPER, binance_futures_base_url=url)
    service = UniverseService(settings, redis, client, backoff=backoff, clock=clock, stop=Event())
    service.prepare()
    service.refresh()
    began = time.process_time()
    for _ in range(REFRESHES):
        service.refresh()
    cpu_s = (time.process_time() - began) / REFRESHES
    resident_kb = int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])
    sys.stdout.write(f"{cpu_s:.4f} {resident_kb / 1024:.1f}\n")


def main() -> None:
    """Measure and print."""
    starts = sorted(seconds_to_first_list() for _ in range(STARTS))
    sys.stdout.write(
        f"start to first list, {START_SYMBOLS} symbols: median {starts[STARTS // 2]:.2f} s, worst {starts[-1]:.2f} s\n"
    )
    body = big_answer()
    with HttpServer() as server, RedisServer() as redis:
        server.say(body)
        child = ["-m", "tests.benchmarks.bench_universe_service", "--child"]
        command = [sys.executable, *child, server.url, str(redis.port)]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600).stdout
    cpu_s, resident_mb = said.split()
    sys.stdout.write(
        f"refresh of {len(body) / 1e6:.2f} MB, {SYMBOLS} perpetuals: {float(cpu_s) * 1000:.1f} ms of CPU\n"
    )
    sys.stdout.write(f"resident memory after {REFRESHES} refreshes: {resident_mb} MB\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        refresh_many(sys.argv[2], int(sys.argv[3]))
    else:
        main()
