"""mark_sent, restore_sent, finish and answer against a real Redis: compare-and-set, all or nothing."""

from decimal import Decimal

import msgspec
import pytest
from redis import Redis

from microservices.apply_layer.jobs import Job
from microservices.apply_layer.scripts import SENT, Broken, Claimed, Done, Exists, LeaseLost, NotPending
from microservices.apply_layer.sent_log import SentOrder
from microservices.contracts import account, claim, control, plan, result
from microservices.contracts.claim import ClaimState
from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Action, Decision, Side
from microservices.contracts.result import Result
from tests.support.apply_bench import INSTANCE, P33, Bench
from tests.support.apply_world import SYMBOL, redis_ms

SENT_MS = 1_800_000_000_000


@pytest.fixture
def bench(redis_client: Redis) -> Bench:
    """A bench whose stream has its group."""
    made = Bench(redis_client)
    redis_client.xgroup_create(plan.STREAM, plan.GROUP_APPLY, "0", mkstream=True)
    return made


def read(bench: Bench) -> None:
    """Read everything as the apply layer's consumer, so that it is pending."""
    bench.redis.xreadgroup(plan.GROUP_APPLY, plan.CONSUMER_APPLY, {plan.STREAM: ">"}, count=100)


def claimed(bench: Bench, plan_id: str = "p1", *, is_open: bool = False) -> Job:
    """Add, permit, read and claim a plan."""
    entry_id = bench.world.add_open(plan_id) if is_open else bench.world.add(plan_id)
    bench.world.permit(entry_id)
    read(bench)
    answer = bench.consume(entry_id)
    assert isinstance(answer, Claimed)
    return Job.of_plan(bench.world.plan(entry_id), answer.quantity, 3)


def an_end(entry_id: str, plan_id: str = "p1", **changes: object) -> Result:
    """Give a fill's result."""
    end = Result(
        plan_id=plan_id, plan_entry_id=entry_id, symbol=SYMBOL, decision=Decision.EXECUTE, executed=True,
        order_id="7", client_order_id="q1", side=Side.SELL, quantity=Decimal("0.002"), price=Decimal(50_000),
        reduce_only=True, mode=Mode.PAPER, timestamp=1_800_000_000,
    )  # fmt: skip
    return msgspec.structs.replace(end, **changes)


def order_of(job: Job) -> SentOrder:
    """Give the line that `sent.log` would have."""
    return SentOrder(
        plan_id=job.plan_id, plan_entry_id=job.entry_id, symbol=job.symbol, action=job.action, side=Side.SELL,
        quantity=job.quantity, reduce_only=True, client_order_id=job.client_order_id, sent_at_ms=SENT_MS,
    )  # fmt: skip


def test_a_claim_is_sent_once(bench: Bench) -> None:
    """Of two who would send it, one may."""
    job = claimed(bench)
    assert bench.scripts.mark_sent(job, SENT_MS) == SENT
    made = bench.world.claim("p1")
    assert made is not None
    assert (made.state, made.sent_at_ms) == (ClaimState.SENT, SENT_MS)
    raw: object = bench.redis.hget(claim.OPEN_KEY, "p1")
    assert claim.decode_open(raw, "p1").state is ClaimState.SENT
    assert bench.scripts.mark_sent(job, SENT_MS + 1) == "not_claimed"


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (("SET", claim.LEASE_KEY, "lock:two"), "lease_lost"),
        (("DEL", claim.LEASE_KEY), "lease_lost"),
        (("DEL", claim.key("p1")), "not_claimed"),
        (("HSET", claim.key("p1"), "state", "done"), "not_claimed"),
        (("HSET", claim.key("p1"), "plan_entry_id", "9-9"), "not_claimed"),
        (("SET", claim.key("p1"), "x"), "not_claimed"),
        (("HSET", account.KEY, "account", "other"), "account_mismatch"),
        (("SET", control.KILL_SWITCH_KEY, "full_stop"), "kill_switch"),
        (("SET", control.hold_key(SYMBOL), "all: stop"), "reconcile_hold_active"),
        (("HSET", control.BACKOFF_KEY, "banned_until_ms", "99999999999999"), "backoff"),
        (("SET", claim.OPEN_KEY, "x"), "broken"),
    ],
)
def test_what_forbids_the_order_at_the_last_moment(bench: Bench, command: tuple[str, ...], word: str) -> None:
    """Whatever an operator, the exchange or another instance said since the claim counts; nothing is written."""
    job = claimed(bench)
    bench.command(*command)
    before = bench.dump()
    assert bench.scripts.mark_sent(job, SENT_MS) == word
    assert bench.dump() == before


