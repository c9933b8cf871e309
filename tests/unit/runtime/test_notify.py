"""Messages to systemd: paths, abstract names, and nothing where nobody listens."""

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from microservices.runtime.notify import STATUS_LENGTH, Notifier


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket as systemd makes it, and its name as NOTIFY_SOCKET has it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@quantum-test-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(name if request.param == "path" else "\0" + name[1:])
        end.setblocking(False)
        yield name, end


def received(end: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(end.recv(4096).decode())
        except BlockingIOError:
            return messages


def fill_queue(address: str) -> None:
    """Send until no more is taken, each time from a new socket: one's own buffer may be full before the queue is."""
    with contextlib.suppress(BlockingIOError):
        while True:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
                other.setblocking(False)
                other.sendto(b"other units' own", address)


def test_messages_arrive(listener: tuple[str, socket.socket]) -> None:
    """Readiness, status, watchdog and the end are said in systemd's words; an unchanged status only once."""
    name, end = listener
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.status("566 symbols, 12 s old")
    notifier.status("566 symbols, 12 s old")
    notifier.watchdog()
    notifier.stopping()
    notifier.close()
    notifier.watchdog()
    assert received(end) == ["READY=1", "STATUS=566 symbols, 12 s old", "WATCHDOG=1", "STOPPING=1"]


def test_what_a_full_queue_does_not_take_is_said_again(listener: tuple[str, socket.socket]) -> None:
    """Systemd is at work elsewhere, and its queue is full: readiness and status reach it all the same, in order.

    Lost, they would leave a unit at "starting" until systemd ends it after `TimeoutStartSec=`.
    """
    name, end = listener
    fill_queue("\0" + name[1:] if name.startswith("@") else name)
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000"})
    notifier.ready()
    notifier.status("566 symbols")
    notifier.hung()
    assert set(received(end)) == {"other units' own"}
    notifier.status("566 symbols")
    notifier.close()
    assert received(end) == ["READY=1", "WATCHDOG=trigger", "STATUS=566 symbols"]


def test_a_hung_loop_is_told_at_once_where_a_watchdog_waits(listener: tuple[str, socket.socket]) -> None:
    """Systemd acts then, not only when the watchdog's time is up; without a watchdog nothing is asked of it."""
    name, end = listener
    for watchdog in ({}, {"WATCHDOG_USEC": "30000000"}):
        notifier = Notifier({"NOTIFY_SOCKET": name} | watchdog)
        notifier.hung()
        notifier.close()
    assert received(end) == ["WATCHDOG=trigger"]


def test_a_status_is_one_bounded_line(listener: tuple[str, socket.socket]) -> None:
    """A line break would be another message to systemd."""
    name, end = listener
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.status("a\nMAINPID=1" + "x" * 1000)
    notifier.close()
    (message,) = received(end)
    assert message.startswith("STATUS=a\\nMAINPID=1x")
    assert len(message) == len("STATUS=") + STATUS_LENGTH


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_a_listener_nothing_happens(environ: dict[str, str]) -> None:
    """A daemon outside of systemd runs as well."""
    notifier = Notifier(environ)
    notifier.ready()
    notifier.status("x")
    notifier.close()
    assert notifier.watchdog_s is None


@pytest.mark.parametrize(
    ("usec", "pid", "watchdog_s"),
    [("30000000", str(os.getpid()), 30.0), ("30000000", None, 30.0), ("30000000", "1", None), ("0", None, None)],
    ids=["ours", "anybody's", "another's", "off"],
)
def test_the_watchdog_is_ours_only_where_it_names_us(usec: str, pid: str | None, watchdog_s: float | None) -> None:
    """Another process's watchdog is not fed."""
    environ = {"WATCHDOG_USEC": usec} | ({} if pid is None else {"WATCHDOG_PID": pid})
    assert Notifier(environ).watchdog_s == watchdog_s
