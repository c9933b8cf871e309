"""Where the primary is: asked of its sentinels at every connection, believed only if the server itself says so."""

import socket
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

ASKED_WITHIN_S = 1.0
"""One sentinel's time; the next is asked after that. A failover takes a few seconds, and nothing is permitted then."""
PRIMARY = b"master"

Address = tuple[str, int]


class PrimaryConnection(Connection):
    """A connection to whichever server is the primary when it is made.

    A server that stops being it is told by its sentinels to close its clients' connections, and refuses writes: either
    way the next command connects anew.

    Args:
        sentinels: host and port of each; they are asked in turn.
        service: the name under which they watch the primary.
        options: as for any connection, without host and port.
    """

    def __init__(self, *, sentinels: Sequence[Address], service: str, **options: Any) -> None:  # noqa: ANN401 (the library's own)
        super().__init__(host="", port=0, **options)  # type: ignore[no-untyped-call] # redis-py leaves it open
        self._sentinels = tuple(sentinels)
        self._service = service

    def _connect(self) -> socket.socket:
        self.host, self.port = primary_of(self._sentinels, self._service)
        connected: socket.socket = super()._connect()  # type: ignore[no-untyped-call] # redis-py leaves it open
        return connected


def require_primary(connection: AbstractConnection) -> None:
    """Log in, and hold that the server is the primary in its own eyes: a sentinel may not know yet that it is none.

    Raises:
        redis.exceptions.ConnectionError: it is a replica.
    """
    connection.on_connect()  # type: ignore[no-untyped-call] # redis-py leaves it open
    connection.send_command("ROLE", check_health=False)  # type: ignore[no-untyped-call] # redis-py leaves it open
    role: Any = connection.read_response()
    if role[0] != PRIMARY:
        raise RedisConnectionError("the server that the sentinels name is not the primary (yet)")


def primary_of(sentinels: Sequence[Address], service: str) -> Address:
    """Ask sentinels in turn where the primary is; the first that says so is believed.

    Raises:
        redis.exceptions.ConnectionError: none says.
    """
    said = []
    for host, port in sentinels:
        try:
            found = _asked(host, port, service)
        except (RedisError, OSError) as error:
            said.append(f"{host}:{port} {type(error).__name__}")
            continue
        if found is not None:
            return found
        said.append(f"{host}:{port} knows no {service}")
    raise RedisConnectionError(f"no sentinel names the primary {service}: {', '.join(said)}")


def _asked(host: str, port: int, service: str) -> Address | None:
    with Redis(
        host=host,
        port=port,
        protocol=2,
        socket_timeout=ASKED_WITHIN_S,
        socket_connect_timeout=ASKED_WITHIN_S,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
    ) as sentinel:
        answer: Any = sentinel.execute_command("SENTINEL", "get-master-addr-by-name", service)
    return (answer[0].decode(), int(answer[1])) if answer else None
