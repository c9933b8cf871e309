"""Rubbish under the keys that the services read, and at last no keys at all: denied with a reason, mended, forgotten.

One suite for all, the emptied Redis last: after it the books begin anew.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from microservices.contracts import account, claim, control, decision, permit, position, universe
from microservices.contracts.plan import Action, Decision, Side
from microservices.contracts.reason import Reason
from tests.support import counting
from tests.support.story import assert_books, assert_executed
from tests.support.suite import Added, Story, Suite
from tests.support.waiting import wait_until

APPLY, BRAIN, COUNTER = "apply-layer", "position-state-brain", "p35-decision-intelligence"
HELD, ASKED = "XRPUSDT", "LINKUSDT"
QUANTITY = "4.1"
"""Of `ASKED`: about 60 USDT."""
GARBAGE = b"\xff\xfe\x00\x80"
HUGE = b"9" * 1_000_000
DONE = ""
EVERY_KIND = ("bytes", "huge", "list", "fields")


class Expected(NamedTuple):
    """What an open and an exit end in while a key is rubbish; what is not denied is not asked for here."""

    key: str
    open_error: str
    exit_error: str
    line: str = ""
    """What must stand in the brain's log."""


CASES = [
    Expected(control.KILL_SWITCH_KEY, "kill_switch", "kill_switch", line=f"{control.KILL_SWITCH_KEY} is "),
    Expected(control.hold_key(ASKED), "reconcile_hold_active", DONE),
    Expected(account.KEY, "account_mismatch", "account_mismatch"),
    Expected(universe.INSTRUMENTS_KEY, "instrument_unknown", "instrument_unknown"),
    Expected(position.BASELINE_KEY, "no_baseline", DONE),
    Expected(position.ledger_key(ASKED), "reconcile_required_qty_mismatch", DONE, line=position.ledger_key(ASKED)),
    Expected(position.inflight_key(HELD), DONE, "permit_outstanding", line=position.inflight_key(HELD)),
    Expected(claim.OPEN_KEY, "permit_outstanding", "permit_outstanding", line=claim.OPEN_KEY),
]
TOLERATED = [universe.META_KEY, position.LEDGER_CURSOR_KEY, position.STATUS_KEY, claim.STATUS_KEY]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite with a position."""
    settings = {
        BRAIN: {"P33_COOLDOWN_SEC": "0", "P33_POLL_SEC": "1", "P33_STALE_THRESHOLD_SEC": "3"},
        APPLY: {"APPLY_MAX_NOTIONAL_USDT": "20000"},
        "universe-service": {"UNIVERSE_REFRESH_SEC": "10"},
    }
    with Suite(tmp_path_factory.mktemp("suite"), settings) as running:
        story = running.follow(running.open(HELD, qty=5_000))
        assert_executed(running, story, story.result.quantity)
        settle(running, HELD)
        yield running


def put(suite: Suite, key: str, kind: str) -> None:
    """Put rubbish in place of what is there."""
    pipeline = suite.redis.pipeline(transaction=True)
    pipeline.delete(key)
    if kind in ("bytes", "huge"):
        pipeline.set(key, GARBAGE if kind == "bytes" else HUGE)
    elif kind == "list":
        pipeline.rpush(key, GARBAGE)
    else:
        pipeline.hset(key, mapping={GARBAGE: GARBAGE, "plan_id": "", "position_amt": "NaN", "adopted_at_ms": ""})
    pipeline.execute()


def settle(suite: Suite, *symbols: str) -> None:
    """Wait until nothing is on its way, and the account is known as it is since the last executions."""
    wait_until(lambda: not suite.marks(), 30, what="every mark to be gone")
    for symbol in symbols:
        suite.settle(symbol)


def ask_open(suite: Suite) -> Added:
    """Ask for an open."""
    return suite.open(ASKED, qty=QUANTITY)


def ask_exit(suite: Suite) -> Added:
    """Ask for an exit of a little of the position."""
    return suite.exit(HELD, Side.SELL, Action.PARTIAL_25, qty=10)


def assert_ends_in(suite: Suite, added: Added, error: str) -> Story:
    """Check what a plan ends in; an exit or open that is not denied is done."""
    story = suite.follow(added)
    assert story.result.error == error
    assert story.result.executed is (error == DONE)
    assert story.posts == int(error == DONE)
    return story


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("expected", CASES, ids=lambda expected: expected.key)
def test_rubbish_denies_with_a_reason_until_it_is_mended(suite: Suite, expected: Expected, kind: str) -> None:
    """No crash, no default in place of what cannot be read, one line that names the key where the reason does not."""
    settle(suite, ASKED, HELD)
    saved = suite.redis.dump(expected.key)
    put(suite, expected.key, kind)
    try:
        if expected.open_error != DONE:
            assert_ends_in(suite, ask_open(suite), expected.open_error)
        if expected.exit_error != DONE:
            assert_ends_in(suite, ask_exit(suite), expected.exit_error)
        assert expected.line in suite.log(BRAIN)
    finally:
        suite.redis.delete(expected.key)
        if saved is not None:
            suite.redis.restore(expected.key, 0, saved)
    suite.ready()


@pytest.mark.parametrize("key", TOLERATED)
def test_rubbish_that_decides_nothing_stops_nothing(suite: Suite, key: str) -> None:
    """A second tier stands in, results are read from the baseline on, a heartbeat is only shown."""
    settle(suite, HELD)
    saved = suite.redis.dump(key)
    put(suite, key, "bytes")
    try:
        assert_ends_in(suite, ask_exit(suite), DONE)
    finally:
        suite.redis.delete(key)
        if saved is not None and key != position.LEDGER_CURSOR_KEY:
            suite.redis.restore(key, 0, saved)


def test_an_unreadable_back_off_holds_orders_back_and_says_so(suite: Suite) -> None:
    """The exchange may have banned us: the order goes out once the key is gone."""
    settle(suite, HELD)
    suite.wait_for_snapshot()
    suite.redis.set(control.BACKOFF_KEY, GARBAGE)
    added = ask_exit(suite)
    line = f"waits: {control.BACKOFF_KEY} says that the exchange takes no order now, or cannot be read"
    wait_until(lambda: line in suite.log(APPLY), 20, what="the reason for waiting")
    assert not suite.posts(added)
    suite.redis.delete(control.BACKOFF_KEY)
    assert_ends_in(suite, added, DONE)


def test_rubbish_in_the_counters_status_delays_the_count(suite: Suite) -> None:
    """Named in one line; when it is mended every result is counted."""
    saved = suite.redis.dump(decision.STATUS_KEY)
    assert saved is not None
    put(suite, decision.STATUS_KEY, "bytes")
    added = suite.plan(symbol=ASKED, decision=Decision.SKIP, reason_codes="meanwhile")
    wait_until(lambda: "WRONGTYPE quantum:p35:status is a string, not a hash" in suite.log(COUNTER), 20)
    suite.redis.delete(decision.STATUS_KEY)
    suite.redis.restore(decision.STATUS_KEY, 0, saved)
    assert suite.follow(added).result.error == "meanwhile"


@pytest.mark.parametrize("lease", [position.LEASE_KEY, claim.LEASE_KEY])
def test_a_lease_that_is_taken_away_costs_seconds(suite: Suite, lease: str) -> None:
    """Deleted by somebody's hand: the one instance takes it again, and the exit is done."""
    settle(suite, HELD)
    suite.redis.delete(lease)
    assert_ends_in(suite, ask_exit(suite), DONE)


