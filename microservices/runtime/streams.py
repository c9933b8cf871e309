"""Reading a stream without a group: the newest entries, one entry, or what follows an id."""

from typing import Any

from redis import Redis

from microservices.runtime.stream_consumer import Entry


def newest_entries(redis: Redis, stream: str, *, count: int, since: str = "-") -> list[Entry]:
    """Read the newest entries, newest first, at most `count` and none older than the id `since`."""
    return _entries(redis.xrevrange(stream, "+", since, count=count))


def entry_of(redis: Redis, stream: str, entry_id: str) -> Entry | None:
    """Read one entry by its id; None where it is not there (any more)."""
    found = _entries(redis.xrange(stream, entry_id, entry_id))
    return found[0] if found else None


def entries_after(redis: Redis, stream: str, after_id: str, *, count: int, block_ms: int | None = None) -> list[Entry]:
    """Read what follows an id, oldest first.

    Args:
        redis: a client whose answers are bytes.
        stream: the stream's key.
        after_id: entries behind this id; `0-0` for the whole stream.
        count: how many at most.
        block_ms: how long to wait where nothing follows, at most 2,000; None for not at all.
    """
    answer: Any = redis.xread({stream: after_id}, count=count, block=block_ms)
    return [entry for _, rows in answer or () for entry in _entries(rows)]


def last_id(redis: Redis, stream: str) -> str:
    """Name the newest entry of a stream; `0-0` where there is none."""
    newest = newest_entries(redis, stream, count=1)
    return newest[0].id if newest else "0-0"


def _entries(rows: Any) -> list[Entry]:  # noqa: ANN401 - redis-py leaves its answer's type open
    return [Entry(entry_id.decode(), fields or None) for entry_id, fields in rows or ()]
