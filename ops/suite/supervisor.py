"""All processes of the suite under one runner: each with its own log file; when one ends, all end."""

import shlex
import signal
import threading
from pathlib import Path
from typing import IO

import honcho.manager
from honcho.manager import Manager
from honcho.printer import Message, Printer

from ops.suite.layout import Process

KILL_WAIT_S = 3
"""Ctrl-C ends the suite within 5 s; a service has 2 s to end by itself."""
_STOPPED = " stopped (rc="


class Supervisor:
    """Run the processes in the foreground; to be made and run in the main thread, which takes the signals.

    Args:
        processes: what to start; the first to end, ends all.
        logs: the folder for their output.
    """

    def __init__(self, processes: list[Process], logs: Path) -> None:
        honcho.manager.KILL_WAIT = KILL_WAIT_S
        self.ending = threading.Event()
        """Set from the moment the processes are told to end."""
        self._printer = _LogFolder(logs)
        self._manager = _Manager(self._printer, self.ending)
        for process in processes:
            # `exec` makes the shell become the process, so that signals reach it and nothing stays behind.
            command = f"exec {shlex.join(process.command)}"
            self._manager.add_process(process.name, command, env=dict(process.environment))

    def run(self) -> str:
        """Run until `end` is called, a signal comes, or a process ends by itself.

        Returns:
            Which process ended by itself and with what status; empty where none did.
        """
        signal.signal(signal.SIGHUP, lambda *_: self.end())
        self._manager.loop()
        self.ending.set()
        self._printer.close()
        return self._manager.first_to_end

    def end(self) -> None:
        """Stop all processes; `run` returns when they are gone."""
        self._manager.terminate()


class _LogFolder(Printer):  # type: ignore[misc]  # honcho has no types
    """Write each process's lines to a file of its own name, as they come."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._files: dict[str, IO[bytes]] = {}

    def write(self, message: Message) -> None:
        if message.name not in self._files:
            self._files[message.name] = (self._folder / f"{message.name}.log").open("ab", buffering=0)
        data = message.data if isinstance(message.data, bytes) else message.data.encode()
        self._files[message.name].write(data)

    def close(self) -> None:
        for file in self._files.values():
            file.close()


class _Manager(Manager):  # type: ignore[misc]  # honcho has no types
    """honcho's manager, which besides remembers what ended first and says when it begins to end the rest."""

    def __init__(self, printer: Printer, ending: threading.Event) -> None:
        super().__init__(printer)
        self._ending = ending
        self.first_to_end = ""

    def terminate(self) -> None:
        self._ending.set()
        super().terminate()

    def _system_print(self, data: str) -> None:
        if _STOPPED in data and not self._ending.is_set() and not self.first_to_end:
            name, status = data.strip().rstrip(")").split(_STOPPED)
            self.first_to_end = f"{name} ended by itself with status {status}"
        super()._system_print(data)
