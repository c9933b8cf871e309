"""Send scripts' calls as they are made, and read the answers when all are on their way."""

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

import hiredis
from redis import Redis
from redis.exceptions import ResponseError

from microservices.decision_intelligence.batch import Call
from microservices.decision_intelligence.index import Command
from microservices.runtime import LuaScript

logger = logging.getLogger(__name__)


class Sent(NamedTuple):
    """What became of what was sent."""

    noted: bool
    """Whether Redis has done every command that was sent before the calls."""
    answers: list[Any]
    """Of the calls, in their order; a ResponseError where Redis refused one."""

    def results(self) -> list[Any]:
        """Give the answers of the calls.

        Raises:
            ResponseError: the first of them; the other calls were done all the same.
        """
        for answer in self.answers:
            if isinstance(answer, ResponseError):
                raise answer
        return self.answers


def send_as_made(redis: Redis, script: LuaScript, calls: Iterable[Call], before: Iterable[Command] = ()) -> Sent:
    """Send each call by the script's digest as soon as it is made; Redis works on one while the next is being made.

    A pipeline of the library sends nothing before all of it is made, and looks at every argument once more: that costs
    a tenth of the rate (measured).

    Args:
        redis: whose pool lends the connection.
        script: known to the server; each call must bear being sent twice.
        calls: few, with small answers: nothing is read before all are sent.
        before: few commands that are sent first; what Redis has against one of them is logged, and stops nothing.

    Raises:
        RedisError: the connection failed; nobody knows what was done.
    """
    connection: Any = redis.connection_pool.get_connection()
    noted, answers = [], None
    try:
        sent = 0
        for command in before:
            _send(connection, command, is_first=sent == 0)
            sent += 1
        others = sent
        for keys, args in calls:
            _send(connection, ("EVALSHA", script.sha, len(keys), *keys, *args), is_first=sent == 0)
            sent += 1
        noted = [_answer(connection) for _ in range(others)]
        answers = [_answer(connection) for _ in range(sent - others)]
    finally:
        if answers is None:
            connection.disconnect()  # answers that nobody read must not be taken for somebody else's
        redis.connection_pool.release(connection)
    refused = next((answer for answer in noted if isinstance(answer, ResponseError)), None)
    if refused is not None:
        logger.warning("Results are not noted in the index: %s", refused)
    return Sent(refused is None, answers)


def _send(connection: Any, command: Command, *, is_first: bool) -> None:  # noqa: ANN401 - the library leaves it untyped
    """Send one command; an idle connection is asked whether it lives before the first, later that would disturb."""
    words: Any = command  # typed as one of a single word
    connection.send_packed_command([hiredis.pack_command(words)], check_health=is_first)


def _answer(connection: Any) -> Any:  # noqa: ANN401 - the library leaves connections and answers untyped
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
