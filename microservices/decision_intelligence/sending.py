"""Send scripts' calls as they are made, and read the answers when all are on their way."""

from collections.abc import Iterable
from typing import Any

import hiredis
from redis import Redis
from redis.exceptions import ResponseError

from microservices.decision_intelligence.batch import Call
from microservices.runtime import LuaScript


def send_as_made(redis: Redis, script: LuaScript, calls: Iterable[Call]) -> list[Any]:
    """Send each call by the script's digest as soon as it is made; Redis works on one while the next is being made.

    A pipeline of the library sends nothing before all of it is made, and looks at every argument once more: that costs
    a tenth of the rate (measured).

    Args:
        redis: whose pool lends the connection.
        script: known to the server; each call must bear being sent twice.
        calls: few, with small answers: nothing is read before all are sent.

    Returns:
        The answers in the order of the calls.

    Raises:
        ResponseError: the first of the calls' errors; the other calls were done all the same.
        RedisError: the connection failed; nobody knows what was done.
    """
    connection: Any = redis.connection_pool.get_connection()
    answers = None
    try:
        sent = 0
        for keys, args in calls:
            command: Any = ("EVALSHA", script.sha, len(keys), *keys, *args)
            # An idle connection is asked whether it lives before the first call; later the question would disturb.
            connection.send_packed_command([hiredis.pack_command(command)], check_health=sent == 0)
            sent += 1
        answers = [_answer(connection) for _ in range(sent)]
    finally:
        if answers is None:
            connection.disconnect()  # answers that nobody read must not be taken for somebody else's
        redis.connection_pool.release(connection)
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise answer
    return answers


def _answer(connection: Any) -> Any:  # noqa: ANN401 - the library leaves connections and answers untyped
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
