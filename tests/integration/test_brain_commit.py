"""The committing script on a real Redis: all of a verdict or nothing, once, under the lease, and never too long."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from redis import Redis

from microservices.contracts import claim, permit, plan, position
from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate, PermitDocument, PermitEvent
from microservices.contracts.plan import Action, InvalidPlan, Plan, Side
from microservices.contracts.position import InflightMark
from microservices.contracts.reason import Reason
from microservices.position_state_brain.committing import Committer, LeaseLost, Outcome
from microservices.position_state_brain.evaluation import deny_invalid, evaluate
from microservices.position_state_brain.facts import Facts, Limits
from microservices.position_state_brain.verdict import Allow, Deny
from microservices.runtime.streams import entries_after
from tests.support.brain import SYMBOL, exit_fields, facts_of, held, plan_fields, view_of

D = Decimal
INSTANCE = "lock:instance"
MAX_AGE_MS = 60_000


class Desk:
    """A Redis whose lease is ours, plans that are handed to us, and what stands there afterwards."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        redis.set(position.LEASE_KEY, INSTANCE)
        redis.xgroup_create(plan.STREAM, plan.GROUP_BRAIN, "0", mkstream=True)
        self.committer = Committer(
            redis, lambda: INSTANCE, Mode.PAPER, permit_ttl_ms=60_000, plan_max_age_ms=MAX_AGE_MS
        )

    def now_ms(self) -> int:
        """Redis's clock."""
        seconds, microseconds = self.redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def given(self, fields: dict[str, str], *, age_ms: int = 0) -> Plan:
        """Add a plan of this age and take it from the group."""
        stamped = fields | {"timestamp": f"{(self.now_ms() - age_ms) / 1000:.3f}"}
        self.redis.xadd(plan.STREAM, dict(stamped.items()))
        answer: Any = self.redis.xreadgroup(plan.GROUP_BRAIN, plan.CONSUMER_BRAIN, {plan.STREAM: ">"})
        entry_id, raw = answer[0][1][-1]
        return plan.decode(plan.decode_header(entry_id.decode(), raw))

    def facts(self, position_amt: str = "0", **changes: Any) -> Facts:
        """Facts of this moment, all well."""
        now_ms = self.now_ms()
        ours = {"account": view_of(ts_ms=now_ms, BTCUSDT=held(position_amt, ts_ms=now_ms)), "now_ms": now_ms}
        return facts_of(position_amt, **(ours | changes))

    def allowed(self, planned: Plan, position_amt: str = "0", **changes: Any) -> Allow:
        """An allow, as only the evaluation makes it."""
        verdict = evaluate(planned, self.facts(position_amt, **changes), Limits())
        assert isinstance(verdict, Allow), verdict
        return verdict

    def permit(self, plan_id: str) -> PermitDocument:
        """A plan's permit."""
        return permit.decode(self.redis.get(permit.key(Gate.P33, plan_id)), plan_id)

    def events(self) -> list[PermitEvent]:
        """All events, oldest first."""
        return [
            permit.decode_event(entry.fields or {}, "event")
            for entry in entries_after(self.redis, permit.EVENTS, "0-0", count=99)
        ]

    def pending(self) -> int:
        """How many plans are handed out and not acked."""
        return int(self.redis.xpending(plan.STREAM, plan.GROUP_BRAIN)["pending"])

    def mark(self) -> InflightMark | None:
        """The symbol's mark."""
        return position.decode_inflight(self.redis.hgetall(position.inflight_key(SYMBOL)), SYMBOL)

    def written(self) -> set[str]:
        """Every key but stream of plans and lease."""
        return {bytes(key).decode() for key in self.redis.scan_iter()} - {plan.STREAM, position.LEASE_KEY}


@pytest.fixture
def desk(redis_client: Redis) -> Desk:
    """A desk of the test's own."""
    return Desk(redis_client)