def test_a_claim_that_grew_old_is_not_sent(bench: Bench) -> None:
    """A crash between claim and order: the plan must still be young."""
    job = claimed(bench)
    assert job.times is not None
    job.times = job.times._replace(oldest_ms=redis_ms(bench.redis) - 61_000)
    assert bench.scripts.mark_sent(job, SENT_MS) == "plan_expired"


def test_no_new_risk_stops_an_open_and_no_exit_at_the_last_moment(bench: Bench) -> None:
    """The kill switch takes effect on every path."""
    opening, exiting = claimed(bench, "o1", is_open=True), claimed(bench, "e1")
    bench.redis.set(control.KILL_SWITCH_KEY, "no_new_risk")
    assert bench.scripts.mark_sent(opening, SENT_MS) == "kill_switch"
    assert bench.scripts.mark_sent(exiting, SENT_MS) == SENT


def test_a_plan_ends_with_claim_result_and_ack_in_one(bench: Bench) -> None:
    """And a second time changes nothing: exactly one result."""
    job = claimed(bench)
    assert bench.scripts.mark_sent(job, SENT_MS) == SENT
    done = bench.scripts.finish(an_end(job.entry_id), has_claim=True, was_sent=True)
    assert isinstance(done, Done)
    made = bench.world.claim("p1")
    assert made is not None
    assert (made.state, made.result_id, made.plan_entry_id) == (ClaimState.DONE, done.result_id, job.entry_id)
    assert (made.qty, made.sent_at_ms) == (job.quantity, SENT_MS)
    assert 23 * 3600 < bench.redis.ttl(claim.key("p1")) <= 24 * 3600
    again = bench.scripts.finish(an_end(job.entry_id), has_claim=True, was_sent=True)
    assert again == Exists("done", job.entry_id, done.result_id)
    assert bench.scripts.finish(an_end(job.entry_id), has_claim=False, was_sent=False) == again
    bench.world.assert_settled(1)


def test_a_plan_that_ends_without_an_order_leaves_a_done_claim_for_ten_minutes(bench: Bench) -> None:
    """Created where absent, so that a late permit and a second entry find it."""
    entry_id = bench.world.add("p1")
    read(bench)
    end = an_end(entry_id, decision=Decision.BLOCKED, executed=False, error="permit_timeout", client_order_id="")
    assert isinstance(bench.scripts.finish(end, has_claim=False, was_sent=False), Done)
    made = bench.world.claim("p1")
    assert made is not None
    assert (made.state, made.client_order_id) == (ClaimState.DONE, "")
    assert 500 < bench.redis.ttl(claim.key("p1")) <= 600
    bench.world.assert_settled(1)


def test_a_plan_with_a_claim_does_not_end_as_one_without(bench: Bench) -> None:
    """A reply was lost: the claim stands, and must not be ended as if nothing had been claimed."""
    job = claimed(bench)
    answer = bench.scripts.finish(an_end(job.entry_id), has_claim=False, was_sent=False)
    assert answer == Exists("claimed", job.entry_id)
    assert bench.world.results() == []
    assert bench.world.pending() == 1


