"""The apply layer's Lua scripts behind typed calls: what each is given and what it may answer."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from importlib import resources
from typing import NamedTuple

import msgspec
from redis import Redis

from microservices.apply_layer.jobs import Job, PlanTimes
from microservices.apply_layer.sent_log import SentOrder
from microservices.contracts import account, claim, control, permit, plan, position, result
from microservices.contracts.account import AccountBinding
from microservices.contracts.claim import ClaimState, OpenClaim
from microservices.contracts.fields import plain
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Action, Plan
from microservices.contracts.result import Result
from microservices.runtime import LuaScript


class LeaseLost(NamedTuple):
    """This instance is not the one: nothing was done."""


class Exists(NamedTuple):
    """The plan id has a claim that forbids it; `state` is `unreadable` where it is no claim."""

    state: str
    entry_id: str
    result_id: str = ""

    def is_done_of(self, entry_id: str) -> bool:
        """Whether this very entry has ended already."""
        return self.state == ClaimState.DONE and self.entry_id == entry_id


class Denied(NamedTuple):
    """A gate says no."""

    gate: Gate
    reason: str


class Missing(NamedTuple):
    """These gates' permits are not there, or are none."""

    gates: tuple[Gate, ...]
    is_expired: bool


class OurRefusal(NamedTuple):
    """All permits are there, and one of our own checks forbids the order."""

    code: str


class Broken(NamedTuple):
    """A key of the apply layer has a wrong type."""

    key: str


class Ready(NamedTuple):
    """Every check passed and no claim was made; `held_until_ms` is a back-off's end on Redis's clock, 0 without one."""

    held_until_ms: int


class Claimed(NamedTuple):
    """The claim is made."""

    quantity: Decimal


class Done(NamedTuple):
    """The result is written, under this id."""

    result_id: str


class NotPending(NamedTuple):
    """The entry is acked already, or its group is gone."""


class Limits(msgspec.Struct, frozen=True):
    """What the scripts hold every plan against."""

    max_age_s: int
    max_notional_usdt: Decimal
    max_positions: int


ConsumeAnswer = LeaseLost | Exists | Denied | Missing | OurRefusal | Broken | Ready | Claimed
FinishAnswer = LeaseLost | Exists | Broken | Done
AnswerAnswer = LeaseLost | NotPending | Broken | Done

Argument = str | bytes | int

SENT = "sent"
_LOST = "lease_lost"


def _load(name: str) -> LuaScript:
    """Read a script with the guards in front of it, so that two scripts cannot disagree on what a kill switch says."""
    guards = resources.files(__package__).joinpath("guards.lua").read_text(encoding="utf-8")
    return LuaScript(guards + LuaScript.load(__package__, name).source, name)


_CONSUME = _load("consume.lua")
_MARK_SENT = _load("mark_sent.lua")
_RESTORE_SENT = _load("restore_sent.lua")
_FINISH = _load("finish.lua")
_ANSWER = _load("answer.lua")


