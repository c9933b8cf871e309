"""A command whose answer is fetched later: Redis works on it while the caller works on something else."""

from typing import Any

from redis import Redis
from redis.exceptions import RedisError


class ReadAhead:
    """Send one command now, on a connection of its own; fetch its answer, or give it up.

    Args:
        redis: whose pool lends the connection.
        command: one that does not block.

    Raises:
        RedisError: it could not be sent.
    """

    def __init__(self, redis: Redis, command: tuple[str | int, ...]) -> None:
        self._pool: Any = redis.connection_pool
        self._connection: Any = self._pool.get_connection()
        send: Any = self._connection.send_command
        sent = False
        try:
            send(*command)
            sent = True
        finally:
            if not sent:
                self._let_go(answered=False)

    def answer(self) -> Any:  # noqa: ANN401 - the library leaves answers untyped
        """Wait for the answer, once.

        Raises:
            RedisError: Redis's own error, or the connection failed.
        """
        answered = False
        try:
            answer = self._connection.read_response()
            answered = True
        finally:
            self._let_go(answered=answered)
        return answer

    def give_up(self) -> None:
        """Wait until it was done, and forget what it said; a connection that fails is given up with it."""
        try:
            self.answer()
        except RedisError:
            return

    def _let_go(self, *, answered: bool) -> None:
        if not answered:
            self._connection.disconnect()  # an answer that nobody read must not be taken for somebody else's
        self._pool.release(self._connection)
