"""Bring a verdict into Redis: the permit's text is made here, and one script writes all that belongs together."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import msgspec
from redis import Redis

from microservices.contracts import claim, permit, plan, position
from microservices.contracts.control import Mode
from microservices.contracts.fields import Unreadable, plain, stream_id
from microservices.contracts.permit import Gate
from microservices.contracts.plan import InvalidPlan, Plan
from microservices.contracts.position import InflightMark
from microservices.contracts.reason import Reason
from microservices.position_state_brain.verdict import Allow, Deny
from microservices.runtime import Away, LuaScript, redis_ms

COMMIT = LuaScript.load(__package__, "commit.lua", behind="shared.lua")
ACKNOWLEDGE = LuaScript.load(__package__, "acknowledge.lua", behind="shared.lua")

RAW_ID_SHOWN = 128
NO_EVENT = ""


class LeaseLost(Away):
    """Another instance holds the brain's lease: nothing was written."""

    def __init__(self) -> None:
        super().__init__(f"the lease {position.LEASE_KEY} is not ours: nothing was written")


class Outcome(StrEnum):
    """What a script wrote; its head says what each word means."""

    DONE = "done"
    DISPLACED = "displaced"
    PLAN_ENDED = "plan_ended"
    DUPLICATE = "duplicate"
    ALREADY = "already"
    NOT_OURS = "not_ours"
    EXPIRED = "expired"
    MOVED = "moved"
    WRONG_TYPE = "wrong_type"
    LEASE_LOST = "lease_lost"

    @property
    def is_verdict(self) -> bool:
        """Whether the verdict stands in Redis now, by this very call."""
        return self in (Outcome.DONE, Outcome.DISPLACED)


class Committed(NamedTuple):
    """What was written, and when on Redis's clock."""

    outcome: Outcome
    at_us: int


class _Answer(NamedTuple):
    """Of a verdict, what stands in permit, verdict and event."""

    plan_id: str
    entry_id: str
    symbol: str
    digest: str
    side: str | None
    action: str
    allow: bool
    safe_qty: str
    reason: Reason
    context: Any
    expires_ms: int


class Commits(Protocol):
    """Brings verdicts into Redis."""

    def commit(self, decided: Plan, verdict: Allow | Deny, mark: InflightMark | None) -> Committed:
        """Write the verdict on a plan."""

    def commit_invalid(self, entry_id: str, fault: InvalidPlan, denied: Deny) -> Committed:
        """Write the verdict on a plan that is invalid, but has an id that may stand in a key."""

    def acknowledge(self, entry_id: str) -> Committed:
        """Ack an entry about which there is nothing to say."""

    def refuse(self, entry_id: str, plan_id: str, symbol: str, denied: Deny) -> Committed:
        """Ack an entry with an event alone."""


