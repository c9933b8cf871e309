"""The books of the stream: every entry that was ever added is counted, put aside, lost or still open.

    entries added = base + settled + open,   settled = counted + dead letters + lost

`added` is what Redis says of the stream (XINFO STREAM, entries-added), `base` what it said when counting began, `open`
what is pending or not yet delivered. Where the group is caught up nothing is undelivered, so whatever the equation
lacks is lost: trimmed before it was read, or pending when somebody deleted the group.
"""

import msgspec

from microservices.contracts.decision import P35Status

StreamId = tuple[int, int]
"""Milliseconds and sequence; compares as Redis compares ids."""

START: StreamId = (0, 0)
_SEQUENCE_MAX = 2**64 - 1


class Group(msgspec.Struct, frozen=True):
    """The consumer group at one moment."""

    last_delivered: StreamId
    pending: int
    first_pending: StreamId | None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Stream and group at one moment; a stream that does not exist is all zeros."""

    added: int = 0
    length: int = 0
    last_generated: StreamId = START
    first: StreamId | None = None
    newest: StreamId | None = None
    """The newest entry that is still there."""
    group: Group | None = None

    @property
    def caught_up(self) -> bool:
        """Whether nothing is left that the group has not delivered."""
        return self.group is not None and (self.newest is None or self.newest <= self.group.last_delivered)


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded."""

    settled: int
    base: int | None
    added: int
    last_generated: StreamId
    settled_through: StreamId


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What the books say after a look."""

    lost: int = 0
    """Messages that nobody counted and nobody can count any more; to be added to `lost_total`."""
    excess: int = 0
    """Messages settled that the stream does not know: it was replaced unseen."""
    replaced: bool = False
    """The stream was deleted, or another stands in its place."""
    base: int | None
    settled_through: StreamId


def judge(seen: Seen, books: Books) -> Judgement:
    """Balance the books against what is seen now."""
    if _was_replaced(seen, books):
        return _closed(seen, books)
    through = max(_settled_through(seen.group), books.settled_through)
    if books.base is None:
        return Judgement(base=_first_base(seen, books), settled_through=through)
    if seen.group is None or not seen.caught_up:
        return Judgement(base=books.base, settled_through=through)
    missing = seen.added - books.base - books.settled - seen.group.pending
    return Judgement(
        lost=max(missing, 0), excess=max(-missing, 0), base=books.base + min(missing, 0), settled_through=through
    )


def books_of(status: P35Status, stream_id: StreamId, settled_through: StreamId) -> Books:
    """Take the books out of the status hash, its two ids already read."""
    return Books(
        settled=status.processed_total + status.dead_letter_total + status.lost_total,
        base=status.entries_base,
        added=status.stream_added,
        last_generated=stream_id,
        settled_through=settled_through,
    )


def undelivered_at_most(seen: Seen, books: Books) -> int:
    """Estimate what the group has still to read, where Redis cannot say (after a deletion in the middle)."""
    if seen.caught_up or books.base is None or seen.group is None:
        return 0
    return max(0, min(seen.length, seen.added - books.base - books.settled - seen.group.pending))


def _was_replaced(seen: Seen, books: Books) -> bool:
    """Tell a new stream from the one the books speak of.

    Of the same stream figures only grow, ids and count together, and what was added since the last look bounds how many
    entries can be behind it. Undecidable is only a new stream that has outgrown the old and was trimmed unseen.
    """
    if seen.added < books.added or seen.last_generated < books.last_generated:
        return True
    if seen.added == books.added:
        return seen.last_generated != books.last_generated
    only_later = seen.first is not None and seen.first > books.last_generated
    return only_later and seen.length > seen.added - books.added


def _closed(seen: Seen, books: Books) -> Judgement:
    """Close the books of the deleted stream and open those of the new one.

    All that the old one still held is lost. What was settled of the new one before anybody looked is not the old one's.
    """
    settled_of_new = seen.added - seen.group.pending if seen.group is not None and seen.caught_up else 0
    lost = 0 if books.base is None else max(0, books.added - books.base - (books.settled - settled_of_new))
    return Judgement(
        lost=lost,
        replaced=True,
        base=settled_of_new - books.settled - lost,
        settled_through=_settled_through(seen.group),
    )


def _first_base(seen: Seen, books: Books) -> int | None:
    """Say behind which entry counting begins: what was trimmed before the group existed was never ours to count."""
    if seen.group is None or seen.group.last_delivered == START:
        return seen.added - seen.length - books.settled
    return seen.added - seen.group.pending - books.settled if seen.caught_up else None


def _settled_through(group: Group | None) -> StreamId:
    """Give the id up to which nothing is open: below the first pending entry, else all that was delivered."""
    if group is None:
        return START
    if group.first_pending is None:
        return group.last_delivered
    milliseconds, sequence = group.first_pending
    if sequence > 0:
        return milliseconds, sequence - 1
    return (milliseconds - 1, _SEQUENCE_MAX) if milliseconds > 0 else START
