"""Faults in any combination, drawn from a seed: what exchange, Redis, operators and crashes do to an executor."""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from microservices.contracts import control, plan
from microservices.contracts.permit import Gate
from tests.support.apply_paper import ORDER_PATH, SOL, Desk
from tests.support.apply_process import Rollback
from tests.support.apply_world import redis_ms
from tests.support.redis_server import RedisServer

TIMEOUT_S = 0.6
"""Deadline of an order in these runs: what hangs for longer is unknown."""

ON_ORDERS: tuple[dict[str, Any], ...] = (
    {"fault": "swallow_reply"},
    {"fault": "accept_late", "seconds": 0.8, "reply": "drop"},
    {"fault": "accept_late", "seconds": 0.4, "reply": "unknown"},
    {"fault": "accept_late", "seconds": 1.0, "reply": "hang"},
    {"fault": "hide_order", "seconds": 1.0},
    {"fault": "expire_partial", "share": 0.5},
    {"fault": "expire_partial", "share": 0.0},
    {"fault": "latency", "seconds": 0.3, "at": "arrival", "method": "POST"},
    {"fault": "latency", "seconds": 1.0, "at": "reply", "method": "POST"},
    {"fault": "drop", "at": "arrival", "method": "POST"},
    {"fault": "drop", "at": "reply", "method": "POST"},
    {"fault": "truncate", "keep": 0.3, "method": "POST"},
    {"fault": "unknown_execution", "executed": True, "method": "POST"},
    {"fault": "unknown_execution", "executed": False, "method": "POST"},
    {"fault": "service_unavailable", "method": "POST"},
    {"fault": "html", "status": 502, "method": "POST"},
    {"fault": "error", "code": -1021, "method": "POST"},
    {"fault": "error", "code": -1007, "method": "POST"},
    {"fault": "status", "status": 429, "retry_after_s": 1, "method": "POST"},
    {"fault": "status", "status": 418, "retry_after_s": 1, "method": "POST"},
    {"fault": "drop", "method": "GET"},
)
SWITCHES = ("full_stop", "no_new_risk", "Off", " off ", "of", "")


class Chaos:
    """Draws what happens next.

    Args:
        seed: the same seed is the same run, as far as threads and clocks let it be.
        server: a Redis that can be killed and rolled back.
        desk: plans, permits, faults.
        kept: a folder for copies of Redis.
    """

    def __init__(self, seed: int, server: RedisServer, desk: Desk, kept: Path) -> None:
        self._random = random.Random(seed)
        self._server = server
        self._desk = desk
        self._kept = kept
        self._before: Rollback | None = None
        self._plan_ids: list[str] = []
        self.done: list[str] = []

    def act(self, process: subprocess.Popen[bytes]) -> None:
        """Do one thing, and let a moment pass or none."""
        usual: list[Callable[[], object]] = [self.exit, self.exit, self.exit, self.open, self.duplicate, self.other]
        rare: list[Callable[[], object]] = [
            self.fault,
            self.fault,
            self.switch,
            self.restart_redis,
            self.copy,
            self.go_back,
        ]
        rare.append(lambda: self.freeze(process))
        chosen = self._random.choice(usual if self._random.random() < 0.65 else rare)
        self.done.append(getattr(chosen, "__name__", "freeze"))
        chosen()
        time.sleep(self._random.choice((0.0, 0.02, 0.1, 0.2)))

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End the executor: killed, or told to, or killed at once with Redis."""
        how = self._random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
        process.send_signal(how)
        self.done.append(how.name)
        if self._random.random() < 0.3:
            self.restart_redis()
        process.wait(20)

    def exit(self) -> None:
        """Add an exit: permitted, for a moment alone, too late, or not at all."""
        self._permit(
            self._desk.world.add(self._new_id(), symbol=SOL), safe_qty=self._random.choice(("1", "0.5", "2.009"))
        )

    def open(self) -> None:
        """Add an open."""
        self._desk.world.show_account()
        entry_id = self._desk.world.add_open(self._new_id(), symbol=SOL, qty="1")
        self._permit(entry_id, safe_qty="1", context={"mark_price": "140"})

    def duplicate(self) -> None:
        """Add a plan under an id that was there before."""
        if self._plan_ids:
            plan_id = self._random.choice(self._plan_ids)
            self._permit(self._desk.world.add(plan_id, symbol=SOL), safe_qty="1")

    def other(self) -> None:
        """Add what needs no permit: a plan that came decided, or none at all."""
        name, value = self._random.choice((("decision", "SKIP"), ("side", "LONG"), ("decision", "BLOCKED")))
        self._desk.world.add(self._new_id(), **{"symbol": SOL, name: value})

    def fault(self) -> None:
        """Have one of the next orders, or the question for one, go wrong."""
        aim = {"times": 1, "after": self._random.choice((0, 0, 1)), "path": ORDER_PATH}
        self._desk.paper.fault(self._random.choice(ON_ORDERS) | aim)

    def switch(self) -> None:
        """Turn the kill switch, and mostly back."""
        self._desk.redis.set(control.KILL_SWITCH_KEY, self._random.choice(SWITCHES))
        time.sleep(0.05)
        if self._random.random() < 0.8:
            self._desk.redis.set(control.KILL_SWITCH_KEY, "off")

    def restart_redis(self) -> None:
        """Crash Redis; what it has answered to is on its disk."""
        self._server.stop(signal.SIGKILL)
        self._server.start()

    def copy(self) -> None:
        """Keep what Redis has now."""
        self._before = Rollback(self._server, self._kept)

    def go_back(self) -> None:
        """Crash Redis and start it with what it had: everything since is forgotten."""
        if self._before is not None:
            self._before.go_back()
            self._before = None

    def freeze(self, process: subprocess.Popen[bytes]) -> None:
        """Stop the executor for a moment, wherever it is."""
        process.send_signal(signal.SIGSTOP)
        time.sleep(self._random.choice((0.05, 0.4)))
        process.send_signal(signal.SIGCONT)

    def calm(self) -> None:
        """Let nothing go wrong any more, and an order that is not there now never be."""
        self._desk.paper.clear_faults()
        self._desk.redis.delete(control.BACKOFF_KEY)
        self._desk.redis.set(control.KILL_SWITCH_KEY, "off")

    def unanswered(self) -> list[str]:
        """List the plan entries that have no result yet."""
        answered = {end.plan_entry_id for end in self._desk.world.results()}
        entries: Any = self._desk.redis.xrange(plan.STREAM)
        return [entry.decode() for entry, _ in entries if entry.decode() not in answered]

    def _new_id(self) -> str:
        self._plan_ids.append(f"chaos-{self._random.getrandbits(64):x}")
        return self._plan_ids[-1]

    def _permit(self, entry_id: str, **fields: Any) -> None:
        how = self._random.random()
        if how < 0.1:
            return
        if how < 0.2:
            fields["expires_at_ms"] = redis_ms(self._desk.redis) + self._random.choice((5, 60, 300))
        elif how < 0.3:
            fields |= {"allow": False, "safe_qty": "0", "reason": "stale_exchange_state"}
        self._desk.world.permit(entry_id, Gate.P33, event=self._random.random() < 0.8, **fields)