class Scripts:
    """Everything the apply layer writes about plans. A lost reply raises, and whoever called finds out what was done.

    Args:
        redis: a client whose answers are bytes.
        binding: whose orders these are.
        limits: what every plan is held against.
        instance_id: what the lease must hold; set once it is known.
    """

    def __init__(self, redis: Redis, binding: AccountBinding, limits: Limits, instance_id: str) -> None:
        self._redis = redis
        self._binding = binding
        self._limits = limits
        self._instance_id = instance_id

    def consume(self, plan_: Plan, gates: Sequence[Gate], *, may_claim: bool) -> ConsumeAnswer:
        """Judge a plan's permits and, where asked to, make its claim.

        Raises:
            redis.exceptions.RedisError: no answer; the claim may have been made.
        """
        symbol, plan_id = plan_.symbol, plan_.plan_id
        keys = [
            claim.LEASE_KEY, claim.key(plan_id), claim.OPEN_KEY, control.KILL_SWITCH_KEY, control.hold_key(symbol),
            position.inflight_key(symbol), account.KEY, control.BACKOFF_KEY, position.ACCOUNT_KEY, claim.OPENS_KEY,
            *(permit.key(gate, plan_id) for gate in gates),
        ]  # fmt: skip
        times = PlanTimes.of(plan_)
        args: list[Argument] = [
            self._instance_id, plan_id, plan_.entry_id, symbol, _kind(plan_.action),
            plan_.digest, *self._whose(), times.oldest_ms, times.newest_ms, self._limits.max_age_s * 1000,
            plain(plan_.qty), claim.client_order_id(plan_id),
            _open_line(symbol, plan_.action, ClaimState.CLAIMED, plan_.entry_id),
            plain(self._limits.max_notional_usdt), self._limits.max_positions, int(may_claim), *gates,
        ]  # fmt: skip
        return _consume_answer(_texts(_CONSUME(self._redis, keys, args)))

    def mark_sent(self, job: Job, sent_at_ms: int) -> str:
        """Turn a claim to sent; `SENT` says that the order may be sent now, any other word why not.

        Raises:
            redis.exceptions.RedisError: no answer; the claim may be sent.
        """
        keys = [
            claim.LEASE_KEY, claim.key(job.plan_id), claim.OPEN_KEY, control.KILL_SWITCH_KEY,
            control.hold_key(job.symbol), account.KEY, control.BACKOFF_KEY,
        ]  # fmt: skip
        times = job.times or PlanTimes(0, 0)  # without a plan's times it is too old
        args: list[Argument] = [
            self._instance_id, job.plan_id, job.entry_id, _kind(job.action), *self._whose(),
            times.oldest_ms, times.newest_ms, self._limits.max_age_s * 1000,
            sent_at_ms, _open_line(job.symbol, job.action, ClaimState.SENT, job.entry_id), plain(job.quantity),
        ]  # fmt: skip
        return _texts(_MARK_SENT(self._redis, keys, args))[0]

    def restore_sent(self, order: SentOrder) -> LeaseLost | Exists | None:
        """Give an order its claim back as sent; None says that it has it.

        Raises:
            redis.exceptions.RedisError: no answer; it can be asked again.
        """
        keys = [claim.LEASE_KEY, claim.key(order.plan_id), claim.OPEN_KEY]
        args: list[Argument] = [
            self._instance_id, order.plan_id, order.plan_entry_id, order.client_order_id, order.symbol,
            plain(order.quantity), order.sent_at_ms,
            _open_line(order.symbol, order.action, ClaimState.SENT, order.plan_entry_id),
        ]  # fmt: skip
        word, *rest = _texts(_RESTORE_SENT(self._redis, keys, args))
        if word == _LOST:
            return LeaseLost()
        return Exists(*rest) if word == "exists" else None

    def finish(self, end: Result, *, has_claim: bool, was_sent: bool) -> FinishAnswer:
        """End a plan: its claim, its result and its ack in one.

        Args:
            end: the result.
            has_claim: the plan was claimed by us; else it must have no claim at all.
            was_sent: the order was, or may have been, sent: its done claim is kept for a day.

        Raises:
            redis.exceptions.RedisError: no answer; it can be asked again, and answers `Exists` where it was done.
        """
        keys = [
            claim.LEASE_KEY, claim.key(end.plan_id), claim.OPEN_KEY, result.STREAM, plan.STREAM, claim.OPENS_KEY,
        ]  # fmt: skip
        kept_s = claim.DONE_WITH_ORDER_TTL_S if was_sent else claim.DONE_WITHOUT_ORDER_TTL_S
        args: list[Argument] = [
            self._instance_id, end.plan_id, end.plan_entry_id, plan.GROUP_APPLY,
            "claimed" if has_claim else "new", kept_s, int(end.executed and end.reduce_only is False),
            claim.OPENS_KEPT_S, end.symbol, end.client_order_id, *_pairs(end),
        ]  # fmt: skip
        word, *rest = _texts(_FINISH(self._redis, keys, args))
        if word == _LOST:
            return LeaseLost()
        if word == "exists":
            return Exists(*rest)
        return Done(rest[0]) if word == "done" else Broken(rest[0])

    def answer(self, end: Result) -> AnswerAnswer:
        """Answer an entry that has no claim of its own.

        Raises:
            redis.exceptions.RedisError: no answer; it can be asked again.
        """
        keys = [claim.LEASE_KEY, result.STREAM, plan.STREAM]
        args: list[Argument] = [self._instance_id, end.plan_entry_id, plan.GROUP_APPLY, *_pairs(end)]
        word, *rest = _texts(_ANSWER(self._redis, keys, args))
        if word == _LOST:
            return LeaseLost()
        if word == "not_pending":
            return NotPending()
        return Done(rest[0]) if word == "done" else Broken(rest[0])

    def ack(self, entry_id: str) -> None:
        """Take an entry out of the pending list that has its result already.

        Raises:
            redis.exceptions.RedisError: no answer; it can be asked again.
        """
        self._redis.xack(plan.STREAM, plan.GROUP_APPLY, entry_id)

    def _whose(self) -> tuple[str, str, str]:
        return (self._binding.mode.value, self._binding.host, self._binding.account)


def _consume_answer(texts: list[str]) -> ConsumeAnswer:
    word, *rest = texts
    return _CONSUME_ANSWERS[word](rest)


_CONSUME_ANSWERS: dict[str, Callable[[list[str]], ConsumeAnswer]] = {
    _LOST: lambda _: LeaseLost(),
    "exists": lambda rest: Exists(*rest),
    "denied": lambda rest: Denied(Gate(rest[0]), rest[1]),
    "missing": lambda rest: Missing(tuple(Gate(gate) for gate in rest[1:]), is_expired=rest[0] == "1"),
    "refused": lambda rest: OurRefusal(rest[0]),
    "broken": lambda rest: Broken(rest[0]),
    "ready": lambda rest: Ready(int(rest[0])),
    "claimed": lambda rest: Claimed(Decimal(rest[0])),
}


def _kind(action: Action) -> str:
    return "exit" if action.is_exit else "open"


def _open_line(symbol: str, action: Action, state: ClaimState, entry_id: str) -> bytes:
    return claim.encode_open(OpenClaim(symbol, action, state, entry_id))


def _pairs(end: Result) -> list[str]:
    return [text for pair in result.encode(end).items() for text in pair]


def _texts(answer: list[bytes]) -> list[str]:
    """A gate's reason is not ours: bytes that are no text must not stop a deny from being taken."""
    return [part.decode("utf-8", "replace") for part in answer]
