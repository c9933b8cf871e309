"""Read a stream as one consumer of a group, so that nothing is left behind and a lost group is found again."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeAlias

from redis import Redis
from redis.exceptions import ResponseError

from microservices.runtime.lua import LuaScript
from microservices.runtime.read_ahead import ReadAhead

logger = logging.getLogger(__name__)

LONGEST_BLOCK_MS: Final = 2_000  # below the connection's timeout of 6 s, and within the time a stop may take
LARGEST_BATCH: Final = 10_000
TAKE_OVER_AT_ONCE: Final = 50  # entries per script, about 0.5 ms in which nobody else is served
TAKE_OVER_EVERY: Final = 0.5  # of the idle time: an entry is taken over at most this much later than it could be
MOST_GROUPS_MADE: Final = 3  # per read; a group that vanishes faster is somebody's mistake
_GROUP_IS_LOST: Final = ("NOGROUP", "UNBLOCKED")
TAKE_OVER: Final = LuaScript.load(__package__, "stream_take_over.lua")


Row: TypeAlias = tuple[bytes, list[bytes] | None]
"""One entry as Redis answers it: its id, and names and values in turn, or None where the body was trimmed away.

It is a list of two; a type of its own for each of thousands of entries a second would cost more than it says.
"""


class Entry(NamedTuple):
    """One entry of a stream: its id, and its fields as they came, or None where the body was trimmed away."""

    id: str
    fields: Mapping[bytes, bytes] | None


class StreamConsumer:
    """Hand out batches: own pending entries first, then those of dead consumers, then new ones.

    Args:
        redis: a client whose answers are bytes.
        stream: the stream's key.
        group: the group; made where it is missing, with the stream.
        consumer: this consumer's name, the same after a restart.
        batch: entries per batch at most, 1 to 10,000.
        block_ms: how long an empty stream is waited for, 0 (not at all) to 2,000.
        start_id: asked whenever the group must be made: the id behind which it begins.
        claim_idle_ms: take over what another consumer has left pending for so long; None never does.
        on_group_created: called after the group was made, with True where this consumer had seen it before and it was
            lost. It is called again before the next read where it raised.
        monotonic: seconds, for the pause between two rounds of taking over.
        reads_ahead: after a full batch, have Redis read the next one while the caller works on it. What was read ahead
            is pending like all else; `close` gives it up to the next run.

    Raises:
        ValueError: a bound is exceeded.
    """

    def __init__(
        self,
        redis: Redis,
        stream: str,
        group: str,
        consumer: str,
        *,
        batch: int,
        block_ms: int,
        start_id: Callable[[], str],
        claim_idle_ms: int | None = None,
        on_group_created: Callable[[bool], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        reads_ahead: bool = False,
    ) -> None:
        if not 1 <= batch <= LARGEST_BATCH:
            raise ValueError(f"batch must be from 1 to {LARGEST_BATCH}, not {batch}")
        if claim_idle_ms is not None and claim_idle_ms < 1:
            raise ValueError(f"claim_idle_ms must be at least 1, not {claim_idle_ms}")
        self._redis = redis
        self._stream = stream
        self._group = group
        self._consumer = consumer
        self._batch = batch
        self._block_ms = _checked_block_ms(block_ms)
        self._start_id = start_id
        self._claim_idle_ms = claim_idle_ms
        self._on_group_created = on_group_created
        self._monotonic = monotonic
        self._reads_ahead = reads_ahead
        self._ahead: ReadAhead | None = None
        self._group_ready = False
        self._seen_group = False
        self._making = False
        self._untold: bool | None = None
        self.start_again()

    @contextmanager
    def batch(self, block_ms: int | None = None) -> Iterator[list[Entry]]:
        """Give the next batch; an empty one says that a read of new entries found none.

        The caller acks what it has done, in its own scripts. What it has not acked when it leaves in good order is not
        given again by this object (another run, or an error, gives it again; so does the end of each round of taking
        over, where it takes over). Leaving with an exception, or failing to read, makes the next batch start again with
        the own pending entries.

        Args:
            block_ms: how long this one read waits for new entries, 0 to 2,000; None is the consumer's own time.
        """
        with self.rows(block_ms) as rows:
            yield [Entry(entry_id.decode(), _pairs(values)) for entry_id, values in rows]

    @contextmanager
    def rows(self, block_ms: int | None = None) -> Iterator[list[Row]]:
        """Give the next batch as `batch` does, each entry as Redis answered it: for who reads tens of thousands."""
        again = True
        try:
            yield self._read(self._block_ms if block_ms is None else _checked_block_ms(block_ms))
            again = False
        finally:
            if again:
                self.start_again()

    def start_again(self) -> None:
        """Have the next batch start with the own pending entries: another under our name may have left some."""
        self.close()
        self._own_cursor: str | None = "0"
        self._take_over_from = "-"
        self._take_over_at = float("-inf")

    def close(self) -> None:
        """Give up what was read ahead: it is pending, and given again before anything new."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.give_up()

    def pending_estimate(self) -> int:
        """Count what the group has handed out and nobody has acked, over all consumers; 0 without a group."""
        pending = self._group_info().get("pending")
        return int(pending) if pending is not None else 0

    def lag(self) -> int | None:
        """Count what the group has yet to hand out; None where Redis cannot tell, or without a group."""
        lag = self._group_info().get("lag")
        return int(lag) if lag is not None else None

    def _read(self, block_ms: int) -> list[Row]:
        for _ in range(MOST_GROUPS_MADE):
            try:
                self._ensure_group()
                return self._read_own() or self._take_over() or self._read_new(block_ms)
            except ResponseError as error:
                if not str(error).startswith(_GROUP_IS_LOST):
                    raise
                self._group_ready = False
                self.start_again()
        raise ResponseError(
            f"group {self._group} of {self._stream} was lost {MOST_GROUPS_MADE} times while it was read"
        )

    def _ensure_group(self) -> None:
        """Make the group where it is missing, and tell the service where this call made it."""
        if self._group_ready:
            return
        if self._untold is None:
            self._untold = self._make_group()
        if self._untold is not None and self._on_group_created is not None:
            self._on_group_created(self._untold)
        self._untold = None
        self._making = False
        self._group_ready = self._seen_group = True

    def _make_group(self) -> bool | None:
        """Make the group; give None where it is there already, else whether it had been there before."""
        start_id = self._start_id()
        # A reply may be lost: the group that the next try finds is then taken for our own.
        was_making, self._making = self._making, True
        try:
            self._redis.xgroup_create(self._stream, self._group, start_id, mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
            if not was_making:
                return None
        if self._seen_group:
            logger.warning("Group %s of %s was lost: made again behind %s", self._group, self._stream, start_id)
        else:
            logger.info("Made group %s on %s behind %s", self._group, self._stream, start_id)
        return self._seen_group

    def _read_own(self) -> list[Row]:
        """Read the next of what is pending for this consumer, until there is no more."""
        if self._own_cursor is None or self._ahead is not None:
            return []
        rows = self._xreadgroup(self._own_cursor, None)
        self._own_cursor = rows[-1][0].decode() if rows else None
        return rows

    def _take_over(self) -> list[Row]:
        """Take over the next of what others have left; a finished round is followed by a pause."""
        if self._claim_idle_ms is None or self._monotonic() < self._take_over_at:
            return []
        answer = TAKE_OVER(
            self._redis,
            [self._stream],
            [
                self._group,
                self._consumer,
                self._claim_idle_ms,
                self._take_over_from,
                min(self._batch, TAKE_OVER_AT_ONCE),
            ],
        )
        last_id = answer[0].decode()
        self._take_over_from = f"({last_id}" if last_id else "-"
        if not last_id:
            # A read that was given up may have been done later than our own pending entries were looked at.
            self._own_cursor = self._own_cursor or "0"
            self._take_over_at = self._monotonic() + self._claim_idle_ms / 1000 * TAKE_OVER_EVERY
        return sorted(answer[1], key=_order)

    def _read_new(self, block_ms: int) -> list[Row]:
        rows = self._read_ahead() or self._xreadgroup(">", block_ms or None)
        if self._reads_ahead and len(rows) == self._batch and self._own_cursor is None:
            self._ahead = ReadAhead(self._redis, self._command(">", None))
        return rows

    def _read_ahead(self) -> list[Row]:
        ahead, self._ahead = self._ahead, None
        return _rows(ahead.answer()) if ahead is not None else []

    def _xreadgroup(self, after: str, block_ms: int | None) -> list[Row]:
        command: Any = self._redis.execute_command  # the library leaves it untyped
        return _rows(command(*self._command(after, block_ms)))

    def _command(self, after: str, block_ms: int | None) -> tuple[str | int, ...]:
        """Name it by two words: so it has no callback in the library, and nothing makes a dictionary of each entry."""
        waiting = ("BLOCK", block_ms) if block_ms else ()
        reading = ("XREADGROUP GROUP", self._group, self._consumer, "COUNT", self._batch)
        return (*reading, *waiting, "STREAMS", self._stream, after)

    def _group_info(self) -> dict[str, Any]:
        try:
            groups = self._redis.xinfo_groups(self._stream)
        except ResponseError as error:
            if "no such key" in str(error):
                return {}
            raise
        return next((dict(group) for group in groups if group["name"] == self._group.encode()), {})


def _checked_block_ms(block_ms: int) -> int:
    if not 0 <= block_ms <= LONGEST_BLOCK_MS:
        raise ValueError(f"block_ms must be from 0 to {LONGEST_BLOCK_MS}, not {block_ms}")
    return block_ms


def _order(row: Row) -> tuple[int, int]:
    """Order as Redis does: the script names entries without a body before the others."""
    milliseconds, _, sequence = row[0].partition(b"-")
    return int(milliseconds), int(sequence)


def _rows(answer: Any) -> list[Row]:  # noqa: ANN401 - the library leaves its answer's type open
    return answer[0][1] if answer else []


def _pairs(values: list[bytes] | None) -> dict[bytes, bytes] | None:
    return dict(zip(values[::2], values[1::2], strict=True)) if values else None
