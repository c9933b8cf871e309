"""The stream consumer on a real Redis: nothing is left behind, nothing is lost without a name."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from microservices.runtime import Entry, StreamConsumer
from tests.support.waiting import wait_until

STREAM = "quantum:stream:test"
GROUP = "g"
IDLE_MS = 1_000


class Ticks:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def consumer(
    redis: Redis,
    name: str = "me",
    *,
    batch: int = 10,
    claim_idle_ms: int | None = None,
    start_id: Callable[[], str] = lambda: "0",
    on_group_created: Callable[[bool], None] | None = None,
    ticks: Ticks | None = None,
    reads_ahead: bool = False,
) -> StreamConsumer:
    return StreamConsumer(
        redis,
        STREAM,
        GROUP,
        name,
        batch=batch,
        block_ms=0,
        start_id=start_id,
        claim_idle_ms=claim_idle_ms,
        on_group_created=on_group_created,
        monotonic=ticks or Ticks(),
        reads_ahead=reads_ahead,
    )


def add(redis: Redis, count: int, first: int = 1) -> list[str]:
    ids = [f"{number}-0" for number in range(first, first + count)]
    for entry_id in ids:
        redis.xadd(STREAM, {"n": entry_id}, id=entry_id)
    return ids


def read(reader: StreamConsumer) -> list[str]:
    with reader.batch() as entries:
        return [entry.id for entry in entries]


def read_and_ack(redis: Redis, reader: StreamConsumer) -> list[str]:
    with reader.batch() as entries:
        ack(redis, [entry.id for entry in entries])
        return [entry.id for entry in entries]


def fail_over_batch(reader: StreamConsumer, act: Callable[[list[Entry]], None]) -> None:
    """Do something with a batch, then leave it as a bug or a lost connection would."""
    with reader.batch() as entries:
        act(entries)
        raise KeyError


def ack(redis: Redis, ids: Sequence[str]) -> None:
    if ids:
        assert redis.xack(STREAM, GROUP, *ids) == len(ids)


def make_idle(redis: Redis, name: str, ids: Sequence[str], idle_ms: int = IDLE_MS) -> None:
    """Age pending entries as if their consumer had died long ago."""
    redis.xclaim(STREAM, GROUP, name, 0, list(ids), idle=idle_ms, justid=True)


def test_the_first_group_begins_where_the_service_says(redis_client: Redis) -> None:
    """What is already in the stream is read from the given id on, and the service is told of a first group."""
    add(redis_client, 5)
    told: list[bool] = []
    reader = consumer(redis_client, start_id=lambda: "2-0", on_group_created=told.append)
    assert read(reader) == ["3-0", "4-0", "5-0"]
    assert told == [False]


def test_the_stream_is_made_with_the_group(redis_client: Redis) -> None:
    """A consumer may start before the first writer."""
    reader = consumer(redis_client)
    assert read(reader) == []
    add(redis_client, 1)
    assert read(reader) == ["1-0"]


def test_a_group_that_exists_is_kept(redis_client: Redis) -> None:
    """A restart neither moves the group nor tells of a new one."""
    add(redis_client, 3)
    assert read_and_ack(redis_client, consumer(redis_client, batch=2)) == ["1-0", "2-0"]
    told: list[bool] = []
    again = consumer(redis_client, start_id=lambda: "0", on_group_created=told.append)
    assert read(again) == ["3-0"]
    assert told == []


def test_own_pending_comes_first_page_by_page(redis_client: Redis) -> None:
    """After a restart everything unfinished is given before anything new, none of it twice."""
    add(redis_client, 7)
    with consumer(redis_client).batch() as entries:
        assert len(entries) == 7
    add(redis_client, 2, first=8)
    again = consumer(redis_client, batch=3)
    batches = [read(again) for _ in range(4)]
    assert batches == [["1-0", "2-0", "3-0"], ["4-0", "5-0", "6-0"], ["7-0"], ["8-0", "9-0"]]


def test_an_entry_left_unacked_in_good_order_is_not_given_again(redis_client: Redis) -> None:
    """A service may park an entry in memory and go on."""
    add(redis_client, 2)
    reader = consumer(redis_client)
    assert read(reader) == ["1-0", "2-0"]
    assert read(reader) == []


def test_leaving_with_an_exception_gives_everything_unacked_again(redis_client: Redis) -> None:
    """A batch that failed is read again from the pending list, with what was parked before."""
    add(redis_client, 4)
    reader = consumer(redis_client, batch=2)
    assert read(reader) == ["1-0", "2-0"]
    with pytest.raises(KeyError):
        fail_over_batch(reader, lambda entries: ack(redis_client, [entries[0].id]))
    assert read(reader) == ["1-0", "2-0"]
    assert read(reader) == ["4-0"]
    assert read(reader) == []


def test_a_read_that_fails_is_made_good_from_the_pending_list(
    redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries that were handed out in a reply that never arrived are not lost."""
    add(redis_client, 3)
    reader = consumer(redis_client)
    original: Any = redis_client.execute_command

    def swallowed(*args: Any, **kwargs: Any) -> Any:
        answer: Any = original(*args, **kwargs)
        if str(args[0]).startswith("XREADGROUP") and answer:
            monkeypatch.undo()
            raise RedisConnectionError("reply lost")
        return answer

    monkeypatch.setattr(redis_client, "execute_command", swallowed)
    with pytest.raises(RedisConnectionError):
        read(reader)
    assert read(reader) == ["1-0", "2-0", "3-0"]