def test_the_books_balance(suite: Suite) -> None:
    """One result an entry, one count a result, one order a plan; the ledger is the exchange's position."""
    assert_books(suite)
    assert suite.has_ended() == {}


def test_an_emptied_redis_opens_nothing_until_all_is_back(suite: Suite) -> None:
    """Everything is gone: denied until universe, baseline and kill switch are back; nobody ends, all is said."""
    held, orders, since = suite.positions(), len(suite.posts()), len(suite.log(APPLY))
    suite.redis.flushall()
    errors: list[str] = []

    def is_only_switched_off() -> bool:
        added = ask_open(suite)
        wait_until(lambda: suite.results(added), 20, what="a result")
        errors.append(suite.results(added)[0].error)
        return suite.redis.exists(universe.ACTIVE_KEY, position.BASELINE_KEY) == 2 and errors[-1] == "kill_switch"

    wait_until(is_only_switched_off, 30, what="universe and baseline, and the kill switch alone", every_s=0.5)
    assert set(errors) <= {Reason.PERMIT_TIMEOUT, Reason.KILL_SWITCH, Reason.NO_ALLOWLIST, Reason.ACCOUNT_MISMATCH}
    assert (suite.positions(), len(suite.posts())) == (held, orders)
    assert suite.has_ended() == {}
    assert "every count in Redis are gone; this process last saw: " in suite.log(COUNTER)
    # What its reader met first: the group gone, or the lease, after which it begins anew.
    made = ("Group apply_layer of quantum:stream:apply.plan was lost", "Made group apply_layer on quantum:stream:apply")
    assert any(line in suite.log(APPLY)[since:] for line in made)
    suite.set_kill_switch("off")
    suite.wait_for_snapshot()
    for added in (ask_open(suite), ask_exit(suite)):
        wait_until(lambda added=added: suite.results(added), 20, what="the result")  # type: ignore[misc] # bound now
        assert suite.results(added)[0].executed
    results = len(suite.results())
    wait_until(lambda: counting.counted(suite.redis).decisions.total() == results, 30, what="every result counted")
    now_held = suite.positions()
    wait_until(lambda: suite.ledgers() == now_held, 30, what="ledger = exchange")
    assert suite.redis.xlen(permit.EVENTS) > 0
