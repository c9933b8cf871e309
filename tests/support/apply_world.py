"""What surrounds an apply layer in a test: plans, the permits of gates that are not there, switches, results."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from redis import Redis

from microservices.apply_layer.assembly import UNIT
from microservices.apply_layer.service import ApplyLayer
from microservices.apply_layer.settings import Settings
from microservices.contracts import account, claim, control, hashes, permit, plan, position, result
from microservices.contracts.account import AccountBinding
from microservices.contracts.claim import Claim
from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Action, Plan, Side
from microservices.contracts.position import AccountRow, InflightMark
from microservices.contracts.result import Result
from microservices.exchange import SharedBackoff, SignedClient
from microservices.runtime import SystemClock, load_settings
from microservices.runtime.daemon import LoopRunner
from microservices.runtime.streams import entry_of, newest_entries
from tests.support.paper import PaperExchange
from tests.support.waiting import wait_until

ACCOUNT = "test-account"
BINDING = AccountBinding(Mode.PAPER, "127.0.0.1", ACCOUNT)
SYMBOL = "BTCUSDT"
MARK_PRICE = "50000"
FAR = 60_000


def redis_ms(redis: Redis) -> int:
    """Tell the time by Redis's clock."""
    seconds, microseconds = redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


class World:
    """One account's Redis, as deploy, brain and strategies would leave it.

    Args:
        redis: a client whose answers are bytes.
        binding: whose Redis it is.
    """

    def __init__(self, redis: Redis, binding: AccountBinding = BINDING) -> None:
        self.redis = redis
        self.binding = binding

    def set_up(self) -> None:
        """Bind the account, switch trading on, and show a fresh account without positions."""
        self.redis.hset(account.KEY, mapping=hashes.encode(self.binding))
        self.redis.set(control.KILL_SWITCH_KEY, "off")
        self.show_account()

    def show_account(self, *, open_positions: int = 0, age_ms: int = 0) -> None:
        """Write the brain's account row."""
        row = AccountRow(
            redis_ms(self.redis) - age_ms, self.binding.mode, self.binding.account, True, True, open_positions
        )
        self.redis.hset(position.ACCOUNT_KEY, mapping=hashes.encode(row))

    def add(self, plan_id: str = "", /, **fields: object) -> str:
        """Add a plan, by default an exit of BTCUSDT, and return its entry id; a field that is None is left out."""
        written = {
            "plan_id": plan_id or f"plan-{secrets.token_hex(6)}",
            "symbol": SYMBOL,
            "decision": "EXECUTE",
            "action": Action.FULL_CLOSE_PROPOSED.value,
            "side": Side.SELL.value,
            "source": "test",
            "timestamp": f"{time.time():.3f}",
        } | fields
        entry: Any = self.redis.xadd(plan.STREAM, plan.encode(written))
        return str(entry.decode())

    def add_open(self, plan_id: str = "", *, qty: str = "0.002", **fields: object) -> str:
        """Add an OPEN."""
        opening: dict[str, object] = {"action": "OPEN", "side": "BUY", "reduceOnly": False, "qty": qty}
        return self.add(plan_id, **(opening | fields))

    def plan(self, entry_id: str) -> Plan:
        """Read a plan back as every service does."""
        entry = entry_of(self.redis, plan.STREAM, entry_id)
        assert entry is not None
        return plan.decode(plan.decode_header(entry_id, entry.fields or {}))

    def permit(
        self, entry_id: str, gate: Gate = Gate.P33, /, *, mark: bool = True, event: bool = True, **fields: object
    ) -> dict[str, Any]:
        """Permit a plan as its gate would: permit, mark and event in one; `fields` overrides what the permit says."""
        read = self.plan(entry_id)
        document = self.document(read, gate) | fields
        pipeline = self.redis.pipeline(transaction=True)
        pipeline.set(permit.key(gate, read.plan_id), msgspec.json.encode(document), px=FAR)
        if mark and gate is Gate.P33:
            self.mark(read, pipeline)
        if event:
            self.event(read, gate, document, pipeline)
        pipeline.execute()
        return document

    def document(self, read: Plan, gate: Gate = Gate.P33) -> dict[str, Any]:
        """Give the document of an allow that fits the plan."""
        now_ms = redis_ms(self.redis)
        return {
            "v": permit.VERSION,
            "gate": gate.value,
            "plan_id": read.plan_id,
            "plan_digest": read.digest,
            "symbol": read.symbol,
            "mode": self.binding.mode.value,
            "allow": True,
            "safe_qty": "0.002",
            "side": read.side.value,
            "reason": "allowed",
            "context": {"mark_price": MARK_PRICE},
            "created_at": now_ms / 1000,
            "expires_at_ms": now_ms + FAR,
        }

    def mark(self, read: Plan, pipeline: Any = None) -> None:
        """Mark the plan's symbol as being the plan's."""
        mark = InflightMark(read.plan_id, read.entry_id, read.action)
        (pipeline or self.redis).hset(position.inflight_key(read.symbol), mapping=hashes.encode(mark))

    def event(self, read: Plan, gate: Gate, document: dict[str, Any], pipeline: Any = None) -> None:
        """Add the gate's event."""
        fields: dict[Any, Any] = {
            "gate": gate.value,
            "plan_id": read.plan_id,
            "plan_entry_id": read.entry_id,
            "symbol": read.symbol,
        }
        fields |= {"allow": "true" if document["allow"] is True else "false", "reason": str(document["reason"])}
        (pipeline or self.redis).xadd(permit.EVENTS, fields | {"safe_qty": str(document["safe_qty"]), "context": "{}"})

    def results(self) -> list[Result]:
        """Read all results, oldest first."""
        entries = newest_entries(self.redis, result.STREAM, count=10_000)
        return [result.decode(entry.fields or {}, "result") for entry in reversed(entries)]

    def results_of(self, entry_id: str) -> list[Result]:
        """Read the results of one plan entry."""
        return [end for end in self.results() if end.plan_entry_id == entry_id]

    def await_result(self, entry_id: str, timeout_s: float = 30.0) -> Result:
        """Wait for the first result of a plan entry."""
        return wait_until(lambda: self.results_of(entry_id), timeout_s, what=f"a result of {entry_id}")[0]

    def claim(self, plan_id: str) -> Claim | None:
        """Read a plan's claim."""
        return claim.decode(self.redis.hgetall(claim.key(plan_id)), plan_id)

    def pending(self) -> int:
        """Count the plans that are read and not acked; -1 where the group is not there yet."""
        groups = {group["name"]: group for group in self.redis.xinfo_groups(plan.STREAM)}
        return int(groups.get(plan.GROUP_APPLY.encode(), {"pending": -1})["pending"])

    def assert_settled(self, entries: int) -> None:
        """Assert that every entry has exactly one result, none is pending and no claim is open."""
        answered = [end.plan_entry_id for end in self.results()]
        assert sorted(answered) == sorted(set(answered)), "an entry has two results"
        assert len(answered) == entries
        wait_until(lambda: self.pending() == 0, what="nothing pending")
        assert self.redis.hlen(claim.OPEN_KEY) == 0


