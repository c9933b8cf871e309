"""Which sentinel is believed, and for how long."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from microservices.runtime.redis_sentinel import Address, Sentinels

FIRST, SECOND, THIRD = ("a", 1), ("b", 2), ("c", 3)
OLD, NEW = ("old", 6379), ("new", 6379)


class Known:
    """What each of three sentinels says; an exception is raised."""

    def __init__(self, *says: Address | Exception | None) -> None:
        self._says = dict(zip((FIRST, SECOND, THIRD), says, strict=True))
        self.asked: list[Address] = []

    def __call__(self, address: Address, service: str) -> Address | None:
        assert service == "quantum"
        self.asked.append(address)
        said = self._says[address]
        if isinstance(said, Exception):
            raise said
        return said


def sentinels(known: Known) -> Sentinels:
    return Sentinels([FIRST, SECOND, THIRD], "quantum", known)


def test_the_first_that_answers_is_believed() -> None:
    """One that is away, or knows no such primary, costs the way to the next."""
    known = Known(RedisConnectionError("away"), None, NEW)
    assert sentinels(known).primary() == NEW
    assert known.asked == [FIRST, SECOND, THIRD]


def test_one_that_was_wrong_is_asked_last() -> None:
    """A sentinel that is cut off from the others names the old primary for ever: it must not be believed for ever."""
    asked = sentinels(Known(OLD, NEW, NEW))
    assert asked.primary() == OLD
    asked.distrust()
    assert asked.primary() == NEW


def test_where_nobody_knows_each_is_named() -> None:
    """One line for an operator: who was asked, and what came of it."""
    known = Known(RedisConnectionError("away"), None, TimeoutError())
    with pytest.raises(RedisConnectionError) as told:
        sentinels(known).primary()
    assert str(told.value) == (
        "no sentinel names the primary quantum: a:1 ConnectionError, b:2 knows no quantum, c:3 TimeoutError"
    )
