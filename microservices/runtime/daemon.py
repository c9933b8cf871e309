"""What a service is made of, and how each of its loops is kept going."""

import logging
import math
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from redis import Redis

from microservices.runtime.clock import Clock
from microservices.runtime.errors import Refused, is_away, is_plain, one_line
from microservices.runtime.metrics import LOOP_ERRORS, LOOP_FAILING
from microservices.runtime.pauses import Pauses
from microservices.runtime.settings import CommonSettings

logger = logging.getLogger(__name__)
_thread = threading.local()

S = TypeVar("S", bound=CommonSettings)

OVERDUE_S = 5.0  # how late a loop may come back from a pause before it counts as hung
QUIET_S = 10.0  # the same trouble of a loop that comes and goes is logged at most this often


@dataclass
class Loop:
    """One thing a service does again and again.

    Args:
        name: for logs, metrics and the thread.
        tick: does one iteration and returns the seconds to pause before the next; 0 is at once.
        wake: setting it ends the pause early.
        max_tick_s: an iteration that takes longer, since it began or last called `progress`, counts as hung, and the
            watchdog is no longer fed; so does a loop whose iterations have all ended in a bug for so long: it ticks,
            and gets nowhere.
        shortfall: says in one line what the last iteration left undone although it needs no help of the runner (it
            has its own pace for trying again); empty where it did all. Asked by `--once`, which then exits with 1.
    """

    name: str
    tick: Callable[[], float]
    wake: threading.Event = field(default_factory=threading.Event)
    max_tick_s: float = 25.0
    shortfall: Callable[[], str] = str


class Service(Protocol):
    """What `run` keeps alive."""

    def prepare(self) -> None:
        """Do what must be done once before the loops start; tried again while Redis or the exchange is away.

        Raises:
            Refused: the start is refused; its line is logged, and the process exits with 1.
        """

    def loops(self) -> Sequence[Loop]:
        """Give the loops; asked once, after `prepare`."""

    def status_line(self) -> str:
        """Say in one line how things are, from memory: no I/O, it is asked every few seconds."""

    def close(self) -> None:
        """Let go of what others wait for (a lease); called once after the loops were told to stop."""


@dataclass(frozen=True)
class Context(Generic[S]):
    """What a service is built from."""

    settings: S
    redis: Redis
    clock: Clock
    stop: threading.Event
    build: str


@dataclass(frozen=True)
class Trouble:
    """A loop that fails now: since when, how often, and with what last."""

    error: Exception
    since: float
    count: int


