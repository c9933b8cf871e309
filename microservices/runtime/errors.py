"""What a daemon's runner tells apart: a start that is refused, and something that is away and will come back."""

import errno
import socket
from typing import Final

from redis.exceptions import AuthenticationError, AuthorizationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_NETWORK_ERRORS: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


class Refused(Exception):
    """The daemon must not run like this; its one line says why, and the process exits with 1."""


class Away(Exception):
    """Something this daemon waits for is not there now: logged as one warning, retried, never a traceback.

    Exceptions of other packages that mean the same (an exchange that cannot be reached) derive from it.
    """


class LeaseHeld(Away):
    """Another instance holds the lease; its text says which, so that "waiting for " before it reads well."""


def is_redis_away(error: BaseException) -> bool:
    """Tell whether this error means that Redis cannot be reached, or is still loading its data."""
    # The library counts a wrong password among the connection errors; waiting does not make it right.
    return isinstance(error, RedisConnectionError | RedisTimeoutError) and not isinstance(
        error, AuthenticationError | AuthorizationError
    )


def is_wrong_type(error: BaseException) -> bool:
    """Tell whether somebody put another type of value under the key, so that Redis itself is well."""
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)  # a pipeline puts its own words before


def is_away(error: BaseException) -> bool:
    """Tell whether this error means that something outside is away, so that waiting is the answer.

    Of the system's errors only those of a network are: a full disk or a missing permission wants somebody's hand.
    """
    if isinstance(error, Away | ConnectionError | TimeoutError | socket.gaierror) or is_redis_away(error):
        return True
    return isinstance(error, OSError) and error.errno in _NETWORK_ERRORS


def is_plain(error: BaseException) -> bool:
    """Tell whether this error's one line says everything, so that a traceback would only hide it."""
    return is_away(error) or isinstance(error, RedisError | Refused)


def one_line(error: BaseException) -> str:
    """Describe an error in one line: its class and its text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
