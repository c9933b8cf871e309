"""Find results that are in the stream already: what a lost reply, a crash or a new group must not write twice."""

from collections.abc import Iterator
from typing import NamedTuple

from redis import Redis

from microservices.contracts import result
from microservices.contracts.fields import Unreadable, hash_text
from microservices.runtime import progress
from microservices.runtime.streams import entries_after, entry_of

PAGE = 1_000


class WrittenResult(NamedTuple):
    """A result as it stands in the stream."""

    result_id: str
    fields: dict[str, str]

    @property
    def plan_entry_id(self) -> str:
        """The entry it answers; empty where it does not say."""
        return self.fields.get("plan_entry_id", "")


def results_since(redis: Redis, first_ms: int) -> Iterator[WrittenResult]:
    """Read the results that were written at or after a time on Redis's clock, oldest first.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    after = f"{max(0, first_ms - 1)}-18446744073709551615"
    while entries := entries_after(redis, result.STREAM, after, count=PAGE):
        progress()
        for entry in entries:
            after = entry.id
            if entry.fields is not None and (fields := _readable(entry.fields)) is not None:
                yield WrittenResult(entry.id, fields)


def result_by_id(redis: Redis, result_id: str) -> dict[str, str] | None:
    """Read one result; None where it is not there (any more), or cannot be read.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    entry = entry_of(redis, result.STREAM, result_id)
    return None if entry is None or entry.fields is None else _readable(entry.fields)


def _readable(raw: object) -> dict[str, str] | None:
    try:
        return hash_text(raw, "result")  # type: ignore[arg-type] # redis-py leaves the type of fields open
    except Unreadable:
        return None