def test_an_allow_writes_permit_verdict_event_mark_and_ack_together(desk: Desk) -> None:
    """Everything the chain needs of one decision, and each part tied to this plan."""
    planned = desk.given(plan_fields())
    before_ms = desk.now_ms()
    committed = desk.committer.commit(planned, desk.allowed(planned), None)
    assert committed.outcome is Outcome.DONE
    document = desk.permit("p1")
    assert (document.gate, document.plan_id, document.plan_digest) == (Gate.P33, "p1", planned.digest)
    assert (document.symbol, document.mode, document.side) == (SYMBOL, Mode.PAPER, Side.BUY)
    assert (document.allow, document.safe_qty, document.reason) == (True, "0.01", "allowed")
    assert document.context["mark_price"] == "60000"
    assert before_ms <= committed.at_us // 1000 <= desk.now_ms()
    verdict = position.decode_verdict(desk.redis.hgetall(position.verdict_key("p1")), "p1")
    assert verdict == position.VerdictRow(planned.entry_id, allow=True, reason="allowed", digest=planned.digest)
    assert 0 < desk.redis.ttl(position.verdict_key("p1")) <= position.VERDICT_TTL_S
    (event,) = desk.events()
    assert (event.gate, event.plan_id, event.plan_entry_id) == (Gate.P33, "p1", planned.entry_id)
    assert (event.allow, event.safe_qty, event.reason) == (True, "0.01", "allowed")
    assert msgspec.json.decode(event.context) == document.context
    assert desk.mark() == InflightMark("p1", planned.entry_id, Action.OPEN)
    assert desk.pending() == 0


def test_a_deny_is_as_explicit_but_marks_nothing(desk: Desk) -> None:
    """An executor must not have to wait for what will never come."""
    planned = desk.given(plan_fields())
    assert desk.committer.commit(planned, Deny(Reason.KILL_SWITCH, {"mark_price": None}), None).outcome is Outcome.DONE
    document = desk.permit("p1")
    assert (document.allow, document.safe_qty, document.reason) == (False, "0", "kill_switch")
    assert desk.mark() is None
    assert (desk.events()[0].allow, desk.pending()) == (False, 0)


@pytest.mark.parametrize("age_ms", [0, 30_000])
def test_a_permit_lives_its_minute_but_never_longer_than_its_plan(desk: Desk, age_ms: int) -> None:
    """By Redis's clock alone, in the document and in the key's own life."""
    planned = desk.given(plan_fields(), age_ms=age_ms)
    desk.committer.commit(planned, desk.allowed(planned), None)
    document = desk.permit("p1")
    born_ms = round(document.created_at * 1000)
    assert document.expires_at_ms == min(born_ms + 60_000, int(planned.timestamp * 1000) + MAX_AGE_MS)
    assert desk.redis.pexpiretime(permit.key(Gate.P33, "p1")) == document.expires_at_ms


def test_an_allow_of_a_plan_that_expired_meanwhile_is_not_written(desk: Desk) -> None:
    """It is judged again, and denied; the deny of an expired plan can still be read."""
    planned = desk.given(plan_fields(), age_ms=30_000)
    verdict = desk.allowed(planned)
    late = Committer(desk.redis, lambda: INSTANCE, Mode.PAPER, permit_ttl_ms=60_000, plan_max_age_ms=29_000)
    assert late.commit(planned, verdict, None).outcome is Outcome.EXPIRED
    assert (desk.written(), desk.pending()) == (set(), 1)
    assert late.commit(planned, Deny(Reason.PLAN_EXPIRED, {}), None).outcome is Outcome.DONE
    assert desk.permit("p1").reason == "plan_expired"


