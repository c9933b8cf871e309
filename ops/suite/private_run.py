"""A few of the suite's processes for a verification, on ports and in a folder of their own; no live Redis is met."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from microservices.runtime import CommonSettings, connect
from ops.suite.layout import Layout, make_layout, processes

ROOT = Path(__file__).parents[2]
ENDS_WITHIN_S = 5.0
POLL_S = 0.05


class NotInTime(Exception):
    """What was waited for did not come; the message says what."""


class PrivateRun:
    """Start, stop and end processes of the suite by their names.

    Args:
        names: which are started at once; Redis is always among them.
    """

    def __init__(self, *names: str) -> None:
        self._names = ("redis", *names)
        self._folder = Path(tempfile.mkdtemp(prefix="quantum-verify-"))
        self.layout: Layout = make_layout(self._folder, None, None)
        self._processes = {process.name: process for process in processes(self.layout)}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._before: Any = None
        self.redis: Redis = connect(CommonSettings(redis_port=self.layout.redis_port), "quantum-verify")

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, _leave)
        try:
            for name in self._names:
                self.start(name)
            self.wait_for(self._redis_answers, 20.0, "the private Redis")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._end()

    def start(self, name: str, settings: Mapping[str, str] | None = None) -> None:
        """Start a process, with variables beside its own where they are given; what it prints goes into its log."""
        process = self._processes[name]
        environment = {**process.environment, **(settings or {})}
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                process.command, env=environment, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def stop(self, name: str) -> int | None:
        """Ask a process to end; give its exit code, or None where it had to be killed."""
        running = self._running.pop(name)
        running.terminate()
        try:
            return running.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            return None

    def has_ended(self, name: str) -> bool:
        """Whether a process has ended by itself."""
        return self._running[name].poll() is not None

    def log(self, name: str) -> str:
        """Give all that a process has printed."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def wait_for(self, is_so: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait until something is so.

        Raises:
            NotInTime: it is not within that time, or a process has ended meanwhile.
        """
        deadline_s = time.monotonic() + timeout_s
        while not is_so():
            ended = [name for name in self._running if self.has_ended(name)]
            if ended or time.monotonic() > deadline_s:
                why = f"{ended[0]} has ended" if ended else f"not within {timeout_s:g} s"
                raise NotInTime(f"waited for {what}: {why}")
            time.sleep(POLL_S)

    def _redis_answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except RedisError:
            return False

    def _end(self) -> None:
        """End all of them, Redis last: the services give up their leases first."""
        signal.signal(signal.SIGTERM, self._before)
        self.redis.close()
        for name in reversed(list(self._running)):
            self.stop(name)
        shutil.rmtree(self._folder, ignore_errors=True)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(1)
