"""The whole suite as real processes, as `make run` starts it, but for the demonstration: tests make the plans.

Used as `with Suite(folder, {"apply-layer": {"APPLY_MAX_POSITIONS": "30"}}) as suite:`; then
`suite.follow(suite.open("XRPUSDT", Side.BUY))` tells the story of a plan.
"""

import itertools
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from redis import Redis
from redis.exceptions import RedisError

from microservices.contracts import account, claim, control, permit, plan, position, result, universe
from microservices.contracts.account import AccountBinding
from microservices.contracts.claim import Claim
from microservices.contracts.control import KillSwitch, Mode
from microservices.contracts.permit import Gate, PermitDocument, PermitEvent
from microservices.contracts.plan import Action, Decision, Side
from microservices.contracts.position import AccountRow, InflightMark, VerdictRow
from microservices.contracts.result import Result
from microservices.contracts.universe import Instrument
from microservices.exchange import ExchangeError, Order, Rejected, SignedClient
from microservices.runtime import Secret, SystemClock, connect
from ops.suite.layout import PUBLISH_INTERVAL_S, Layout, Process, make_layout, processes
from ops.suite.reading import SuiteReader
from tests.support import counting
from tests.support.counting import Counts
from tests.support.paper import PaperExchange
from tests.support.redis_place import OwnRedis, RedisPlace
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
LEFT_OUT = "demo-plans"
"""Started by nobody but a test that wants it."""
READY_WITHIN_S = 60.0
ENDED_WITHIN_S = 30.0
FOLLOWED_WITHIN_S = 25.0
LOG_LINES_SHOWN = 40
OPEN_USDT = Decimal(60)
"""What an OPEN is worth where a test does not say: above every minimum but BTCUSDT's, far below the largest allowed."""

Environments = Mapping[str, Mapping[str, str]]


class Added(NamedTuple):
    """One entry of the plans' stream."""

    plan_id: str
    entry_id: str
    symbol: str


class Story(NamedTuple):
    """What became of one entry: everything that every part has said of it."""

    added: Added
    result: Result
    """The only one."""
    events: tuple[PermitEvent, ...]
    """Of this entry, oldest first."""
    verdict: VerdictRow | None
    permit: PermitDocument | None
    """The brain's, where it still stands: a deny does, an allow is consumed."""
    claim: Claim | None
    order: Order | None
    posts: int
    """How many times the exchange was sent an order under this plan's name."""

    @property
    def reasons(self) -> list[str]:
        """What the brain said, event by event."""
        return [event.reason for event in self.events]