def test_without_the_lease_nothing_is_written(desk: Desk) -> None:
    """Whoever lost it must not decide any more, and the plan stays for whoever has it."""
    planned = desk.given(plan_fields())
    verdict = desk.allowed(planned)
    for holder in ("another:instance", None, ["a list"]):
        desk.redis.delete(position.LEASE_KEY)
        if isinstance(holder, str):
            desk.redis.set(position.LEASE_KEY, holder)
        elif holder:
            desk.redis.rpush(position.LEASE_KEY, *holder)
        with pytest.raises(LeaseLost):
            desk.committer.commit(planned, verdict, None)
        with pytest.raises(LeaseLost):
            desk.committer.acknowledge(planned.entry_id)
        assert (desk.written(), desk.pending()) == (set(), 1)


def test_only_the_call_that_acks_writes(desk: Desk) -> None:
    """An entry that is not pending any more was answered by somebody."""
    planned = desk.given(plan_fields())
    verdict = desk.allowed(planned)
    desk.redis.xack(plan.STREAM, plan.GROUP_BRAIN, planned.entry_id)
    assert desk.committer.commit(planned, verdict, None).outcome is Outcome.NOT_OURS
    assert desk.committer.acknowledge(planned.entry_id).outcome is Outcome.NOT_OURS
    assert desk.written() == set()


def test_the_same_entry_is_decided_once_whatever_is_said_later(desk: Desk) -> None:
    """A lost group hands plans out again: the first verdict stays, and no second event is written."""
    planned = desk.given(plan_fields())
    desk.committer.commit(planned, Deny(Reason.KILL_SWITCH, {}), None)
    desk.redis.xgroup_destroy(plan.STREAM, plan.GROUP_BRAIN)
    desk.redis.xgroup_create(plan.STREAM, plan.GROUP_BRAIN, "0")
    desk.redis.xreadgroup(plan.GROUP_BRAIN, plan.CONSUMER_BRAIN, {plan.STREAM: ">"})
    assert desk.committer.commit(planned, desk.allowed(planned), None).outcome is Outcome.ALREADY
    assert (desk.permit("p1").allow, len(desk.events()), desk.mark(), desk.pending()) == (False, 1, None, 0)


def test_another_entry_under_the_same_id_changes_nothing_of_the_first(desk: Desk) -> None:
    """Same plan id, another quantity (I-05): an event says so, permit and mark stay the first entry's."""
    first = desk.given(plan_fields())
    desk.committer.commit(first, desk.allowed(first), None)
    second = desk.given(plan_fields(qty=D(5)))
    assert desk.committer.commit(second, desk.allowed(second), None).outcome is Outcome.DUPLICATE
    assert (desk.permit("p1").plan_digest, desk.mark()) == (
        first.digest,
        InflightMark("p1", first.entry_id, Action.OPEN),
    )
    assert [event.reason for event in desk.events()] == ["allowed", "duplicate_plan"]
    assert desk.pending() == 0


def test_a_permit_that_somebody_else_put_there_is_not_made_ours(desk: Desk) -> None:
    """A forged permit (I-09) never gets a mark, without which no executor takes it."""
    planned = desk.given(plan_fields())
    desk.redis.set(permit.key(Gate.P33, "p1"), "forged")
    assert desk.committer.commit(planned, desk.allowed(planned), None).outcome is Outcome.DUPLICATE
    assert (desk.redis.get(permit.key(Gate.P33, "p1")), desk.mark()) == (b"forged", None)


@pytest.mark.parametrize("state", ["claimed", "sent", "done"])
def test_a_plan_that_has_a_claim_is_over(desk: Desk, state: str) -> None:
    """A permit that comes too late is none: nothing but the ack and an event."""
    planned = desk.given(plan_fields())
    desk.redis.hset(claim.key("p1"), "state", state)
    assert desk.committer.commit(planned, desk.allowed(planned), None).outcome is Outcome.PLAN_ENDED
    assert desk.written() == {claim.key("p1"), permit.EVENTS}
    assert (desk.events()[0].reason, desk.events()[0].allow, desk.pending()) == ("plan_ended", False, 0)


