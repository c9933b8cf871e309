"""Reading streams without a group, against a real Redis."""

from redis import Redis

from microservices.runtime import streams

STREAM = "test:stream"


def fill(redis: Redis, count: int) -> list[str]:
    """Add that many entries and give their ids."""
    for number in range(count):
        redis.xadd(STREAM, {"n": number}, id=f"{number + 1}-0")
    return [f"{number + 1}-0" for number in range(count)]


def test_the_newest_come_first_and_no_older_than_asked(redis_client: Redis) -> None:
    """Newest first, bounded by count and by the id."""
    fill(redis_client, 5)
    assert [entry.id for entry in streams.newest_entries(redis_client, STREAM, count=2)] == ["5-0", "4-0"]
    assert [entry.id for entry in streams.newest_entries(redis_client, STREAM, count=9, since="4-0")] == ["5-0", "4-0"]


def test_one_entry_is_found_by_its_id_or_absent(redis_client: Redis) -> None:
    """An id that was never there, or was deleted, is None."""
    fill(redis_client, 2)
    found = streams.entry_of(redis_client, STREAM, "2-0")
    assert found is not None
    assert found.fields == {b"n": b"1"}
    redis_client.xdel(STREAM, "2-0")
    assert streams.entry_of(redis_client, STREAM, "2-0") is None


def test_what_follows_an_id_comes_in_order_without_it(redis_client: Redis) -> None:
    """A reader that keeps its last id sees each entry once."""
    ids = fill(redis_client, 4)
    first = streams.entries_after(redis_client, STREAM, "0-0", count=3)
    rest = streams.entries_after(redis_client, STREAM, first[-1].id, count=3)
    assert [entry.id for entry in [*first, *rest]] == ids
    assert streams.entries_after(redis_client, STREAM, ids[-1], count=3, block_ms=10) == []


def test_a_missing_stream_has_no_entries_and_begins_at_zero(redis_client: Redis) -> None:
    """Absence reads as empty."""
    assert streams.newest_entries(redis_client, STREAM, count=1) == []
    assert streams.last_id(redis_client, STREAM) == "0-0"
    fill(redis_client, 2)
    assert streams.last_id(redis_client, STREAM) == "2-0"
