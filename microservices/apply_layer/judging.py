"""Judge the waiting plans: look for their permits, claim or end them; exits first. The one loop that makes claims."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis import Redis

from microservices.apply_layer import metrics
from microservices.apply_layer.closing import Closer
from microservices.apply_layer.endings import Ending, denied, ended, subject_of
from microservices.apply_layer.jobs import Job
from microservices.apply_layer.recovery import Recovery
from microservices.apply_layer.register import Register
from microservices.apply_layer.resolver import Resolver
from microservices.apply_layer.scripts import (
    Broken,
    Claimed,
    Denied,
    Exists,
    LeaseLost,
    Missing,
    NotPending,
    OurRefusal,
    Ready,
    Scripts,
)
from microservices.apply_layer.waiting import READY_LOOK_S, Permits, WaitingPlan
from microservices.contracts import permit
from microservices.contracts.control import BACKOFF_KEY
from microservices.contracts.permit import Gate
from microservices.contracts.reason import Reason
from microservices.runtime import Clock, progress

logger = logging.getLogger(__name__)

LOOK_S = 0.05
IDLE_S = 1.0
LEASE_LOST_S = 0.25


class LeaseGone(Exception):
    """This instance is not the one: the round ends, nothing is done."""


class Judge:
    """Look at permits on arrival, at each wake-up, and every 50 ms while plans wait.

    Args:
        redis: a client whose answers are bytes.
        scripts: judges and claims.
        register: who waits, who may start.
        closer: writes how plans end.
        resolver: takes a dry run's result that could not be written.
        recovery: run here, where claims are made, so that none is made meanwhile.
        clock: monotonic time.
        is_dry_run: claims end at once, without an order.
    """

    def __init__(
        self,
        redis: Redis,
        scripts: Scripts,
        register: Register,
        *,
        closer: Closer,
        resolver: Resolver,
        recovery: Recovery,
        clock: Clock,
        is_dry_run: bool,
    ) -> None:
        self._redis = redis
        self._scripts = scripts
        self._register = register
        self._closer = closer
        self._resolver = resolver
        self._recovery = recovery
        self._clock = clock
        self._is_dry_run = is_dry_run
        self._look_at_s = 0.0
        self._takers: dict[type, Callable[[WaitingPlan, Any], None]] = {
            LeaseLost: _stop,
            Missing: self._missing,
            Denied: self._denied,
            OurRefusal: self._refused,
            Ready: self._ready,
            Claimed: self._claimed,
            Exists: self._exists,
            Broken: self._broken,
        }

    def tick(self) -> float:
        """Judge whoever is due; return the seconds to pause.

        Raises:
            redis.exceptions.RedisError: Redis is away; whoever waits goes on waiting.
        """
        if self._recovery.is_due:
            self._recovery.run()
        self._register.start_queued()
        changed = self._changed()
        due = self._register.due(self._clock.monotonic(), changed)
        try:
            while due:
                self._judge(due[0])
                del due[0]
                progress()
        except LeaseGone:
            return LEASE_LOST_S
        finally:  # whoever was not judged is named again: nothing else would say that its permit is there
            self._register.name(waiting.plan.plan_id for waiting in due)
        return LOOK_S if self._register.waiting_count else IDLE_S

    def _changed(self) -> list[str]:
        """Look at the permit keys of all who wait, every 50 ms, and name the plans for which something new is there."""
        now = self._clock.monotonic()
        plans = self._register.without_permits()
        if not plans or now < self._look_at_s:
            return []
        self._look_at_s = now + LOOK_S
        keys = [permit.key(gate, waiting.plan.plan_id) for waiting in plans for gate in waiting.gates]
        values: Iterator[Any] = iter(self._redis.mget(keys))  # a key that is no string answers nil, and is no permit
        changed = []
        for waiting in plans:
            seen: Permits = tuple(next(values) for _ in waiting.gates)
            if seen != waiting.seen and any(seen):
                changed.append(waiting.plan.plan_id)
            waiting.seen = seen
        return changed

    def _judge(self, waiting: WaitingPlan) -> None:
        may_claim = self._is_dry_run or self._register.may_start(waiting.plan)
        answer = self._scripts.consume(waiting.plan, waiting.gates, may_claim=may_claim)
        self._takers[type(answer)](waiting, answer)

    def _missing(self, waiting: WaitingPlan, answer: Missing) -> None:
        self._measure_gates(waiting, answer.gates)
        waiting.lacks(answer.gates, is_expired=answer.is_expired)
        ending = waiting.overdue(self._clock.monotonic())
        if ending is not None:
            self._end(waiting, ending)

    def _denied(self, waiting: WaitingPlan, answer: Denied) -> None:
        self._measure_gates(waiting, tuple(gate for gate in waiting.missing if gate is not answer.gate))
        self._end(waiting, denied(answer.gate, answer.reason))

    def _refused(self, waiting: WaitingPlan, answer: OurRefusal) -> None:
        self._measure_gates(waiting, ())
        self._end(waiting, ended(_reason(answer.code)))

    def _ready(self, waiting: WaitingPlan, answer: Ready) -> None:
        self._measure_gates(waiting, ())
        if answer.held_until_ms and not waiting.is_ready:
            why = f"{BACKOFF_KEY} says that the exchange takes no order now, or cannot be read"
            logger.warning("Plan %s (%s) waits: %s", waiting.plan.plan_id, waiting.plan.symbol, why)
        waiting.has_all(self._clock.monotonic() + READY_LOOK_S, is_held=answer.held_until_ms > 0)

    def _claimed(self, waiting: WaitingPlan, answer: Claimed) -> None:
        self._measure_gates(waiting, ())
        wait_ms = waiting.wait_ms(self._clock.monotonic())
        metrics.PLAN_WAIT.observe(wait_ms / 1000)
        job = Job.of_plan(waiting.plan, answer.quantity, wait_ms)
        self._register.begin(job)
        if not self._is_dry_run:
            self._register.queue(job)
            return
        job.ending = ended(Reason.DRY_RUN)
        self._resolver.adopt(job)

    def _exists(self, waiting: WaitingPlan, answer: Exists) -> None:
        """The plan id has a claim: this entry's own, from a reply that was lost, or another's."""
        entry_id = waiting.plan.entry_id
        if answer.is_done_of(entry_id):
            self._closer.ack(entry_id)
            self._register.drop(waiting)
        elif answer.entry_id == entry_id:
            self._recovery.found(waiting.plan)
        else:
            told = self._closer.answer(subject_of(waiting.plan), ended(Reason.DUPLICATE_PLAN))
            if isinstance(told, LeaseLost):
                raise LeaseGone
            if not isinstance(told, Broken):
                self._register.drop(waiting)
            if isinstance(told, NotPending):
                logger.debug("Entry %s was answered before", entry_id)

    def _broken(self, waiting: WaitingPlan, answer: Broken) -> None:
        logger.error("%s has a wrong type: no claim can be made until it is moved away", answer.key)
        self._end(waiting, ended(Reason.ORDER_NOT_PLACED))

    def _end(self, waiting: WaitingPlan, ending: Ending) -> None:
        wait_ms = waiting.wait_ms(self._clock.monotonic())
        answer = self._closer.end_unclaimed(subject_of(waiting.plan), ending, wait_ms)
        if isinstance(answer, LeaseLost):
            raise LeaseGone
        if isinstance(answer, Exists):
            self._exists(waiting, answer)
        elif not isinstance(answer, Broken):
            self._register.drop(waiting)

    def _measure_gates(self, waiting: WaitingPlan, still_missing: Sequence[Gate]) -> None:
        """Observe the wait for each gate once, when its permit is first seen."""
        wait_s = waiting.wait_ms(self._clock.monotonic()) / 1000
        for gate in waiting.missing:
            if gate not in still_missing:
                metrics.GATE_WAIT.labels(gate=gate).observe(wait_s)


def _stop(_waiting: WaitingPlan, _answer: LeaseLost) -> None:
    raise LeaseGone


def _reason(code: str) -> Reason:
    """Name what the script said; a word it does not know would be a bug of ours, and must not pass for a permit."""
    return next(reason for reason in Reason if reason.value == code)
