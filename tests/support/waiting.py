"""Wait for a condition instead of sleeping for a guess."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T], timeout_s: float = 20.0, *, what: str | Callable[[], str] = "", every_s: float = 0.01
) -> T:
    """Return the first truthy value of `predicate`, asked every `every_s` seconds.

    Raises:
        AssertionError: none came within `timeout_s`; names `what` was awaited, asked for then if it is a function,
            and the last value.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            name = what() if callable(what) else what
            raise AssertionError(f"waited {timeout_s} s for {name or predicate}; last value: {value!r}")
        time.sleep(every_s)
