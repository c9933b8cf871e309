"""The books of the stream against a model that knows the fate of every single entry."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from microservices.decision_intelligence.lost import START, Books, Group, Seen, StreamId, judge, undelivered_at_most

BOOKS = Books(settled=70, base=30, added=100, last_generated=(9, 0), settled_through=(5, 0))


def seen(*, added: int = 100, last_delivered: StreamId = (9, 0), pending: int = 0, length: int = 50) -> Seen:
    """A stream whose newest entry is (9, 0)."""
    group = Group(last_delivered, pending, (7, 0) if pending else None)
    return Seen(added=added, length=length, last_generated=(9, 0), first=(4, 0), newest=(9, 0), group=group)


def test_books_that_balance_lose_nothing() -> None:
    """Added is base, settled and pending."""
    assert judge(seen(), BOOKS).lost == 0
    assert judge(seen(added=103, pending=3), BOOKS).lost == 0


def test_what_is_missing_is_lost_only_when_the_group_caught_up() -> None:
    """Behind the last delivered entry anything may still be waiting to be read."""
    assert judge(seen(added=104), BOOKS).lost == 4
    assert judge(seen(added=104, pending=1), BOOKS).lost == 3
    assert judge(seen(added=104, last_delivered=(8, 0)), BOOKS).lost == 0


def test_a_missing_group_is_not_judged() -> None:
    """The new one will be given again what the old one had pending behind the last commit."""
    without = Seen(added=104, length=50, last_generated=(9, 0), first=(4, 0), newest=(9, 0))
    assert judge(without, BOOKS).lost == 0
    assert judge(without, BOOKS).settled_through == BOOKS.settled_through


def test_a_deleted_stream_loses_all_that_it_still_held() -> None:
    """By the figures of the last commit; the books of the next stream begin with nothing missing."""
    closed = judge(Seen(), Books(settled=60, base=30, added=100, last_generated=(9, 0), settled_through=(5, 0)))
    assert (closed.lost, closed.replaced, closed.base, closed.settled_through) == (10, True, -70, START)


def test_a_new_stream_in_the_place_of_the_old_is_recognised() -> None:
    """By fewer entries, by an older newest id, or by more entries behind the last known one than were added."""
    fewer = Seen(added=99, length=99, last_generated=(20, 0), first=(10, 0), newest=(20, 0))
    older = Seen(added=200, length=5, last_generated=(8, 0), first=(1, 0), newest=(8, 0))
    more = Seen(added=150, length=51, last_generated=(20, 0), first=(10, 0), newest=(20, 0))
    same = Seen(added=150, length=50, last_generated=(20, 0), first=(10, 0), newest=(20, 0))
    assert [judge(each, BOOKS).replaced for each in (fewer, older, more, same)] == [True, True, True, False]


def test_more_settled_than_added_is_told_and_set_right_once() -> None:
    """Figures set by hand: the books say so and go on from there."""
    books = Books(settled=73, base=30, added=100, last_generated=(9, 0), settled_through=(5, 0))
    judged = judge(seen(), books)
    assert (judged.lost, judged.excess, judged.base) == (0, 3, 27)


@pytest.mark.parametrize(
    ("first_pending", "through"), [(None, (9, 0)), ((7, 5), (7, 4)), ((7, 0), (6, 2**64 - 1)), ((0, 0), (5, 0))]
)
def test_settled_is_all_below_the_first_pending_entry(first_pending: StreamId | None, through: StreamId) -> None:
    """It never goes back."""
    group = Group((9, 0), 1 if first_pending else 0, first_pending)
    look = Seen(added=101, length=50, last_generated=(9, 0), first=(4, 0), newest=(9, 0), group=group)
    assert judge(look, BOOKS).settled_through == through


def test_books_begin_behind_what_nobody_could_have_read() -> None:
    """Trimmed before the group existed is not lost; a group of unknown history is taken over once it caught up."""
    new = Books(settled=0, base=None, added=0, last_generated=START, settled_through=START)
    look = Seen(added=563_436, length=10_002, last_generated=(9, 0), first=(4, 0), newest=(9, 0))
    assert judge(look, new).base == 553_434
    assert judge(seen(added=500, pending=20), new).base == 480
    assert judge(seen(added=500, last_delivered=(8, 0)), new).base is None
    assert judge(seen(added=500), new).lost == 0


def test_lag_is_bounded_by_the_books_where_redis_cannot_say() -> None:
    """Nothing when caught up, else at most what is neither settled nor pending, and what is there."""
    assert undelivered_at_most(seen(), BOOKS) == 0
    assert undelivered_at_most(seen(added=110, last_delivered=(8, 0), pending=2), BOOKS) == 8
    assert undelivered_at_most(seen(added=900, last_delivered=(8, 0)), BOOKS) == 50
    assert undelivered_at_most(Seen(), BOOKS) == 0


@dataclass
class World:
    """Redis as far as the books are concerned, and what became of every entry."""

    live: list[StreamId] = field(default_factory=list)
    added: int = 0
    last_generated: StreamId = START
    group: bool = False
    last_delivered: StreamId = START
    pending: list[StreamId] = field(default_factory=list)
    counted: set[StreamId] = field(default_factory=set)
    ever: set[StreamId] = field(default_factory=set)

    def look(self) -> Seen:
        """See it as XINFO and XPENDING show it."""
        group = Group(self.last_delivered, len(self.pending), min(self.pending, default=None)) if self.group else None
        return Seen(
            added=self.added,
            length=len(self.live),
            last_generated=self.last_generated,
            first=self.live[0] if self.live else None,
            newest=self.live[-1] if self.live else None,
            group=group,
        )


class Bookkeeping(RuleBasedStateMachine):
    """Add, read, commit, trim, delete, destroy in any order: once caught up, the books know every entry's fate."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.lost = 0
        self.highest_commit = START
        self.deleted_unseen = False
        self.books = Books(settled=0, base=None, added=0, last_generated=START, settled_through=START)
        self.look()

    def look(self) -> None:
        """Look, judge and record, as the account does."""
        self.deleted_unseen = False
        found = self.world.look()
        judged = judge(found, self.books)
        assert judged.excess == 0
        self.lost += judged.lost
        self.books = Books(
            settled=len(self.world.counted) + self.lost,
            base=judged.base,
            added=found.added,
            last_generated=found.last_generated,
            settled_through=judged.settled_through,
        )

    @rule(count=st.integers(1, 5))
    def add(self, count: int) -> None:
        for _ in range(count):
            self.world.last_generated = (max(self.world.last_generated, max(self.world.ever, default=START))[0] + 1, 0)
            self.world.live.append(self.world.last_generated)
            self.world.ever.add(self.world.last_generated)
            self.world.added += 1

    @rule(count=st.integers(1, 5))
    def read(self, count: int) -> None:
        self.ensure_group()
        fresh = [entry for entry in self.world.live if entry > self.world.last_delivered][:count]
        self.world.pending += fresh
        self.world.last_delivered = max([self.world.last_delivered, *fresh])

    @precondition(lambda self: self.world.pending)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        """Any of the pending ones, in any order, as several consumers do; the commit records what the stream holds."""
        entry = data.draw(st.sampled_from(self.world.pending))
        self.world.pending.remove(entry)
        assert entry > self.books.settled_through
        assert entry not in self.world.counted
        self.world.counted.add(entry)
        self.highest_commit = max(self.highest_commit, entry)
        self.books = Books(
            settled=self.books.settled + 1,
            base=self.books.base,
            added=self.world.added,
            last_generated=self.world.last_generated,
            settled_through=self.books.settled_through,
        )

    @precondition(lambda self: not self.deleted_unseen)
    @rule(keep=st.integers(0, 3))
    def trim(self, keep: int) -> None:
        self.world.live = self.world.live[len(self.world.live) - keep :] if keep else []

    @precondition(lambda self: self.world.live and not self.deleted_unseen)
    @rule(data=st.data())
    def delete_one(self, data: st.DataObject) -> None:
        self.world.live.remove(data.draw(st.sampled_from(self.world.live)))

    @rule()
    def destroy_the_group(self) -> None:
        self.world.group, self.world.pending = False, []

    @rule()
    def delete_the_stream(self) -> None:
        """After a look, so that its last additions were recorded: more than that nobody can know.

        Nor can anybody know it where the new stream outgrows the old and is trimmed before the next look.
        """
        self.look()
        self.deleted_unseen = True
        self.world.live, self.world.pending = [], []
        self.world.added, self.world.last_generated, self.world.group = 0, START, False

    @rule()
    def look_again(self) -> None:
        self.look()

    def ensure_group(self) -> None:
        """Make it as the consumer does: the books are settled first, and it begins behind the highest commit."""
        if not self.world.group:
            self.look()
            self.world.group, self.world.last_delivered = True, self.highest_commit

    @invariant()
    def what_is_lost_is_what_nobody_can_count_any_more(self) -> None:
        """Caught up: every entry that ever was is counted, pending, or in the figure."""
        if self.world.look().caught_up:
            self.look()
            assert self.lost == len(self.world.ever) - len(self.world.counted) - len(self.world.pending)


Bookkeeping.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_the_books_know_every_entrys_fate = Bookkeeping.TestCase