def test_an_allow_counts_only_while_the_mark_is_the_one_it_was_judged_on(desk: Desk) -> None:
    """Two opens judged at the same moment: the second finds the mark of the first, and nothing is written."""
    first, second = desk.given(plan_fields()), desk.given(plan_fields(plan_id="p2"))
    verdict = desk.allowed(second)
    desk.committer.commit(first, desk.allowed(first), None)
    assert desk.committer.commit(second, verdict, None).outcome is Outcome.MOVED
    assert (desk.pending(), desk.redis.exists(permit.key(Gate.P33, "p2"))) == (1, 0)


def test_an_exit_displaces_an_open_that_nobody_has_claimed(desk: Desk) -> None:
    """The open's permit becomes a deny with the life it had left, a second event says so, the mark is the exit's."""
    opened = desk.given(plan_fields())
    desk.committer.commit(opened, desk.allowed(opened), None)
    expires_ms = desk.permit("p1").expires_at_ms
    closing = desk.given(exit_fields(plan_id="p2"))
    verdict = desk.allowed(closing, "0.5", mark=desk.mark())
    assert desk.committer.commit(closing, verdict, desk.mark()).outcome is Outcome.DISPLACED
    withdrawn = desk.permit("p1")
    assert (withdrawn.allow, withdrawn.safe_qty, withdrawn.reason) == (False, "0", "displaced_by_exit")
    assert (withdrawn.plan_digest, withdrawn.expires_at_ms) == (opened.digest, expires_ms)
    assert desk.redis.pexpiretime(permit.key(Gate.P33, "p1")) == expires_ms
    assert [(event.plan_id, event.reason) for event in desk.events()[1:]] == [
        ("p2", "allowed"),
        ("p1", "displaced_by_exit"),
    ]
    assert desk.events()[2].plan_entry_id == opened.entry_id
    verdict_row = position.decode_verdict(desk.redis.hgetall(position.verdict_key("p1")), "p1")
    assert verdict_row is not None
    assert (verdict_row.allow, verdict_row.reason) == (False, "displaced_by_exit")
    assert desk.mark() == InflightMark("p2", closing.entry_id, Action.FULL_CLOSE_PROPOSED)


def test_an_exit_leaves_a_claimed_open_alone_and_takes_the_mark(desk: Desk) -> None:
    """Its order may be out: it cannot be withdrawn, and does not hold the exit up."""
    opened = desk.given(plan_fields())
    desk.committer.commit(opened, desk.allowed(opened), None)
    closing = desk.given(exit_fields(plan_id="p2"))
    verdict, mark = desk.allowed(closing, "0.5", mark=desk.mark()), desk.mark()
    desk.redis.hset(claim.key("p1"), "state", "claimed")
    desk.redis.delete(permit.key(Gate.P33, "p1"))
    assert desk.committer.commit(closing, verdict, mark).outcome is Outcome.DONE
    assert [event.reason for event in desk.events()] == ["allowed", "allowed"]
    assert not desk.redis.exists(permit.key(Gate.P33, "p1"))
    assert desk.mark() == InflightMark("p2", closing.entry_id, Action.FULL_CLOSE_PROPOSED)


@pytest.mark.parametrize("standing", [None, "rubbish"])
def test_an_open_whose_permit_is_gone_or_unreadable_only_loses_its_mark(desk: Desk, standing: str | None) -> None:
    """There is nothing to withdraw."""
    opened = desk.given(plan_fields())
    desk.committer.commit(opened, desk.allowed(opened), None)
    desk.redis.delete(permit.key(Gate.P33, "p1"))
    if standing:
        desk.redis.set(permit.key(Gate.P33, "p1"), standing)
    closing = desk.given(exit_fields(plan_id="p2"))
    verdict = desk.allowed(closing, "0.5", mark=desk.mark())
    assert desk.committer.commit(closing, verdict, desk.mark()).outcome is Outcome.DONE
    assert desk.mark() == InflightMark("p2", closing.entry_id, Action.FULL_CLOSE_PROPOSED)