def test_a_claim_that_a_rollback_took_away_still_ends(bench: Bench) -> None:
    """The order was filled, Redis has forgotten the claim: the result is written, once."""
    job = claimed(bench)
    bench.redis.delete(claim.key("p1"), claim.OPEN_KEY)
    assert isinstance(bench.scripts.finish(an_end(job.entry_id), has_claim=True, was_sent=True), Done)
    bench.world.assert_settled(1)


def test_another_entrys_claim_is_not_touched(bench: Bench) -> None:
    """Whoever holds it ends it."""
    job = claimed(bench)
    second = bench.world.add("p1")
    before = bench.dump()
    for has_claim in (True, False):
        answer = bench.scripts.finish(an_end(second), has_claim=has_claim, was_sent=False)
        assert answer == Exists("claimed", job.entry_id)
    assert bench.dump() == before


def test_a_filled_open_is_remembered_until_the_account_shows_it(bench: Bench) -> None:
    """I-15: the newest account row may be from before the fill; exits and unfilled opens add no position."""
    fills = {"o1": (True, True, False), "o2": (True, False, False), "e1": (False, True, True)}
    for plan_id, (is_open, executed, reduce_only) in fills.items():
        job = claimed(bench, plan_id, is_open=is_open)
        end = an_end(job.entry_id, plan_id, executed=executed, reduce_only=reduce_only)
        assert isinstance(bench.scripts.finish(end, has_claim=True, was_sent=True), Done)
    assert bench.redis.zrange(claim.OPENS_KEY, 0, -1) == [b"o1"]
    assert 0 < bench.redis.ttl(claim.OPENS_KEY) <= claim.OPENS_KEPT_S


@pytest.mark.parametrize("lease", [None, "lock:two"])
def test_without_the_lease_nothing_is_ended(bench: Bench, lease: str | None) -> None:
    """Whoever holds it now does it."""
    job = claimed(bench)
    bench.redis.delete(claim.LEASE_KEY)
    if lease:
        bench.redis.set(claim.LEASE_KEY, lease)
    before = bench.dump()
    assert bench.scripts.finish(an_end(job.entry_id), has_claim=True, was_sent=True) == LeaseLost()
    assert bench.scripts.answer(an_end(job.entry_id)) == LeaseLost()
    assert bench.scripts.restore_sent(order_of(job)) == LeaseLost()
    assert bench.dump() == before


def test_results_of_another_type_end_nothing(bench: Bench) -> None:
    """The plan stays open until the key is moved away; nothing is acked without its result."""
    job = claimed(bench)
    second = bench.world.add("p1")
    read(bench)
    bench.redis.set(result.STREAM, "x")
    before = bench.dump()
    assert bench.scripts.finish(an_end(job.entry_id), has_claim=True, was_sent=True) == Broken(result.STREAM)
    assert bench.scripts.answer(an_end(second)) == Broken(result.STREAM)
    assert bench.dump() == before


@pytest.mark.parametrize("key", [claim.OPEN_KEY, claim.OPENS_KEY, plan.STREAM])
def test_other_keys_of_another_type_do_not_keep_a_result_back(bench: Bench, key: str) -> None:
    """A fill is a fill: its result is written whatever else is broken."""
    job = claimed(bench, is_open=True)
    bench.redis.delete(key)
    bench.redis.set(key, "x")
    end = an_end(job.entry_id, reduce_only=False)
    assert isinstance(bench.scripts.finish(end, has_claim=True, was_sent=True), Done)
    assert len(bench.world.results()) == 1


def test_a_claim_key_of_another_type_is_told(bench: Bench) -> None:
    """It cannot be made done, and is not overwritten."""
    job = claimed(bench)
    bench.redis.set(claim.key("p1"), "x")
    assert bench.scripts.finish(an_end(job.entry_id), has_claim=True, was_sent=True) == Exists("unreadable", "")
    assert bench.scripts.restore_sent(order_of(job)) == Exists("unreadable", "")


