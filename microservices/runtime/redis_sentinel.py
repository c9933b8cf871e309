"""Where the primary is: asked of its sentinels at every connection, believed only if the server itself says so."""

import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

ASKED_WITHIN_S = 1.0
"""One sentinel's time; the next is asked after that. A failover takes a few seconds, and nothing is permitted then."""
PRIMARY = b"master"

Address = tuple[str, int]


class Sentinels:
    """Those who watch one primary, the one to ask first in front; shared by the connections of a pool.

    Args:
        addresses: host and port of each.
        service: the name under which they watch the primary.
        ask: asks one of them; None where it knows no such primary.
    """

    def __init__(
        self, addresses: Sequence[Address], service: str, ask: Callable[[Address, str], Address | None] | None = None
    ) -> None:
        self.service = service
        self._addresses = deque(addresses)
        self._ask = ask or _asked

    def primary(self) -> Address:
        """Ask in turn where the primary is; the first that says so is believed.

        Raises:
            redis.exceptions.ConnectionError: none says.
        """
        said = []
        for address in tuple(self._addresses):
            place = f"{address[0]}:{address[1]}"
            try:
                found = self._ask(address, self.service)
            except (RedisError, OSError) as error:
                said.append(f"{place} {type(error).__name__}")
                continue
            if found is not None:
                return found
            said.append(f"{place} knows no {self.service}")
        raise RedisConnectionError(f"no sentinel names the primary {self.service}: {', '.join(said)}")

    def distrust(self) -> None:
        """Begin with another next time: one that is cut off from the others would name the old primary for ever."""
        self._addresses.rotate(-1)


class PrimaryConnection(Connection):
    """A connection to whichever server is the primary when it is made.

    A server that stops being it is told by its sentinels to close its clients' connections, and refuses writes: either
    way the next command connects anew.

    Args:
        sentinels: who knows the primary.
        options: as for any connection, without host and port.
    """

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:  # noqa: ANN401 (the library's own)
        super().__init__(host="", port=0, redis_connect_func=require_primary, **options)  # type: ignore[no-untyped-call] # redis-py leaves it open
        self.sentinels = sentinels

    def _connect(self) -> socket.socket:
        self.host, self.port = self.sentinels.primary()
        try:
            connected: socket.socket = super()._connect()  # type: ignore[no-untyped-call] # redis-py leaves it open
        except OSError:
            self.sentinels.distrust()
            raise
        return connected


def require_primary(connection: PrimaryConnection) -> None:
    """Log in, and hold that the server is the primary in its own eyes: a sentinel may not know yet that it is none.

    Raises:
        redis.exceptions.ConnectionError: it is a replica.
    """
    connection.on_connect()  # type: ignore[no-untyped-call] # redis-py leaves it open
    connection.send_command("ROLE", check_health=False)  # type: ignore[no-untyped-call] # redis-py leaves it open
    role: Any = connection.read_response()
    if role[0] != PRIMARY:
        connection.sentinels.distrust()
        raise RedisConnectionError("the server that the sentinels name is not the primary (yet)")


def _asked(address: Address, service: str) -> Address | None:
    host, port = address
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
