"""What a daemon's runner tells apart: a start that is refused, and something that is away and will come back."""

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError


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
    return isinstance(error, RedisConnectionError | RedisTimeoutError)


def is_away(error: BaseException) -> bool:
    """Tell whether this error means that something outside is away, so that waiting is the answer."""
    return is_redis_away(error) or isinstance(error, Away | OSError)


def is_plain(error: BaseException) -> bool:
    """Tell whether this error's one line says everything, so that a traceback would only hide it."""
    return is_away(error) or isinstance(error, RedisError | Refused)


def one_line(error: BaseException) -> str:
    """Describe an error in one line: its class and its text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
