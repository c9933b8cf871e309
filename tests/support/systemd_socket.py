"""What systemd would hear from a unit."""

import socket
from pathlib import Path
from typing import Self


class SystemdSocket:
    """A notification socket that keeps every message.

    Args:
        directory: where it is made.
    """

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setblocking(False)
        self._messages: list[str] = []

    def messages(self) -> list[str]:
        """Give all that was said so far."""
        while True:
            try:
                self._messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return self._messages

    def status(self) -> str:
        """Give the status line as it is now; empty before the first."""
        said = [message.removeprefix("STATUS=") for message in self.messages() if message.startswith("STATUS=")]
        return said[-1] if said else ""

    def heartbeats(self) -> int:
        """Count how often the watchdog was fed."""
        return self.messages().count("WATCHDOG=1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