def test_a_denied_exit_displaces_nothing(desk: Desk) -> None:
    """Only an exit that may go ahead takes an open's place."""
    opened = desk.given(plan_fields())
    desk.committer.commit(opened, desk.allowed(opened), None)
    closing = desk.given(exit_fields(plan_id="p2"))
    desk.committer.commit(closing, Deny(Reason.NO_POSITION, {}), desk.mark())
    assert desk.permit("p1").allow
    assert desk.mark() == InflightMark("p1", opened.entry_id, Action.OPEN)


def test_an_invalid_plan_with_a_usable_id_is_answered_under_it(desk: Desk) -> None:
    """A gate always answers; what the plan did not say stays empty."""
    planned = desk.given(plan_fields())
    fault = InvalidPlan("qty is missing", "p1", SYMBOL)
    assert desk.committer.commit_invalid(planned.entry_id, fault, deny_invalid(fault.why)).outcome is Outcome.DONE
    document = desk.permit("p1")
    assert (document.allow, document.side, document.plan_digest, document.reason) == (False, None, "", "invalid_plan")
    verdict = position.decode_verdict(desk.redis.hgetall(position.verdict_key("p1")), "p1")
    assert verdict == position.VerdictRow(planned.entry_id, allow=False, reason="invalid_plan")


def test_an_id_that_may_stand_in_no_key_gets_an_event_alone(desk: Desk) -> None:
    """`p33:x` as an id would write under another gate's key (I-03)."""
    planned = desk.given(plan_fields())
    desk.committer.refuse(planned.entry_id, "p33:x\n" + "y" * 500, SYMBOL, deny_invalid("bad id"))
    assert desk.written() == {permit.EVENTS}
    (event,) = desk.events()
    assert (event.plan_id[:6], len(event.plan_id), event.reason) == ("p33:x\n", 128, "invalid_plan")
    assert desk.pending() == 0


def test_a_plan_of_another_decision_is_acked_without_a_word(desk: Desk) -> None:
    """Nobody waits for its permit."""
    planned = desk.given(plan_fields())
    assert desk.committer.acknowledge(planned.entry_id).outcome is Outcome.DONE
    assert (desk.written(), desk.pending()) == (set(), 0)


@pytest.mark.parametrize("key", [position.verdict_key("p1"), permit.EVENTS])
def test_a_key_of_another_type_keeps_the_whole_verdict_from_being_written(desk: Desk, key: str) -> None:
    """Half a verdict would be worse than none; the entry can still be acked."""
    planned = desk.given(plan_fields())
    desk.redis.lpush(key, "x")
    assert desk.committer.commit(planned, desk.allowed(planned), None).outcome is Outcome.WRONG_TYPE
    assert (desk.written(), desk.pending()) == ({key}, 1)
    assert desk.committer.acknowledge(planned.entry_id).outcome is Outcome.DONE
    assert desk.pending() == 0


def test_an_event_stream_of_another_type_does_not_keep_a_refusal_from_being_acked(desk: Desk) -> None:
    """Else the plan would come back for ever."""
    planned = desk.given(plan_fields())
    desk.redis.set(permit.EVENTS, "x")
    outcome = desk.committer.refuse(planned.entry_id, "p1", SYMBOL, Deny(Reason.DUPLICATE_PLAN, {})).outcome
    assert (outcome, desk.pending()) == (Outcome.WRONG_TYPE, 0)


def test_a_mark_of_another_type_is_never_overwritten(desk: Desk) -> None:
    """The evaluation would have denied; what came in between is judged again."""
    planned = desk.given(plan_fields())
    verdict = desk.allowed(planned)
    desk.redis.set(position.inflight_key(SYMBOL), "x")
    assert desk.committer.commit(planned, verdict, None).outcome is Outcome.MOVED
    assert desk.redis.get(position.inflight_key(SYMBOL)) == b"x"
