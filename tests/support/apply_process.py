"""The apply layer as a process of its own, also one that kills itself after a step; and a Redis to roll back."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.apply_paper import Desk
from tests.support.daemon import ROOT
from tests.support.redis_server import RedisServer

OUTPUT = "output"


def environment(server: RedisServer, desk: Desk, directory: Path) -> dict[str, str]:
    """Give the variables of an apply layer over this Redis and exchange; p33 is its only gate."""
    return desk.paper.environment() | {
        "PATH": os.environ["PATH"], "REDIS_PORT": str(server.port), "STATE_DIRECTORY": str(directory),
        "APPLY_MODE": "paper", "APPLY_GATES_OPEN": "p33", "APPLY_METRICS_PORT": "0",
    }  # fmt: skip


@contextmanager
def process(
    server: RedisServer,
    desk: Desk,
    *crasher: str,
    directory: Path | None = None,
    variables: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run it while this lasts.

    Args:
        server: its Redis.
        desk: its account and exchange.
        crasher: arguments of `tests.support.apply_crasher`, which runs in its place where there are any.
        directory: its state directory, the desk's by default; its output goes there.
        variables: settings that differ.
    """
    own = directory or desk.directory
    own.mkdir(exist_ok=True)
    module = "tests.support.apply_crasher" if crasher else "microservices.apply_layer.main"
    command = [sys.executable, "-m", module, *crasher]
    with (own / OUTPUT).open("ab") as output:
        running = subprocess.Popen(
            command, cwd=ROOT, env=environment(server, desk, own) | (variables or {}), stderr=output, stdout=output
        )
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()
            running.wait(10)


class Rollback:
    """A copy of what a Redis has on its disk, to go back to.

    Args:
        server: keeps its data on the disk; what it answered to is in its file.
        kept: where the copy is.
    """

    def __init__(self, server: RedisServer, kept: Path) -> None:
        self._server = server
        self._kept = kept
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self._files, kept)

    @property
    def _files(self) -> Path:
        return self._server.directory / "appendonlydir"

    def go_back(self) -> None:
        """Crash the server, and start it again with what it had."""
        self._server.stop(signal.SIGKILL)
        shutil.rmtree(self._files)
        shutil.copytree(self._kept, self._files)
        self._server.start()


def roll_back(server: RedisServer, kept: Path, between: Callable[[], None]) -> None:
    """Let things happen, then crash Redis and start it again with what was on its disk before."""
    before = Rollback(server, kept)
    between()
    before.go_back()