class Suite:
    """All processes of one run on ports of their own, ended by their ids.

    Args:
        folder: for everything they write; their output stays in it.
        settings: by process, variables that differ from those of `make run`.
        place: makes the Redis of the run from its layout; by default one without logins.
    """

    def __init__(
        self,
        folder: Path,
        settings: Environments | None = None,
        place: Callable[[Layout], RedisPlace] = OwnRedis,
    ) -> None:
        self._folder = folder
        self.layout = make_layout(folder, None, None)
        """Where everything listens."""
        self._settings = settings or {}
        self.place = place(self.layout)
        started = self.place.processes(processes(self.layout))
        self._processes = {process.name: process for process in started}
        unknown = set(self._settings) - set(self._processes)
        assert not unknown, f"no such process: {unknown}"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._numbers = itertools.count(1)
        self._reckoned_to = "-"
        self._reckoned = Counts(Counter(), Counter(), Counter())
        self.added: list[Added] = []
        """Every entry that was added to the plans' stream, oldest first."""
        self.paper = PaperExchange(key=self.layout.api_key, secret=self.layout.api_secret, port=self.layout.paper_port)
        self.redis: Redis = connect(self.place.settings("reader"), "e2e")
        """Reads."""
        self.strategy: Redis = connect(self.place.settings("strategy"), "e2e-strategy")
        """Adds plans."""
        self.operator: Redis = connect(self.place.settings("operator"), "e2e-operator")
        """Sets the operator's switches."""
        self.exchange = SignedClient(
            self.layout.paper_url,
            Secret(self.layout.api_key),
            Secret(self.layout.api_secret),
            clock=SystemClock(),
        )

    # Processes

    def __enter__(self) -> Self:
        try:
            for name in (each for each in self._processes if each != LEFT_OUT):
                self.start(name)
            wait_until(self._prepared, READY_WITHIN_S, what="Redis and the paper exchange", every_s=0.1)
            self.ready()
        except BaseException:
            print(self.logs())  # noqa: T201 - a fixture that fails is shown with what it printed
            self.end()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.end()

    def start(self, name: str, **settings: str) -> None:
        """Start a process, with variables on top of its own where they are given."""
        process = self._processes[name]
        environment = {**process.environment, **self._settings.get(name, {}), **settings}
        with self._log(process) as log:
            self._running[name] = subprocess.Popen(
                process.command, env=environment, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End a process and wait for its end."""
        running = self._running.pop(name)
        running.send_signal(how)
        running.send_signal(signal.SIGCONT)
        running.wait(ENDED_WITHIN_S)

    def restart(self, name: str, **settings: str) -> None:
        """End a process and start it again with other settings, and wait until the suite is whole again."""
        self.stop(name)
        began = int(self.redis.time()[0])
        self.start(name, **settings)
        wait_until(lambda: self._heartbeat_s(name) > began, READY_WITHIN_S, what=f"{name} to live again", every_s=0.05)

    def pause(self, name: str) -> None:
        """Freeze a process: it answers nothing, and is not gone."""
        self._running[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a process go on after `pause`."""
        self._running[name].send_signal(signal.SIGCONT)

    def ready(self) -> None:
        """Wait until every service gives its sign of life, and the account is adopted."""
        reader = SuiteReader(self.redis, PUBLISH_INTERVAL_S)

        def whole() -> bool:
            for name, running in self._running.items():
                assert running.poll() is None, f"{name} ended with {running.returncode}"
            return bool(self.redis.exists(position.BASELINE_KEY)) and reader.read().ready

        wait_until(whole, READY_WITHIN_S, what="every service to be ready", every_s=0.1)

    def end(self) -> None:
        """End everything: the services are asked to, and Redis, whose data nobody wants any more, is killed last."""
        redis = self._running.pop("redis", None)
        for running in self._running.values():
            running.terminate()
            running.send_signal(signal.SIGCONT)
        for running in self._running.values():
            try:
                running.wait(ENDED_WITHIN_S)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
        self._running.clear()
        if redis is not None:
            redis.kill()
            redis.wait()
        for client in (self.redis, self.strategy, self.operator):
            client.close()
        self.exchange.close()
        self.paper.stop()

    def pid(self, name: str) -> int:
        """Give a process's id; the server's own for Redis."""
        return int(self.redis.info("server")["process_id"]) if name == "redis" else self._running[name].pid

    def has_ended(self) -> dict[str, int]:
        """Give the processes that ended although nobody told them to, with their exit codes."""
        codes = {name: running.poll() for name, running in self._running.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def run_another(self, name: str, log: Path, **settings: str) -> subprocess.Popen[bytes]:
        """Start a process besides, to be ended by the caller: a second one by mistake, or the demonstration."""
        process = self._processes[name]
        environment = {**process.environment, **self._settings.get(name, {}), **settings}
        with log.open("wb") as output:
            return subprocess.Popen(process.command, env=environment, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)

    def log(self, name: str) -> str:
        """Give all that a process has logged, those before a restart too."""
        return (self._folder / "logs" / f"{name}.log").read_text(errors="replace")

    def logs(self) -> str:
        """Give the last lines of every process, for whoever looks into a failure."""
        parts = []
        for path in sorted((self._folder / "logs").glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
            parts.append("\n".join([f"── {path}", *lines]))
        return "\n".join(parts)

    # Plans

    def plan(self, **fields: object) -> Added:
        """Add a plan: what is given, over an id of its own, the time, and EXECUTE; None leaves a field out.

        Bytes are added as they are.
        """
        return self.plan_after([], **fields)

    def plan_after(self, commands: list[tuple[object, ...]], **fields: object) -> Added:
        """Run Redis commands and add a plan in one transaction: nothing can come in between."""
        complete: dict[str, object] = {
            "plan_id": f"e2e-{next(self._numbers)}",
            "decision": Decision.EXECUTE,
            "source": "e2e",
            "timestamp": f"{time.time():.3f}",
            **fields,
        }
        pipeline: Any = self.strategy.pipeline(transaction=True)
        for command in commands:
            pipeline.execute_command(*command)
        raw = {name: value for name, value in complete.items() if isinstance(value, bytes)}
        pipeline.xadd(plan.STREAM, plan.encode(complete) | raw)
        entry_id = pipeline.execute()[-1].decode()
        self.added.append(Added(str(complete["plan_id"] or ""), entry_id, str(complete.get("symbol") or "")))
        return self.added[-1]

    def open(self, symbol: str, side: Side = Side.BUY, *, usdt: Decimal = OPEN_USDT, **fields: object) -> Added:
        """Add an OPEN worth about so many USDT."""
        defaults = {"qty": self.quantity(symbol, usdt)} if "qty" not in fields else {}
        return self.plan(
            symbol=symbol, action=Action.OPEN, side=side, **{"reduceOnly": False, **defaults, **fields}
        )  # fmt: skip

    def exit(self, symbol: str, side: Side, action: Action = Action.FULL_CLOSE_PROPOSED, **fields: object) -> Added:
        """Add an exit; `side` is the order's."""
        return self.plan(symbol=symbol, action=action, side=side, **{"reduceOnly": True, **fields})

    def quantity(self, symbol: str, usdt: Decimal) -> Decimal:
        """Give the smallest quantity of the symbol's step that is worth at least so many USDT."""
        step = Decimal(self.instrument(symbol).step_size)
        return (usdt / self.paper.mark(symbol) // step + 1) * step

    def instrument(self, symbol: str) -> Instrument:
        """Give a symbol's rules as the universe service published them."""
        return universe.decode_instrument(self.redis.hget(universe.INSTRUMENTS_KEY, symbol), symbol)

    # What became of them

    def follow(self, added: Added, *, timeout_s: float = FOLLOWED_WITHIN_S, by_brain: bool = True) -> Story:
        """Wait until an entry has its result, the brain's answer and its count, and tell its story.

        Args:
            added: the entry.
            timeout_s: how long to wait for the result.
            by_brain: wait for the brain to have answered too.

        Raises:
            AssertionError: something did not come, came twice, or was not counted exactly once.
        """
        wait_until(lambda: self.results(added), timeout_s, what=f"the result of {added}")
        if by_brain:
            wait_until(lambda: self._is_answered(added), timeout_s, what=f"the brain's answer to {added}")
        self.reckon()
        (only,) = self.results(added)
        return Story(
            added,
            only,
            self.events(added),
            position.decode_verdict(self._hash(position.verdict_key(added.plan_id)), added.plan_id),
            self.permit(added),
            claim.decode(self._hash(claim.key(added.plan_id)), added.plan_id),
            self.order(added),
            len(self.posts(added)),
        )

    def results(self, added: Added | None = None) -> list[Result]:
        """List the results of one entry, or all, oldest first."""
        every = [result.decode(fields, result.STREAM) for _, fields in self._stream(result.STREAM)]
        return [one for one in every if added is None or one.plan_entry_id == added.entry_id]

    def events(self, added: Added) -> tuple[PermitEvent, ...]:
        """List the permit events of one entry, oldest first."""
        return tuple(event for event in self.permit_events() if event.plan_entry_id == added.entry_id)

    def permit_events(self) -> list[PermitEvent]:
        """List all permit events, those of no plan too, oldest first."""
        return [permit.decode_event(fields, permit.EVENTS) for _, fields in self._stream(permit.EVENTS)]

    def permit(self, added: Added) -> PermitDocument | None:
        """Give the brain's permit of a plan as it stands."""
        key = permit.key(Gate.P33, added.plan_id)
        raw = self.redis.get(key)
        return None if raw is None else permit.decode(raw, key)

    def order(self, added: Added) -> Order | None:
        """Give the order under a plan's name, as the exchange knows it; None where it knows none."""
        try:
            return self.exchange.query_order(added.symbol, claim.client_order_id(added.plan_id))
        except Rejected:
            return None

    def posts(self, added: Added | None = None) -> list[str]:
        """List the client order ids of the orders that were sent, those of the tests' own hand left out."""
        sent = self.paper.requests(method="POST", path="/fapi/v1/order")
        names = [str(request["parameters"].get("newClientOrderId", "")) for request in sent]
        wanted = None if added is None else claim.client_order_id(added.plan_id)
        return [name for name in names if name and wanted in (None, name)]

    def reckon(self) -> None:
        """Wait until what was counted since the last reckoning is what the new results say, each exactly once."""

        def agrees() -> bool:
            new = self._stream(result.STREAM, self._reckoned_to)
            expected, counted = _counts(new), counting.counted(self.redis)
            if _grown(self._reckoned, counted) != expected:
                return False
            if new:
                self._reckoned, self._reckoned_to = counted, f"({new[-1][0]}"
            return True

        wait_until(agrees, 30, what="decision intelligence to count every result once", every_s=0.05)

    # What tests change

    def fault(self, *faults: dict[str, Any]) -> None:
        """Make something go wrong at the exchange."""
        self.paper.fault(*faults)

    def command(self, *words: str) -> None:
        """Send a Redis command as an operator would."""
        self.operator.execute_command(*words)  # type: ignore[no-untyped-call] # redis-py leaves it open

    def set_kill_switch(self, value: str) -> None:
        """Set the kill switch as an operator would."""
        self.operator.set(control.KILL_SWITCH_KEY, value)

    def hold_orders(self, seconds: float) -> None:
        """Say that the exchange has banned us for a while: permits are given, and no order is sent."""
        now_s, _ = self.redis.time()
        self.operator.hset(control.BACKOFF_KEY, "banned_until_ms", str(int((now_s + seconds) * 1000)))

    def let_orders_go(self) -> None:
        """End what `hold_orders` began."""
        self.redis.delete(control.BACKOFF_KEY)

    # What stands

    def ledger(self, symbol: str) -> Decimal:
        """Give what our own fills add up to."""
        row = position.decode_ledger(self._hash(position.ledger_key(symbol)), symbol)
        return Decimal(0) if row is None else row.position_amt

    def positions(self) -> dict[str, Decimal]:
        """Give the exchange's positions that are not flat."""
        rows = self.exchange.position_risk()
        return {row.symbol: row.position_amt for row in rows if not row.position_amt.is_zero()}

    def ledgers(self) -> dict[str, Decimal]:
        """Give our ledger's positions that are not flat."""
        prefix = position.ledger_key("")
        symbols = (key.decode().removeprefix(prefix) for key in self.redis.scan_iter(f"{prefix}*"))
        amounts = {symbol: self.ledger(symbol) for symbol in symbols}
        return {symbol: amount for symbol, amount in amounts.items() if not amount.is_zero()}

    def account(self) -> AccountRow:
        """Give what the brain says of the account."""
        row = position.decode_account(self._hash(position.ACCOUNT_KEY))
        assert row is not None
        return row

    def wait_for_snapshot(self) -> None:
        """Wait until the brain has an answer about the account that it asked for after this moment."""
        seconds, microseconds = self.redis.time()
        now_ms = seconds * 1000 + microseconds / 1000
        wait_until(lambda: self.account().ts_ms > now_ms, 20, what="a newer snapshot")

    def settle(self, symbol: str) -> None:
        """Wait until the account is known as it is 2 s after the symbol's last execution: then it can be judged."""
        row = position.decode_ledger(self._hash(position.ledger_key(symbol)), symbol)
        settled_ms = 0 if row is None else row.last_exec_ts_ms + 2_000
        wait_until(lambda: self.account().ts_ms >= settled_ms, 20, what=f"a snapshot 2 s after {symbol} was executed")

    def groups(self) -> dict[str, tuple[int, int | None]]:
        """Give what is pending and what is unread, by group of the plans' stream."""
        rows: Any = self.redis.xinfo_groups(plan.STREAM)
        return {row["name"].decode(): (row["pending"], row["lag"]) for row in rows}

    def marks(self) -> dict[str, InflightMark]:
        """Give the in-flight marks, by symbol."""
        prefix = position.inflight_key("")
        symbols = [key.decode().removeprefix(prefix) for key in self.redis.scan_iter(f"{prefix}*")]
        marks = {symbol: position.decode_inflight(self._hash(prefix + symbol), symbol) for symbol in symbols}
        return {symbol: mark for symbol, mark in marks.items() if mark is not None}

    def _prepared(self) -> bool:
        """Bind the Redis to the paper account and open the kill switch, as `make run` does."""
        try:
            mine = AccountBinding(Mode.PAPER, account.host_of(self.layout.paper_url), self.exchange.account_alias())
            account.bind(self.operator, mine)
            self.operator.set(control.KILL_SWITCH_KEY, KillSwitch.OFF.value, nx=True)
        except (RedisError, ExchangeError):
            return False
        return True

    def _is_answered(self, added: Added) -> bool:
        rows: Any = self.redis.xinfo_groups(plan.STREAM)
        delivered = next(row["last-delivered-id"] for row in rows if row["name"] == plan.GROUP_BRAIN.encode())
        if _numbers(delivered.decode()) < _numbers(added.entry_id):
            return False
        return not self.redis.xpending_range(plan.STREAM, plan.GROUP_BRAIN, added.entry_id, added.entry_id, 1)

    def _heartbeat_s(self, name: str) -> int:
        key = {"position-state-brain": position.STATUS_KEY, "apply-layer": claim.STATUS_KEY}[name]
        raw: Any = self.redis.hget(key, "last_ts")
        return int(raw or 0)

    def _hash(self, key: str) -> dict[bytes, bytes]:
        answer: dict[bytes, bytes] = self.redis.hgetall(key)  # type: ignore[assignment]  # bytes here
        return answer

    def _stream(self, key: str, since: str = "-") -> list[tuple[str, dict[bytes, bytes]]]:
        answer: Any = self.redis.xrange(key, since, "+")
        return [(entry_id.decode(), fields) for entry_id, fields in answer]

    def _log(self, process: Process) -> IO[bytes]:
        folder = self._folder / "logs"
        folder.mkdir(exist_ok=True)
        return (folder / f"{process.name}.log").open("ab")


def _counts(entries: list[tuple[str, dict[bytes, bytes]]]) -> Counts:
    """Count results by the schema's own words: decision, error or `none`, and error with the symbol."""
    counts = Counts(Counter(), Counter(), Counter())
    for _, fields in entries:
        one = result.decode(fields, result.STREAM)
        reason = one.error or "none"
        counts.decisions[one.decision.value] += 1
        counts.reasons[reason] += 1
        if one.symbol:
            counts.symbol_reasons[f"{one.symbol}:{reason}"] += 1
    return counts


def _grown(before: Counts, now: Counts) -> Counts:
    """Tell by how much every count has grown."""
    return Counts(*(new - old for old, new in zip(before, now, strict=True)))


def _numbers(entry_id: str) -> tuple[int, ...]:
    return tuple(int(part) for part in entry_id.split("-"))
