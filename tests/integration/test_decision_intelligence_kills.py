"""Three consumer processes that are killed a hundred times over 200,000 results, on a bad network, before a Redis that
crashes and is restarted.

The long run of the same, with ten times more of everything, is `make soak`.
"""

import math
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.support.counting import GROUP, STREAM, add, counted, is_settled, recount, some_results, status
from tests.support.redis_server import RedisServer
from tests.support.scale import scaled
from tests.support.tcp_proxy import Fault, TcpProxy
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
CONSUMERS = 3
KILLS = scaled(100)
RESULTS = 2_000 * KILLS
BURST = 250
RESTARTS = {KILLS // 4: signal.SIGKILL, KILLS // 2: signal.SIGTERM, 3 * KILLS // 4: signal.SIGKILL}
"""After which kill Redis goes down, and how."""
FAULT_SHARE = 0.03
LATEST_KILL_S = 0.15
PATIENCE_S = 60


class Consumers:
    """Processes of the service, each under a name of its own, that go through the proxy."""

    def __init__(self, port: int) -> None:
        self._environment = os.environ | {
            "REDIS_PORT": str(port),
            "P35_METRICS_PORT": "0",
            "P35_BLOCK_MS": "20",
            "P35_BATCH_SIZE": "500",
            "P35_CLAIM_IDLE_MS": "1000",
        }
        self._started_at: dict[int, float] = {}
        self._running = {number: self._start(number) for number in range(CONSUMERS)}

    def holds_something(self, redis: Redis, number: int, within: "Producer") -> bool:
        """Tell whether a consumer has taken messages into its hands since it was started, and not settled them yet.

        Others may have settled all there is: more is asked for until this one gets a share.
        """
        within.wanted += 1
        age_ms = (time.monotonic() - self._started_at[number]) * 1000
        name = f"{socket.gethostname()}-{number}"
        try:
            rows: Any = redis.xpending_range(STREAM, GROUP, "-", "+", 1, name)
        except RedisError:
            return False
        return any(row["time_since_delivered"] < age_ms for row in rows)

    def are_at_work(self, redis: Redis) -> bool:
        """Tell whether every process that runs now has read: none is still starting, and deaf to SIGTERM."""
        idle_ms = {row["name"].decode(): row["idle"] for row in redis.xinfo_consumers(STREAM, GROUP)}
        return all(
            idle_ms.get(f"{socket.gethostname()}-{number}", math.inf) < (time.monotonic() - started) * 1000
            for number, started in self._started_at.items()
        )

    def kill(self, number: int) -> None:
        """Kill one in the middle of whatever it does, and start it anew."""
        self._running[number].kill()
        self._running[number].wait(PATIENCE_S)
        self._running[number] = self._start(number)

    def stop(self) -> list[int]:
        """End all of them in good order; return their exit codes."""
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        return [process.wait(PATIENCE_S) for process in self._running.values()]

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "microservices.decision_intelligence.main"]
        self._started_at[number] = time.monotonic()
        environment = self._environment | {"P35_INSTANCE": f"{number}"}
        return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)


class Producer:
    """Adds bursts of results up to a number that grows; what a crash has taken from the stream it adds anew."""

    def __init__(self, redis: Redis, rng: random.Random) -> None:
        self.wanted = 0
        self._redis = redis
        self._rng = rng
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._enough.set()
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        while not self._enough.wait(0.005):
            try:
                while self._redis.xlen(STREAM) < self.wanted and not self._enough.is_set():
                    add(self._redis, some_results(BURST, self._rng, time.time()))
            except RedisError:
                continue


@pytest.mark.slow
@pytest.mark.soak
def test_every_message_counts_once_through_kills_lost_replies_and_restarts_of_redis() -> None:
    """Bucket totals equal a recount of the stream: no more, no fewer; half of the kills hit a batch in hand."""
    rng = random.Random(7)
    faults = [Fault.SWALLOW_REPLY, Fault.DROP, Fault.CUT]
    with RedisServer(appendonly=True) as server, TcpProxy(server.port) as proxy, server.client() as redis:
        proxy.faults = lambda _request: rng.choice(faults) if rng.random() < FAULT_SHARE else Fault.NONE
        consumers = Consumers(proxy.port)
        with server.client() as producers_own:
            producer = Producer(producers_own, random.Random(8))
            for kill in range(KILLS):
                producer.wanted = RESULTS // KILLS * (kill + 1)
                victim = kill % CONSUMERS
                if kill % 2:
                    hands_full = partial(consumers.holds_something, redis, victim, within=producer)
                    wait_until(hands_full, PATIENCE_S, what=f"a batch in the hands of {victim}", every_s=0.001)
                else:
                    time.sleep(rng.random() * LATEST_KILL_S)  # a random moment is just that
                consumers.kill(victim)
                if kill in RESTARTS:
                    server.stop(RESTARTS[kill])
                    server.start()
            wait_until(lambda: redis.xlen(STREAM) >= RESULTS, PATIENCE_S, what="all to be added")
            producer.stop()
        wait_until(lambda: all(proxy.injected[fault] for fault in faults), PATIENCE_S, what="every fault")
        proxy.faults = lambda _request: Fault.NONE
        wait_until(lambda: is_settled(redis), PATIENCE_S, what="all to be settled")
        wait_until(lambda: consumers.are_at_work(redis), PATIENCE_S, what="all to be at work")
        codes = consumers.stop()
        assert codes == [0] * CONSUMERS
        assert counted(redis) == recount(redis)
        assert status(redis).processed_total == redis.xlen(STREAM) >= RESULTS
        assert status(redis).lost_total == status(redis).dead_letter_total == 0
