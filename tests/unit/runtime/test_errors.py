"""What is away, what is wrong, and how it is said."""

import errno
import socket

import pytest
from redis import exceptions as redis_errors

from microservices.runtime import Away, LeaseHeld, Refused
from microservices.runtime.errors import is_away, is_plain, is_redis_away, is_wrong_type, one_line

AWAY = [
    redis_errors.ConnectionError("refused"),
    redis_errors.TimeoutError("slow"),
    redis_errors.BusyLoadingError("loading"),
    Away("exchange"),
    LeaseHeld("lease x held by y"),
    ConnectionResetError(),
    TimeoutError(),
    socket.gaierror(-2, "unknown name"),
    OSError(errno.ENETUNREACH, "no network"),
]
WRONG_BUT_PLAIN = [
    redis_errors.AuthenticationError("wrong password"),
    redis_errors.NoPermissionError("NOPERM"),
    redis_errors.OutOfMemoryError("OOM"),
    redis_errors.ReadOnlyError("READONLY"),
    redis_errors.ResponseError("WRONGTYPE"),
    Refused("no"),
]
BUGS = [ValueError("x"), KeyError("k"), OSError(errno.ENOSPC, "disk full"), PermissionError(errno.EACCES, "no")]


@pytest.mark.parametrize("error", AWAY, ids=repr)
def test_what_will_come_back_is_away(error: Exception) -> None:
    """These are waited for, with a warning."""
    assert is_away(error)
    assert is_plain(error)


@pytest.mark.parametrize("error", WRONG_BUT_PLAIN, ids=repr)
def test_what_somebody_must_put_right_is_an_error_of_one_line(error: Exception) -> None:
    """A refusal of Redis says all in its line; waiting is not what ends it."""
    assert not is_away(error)
    assert is_plain(error)


@pytest.mark.parametrize("error", BUGS, ids=repr)
def test_everything_else_wants_a_traceback(error: Exception) -> None:
    """A bug, or a full disk, is shown with the line it came from."""
    assert not is_plain(error)


def test_only_redis_is_waited_for_as_redis() -> None:
    """The exchange's absence is not said to be that of Redis."""
    assert is_redis_away(AWAY[0])
    assert not is_redis_away(Away("exchange"))
    assert not is_redis_away(TimeoutError())


def test_an_error_is_described_in_one_line() -> None:
    """Class and text, white space folded."""
    assert one_line(ValueError("a\n  b")) == "ValueError: a b"
    assert one_line(ValueError()) == "ValueError"


@pytest.mark.parametrize("before", ["", "Command # 1 (GET k) of pipeline caused error: "])
def test_a_key_of_another_type_is_told_from_all_else(before: str) -> None:
    """Alone or in a pipeline; another error that Redis gives is not it."""
    assert is_wrong_type(redis_errors.ResponseError(f"{before}WRONGTYPE Operation against a key"))
    assert not is_wrong_type(redis_errors.OutOfMemoryError(f"{before}OOM command not allowed"))
    assert not is_wrong_type(redis_errors.ConnectionError("WRONGTYPE"))
