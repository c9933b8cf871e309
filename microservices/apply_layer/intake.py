"""Take plans from the stream: end at once what can be ended at once, and have the rest wait for their permits."""

import logging
from collections.abc import Callable

from redis import Redis

from microservices.apply_layer.closing import Closer
from microservices.apply_layer.endings import (
    Ending,
    Subject,
    came_as,
    ended,
    subject_of,
    subject_of_header,
    subject_of_invalid,
)
from microservices.apply_layer.gates import GatePolicy
from microservices.apply_layer.recovery import Recovery
from microservices.apply_layer.register import Register
from microservices.apply_layer.result_stream import results_since
from microservices.apply_layer.scripts import Broken, Exists, LeaseLost
from microservices.apply_layer.sent_log import SentLog
from microservices.contracts import plan
from microservices.contracts.plan import Decision, InvalidPlan, PlanHeader
from microservices.contracts.reason import Reason
from microservices.runtime import Away, Clock, Entry, StreamConsumer, redis_ms

logger = logging.getLogger(__name__)

BATCH = 200
BLOCK_MS = 1_000
NOT_YET_S = 0.05
WAITING_MAX = 5_000
"""With more plans than this waiting, no more are taken until some have ended."""


class Intake:
    """Read `quantum:stream:apply.plan` as consumer `apply` of group `apply_layer`.

    An entry stays pending until its result is written; what is in hand is not taken a second time when it comes again.

    Args:
        redis: a client whose answers are bytes.
        register: where valid plans wait.
        closer: writes the results of the others.
        is_ours: asks whether we are the one instance; only that one may read, because all read under one name.
        sent_log: plans in it are never taken again, whatever Redis says.
        recovery: nothing is taken before it has run; after each run the pending entries are read again.
        gates: which permits a plan needs.
        clock: monotonic time for the waiting.
        max_age_s: a new group begins this much before now.
        wake_judge: called when a plan begins to wait.
    """

    def __init__(
        self,
        redis: Redis,
        register: Register,
        closer: Closer,
        *,
        is_ours: Callable[[], bool],
        sent_log: SentLog,
        recovery: Recovery,
        gates: GatePolicy,
        clock: Clock,
        max_age_s: int,
        wake_judge: Callable[[], None],
    ) -> None:
        self._redis = redis
        self._register = register
        self._closer = closer
        self._is_ours = is_ours
        self._sent_log = sent_log
        self._recovery = recovery
        self._gates = gates
        self._clock = clock
        self._max_age_s = max_age_s
        self._wake_judge = wake_judge
        self._consumer = self._new_consumer()
        self._run = 0
        self._answered: set[str] = set()

    def tick(self) -> float:
        """Take one batch; return the seconds to pause.

        Raises:
            redis.exceptions.RedisError: Redis is away; the batch is read again.
            Away: the lease is not ours, or no result can be written now; the batch is read again.
        """
        if self._recovery.is_due or self._register.waiting_count >= WAITING_MAX:
            return NOT_YET_S
        if self._run != self._recovery.runs:
            self._consumer = self._new_consumer()
            self._run = self._recovery.runs
        if not self._is_ours():
            self._recovery.request("the lease was lost")
            return NOT_YET_S
        with self._consumer.batch() as entries:
            for entry in entries:
                if not self._register.holds_entry(entry.id):
                    self._take(entry)
        return 0.0

    def pending_estimate(self) -> int:
        """Count the entries that are read and have no result yet."""
        return self._consumer.pending_estimate()

    def _new_consumer(self) -> StreamConsumer:
        return StreamConsumer(
            self._redis,
            plan.STREAM,
            plan.GROUP_APPLY,
            plan.CONSUMER_APPLY,
            batch=BATCH,
            block_ms=BLOCK_MS,
            start_id=lambda: f"{redis_ms(self._redis) - self._max_age_s * 1000}-0",
            on_group_created=self._group_made,
        )

    def _group_made(self, _was_lost: bool) -> None:  # noqa: FBT001 - the stream consumer's own signature
        """Find what a new group will give although it was answered under the one before."""
        first_ms = redis_ms(self._redis) - 2 * self._max_age_s * 1000
        self._answered = {written.plan_entry_id for written in results_since(self._redis, first_ms)}

    def _take(self, entry: Entry) -> None:
        if entry.id in self._answered:
            self._answered.discard(entry.id)
            self._closer.ack(entry.id)
            return
        if entry.fields is None:
            logger.error("The body of plan entry %s was trimmed away before it was taken", entry.id)
            self._answer(Subject(entry_id=entry.id), Reason.INVALID_PLAN)
            return
        try:
            header = plan.decode_header(entry.id, entry.fields)
        except InvalidPlan as fault:
            self._take_invalid(entry.id, fault)
            return
        if not self._is_seen_before(subject_of_header(header)):
            self._take_header(header)

    def _take_invalid(self, entry_id: str, fault: InvalidPlan) -> None:
        """End an entry that cannot be read; without a usable plan id there is no claim to make."""
        subject = subject_of_invalid(entry_id, fault)
        logger.warning("Plan entry %s is invalid: %s", entry_id, fault)
        if not fault.plan_id:
            self._answer(subject, Reason.INVALID_PLAN)
        elif not self._is_seen_before(subject):
            self._end(subject, ended(Reason.INVALID_PLAN))

    def _take_header(self, header: PlanHeader) -> None:
        if header.decision is not Decision.EXECUTE:
            self._end(subject_of_header(header), came_as(header))
            return
        try:
            taken = plan.decode(header)
        except InvalidPlan as fault:
            logger.warning("Plan entry %s is invalid: %s", header.entry_id, fault)
            self._end(subject_of_header(header), ended(Reason.INVALID_PLAN))
            return
        lacking = self._gates.not_configured(taken)
        if lacking:
            self._end(subject_of(taken), ended(Reason.GATE_NOT_CONFIGURED, lacking))
            return
        self._register.wait(taken, self._gates.needed(taken), self._clock.monotonic())
        self._wake_judge()

    def _is_seen_before(self, subject: Subject) -> bool:
        """Answer an entry whose plan is in hand or was sent under another entry, or was itself sent and ended."""
        logged = self._sent_log.find(subject.plan_id)
        if logged is not None and logged.sent.plan_entry_id == subject.entry_id:
            if logged.end is not None:
                self._closer.ack(subject.entry_id)
            return True
        if logged is None and not self._register.holds_plan(subject.plan_id):
            return False
        self._answer(subject, Reason.DUPLICATE_PLAN)
        return True

    def _end(self, subject: Subject, ending: Ending) -> None:
        answer = self._closer.end_unclaimed(subject, ending)
        if isinstance(answer, LeaseLost | Broken):
            raise _not_now(answer)
        if not isinstance(answer, Exists) or answer.is_done_of(subject.entry_id):
            return
        if answer.entry_id == subject.entry_id:
            self._recovery.request(f"plan {subject.plan_id} has a claim that is not in hand")
        else:
            self._answer(subject, Reason.DUPLICATE_PLAN)

    def _answer(self, subject: Subject, reason: Reason) -> None:
        answer = self._closer.answer(subject, ended(reason))
        if isinstance(answer, LeaseLost | Broken):
            raise _not_now(answer)


def _not_now(answer: LeaseLost | Broken) -> Away:
    return Away("the lease of this service" if isinstance(answer, LeaseLost) else f"a {answer.key} that is a stream")