def settings_for(paper: PaperExchange, directory: Path, **variables: str) -> Settings:
    """Give the settings of an apply layer in paper mode over a paper exchange, with p33 as the only gate.

    Permits are waited for so long that none is missed however slow the machine is.
    """
    own = {"STATE_DIRECTORY": str(directory), "APPLY_MODE": "paper", "APPLY_GATES_OPEN": "p33"}
    own |= {"APPLY_PERMIT_WAIT_MS": "60000", "APPLY_EXIT_WAIT_MS": "60000"}
    return load_settings(Settings, paper.environment() | own | variables)


class RunningLayer:
    """An apply layer whose loops run in this process, each in its thread, as the daemon would run them."""

    def __init__(self, layer: ApplyLayer, redis: Redis) -> None:
        self.layer = layer
        self._redis = redis
        self.ended_by: list[Exception] = []
        self._stop = threading.Event()
        self._runners: list[LoopRunner] = []

    def start(self) -> None:
        """Prepare, then start the loops."""
        self.layer.prepare()
        for loop in self.layer.loops():
            runner = LoopRunner(loop, self._stop, SystemClock(), self.ended_by.append)
            self._runners.append(runner)
            runner.start()

    def stop(self) -> None:
        """End the loops and let go of the lease."""
        self._stop.set()
        for runner in self._runners:
            runner.loop.wake.set()
        wait_until(self._has_ended, 15, what="the loops to end")
        self.layer.close()

    def _has_ended(self) -> bool:
        """Let go whoever is blocked in a read, so that no test waits for it."""
        for client in self._redis.client_list():
            if "b" in client["flags"]:
                self._redis.client_unblock(int(client["id"]))
        return not any(runner.thread.is_alive() for runner in self._runners)


@contextmanager
def running(redis: Redis, settings: Settings, client: SignedClient | None = None) -> Iterator[RunningLayer]:
    """Run an apply layer while this lasts."""
    clock = SystemClock()
    client = client or client_for(settings, redis)
    backoff = SharedBackoff(redis, control.BACKOFF_KEY, UNIT)
    layer = RunningLayer(ApplyLayer(settings, redis, client, clock=clock, build="test", backoff=backoff), redis)
    try:
        layer.start()
        yield layer
    finally:
        layer.stop()


def client_for(settings: Settings, redis: Redis) -> SignedClient:
    """Make the client that the service would make."""
    return SignedClient(
        settings.base_url,
        settings.binance_api_key,
        settings.binance_api_secret,
        clock=SystemClock(),
        timeout_s=settings.apply_order_timeout_ms / 1000,
        backoff=SharedBackoff(redis, control.BACKOFF_KEY, UNIT),
    )