def test_a_body_that_was_trimmed_away_is_given_without_fields(redis_client: Redis) -> None:
    """The service learns of it, and its ack still counts: it is in the pending list until then."""
    add(redis_client, 3)
    read(consumer(redis_client))
    redis_client.xtrim(STREAM, minid="3-0", approximate=False)
    with consumer(redis_client).batch() as entries:
        assert entries == [Entry("1-0", None), Entry("2-0", None), Entry("3-0", {b"n": b"3-0"})]
        ack(redis_client, ["1-0", "2-0"])


def test_odd_content_comes_as_it_is(redis_client: Redis) -> None:
    """Bytes that are no text, empty names and empty values are the service's to judge."""
    fields: dict[bytes, bytes] = {b"\xff\x00": b"\xfe", b"": b"", b"n": b"\n"}
    redis_client.xadd(STREAM, fields, id="1-0")  # type: ignore[arg-type]  # the library's dict is invariant
    with consumer(redis_client).batch() as entries:
        assert entries == [Entry("1-0", fields)]


def test_a_lost_group_is_made_behind_what_was_done_and_told(
    redis_client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """The group is deleted: it begins again where the service says, and the service hears that it was lost."""
    add(redis_client, 4)
    told: list[bool] = []
    reader = consumer(redis_client, batch=2, start_id=lambda: "2-0", on_group_created=told.append)
    redis_client.xgroup_create(STREAM, GROUP, "0")
    assert read_and_ack(redis_client, reader) == ["1-0", "2-0"]
    redis_client.xgroup_destroy(STREAM, GROUP)
    assert read(reader) == ["3-0", "4-0"]
    assert told == [True]
    assert f"Group {GROUP} of {STREAM} was lost: made again behind 2-0" in caplog.text


def test_own_pending_entries_are_read_again_where_asked(redis_client: Redis) -> None:
    """Another under this name has read and not done: what is its own by name is given again."""
    add(redis_client, 1)
    reader = consumer(redis_client)
    assert read_and_ack(redis_client, reader) == ["1-0"]
    add(redis_client, 1, first=2)
    redis_client.xreadgroup(GROUP, "me", {STREAM: ">"})
    assert read(reader) == []
    reader.start_again()
    assert read(reader) == ["2-0"]


def test_an_emptied_redis_is_started_again(redis_client: Redis) -> None:
    """Stream and group are gone: both are made, and reading goes on."""
    add(redis_client, 1)
    told: list[bool] = []
    reader = consumer(redis_client, on_group_created=told.append)
    assert read(reader) == ["1-0"]
    redis_client.flushall()
    assert read(reader) == []
    add(redis_client, 1)
    assert read(reader) == ["1-0"]
    assert told == [False, True]


def test_a_service_that_could_not_be_told_is_told_again(redis_client: Redis) -> None:
    """The news of a lost group is not lost with the error of whoever hears it."""
    told: list[bool] = []

    def hear(lost: bool) -> None:
        told.append(lost)
        if len(told) == 1:
            raise RedisConnectionError("away while counting")

    reader = consumer(redis_client, on_group_created=hear)
    with pytest.raises(RedisConnectionError):
        read(reader)
    assert read(reader) == []
    assert told == [False, False]


def test_a_group_whose_making_was_not_answered_is_told_of(redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply was lost, the group is there: it is taken for our own."""
    told: list[bool] = []
    reader = consumer(redis_client, on_group_created=told.append)
    original = redis_client.xgroup_create

    def swallowed(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        raise RedisConnectionError("reply lost")

    with monkeypatch.context() as patch:
        patch.setattr(redis_client, "xgroup_create", swallowed)
        with pytest.raises(RedisConnectionError):
            read(reader)
    assert read(reader) == []
    assert told == [False]


def test_a_key_of_another_type_is_an_error(redis_client: Redis) -> None:
    """Somebody's string under the stream's name is said, not overwritten."""
    redis_client.set(STREAM, "x")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        read(consumer(redis_client))
    assert redis_client.get(STREAM) == b"x"


def test_what_a_dead_consumer_left_is_taken_over(redis_client: Redis) -> None:
    """Entries idle for long enough become ours, page by page, before anything new; younger ones stay."""
    ids = add(redis_client, 250)
    assert len(read(consumer(redis_client, "dead", batch=1000))) == 250
    make_idle(redis_client, "dead", ids[:230])
    add(redis_client, 1, first=1000)
    ticks = Ticks()
    reader = consumer(redis_client, batch=1000, claim_idle_ms=IDLE_MS, ticks=ticks)
    batches = [read_and_ack(redis_client, reader) for _ in range(7)]
    assert [len(batch) for batch in batches] == [50, 50, 50, 50, 30, 1, 0]
    assert [entry_id for batch in batches[:5] for entry_id in batch] == ids[:230]
    assert reader.pending_estimate() == 20


def test_nothing_is_taken_over_without_being_asked_for(redis_client: Redis) -> None:
    """A single instance never touches another's entries."""
    ids = add(redis_client, 2)
    read(consumer(redis_client, "other"))
    make_idle(redis_client, "other", ids, 10**9)
    assert read(consumer(redis_client)) == []


def test_a_round_of_taking_over_is_followed_by_a_pause(redis_client: Redis) -> None:
    """The pending list is not walked at every read."""
    ids = add(redis_client, 1)
    read(consumer(redis_client, "dead"))
    ticks = Ticks()
    reader = consumer(redis_client, claim_idle_ms=IDLE_MS, ticks=ticks)
    assert read(reader) == []
    make_idle(redis_client, "dead", ids)
    assert read(reader) == []
    ticks.seconds += IDLE_MS / 1000
    assert read(reader) == ids


def test_a_trimmed_entry_of_a_dead_consumer_is_named_and_stays_pending_until_acked(redis_client: Redis) -> None:
    """Who counts it as lost can do so exactly once, with its XACK; XAUTOCLAIM would have dropped it by itself."""
    ids = add(redis_client, 3)
    read(consumer(redis_client, "dead"))
    make_idle(redis_client, "dead", ids)
    redis_client.xtrim(STREAM, minid="3-0", approximate=False)
    reader = consumer(redis_client, claim_idle_ms=IDLE_MS)
    seen: list[Entry] = []
    with pytest.raises(KeyError):
        fail_over_batch(reader, seen.extend)
    assert seen == [Entry("1-0", None), Entry("2-0", None), Entry("3-0", {b"n": b"3-0"})]
    assert redis_client.xpending(STREAM, GROUP)["pending"] == 3
    assert read(reader) == ["3-0"]  # ours since it was claimed
    assert read(reader) == ["1-0", "2-0"]
    ack(redis_client, ["1-0", "2-0", "3-0"])


def test_two_who_take_over_share_what_there_is(redis_client: Redis) -> None:
    """An entry that one has taken is young again and not taken by the other."""
    ids = add(redis_client, 4)
    read(consumer(redis_client, "dead"))
    make_idle(redis_client, "dead", ids)
    one = consumer(redis_client, "one", batch=2, claim_idle_ms=IDLE_MS)
    two = consumer(redis_client, "two", batch=10, claim_idle_ms=IDLE_MS)
    assert read(one) == ["1-0", "2-0"]
    assert read(two) == ["3-0", "4-0"]
    assert read(one) == []


def test_pending_and_lag_are_told(redis_client: Redis) -> None:
    """What is handed out and what is yet to come, and zero or nothing without a group."""
    reader = consumer(redis_client, batch=2)
    assert (reader.pending_estimate(), reader.lag()) == (0, None)
    add(redis_client, 5)
    read(reader)
    assert (reader.pending_estimate(), reader.lag()) == (2, 3)


def test_a_block_waits_no_longer_than_it_should(redis_client: Redis) -> None:
    """A consumer with a block still gives up its empty read, well within the connection's timeout."""
    reader = StreamConsumer(redis_client, STREAM, GROUP, "me", batch=1, block_ms=20, start_id=lambda: "0")
    assert read(reader) == []


@pytest.mark.parametrize(
    ("batch", "block_ms", "claim_idle_ms"),
    [(0, 0, None), (10_001, 0, None), (1, -1, None), (1, 2_001, None), (1, 0, 0)],
)
def test_bounds_are_checked_when_it_is_made(
    redis_client: Redis, batch: int, block_ms: int, claim_idle_ms: int | None
) -> None:
    """A block above the connection's patience, or an endless one, is refused at construction."""
    with pytest.raises(ValueError, match="must be"):
        StreamConsumer(
            redis_client,
            STREAM,
            GROUP,
            "me",
            batch=batch,
            block_ms=block_ms,
            start_id=lambda: "0",
            claim_idle_ms=claim_idle_ms,
        )


def test_what_is_taken_over_comes_in_the_order_of_its_ids(redis_client: Redis) -> None:
    """Also where some have lost their bodies: who counts a batch relies on its first id being the lowest."""
    dead = consumer(redis_client, "dead")
    ids = add(redis_client, 12)
    with dead.batch():
        make_idle(redis_client, "dead", ids[:10])
    redis_client.xdel(STREAM, "9-0", "10-0", "3-0")
    assert read(consumer(redis_client, claim_idle_ms=IDLE_MS)) == ids[:10]


def test_reading_ahead_gives_every_entry_once_and_in_order(redis_client: Redis) -> None:
    """Full batches are followed by one that Redis read meanwhile, the last by none."""
    ids = add(redis_client, 25)
    reader = consumer(redis_client, reads_ahead=True)
    assert [read_and_ack(redis_client, reader) for _ in range(4)] == [ids[:10], ids[10:20], ids[20:], []]


def test_rows_are_entries_as_redis_answers_them(redis_client: Redis) -> None:
    """Id, names and values in turn; without a body None."""
    redis_client.xadd(STREAM, {"a": "1", "b": "2"}, id="1-0")
    reader = consumer(redis_client)
    with reader.rows() as rows:
        assert [tuple(row) for row in rows] == [(b"1-0", [b"a", b"1", b"b", b"2"])]
    redis_client.xdel(STREAM, "1-0")
    with consumer(redis_client).rows() as rows:
        assert [tuple(row) for row in rows] == [(b"1-0", None)]


def test_what_was_read_ahead_is_given_again_after_an_error(redis_client: Redis) -> None:
    """The batch in hand and the one behind it, each once, and what follows them."""
    ids = add(redis_client, 25)
    reader = consumer(redis_client, reads_ahead=True)
    with pytest.raises(KeyError):
        fail_over_batch(reader, lambda entries: ack(redis_client, [entry.id for entry in entries[:4]]))
    given = [read_and_ack(redis_client, reader) for _ in range(5)]
    assert sorted(chain(*given), key=lambda each: int(each.split("-")[0])) == ids[4:]
    assert redis_client.xpending(STREAM, GROUP)["pending"] == 0


def test_a_connection_lost_while_redis_reads_ahead_loses_nothing(redis_client: Redis) -> None:
    """The answer never came: what it held is pending and given from there."""
    ids = add(redis_client, 25)
    reader = consumer(redis_client, reads_ahead=True)
    assert read_and_ack(redis_client, reader) == ids[:10]
    wait_until(lambda: redis_client.xpending(STREAM, GROUP)["pending"] == 10, 20, what="the next batch to be read")
    assert reader._ahead is not None
    reader._ahead._connection.disconnect()
    with pytest.raises(RedisConnectionError):
        read(reader)
    given = [read_and_ack(redis_client, reader) for _ in range(4)]
    assert list(chain(*given)) == ids[10:]


def test_a_group_lost_while_redis_reads_ahead_is_made_again(redis_client: Redis) -> None:
    """Behind what the service says, as ever."""
    ids = add(redis_client, 25)
    reader = consumer(redis_client, reads_ahead=True, start_id=lambda: "10-0" if len(read_so_far) else "0")
    read_so_far: list[str] = []
    read_so_far += read_and_ack(redis_client, reader)
    wait_until(lambda: redis_client.xpending(STREAM, GROUP)["pending"] == 10, 20, what="the next batch to be read")
    redis_client.xgroup_destroy(STREAM, GROUP)
    assert read(reader) == ids[10:20]
    assert read(reader) == ids[10:20]
    assert read(reader) == ids[20:]
