"""The main thread of a daemon: waits for signals, watches the loops, talks to systemd, and ends in time."""

import contextlib
import logging
import math
import select
import signal
import socket
import threading
from collections.abc import Iterator

from redis import Redis

from microservices.runtime.clock import Clock
from microservices.runtime.daemon import Loop, LoopRunner, Service, Trouble, attempt, log_error
from microservices.runtime.errors import LeaseHeld, is_redis_away, one_line
from microservices.runtime.notify import Notifier
from microservices.runtime.redis_connection import require_version
from microservices.runtime.settings import EXIT_CODE, SettingError

logger = logging.getLogger(__name__)

LOOK_S = 0.5  # how often the loops are looked at
STATUS_EVERY_S = 2.0
JOIN_S = 1.5  # for all loops together
CLOSE_S = 0.8  # for the service's own last words; with the joins well under the 5 s that systemd gives
HUNG_S = 5.0
"""How long the same loops make no progress before systemd is told: a process that was only not let run catches up."""
LOOP_ENDED = 0  # no signal has this number
END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Run a service until a signal, a refusal or a lost thread ends it.

    Args:
        service: what to run.
        redis: asked for its version before the service prepares; None for a service that does without.
        place: names Redis in status lines.
        stop: set when the end begins.
        clock: measures waits.
        notifier: systemd.
    """

    def __init__(
        self,
        service: Service,
        *,
        redis: Redis | None,
        place: str,
        stop: threading.Event,
        clock: Clock,
        notifier: Notifier,
    ) -> None:
        self._service = service
        self._redis = redis
        self._place = place
        self._stop = stop
        self._clock = clock
        self._notifier = notifier
        self._runners: list[LoopRunner] = []
        self._prepared = threading.Event()
        self._end: Exception | None = None
        self._hung = ""
        self._hung_since = math.inf
        self._threads_before = set(threading.enumerate())
        self._closing = threading.Thread(target=self._close, name="close", daemon=True)
        self._bell, self._bell_end = socket.socketpair()
        self._fed_at = self._told_at = float("-inf")
        self._watchdog_every_s = min(STATUS_EVERY_S, (notifier.watchdog_s or STATUS_EVERY_S * 4) / 4)

    def run(self) -> int:
        """Keep the service going; return the exit code."""
        with ring_on_signals(self._bell_end):
            self._start(Loop("prepare", self._prepare), until_success=True)
            self._notifier.ready()
            while self._all_alive():
                self._tell_systemd()
                if self._rung(min(LOOK_S, self._watchdog_every_s)):
                    break
            return self._leave()

    def stuck(self) -> bool:
        """Tell whether any thread that began since is still there: the interpreter might wait for it.

        It waits for the workers of a pool even where they are daemon threads.
        """
        return any(thread not in self._threads_before for thread in threading.enumerate())

    def status(self) -> str:
        """Say in one line how the daemon is."""
        troubles = [(runner.loop.name, trouble) for runner in self._runners if (trouble := runner.trouble)]
        now = self._clock.monotonic()
        for _, trouble in troubles:
            if is_redis_away(trouble.error):
                return f"waiting for Redis {self._place}, {now - trouble.since:.0f} s"
        said = [_said(name, trouble, now) for name, trouble in troubles]
        if not self._prepared.is_set():
            return "; ".join(said) or "starting"
        line, error = attempt(self._service.status_line)
        return "; ".join([*said, str(line) if error is None else f"status line: {one_line(error)}"])

    def _prepare(self) -> float:
        if self._redis is not None:
            require_version(self._redis)
        self._service.prepare()
        for loop in self._service.loops():
            self._start(loop)
        self._prepared.set()
        self._told_at = float("-inf")  # say so at once
        return 0.0

    def _start(self, loop: Loop, *, until_success: bool = False) -> LoopRunner:
        runner = LoopRunner(loop, self._stop, self._clock, self._ended, until_success=until_success)
        runner.start()
        self._runners.append(runner)  # only now: a runner that has not begun would look like one that died
        return runner

    def _ended(self, error: Exception) -> None:
        """Take note of what a loop cannot go on with, and wake the main thread."""
        self._end = self._end or error
        self._stop.set()
        with contextlib.suppress(OSError):  # closed, or full: the main thread is leaving anyway
            self._bell_end.send(bytes([LOOP_ENDED]))

    def _tell_systemd(self) -> None:
        now = self._clock.monotonic()
        if now - self._fed_at >= self._watchdog_every_s and self._all_progress():
            self._fed_at = now
            self._notifier.watchdog()
        if now - self._told_at >= STATUS_EVERY_S:
            self._told_at = now
            self._notifier.status(self.status())

    def _rung(self, timeout_s: float) -> bool:
        """Wait for a signal that ends the daemon, or for a loop that does."""
        if not select.select([self._bell], [], [], timeout_s)[0]:
            return False
        return any(byte == LOOP_ENDED or byte in END_SIGNALS for byte in self._bell.recv(64))

    def _all_alive(self) -> bool:
        dead = [runner.loop.name for runner in self._runners if not runner.is_alive()]
        if dead and not self._stop.is_set():
            self._end = RuntimeError(f"the thread of {', '.join(dead)} ended by itself")
        return not dead

    def _all_progress(self) -> bool:
        hung = ", ".join(runner.loop.name for runner in self._runners if not runner.makes_progress())
        now = self._clock.monotonic()
        if hung and hung != self._hung:
            logger.error("No progress in %s: the watchdog is no longer fed", hung)
            self._hung_since = now
        self._hung = hung
        if hung and now - self._hung_since >= HUNG_S:
            self._notifier.hung()
            self._hung_since = math.inf  # said once
        return not hung

    def _leave(self) -> int:
        """End the loops and the service within a bounded time."""
        self._stop.set()
        self._notifier.stopping()
        until = self._clock.monotonic() + JOIN_S
        for runner in self._runners:
            runner.loop.wake.set()
        for runner in self._runners:
            runner.thread.join(max(0.0, until - self._clock.monotonic()))
        if late := [runner.loop.name for runner in self._runners if runner.thread.is_alive()]:
            logger.warning("Leaving while %s still waits in a call", ", ".join(late))
        # In a thread of its own: a connection that hangs must not hold up the end.
        self._closing.start()
        self._closing.join(CLOSE_S)
        self._bell.close()
        self._bell_end.close()
        return self._exit_code()

    def _close(self) -> None:
        _, error = attempt(self._service.close)
        if error is not None:
            log_error("close: ", error, "leaving all the same")

    def _exit_code(self) -> int:
        if self._end is None:
            return 0
        logger.error("%s", self._end)
        return EXIT_CODE if isinstance(self._end, SettingError) else 1


@contextlib.contextmanager
def ring_on_signals(bell: socket.socket) -> Iterator[None]:
    """Have SIGTERM and SIGINT write a byte to `bell` while this lasts, and do nothing else.

    The interpreter writes it in the signal's own context, whichever thread it interrupts; an Event set by a Python
    handler could deadlock with the main thread's own wait for it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    bell.setblocking(False)
    old_fd = signal.set_wakeup_fd(bell.fileno(), warn_on_full_buffer=False)
    old_handlers = {number: signal.signal(number, _note_nothing) for number in END_SIGNALS}
    try:
        yield
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_fd)


def _note_nothing(number: int, frame: object) -> None:
    """Leave the signal to the byte that the interpreter writes."""


def _said(name: str, trouble: Trouble, now: float) -> str:
    error = trouble.error
    text = f"waiting for {error}" if isinstance(error, LeaseHeld) else f"{name}: {one_line(error)}"
    return f"{text}, {now - trouble.since:.0f} s"
