"""What must be true of a plan that was followed to its end, and of the books when all plans have ended."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TypeVar

from microservices.contracts import claim, decision, permit, plan, result
from microservices.contracts.claim import ClaimState
from microservices.contracts.control import Mode
from microservices.contracts.plan import Decision
from microservices.contracts.position import InflightMark
from microservices.contracts.reason import Reason
from microservices.runtime import streams
from tests.support import counting
from tests.support.suite import Added, Story, Suite
from tests.support.waiting import wait_until

NONE = Decimal(0)
SETTLED_WITHIN_S = 5.0

T = TypeVar("T")


def assert_executed(suite: Suite, story: Story, quantity: Decimal, *, ordered: Decimal | None = None) -> None:
    """Check that a plan was permitted, ordered once, filled, and told so by everybody in the same figures.

    Args:
        suite: where it happened.
        story: the plan's.
        quantity: what had to be filled.
        ordered: what had to be ordered, where that is more.
    """
    entry = streams.entry_of(suite.redis, plan.STREAM, story.added.entry_id)
    assert entry is not None
    planned = plan.decode(plan.decode_header(entry.id, entry.fields or {}))
    ordered = ordered or quantity
    assert [(event.reason, event.allow, Decimal(event.safe_qty)) for event in story.events] == [
        (Reason.ALLOWED, True, ordered)
    ]
    assert story.verdict is not None
    assert (story.verdict.allow, story.verdict.digest) == (True, planned.digest)
    assert story.verdict.plan_entry_id == planned.entry_id
    assert story.permit is None, "a consumed permit still stands"
    assert story.posts == 1
    order = story.order
    assert order is not None
    assert (order.symbol, order.side.value, order.reduce_only) == (planned.symbol, planned.side.value, planned.is_exit)
    assert (order.orig_qty, order.executed_qty) == (ordered, quantity)
    end = story.result
    assert (end.decision, end.executed, end.error, end.gate, end.retryable) == (Decision.EXECUTE, True, "", "", False)
    assert (end.plan_id, end.symbol, end.side) == (planned.plan_id, planned.symbol, planned.side)
    assert (end.quantity, end.price) == (quantity, order.avg_price)
    assert (end.order_id, end.client_order_id) == (str(order.order_id), claim.client_order_id(planned.plan_id))
    assert (end.reduce_only, end.mode, end.source) == (planned.is_exit, Mode.PAPER, planned.source)
    assert story.claim is not None
    assert (story.claim.state, story.claim.plan_entry_id) == (ClaimState.DONE, planned.entry_id)


def assert_ended(
    story: Story,
    error: str,
    decided: Decision = Decision.BLOCKED,
    *,
    gate: str = "",
    retryable: bool = False,
    posts: int = 0,
) -> None:
    """Check that a plan ended without a fill, in exactly these words, and with so many orders sent."""
    end = story.result
    assert (end.decision, end.error, end.gate, end.retryable) == (decided, error, gate, retryable)
    assert (end.executed, end.quantity, end.price) == (False, NONE, NONE)
    named = story.added.plan_id if plan.is_plan_id(story.added.plan_id) else ""
    assert (end.plan_id, end.mode) == (named, Mode.PAPER)
    assert story.posts == posts
    assert story.order is None or story.order.executed_qty == 0


def assert_denied(
    story: Story, reason: Reason, decided: Decision = Decision.BLOCKED, *, retryable: bool = False
) -> None:
    """Check that the brain said no, explicitly and once, that the result says the same, and that no order was sent."""
    assert_ended(story, reason, decided, gate="p33", retryable=retryable)
    assert [(event.reason, event.allow, event.safe_qty) for event in story.events] == [(reason, False, "0")]
    assert story.events[0].symbol == story.result.symbol
    assert '"mark_price"' in story.events[0].context
    assert story.verdict is not None
    assert (story.verdict.allow, story.verdict.reason) == (False, reason)
    assert story.verdict.plan_entry_id == story.added.entry_id
    assert story.permit is not None, "a deny is written as explicitly as an allow"
    assert (story.permit.allow, story.permit.reason, story.permit.safe_qty) == (False, reason, permit.NOTHING)
    assert story.permit.plan_digest == story.verdict.digest
    assert story.order is None


def assert_books(suite: Suite, drifted: Iterable[str] = ()) -> None:
    """Check the books when every plan has ended.

    Every entry has exactly one result, every result one count, nobody has anything in hand, no order went out twice,
    and our ledger says what the exchange says.

    Args:
        suite: where it happened.
        drifted: symbols in which a test traded by hand.
    """
    wait_until(lambda: len(suite.results()) >= len(suite.added), 25, what="every entry to have a result")
    suite.reckon()
    per_entry = Counter(one.plan_entry_id for one in suite.results())
    assert per_entry == Counter(added.entry_id for added in suite.added)
    added_total = suite.redis.xinfo_stream(plan.STREAM)["entries-added"]
    assert added_total == len(suite.added) == suite.redis.xlen(result.STREAM)
    assert counting.counted(suite.redis).decisions.total() == len(suite.added)
    status = counting.status(suite.redis)
    assert (status.processed_total, status.dead_letter_total, status.lost_total) == (len(suite.added), 0, 0)
    assert suite.redis.xlen(decision.DEAD_LETTER_STREAM) == 0
    nothing_left: dict[str, tuple[int, int | None]] = {plan.GROUP_BRAIN: (0, 0), plan.GROUP_APPLY: (0, 0)}
    _becomes(suite.groups, nothing_left)
    assert suite.redis.hgetall(claim.OPEN_KEY) == {}
    sent = Counter(suite.posts())
    assert set(sent.values()) <= {1}
    assert set(sent) <= {claim.client_order_id(added.plan_id) for added in suite.added}
    no_marks: dict[str, InflightMark] = {}
    _becomes(suite.marks, no_marks)
    left_out = set(drifted)
    _becomes(lambda: _without(suite.ledgers(), left_out), _without(suite.positions(), left_out))


def _becomes(read: Callable[[], T], expected: T) -> None:
    """Wait until something is what it has to be; where it does not become so, show what it is."""
    deadline_s = time.monotonic() + SETTLED_WITHIN_S
    while read() != expected and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert read() == expected


def _without(amounts: dict[str, Decimal], symbols: set[str]) -> dict[str, Decimal]:
    return {symbol: amount for symbol, amount in amounts.items() if symbol not in symbols}


def follow_all(suite: Suite, plans: Iterable[Added]) -> list[Story]:
    """Follow plans that were all added before."""
    return [suite.follow(added) for added in plans]
