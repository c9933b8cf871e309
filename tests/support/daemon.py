"""A daemon of ours as its own process, with nothing of this process's environment, ended by its id."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Self

ROOT = Path(__file__).parents[2]


class Daemon:
    """Run `microservices.<package>.main` in an environment that holds only what is given.

    Args:
        package: the service's folder.
        arguments: after the program's name.
        environment: the settings; PATH is added.
        as_file: run main.py by its path instead of by its module's name, from a folder elsewhere.
        root: where the code is.
    """

    def __init__(
        self,
        package: str,
        *arguments: str,
        environment: dict[str, str],
        as_file: bool = False,
        root: Path = ROOT,
    ) -> None:
        how = (
            [str(root / "microservices" / package / "main.py")] if as_file else ["-m", f"microservices.{package}.main"]
        )
        self._command = [sys.executable, *how, *arguments]
        self._environment = {"PATH": os.environ["PATH"]} | environment
        self._directory = Path("/") if as_file else root
        self._log: IO[str] | None = None
        self._process: subprocess.Popen[str] | None = None

    def run(self, timeout_s: float = 20.0) -> subprocess.CompletedProcess[str]:
        """Run it to its end, as for `--once`."""
        return subprocess.run(
            self._command,
            env=self._environment,
            cwd=self._directory,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            self._command, env=self._environment, cwd=self._directory, stderr=self._log, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        if self._log is not None:
            self._log.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        assert self._process is not None
        return self._process.poll() is None

    def log(self) -> str:
        """Give what it has logged so far."""
        assert self._log is not None
        # A file description of its own: reading must not move the place at which the daemon writes.
        return Path(f"/proc/self/fd/{self._log.fileno()}").read_text()

    def end(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send it a signal and wait; give its exit code and the seconds that took."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(how)
        code = self._process.wait(20)
        return code, time.monotonic() - began

    def wait(self, timeout_s: float = 20.0) -> int:
        """Wait for an end of its own."""
        assert self._process is not None
        return self._process.wait(timeout_s)
