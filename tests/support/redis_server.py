"""A real redis-server of the test's own, on a free port of loopback, ended by its process id."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from tests.support.ports import free_port
from tests.support.waiting import wait_until

ENDED_WITHIN_S = 30.0


class RedisServer:
    """Start, stop, kill and restart one server on one port; its data survives a restart where `appendonly` is set.

    Args:
        appendonly: keep what is written in a file.
        options: further words of redis-server's command line.
        login: user and password of the clients made here, where the server asks for one.
        port: where it listens; a free one by default.
    """

    def __init__(
        self,
        *,
        appendonly: bool = False,
        options: Sequence[str] = (),
        login: tuple[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.port = port or free_port()
        self._options = options
        self._login = login or (None, None)
        self.directory = Path(tempfile.mkdtemp(prefix="quantum-test-redis-"))
        self._appendonly = appendonly
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Redis:
        """Make a client whose answers are bytes and which never sends a command twice."""
        user, password = self._login
        retry = Retry(NoBackoff(), 0)
        return Redis(port=self.port, username=user, password=password, protocol=2, socket_timeout=10, retry=retry)

    def start(self) -> Self:
        """Start it and wait until it answers."""
        appendonly = "yes" if self._appendonly else "no"
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", appendonly]
        self._process = subprocess.Popen(
            [
                *["redis-server", *arguments, "--dir", str(self.directory), "--logfile", str(self.directory / "log")],
                *self._options,
            ]
        )
        try:
            with self.client() as client:
                wait_until(lambda: self._is_up(client), 20, what="redis-server to answer")
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, by default cleanly; SIGKILL is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(ENDED_WITHIN_S)
            self._process = None

    def _is_up(self, client: Redis) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"redis-server ended with {self._process.returncode}"
        return _answers(client)

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.directory)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisConnectionError:
        return False
