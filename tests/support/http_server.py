"""A small HTTP server of the tests' own on loopback, whose answers are raw bytes, so that it can misbehave at will."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from tests.support.ports import free_port

MAX_HEAD_BYTES = 65_536


class Request(NamedTuple):
    """What was asked: method, target with its query as sent, headers by lower-case name, body."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, decoded; a repeated one keeps its first value."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}


Handler = Callable[[Request, socket.socket], None]


def answer(body: bytes, status: int = 200, /, **headers: str) -> bytes:
    """Make a well-formed answer; an underscore in a header's name stands for a dash."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class HttpServer:
    """Answers each request by `handler`, which writes what it likes to the socket; keeps connections alive."""

    def __init__(self, handler: Handler | None = None) -> None:
        self.handler: Handler = handler or (lambda _, connection: connection.sendall(answer(b"{}")))
        self.requests: list[Request] = []
        self.connections = 0
        self.hung_up = 0
        """Connections that this server has ended."""
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def say(self, body: bytes, status: int = 200, /, **headers: str) -> None:
        """From now on give this answer to everything."""
        self.send(answer(body, status, **headers))

    def send(self, raw: bytes, *, then_close: bool = False) -> None:
        """From now on send these bytes to everything, and hang up where asked."""

        def handler(_: Request, connection: socket.socket) -> None:
            connection.sendall(raw)
            if then_close:
                connection.shutdown(socket.SHUT_RDWR)

        self.handler = handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for connection in [self._listener, *self._open]:
            _hang_up(connection)
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while request := _read_request(connection):
                self.requests.append(request)
                self.handler(request, connection)
        except OSError:
            pass
        finally:
            _hang_up(connection)
            self.hung_up += 1


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _read_request(connection: socket.socket) -> Request | None:
    head = b""
    while b"\r\n\r\n" not in head:
        received = connection.recv(4_096)
        if not received or len(head) > MAX_HEAD_BYTES:
            return None
        head += received
    head, _, body = head.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        received = connection.recv(65_536)
        if not received:
            return None
        body += received
    return Request(method, target, headers, body)