def attempt(call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Call and give the result and None, or None and the error: the one place where every error is caught."""
    try:
        return call(), None
    except Exception as error:  # noqa: BLE001 (the loop's edge: counted, logged and retried by the caller)
        return None, error


def progress() -> None:
    """Say from within an iteration that it gets on: one more of the things that it does one after another is done.

    Never to be called in a loop that waits: it would look like work for ever. Outside a loop's thread it does nothing.
    """
    if (runner := getattr(_thread, "runner", None)) is not None:
        runner.gets_on()


class LoopRunner:
    """Run one loop in a thread of its own until it is told to stop.

    A failed iteration is counted, logged once per change, and tried again after a growing pause.

    Args:
        loop: what to run.
        stop: ends it.
        clock: measures how long it fails or hangs.
        ends: called with what cannot be retried (`Refused`, which a wrong setting is too); the daemon then ends.
        until_success: end after the first iteration that succeeds.
    """

    def __init__(
        self,
        loop: Loop,
        stop: threading.Event,
        clock: Clock,
        ends: Callable[[Exception], None],
        *,
        until_success: bool = False,
    ) -> None:
        self.loop = loop
        self.trouble: Trouble | None = None
        self.done = threading.Event()
        self._stop = stop
        self._clock = clock
        self._ends = ends
        self._until_success = until_success
        self._pauses = Pauses()
        self._busy_since: float | None = None
        self._due_at = clock.monotonic()
        self._announced = set[str]()
        self._logged_at: dict[str, float] = {}
        self._failing = LOOP_FAILING.labels(loop=loop.name)
        self._failing.set(0)
        self.thread = threading.Thread(target=self._run, name=loop.name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._due_at = self._clock.monotonic()
        self.thread.start()

    def is_alive(self) -> bool:
        """Tell whether its thread still runs, or did all it had to do."""
        return self.thread.is_alive() or self.done.is_set()

    def makes_progress(self) -> bool:
        """Tell whether the loop is neither hung in an iteration, nor overdue from a pause, nor stuck in a bug.

        What is away is waited for, and what Redis refuses is for an operator to mend; a bug may be a state in memory
        that a new process does not have.
        """
        if self.done.is_set():
            return True
        now, busy_since, trouble = self._clock.monotonic(), self._busy_since, self.trouble
        if trouble is not None and not is_plain(trouble.error) and now - trouble.since >= self.loop.max_tick_s:
            return False
        if busy_since is not None:
            return now - busy_since < self.loop.max_tick_s
        return now < self._due_at + OVERDUE_S

    def gets_on(self) -> None:
        """Let the time after which an iteration counts as hung begin anew."""
        if self._busy_since is not None:
            self._busy_since = self._clock.monotonic()

    def step(self) -> float:
        """Do one iteration; return the seconds to pause.

        A failed one is counted and logged here, and its pause grows from one to the next.
        """
        self._busy_since = self._clock.monotonic()
        _thread.runner = self
        pause_s, error = attempt(self.loop.tick)
        now = self._clock.monotonic()
        if error is not None:
            pause_s = self._failed(error, now)
        else:
            self._succeeded(now)
        self._due_at = now + max(0.0, pause_s)
        self._busy_since = None
        return max(0.0, float(pause_s))

    def _run(self) -> None:
        while not self._stop.is_set():
            self.loop.wake.clear()
            if self._stop.is_set():  # told to stop between the question above and the clearing of its wake-up
                break
            pause_s = self.step()
            if self.trouble is None and self._until_success:
                break
            if pause_s > 0 and not self._stop.is_set():
                # While it fails nothing but the end cuts the pause short: a busy stream would else hammer.
                (self.loop.wake if self.trouble is None else self._stop).wait(pause_s)
        self.done.set()

    def _failed(self, error: Exception, now: float) -> float:
        if isinstance(error, Refused):
            self._ends(error)
        LOOP_ERRORS.labels(loop=self.loop.name, error=type(error).__name__).inc()
        self._failing.set(1)
        old = self.trouble
        self.trouble = Trouble(error, old.since if old else now, old.count + 1 if old else 1)
        self._announce(error, now)
        return self._pauses.next()

    def _announce(self, error: Exception, now: float) -> None:
        """Log each kind of error once per trouble, and not again so soon after the trouble before."""
        kind = kind_of(error)
        if kind in self._announced or now - self._logged_at.get(kind, -math.inf) < QUIET_S:
            return
        self._announced.add(kind)
        self._logged_at = {known: at for known, at in self._logged_at.items() if now - at < QUIET_S} | {kind: now}
        if not isinstance(error, Refused):
            log_error(f"{self.loop.name}: ", error, "trying again")

    def _succeeded(self, now: float) -> None:
        trouble, self.trouble = self.trouble, None
        if trouble is None:
            return
        self._failing.set(0)
        self._pauses.reset()
        if self._announced:
            logger.info(
                "%s: going on after %.1f s and %d failed attempt%s (%s)",
                self.loop.name,
                now - trouble.since,
                trouble.count,
                "" if trouble.count == 1 else "s",
                type(trouble.error).__name__,
            )
        self._announced.clear()


def kind_of(error: Exception) -> str:
    """Tell one trouble from another: by its class, and for a bug by the line that raised it."""
    if is_plain(error):
        return type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} {frames[-1].filename}:{frames[-1].lineno}" if frames else type(error).__name__


def log_error(prefix: str, error: Exception, consequence: str) -> None:
    """Log an error in the way its kind asks for: away is a warning, a refusal of Redis an error, a bug a traceback."""
    if is_away(error):
        logger.warning("%s%s; %s", prefix, one_line(error), consequence)
    elif is_plain(error):
        logger.error("%s%s; %s", prefix, one_line(error), consequence)
    else:
        logger.error("%s%s; %s", prefix, one_line(error), consequence, exc_info=error)