def test_a_full_server_ends_nothing_by_half(bench: Bench) -> None:
    """The result is the first write: where it is refused, nothing has happened."""
    job = claimed(bench)
    second = bench.world.add("p1")
    read(bench)
    before = bench.dump()
    bench.redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(Exception, match=r"OOM|maxmemory"):
            bench.scripts.finish(an_end(job.entry_id), has_claim=True, was_sent=True)
        with pytest.raises(Exception, match=r"OOM|maxmemory"):
            bench.scripts.answer(an_end(second))
    finally:
        bench.redis.config_set("maxmemory", "0")
    assert bench.dump() == before
    assert bench.world.pending() == 2


def test_a_duplicate_is_answered_once_and_touches_nothing_else(bench: Bench) -> None:
    """I-05: one result, by whoever takes the entry out of the pending list; claim and permits stay."""
    job = claimed(bench)
    second = bench.world.add("p1")
    bench.world.permit(job.entry_id)
    read(bench)
    before = {key: bench.redis.dump(key) for key in (claim.key("p1"), claim.OPEN_KEY, "quantum:permit:p33:p1")}
    end = an_end(second, decision=Decision.SKIP, executed=False, error="duplicate_plan")
    assert isinstance(bench.scripts.answer(end), Done)
    assert bench.scripts.answer(end) == NotPending()
    assert {key: bench.redis.dump(key) for key in before} == before
    assert [answered.error for answered in bench.world.results()] == ["duplicate_plan"]


def test_an_entry_of_a_lost_group_is_not_answered(bench: Bench) -> None:
    """The new group gives it again, and then it is."""
    entry_id = bench.world.add("p1")
    read(bench)
    bench.redis.xgroup_destroy(plan.STREAM, plan.GROUP_APPLY)
    assert bench.scripts.answer(an_end(entry_id)) == NotPending()
    bench.redis.delete(plan.STREAM)
    assert bench.scripts.answer(an_end(entry_id)) == NotPending()
    assert bench.world.results() == []


def test_an_order_gets_its_claim_back(bench: Bench) -> None:
    """From nothing, from claimed, and from sent; a done one and another's stay as they are."""
    job = claimed(bench)
    order = order_of(job)
    for lost in ((), (claim.key("p1"),), (claim.key("p1"), claim.OPEN_KEY)):
        if lost:
            bench.redis.delete(*lost)
        assert bench.scripts.restore_sent(order) is None
        made = bench.world.claim("p1")
        assert made is not None
        assert (made.state, made.sent_at_ms, made.qty) == (ClaimState.SENT, SENT_MS, order.quantity)
        assert (made.plan_entry_id, made.client_order_id) == (job.entry_id, job.client_order_id)
        assert bench.redis.ttl(claim.key("p1")) == -1
        raw: object = bench.redis.hget(claim.OPEN_KEY, "p1")
        assert claim.decode_open(raw, "p1").action is Action.FULL_CLOSE_PROPOSED
    other = msgspec.structs.replace(order, plan_entry_id="9-9")
    assert bench.scripts.restore_sent(other) == Exists("sent", job.entry_id)
    done = bench.scripts.finish(an_end(job.entry_id), has_claim=True, was_sent=True)
    assert isinstance(done, Done)
    assert bench.scripts.restore_sent(order) == Exists("done", job.entry_id, done.result_id)


def test_scripts_are_sent_again_where_the_server_has_forgotten_them(bench: Bench) -> None:
    """A restarted server knows no script."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id)
    bench.redis.script_flush()
    assert isinstance(bench.scripts.consume(bench.world.plan(entry_id), P33, may_claim=True), Claimed)


def test_two_instances_claim_a_plan_once(bench: Bench) -> None:
    """I-10: the lease names one, and even with its name twice there is one claim."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id, Gate.P33)
    plan_ = bench.world.plan(entry_id)
    assert bench.redis.get(claim.LEASE_KEY) == INSTANCE.encode()
    answers = [bench.scripts.consume(plan_, P33, may_claim=True) for _ in range(3)]
    assert [type(answer) for answer in answers] == [Claimed, Exists, Exists]
