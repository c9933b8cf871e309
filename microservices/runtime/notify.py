"""Tell systemd how this process is: readiness, a status line, the watchdog (sd_notify(3)), without its library."""

import logging
import os
import socket
from collections.abc import Mapping

from microservices.runtime.log import printable

logger = logging.getLogger(__name__)

STATUS_LENGTH = 400  # characters; systemctl shows one line, and a datagram is bounded


class Notifier:
    """Send messages to the socket that systemd names; without one, do nothing.

    The socket's queue may be full (a namespace's own holds ten messages) while systemd has other things to do, and
    nothing here waits for it: what must not be lost is owed, and sent before whatever is said next.

    Args:
        environ: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are looked up.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of an abstract socket's name.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        self._status = ""
        self._owed: list[str] = []
        self.watchdog_s = _watchdog_s(environ)

    def ready(self) -> None:
        """Say that the start is over; owed, since without it systemd ends the unit when its time to start is up."""
        self._owe("READY=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._owe("STOPPING=1")

    def watchdog(self) -> None:
        """Say that every loop makes progress."""
        self._pay()
        self._send("WATCHDOG=1")

    def hung(self) -> None:
        """Say that a loop makes no progress: systemd does at once what it would do when the watchdog's time is up."""
        if self.watchdog_s is not None:
            self._owe("WATCHDOG=trigger")

    def status(self, line: str) -> None:
        """Show one human line in `systemctl status`; a line that systemd has already is not sent again."""
        self._pay()
        line = printable(line)[:STATUS_LENGTH]
        if line != self._status and self._send(f"STATUS={line}"):
            self._status = line

    def close(self) -> None:
        """Close the socket; later messages go nowhere."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _owe(self, message: str) -> None:
        self._owed.append(message)
        self._pay()

    def _pay(self) -> None:
        """Send what is owed, in order, as far as systemd takes it."""
        while self._owed and self._send(self._owed[0]):
            self._owed.pop(0)

    def _send(self, message: str) -> bool:
        """Hand systemd a message; False where it was not taken."""
        if self._socket is None:
            return True
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:  # its queue is full, or it starts anew itself; the daemon must not stop for it
            logger.debug("systemd was not notified: %s", error)
            return False
        return True


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """Give the watchdog's time in seconds, None where it is off or meant for another process."""
    text = environ.get("WATCHDOG_USEC", "")
    if not text.isdecimal() or int(text) == 0:
        return None
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 1e6
