"""What happens beside the processes: bind the account, show the board, and at the end prove and judge."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.live import Live

from microservices.contracts import account, control
from microservices.contracts.account import AccountBinding
from microservices.contracts.control import Mode
from microservices.exchange import ExchangeError, SignedClient
from microservices.runtime import CommonSettings, Secret, SystemClock, connect
from ops.suite.board import render
from ops.suite.layout import PUBLISH_INTERVAL_S, Layout
from ops.suite.proofs import prove
from ops.suite.reading import SuiteReader, SuiteView
from ops.suite.supervisor import Supervisor
from ops.suite.verdict import Check, counted_once, followed

POLL_S = 0.2
LIVE_EVERY_S = 1.0
PRINT_EVERY_S = 10.0
READY_WITHIN_S = 45.0


class Conductor:
    """Watch one run from its first answer to its verdict, in a thread beside the supervisor.

    Args:
        layout: where everything listens.
        console: where the board goes: live on a terminal, as text elsewhere.
        supervisor: runs the processes; says when they are ending.
        run_for_s: after how long to judge and end; None to watch until stopped.
    """

    def __init__(self, layout: Layout, console: Console, supervisor: Supervisor, run_for_s: float | None) -> None:
        self._layout = layout
        self._console = console
        self._supervisor = supervisor
        self._run_for_s = run_for_s
        self._stopped = supervisor.ending
        self._started = time.monotonic()
        self._first_state_s: float | None = None
        self.fault = ""
        """What was not as it must be; empty while nothing was."""

    def run(self) -> None:
        """Do it all; afterwards `fault` tells how it went. Whatever happens, the processes are ended with it."""
        self.fault = "the watch over the suite broke off"
        try:
            self.fault = self._run()
        finally:
            self._supervisor.end()

    def _run(self) -> str:
        settings = CommonSettings(redis_port=self._layout.redis_port)
        with connect(settings, "quantum-run") as redis:
            exchange = SignedClient(
                self._layout.paper_url,
                Secret(self._layout.api_key),
                Secret(self._layout.api_secret),
                clock=SystemClock(),
            )
            if fault := self._prepare(redis, exchange):
                return fault
            reader = SuiteReader(redis, PUBLISH_INTERVAL_S)
            self._watch(reader)
            return self._judge(redis, exchange, reader) if self._time_is_up() else self._unjudged()

    def _unjudged(self) -> str:
        return "" if self._run_for_s is None else "stopped before its time: nothing was proven"

    def _prepare(self, redis: Redis, exchange: SignedClient) -> str:
        """Bind the Redis to the paper account and open the kill switch, each only where it is absent."""
        deadline = self._started + READY_WITHIN_S
        while not self._stopped.wait(POLL_S):
            try:
                mine = AccountBinding(Mode.PAPER, account.host_of(self._layout.paper_url), exchange.account_alias())
                account.bind(redis, mine)
                redis.set(control.KILL_SWITCH_KEY, control.KillSwitch.OFF.value, nx=True)
            except (RedisError, ExchangeError) as away:
                if time.monotonic() > deadline:
                    return f"Redis or the paper exchange did not answer within {READY_WITHIN_S:.0f} s: {away}"
            else:
                return ""
        return self._unjudged()

    def _watch(self, reader: SuiteReader) -> None:
        every_s = LIVE_EVERY_S if self._console.is_terminal else PRINT_EVERY_S
        with self._screen() as show:
            next_show = time.monotonic() + (0 if self._console.is_terminal else every_s)
            while not self._stopped.wait(POLL_S) and not self._time_is_up():
                try:
                    view = reader.read()
                except RedisError as away:
                    if not self._stopped.is_set():
                        self._console.print(f"Redis is away: {away}")
                    continue
                self._note_first_state(view)
                if time.monotonic() >= next_show:
                    show(view)
                    next_show = time.monotonic() + every_s

    @contextmanager
    def _screen(self) -> Iterator[Callable[[SuiteView], None]]:
        """Give the way to show a view: on the live screen of a terminal, or printed."""
        if not self._console.is_terminal:
            yield lambda view: self._console.print(render(view, self._title()), "")
            return
        with Live(console=self._console, screen=False, auto_refresh=False) as live:
            yield lambda view: live.update(render(view, self._title()), refresh=True)

    def _note_first_state(self, view: SuiteView) -> None:
        if self._first_state_s is None and view.states:
            self._first_state_s = time.monotonic() - self._started
            self._console.print(f"first market state in Redis {self._first_state_s:.1f} s after the start")

    def _time_is_up(self) -> bool:
        return self._run_for_s is not None and time.monotonic() - self._started >= self._run_for_s

    def _title(self) -> str:
        return f"QUANTUM TRADER    {self._age()}    Ctrl-C stops all"

    def _age(self) -> str:
        return f"paper    {time.monotonic() - self._started:.0f} s after start"

    def _judge(self, redis: Redis, exchange: SignedClient, reader: SuiteReader) -> str:
        """Show the last summary, run the proofs, and say point by point what worked."""
        try:
            view = reader.read()
            checks = [*_readiness(view), *followed(redis, exchange), counted_once(redis)]
        except RedisError as away:
            return f"Redis is away at the end: {away}"
        self._console.print(render(view, f"FINAL SUMMARY    {self._age()}"), "")
        for proof, printed in prove(self._layout.proofs_environment):
            checks.append(proof)
            self._console.print(f"$ bash {proof.what}", printed, sep="\n", soft_wrap=True)
        for check in checks:
            self._console.print(str(check), style="" if check.ok else "bold red", soft_wrap=True)
        failed = [check.what for check in checks if not check.ok]
        return f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}" if failed else ""


def _readiness(view: SuiteView) -> list[Check]:
    services = [Check(f"{line.name} ready", ok=line.ready, seen=line.says) for line in view.services]
    return [*services, Check("market state published", ok=bool(view.states), seen=f"{len(view.states)} symbols")]