class DryRun:
    """Writes nothing but acks, in a group of its own: the permit loop's log says what would have been.

    Args:
        redis: a client whose answers are bytes.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def commit(self, decided: Plan, verdict: Allow | Deny, mark: InflightMark | None) -> Committed:  # noqa: ARG002 - Commits
        """Ack a plan."""
        return self.acknowledge(decided.entry_id)

    def commit_invalid(self, entry_id: str, fault: InvalidPlan, denied: Deny) -> Committed:  # noqa: ARG002 - Commits
        """Ack an invalid plan."""
        return self.acknowledge(entry_id)

    def acknowledge(self, entry_id: str) -> Committed:
        """Ack an entry."""
        self._redis.xack(plan.STREAM, plan.GROUP_BRAIN_DRY_RUN, entry_id)
        return Committed(Outcome.DONE, redis_ms(self._redis) * 1_000)

    def refuse(self, entry_id: str, plan_id: str, symbol: str, denied: Deny) -> Committed:  # noqa: ARG002 - Commits
        """Ack a duplicate or an entry without a usable id."""
        return self.acknowledge(entry_id)


class Committer:
    """Writes verdicts.

    Args:
        redis: a client whose answers are bytes.
        instance_id: gives the id that the lease must hold.
        mode: stands in every permit.
        permit_ttl_ms: how long a permit lives, where its plan does.
        plan_max_age_ms: how old a plan may become.
    """

    def __init__(
        self, redis: Redis, instance_id: Callable[[], str], mode: Mode, *, permit_ttl_ms: int, plan_max_age_ms: int
    ) -> None:
        self._redis = redis
        self._instance_id = instance_id
        self._mode = mode
        self._permit_ttl_ms = permit_ttl_ms
        self._plan_max_age_ms = plan_max_age_ms

    def commit(self, decided: Plan, verdict: Allow | Deny, mark: InflightMark | None) -> Committed:
        """Write the verdict on a plan.

        Args:
            decided: the plan.
            verdict: what was decided.
            mark: the symbol's mark that it was decided on. An exit displaces the unclaimed open that it names.

        Raises:
            LeaseLost: nothing was written.
            redis.exceptions.RedisError: Redis did not answer; the entry stays pending where nothing was written.
        """
        oldest_ms = min(int(decided.timestamp * 1000), stream_id(decided.entry_id, "entry id")[0])
        answer = _Answer(
            plan_id=decided.plan_id,
            entry_id=decided.entry_id,
            symbol=decided.symbol,
            digest=decided.digest,
            side=decided.side.value,
            action=decided.action.value,
            allow=isinstance(verdict, Allow),
            safe_qty=plain(verdict.safe_qty) if isinstance(verdict, Allow) else permit.NOTHING,
            reason=verdict.reason,
            context=verdict.context,
            expires_ms=oldest_ms + self._plan_max_age_ms,
        )
        displaced = mark if answer.allow and decided.is_exit and mark and not mark.action.is_exit else None
        return self._write(answer, "" if mark is None else mark.plan_entry_id, displaced)

    def commit_invalid(self, entry_id: str, fault: InvalidPlan, denied: Deny) -> Committed:
        """Write the verdict on a plan that is invalid, but has an id that may stand in a key.

        Raises:
            LeaseLost: nothing was written.
            redis.exceptions.RedisError: Redis did not answer.
        """
        answer = _Answer(
            plan_id=fault.plan_id,
            entry_id=entry_id,
            symbol=fault.symbol,
            digest="",
            side=None,
            action="",
            allow=False,
            safe_qty=permit.NOTHING,
            reason=denied.reason,
            context=denied.context,
            expires_ms=stream_id(entry_id, "entry id")[0] + self._plan_max_age_ms,
        )
        return self._write(answer, "", None)

    def acknowledge(self, entry_id: str) -> Committed:
        """Ack an entry about which there is nothing to say.

        Raises:
            LeaseLost: it was not acked.
            redis.exceptions.RedisError: Redis did not answer.
        """
        return self._acknowledge(entry_id, [NO_EVENT, "", "", "", ""])

    def refuse(self, entry_id: str, plan_id: str, symbol: str, denied: Deny) -> Committed:
        """Ack an entry with an event alone: its plan id is another's, or may stand in no key.

        Raises:
            LeaseLost: it was not acked.
            redis.exceptions.RedisError: Redis did not answer.
        """
        context = msgspec.json.encode(denied.context)
        return self._acknowledge(
            entry_id, [Gate.P33.value, plan_id[:RAW_ID_SHOWN], symbol, denied.reason.value, context]
        )

    def _acknowledge(self, entry_id: str, event: list[str | bytes | int]) -> Committed:
        keys = [plan.STREAM, position.LEASE_KEY, permit.EVENTS]
        arguments: list[str | bytes | int] = [plan.GROUP_BRAIN, entry_id, self._instance_id(), permit.EVENTS_MAXLEN]
        return _committed(ACKNOWLEDGE(self._redis, keys, arguments + event))

    def _write(self, answer: _Answer, judged_mark: str, displaced: InflightMark | None) -> Committed:
        context = msgspec.json.encode(answer.context)
        keys = [
            plan.STREAM,
            position.LEASE_KEY,
            permit.key(Gate.P33, answer.plan_id),
            position.verdict_key(answer.plan_id),
            permit.EVENTS,
            position.inflight_key(answer.symbol),
            claim.key(answer.plan_id),
        ]
        arguments: list[str | bytes | int] = [
            plan.GROUP_BRAIN,
            answer.entry_id,
            self._instance_id(),
            self._permit_text(answer),
            self._permit_ttl_ms,
            answer.expires_ms,
            position.VERDICT_TTL_S,
            permit.EVENTS_MAXLEN,
            Gate.P33.value,
            answer.plan_id,
            answer.symbol,
            "true" if answer.allow else "false",
            answer.safe_qty,
            answer.reason.value,
            context,
            answer.digest,
            answer.action,
            judged_mark,
        ]
        if displaced is not None and (texts := self._displaced_texts(displaced)) is not None:
            keys += _displaced_keys(displaced)
            arguments += [*texts, displaced.plan_id, displaced.plan_entry_id]
        return _committed(COMMIT(self._redis, keys, arguments))

    def _permit_text(self, answer: _Answer) -> bytes:
        return permit.encode_undated(
            {
                "gate": Gate.P33.value,
                "plan_id": answer.plan_id,
                "plan_digest": answer.digest,
                "symbol": answer.symbol,
                "mode": self._mode.value,
                "allow": answer.allow,
                "safe_qty": answer.safe_qty,
                "side": answer.side,
                "reason": answer.reason.value,
                "context": answer.context,
            }
        )

    def _displaced_texts(self, displaced: InflightMark) -> tuple[bytes, bytes] | None:
        """Give the displaced open's permit as it stands, and the deny in its place; None where there is no permit.

        Without a permit nothing is left to withdraw: it expired, was consumed, or nobody can read it. The mark, which
        an executor asks for too, is the exit's in any case.
        """
        key = permit.key(Gate.P33, displaced.plan_id)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(key)
        standing = pipeline.execute(raise_on_error=False)[0]
        if not isinstance(standing, bytes):
            return None
        try:
            document = permit.decode(standing, key)
        except Unreadable:
            return None
        denied = msgspec.structs.replace(
            document, allow=False, safe_qty=permit.NOTHING, reason=Reason.DISPLACED_BY_EXIT.value
        )
        return standing, msgspec.json.encode(denied)


def _displaced_keys(displaced: InflightMark) -> list[str]:
    return [
        permit.key(Gate.P33, displaced.plan_id),
        position.verdict_key(displaced.plan_id),
        claim.key(displaced.plan_id),
    ]


def _committed(answer: Any) -> Committed:  # noqa: ANN401 - a script's answer
    outcome = Outcome(answer[0].decode())
    if outcome is Outcome.LEASE_LOST:
        raise LeaseLost
    return Committed(outcome, int(answer[1]))
