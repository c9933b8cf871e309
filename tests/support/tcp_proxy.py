"""A small TCP proxy that does to connections what networks do: swallow replies, cut requests, reset, freeze.

    with TcpProxy(server.port) as proxy:
        client = Redis(port=proxy.port, …)
        proxy.next_request(Fault.SWALLOW_REPLY)      # done by the server, never heard of by the client
        proxy.faults = lambda request: Fault.CUT if rng.random() < 0.01 else Fault.NONE

A request is what arrives in one piece, which for a client that waits for its answers is one command or one pipeline.
"""

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable
from enum import Enum, auto
from typing import Self

_PIECE_BYTES = 1 << 20
_LOOK_S = 0.05
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST, and what is on its way is thrown away."""


class Fault(Enum):
    """What happens to a request."""

    NONE = auto()
    SWALLOW_REPLY = auto()
    """It reaches the server and is done; its reply is thrown away and the connection reset."""
    DROP = auto()
    """It never reaches the server; the connection is reset."""
    CUT = auto()
    """Half of its bytes reach the server, then the connection is reset: of a pipeline some commands are done."""


class TcpProxy:
    """Stand between a client and a server on loopback.

    Args:
        server_port: where the real server listens.
        faults: asked with the bytes of every request what is to happen to it; from several threads.
    """

    def __init__(self, server_port: int, faults: Callable[[bytes], Fault] | None = None) -> None:
        self._server_port = server_port
        self.faults = faults or _no_fault
        self.injected = dict.fromkeys(Fault, 0)
        """How often each fault was done."""
        self._next: list[tuple[bytes, Fault]] = []
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="tcp-proxy", daemon=True)

    def next_request(self, fault: Fault, containing: bytes = b"") -> None:
        """Do this to the next request that contains these bytes, before `faults` is asked again."""
        with self._lock:
            self._next.append((containing, fault))

    def reset_all(self) -> None:
        """Reset every connection there is; new ones are welcome."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.reset()

    def decide(self, request: bytes) -> Fault:
        """Tell what happens to this request, and count it."""
        with self._lock:
            planned = next((pair for pair in self._next if pair[0] in request), None)
            if planned is not None:
                self._next.remove(planned)
        fault = planned[1] if planned else self.faults(request)
        with self._lock:
            self.injected[fault] += 1
        return fault

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(5)
        self._listener.close()
        self.reset_all()

    def _accept(self) -> None:
        while not self._ended.is_set():
            if not select.select([self._listener], [], [], _LOOK_S)[0]:
                continue
            client, _ = self._listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port), timeout=5)
            except OSError:  # the server is away, and so is the proxy
                _close(client)
                continue
            connection = _Connection(client, server, self.decide, self._forget)
            with self._lock:
                self._connections.add(connection)
            connection.start()

    def _forget(self, connection: "_Connection") -> None:
        with self._lock:
            self._connections.discard(connection)


class _Connection:
    """One client's connection and its twin to the server."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        decide: Callable[[bytes], Fault],
        forget: Callable[["_Connection"], None],
    ) -> None:
        self._client = client
        self._server = server
        self._decide = decide
        self._forget = forget
        self._reset = threading.Event()
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        """Carry bytes in a thread of its own."""
        threading.Thread(target=self._run, name="tcp-proxy-connection", daemon=True).start()

    def reset(self) -> None:
        """End it with RST to both sides, from any thread."""
        self._reset.set()

    def _run(self) -> None:
        try:
            while not self._reset.is_set() and self._carry():
                pass
        except OSError:  # one side is gone; the other is told
            pass
        finally:
            _close(self._client)
            _close(self._server)
            self._forget(self)

    def _carry(self) -> bool:
        """Carry what is there; tell whether the connection goes on."""
        readable = select.select([self._client, self._server], [], [], _LOOK_S)[0]
        if self._server in readable:
            reply = self._server.recv(_PIECE_BYTES)
            self._client.sendall(reply)
            if not reply:
                return False
        if self._client in readable:
            request = self._client.recv(_PIECE_BYTES)
            return bool(request) and self._pass_on(request)
        return True

    def _pass_on(self, request: bytes) -> bool:
        fault = self._decide(request)
        if fault is Fault.DROP:
            return False
        self._server.sendall(request[: len(request) // 2] if fault is Fault.CUT else request)
        if fault is Fault.SWALLOW_REPLY:
            self._server.recv(_PIECE_BYTES)
        elif fault is Fault.CUT:  # an orderly end: the server does what it got before it sees that no more will come
            self._server.shutdown(socket.SHUT_WR)
            while self._server.recv(_PIECE_BYTES):
                pass
        return fault is Fault.NONE


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    end.close()


def _no_fault(_request: bytes) -> Fault:
    return Fault.NONE
