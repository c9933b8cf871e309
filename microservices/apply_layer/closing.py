"""Write how plans end: result, claim and ack in one script, then the end line of `sent.log`."""

import logging

from microservices.apply_layer import metrics
from microservices.apply_layer.endings import Ending, Subject, result_of
from microservices.apply_layer.jobs import Job
from microservices.apply_layer.register import Register
from microservices.apply_layer.scripts import (
    AnswerAnswer,
    Broken,
    Done,
    Exists,
    FinishAnswer,
    LeaseLost,
    Scripts,
)
from microservices.apply_layer.sent_log import OrderEnd, SentLog
from microservices.contracts import result as results
from microservices.contracts.control import Mode
from microservices.contracts.plan import Decision
from microservices.contracts.result import Result
from microservices.runtime import Clock

logger = logging.getLogger(__name__)

WARN_EVERY_S = 10.0


class Closer:
    """Ends plans. A lost reply raises; asking again finds what was done.

    Args:
        scripts: what is written to Redis.
        sent_log: where an order's end is noted.
        register: from which a finished job goes.
        clock: dates the results.
        mode: what the exchange is.
    """

    def __init__(self, scripts: Scripts, sent_log: SentLog, register: Register, clock: Clock, mode: Mode) -> None:
        self._scripts = scripts
        self._sent_log = sent_log
        self._register = register
        self._clock = clock
        self._mode = mode
        self._warn_again_s = 0.0

    def end_unclaimed(self, subject: Subject, ending: Ending, wait_ms: int = 0) -> FinishAnswer:
        """End a plan that has no claim; the answer says whether this call did it.

        Raises:
            redis.exceptions.RedisError: no answer.
        """
        end = self._result(subject, ending, wait_ms)
        answer = self._scripts.finish(end, has_claim=False, was_sent=False)
        self._told(end, answer)
        return answer

    def answer(self, subject: Subject, ending: Ending) -> AnswerAnswer:
        """Answer an entry that has no claim of its own.

        Raises:
            redis.exceptions.RedisError: no answer.
        """
        end = self._result(subject, ending, 0)
        answer = self._scripts.answer(end)
        self._told(end, answer)
        return answer

    def ack(self, entry_id: str) -> None:
        """Take an entry out of the pending list that has its result already.

        Raises:
            redis.exceptions.RedisError: no answer.
        """
        self._scripts.ack(entry_id)

    def end_job(self, job: Job, ending: Ending) -> bool:
        """End a claimed plan; false says that it could not be written now and must be tried again.

        Raises:
            redis.exceptions.RedisError: no answer.
        """
        job.ending = ending
        if job.result is None:
            name = "" if job.is_unsent else job.client_order_id
            job.result = self._result(job.subject, ending, job.wait_ms, name)
        answer = self._scripts.finish(job.result, has_claim=True, was_sent=not job.is_unsent)
        self._told(job.result, answer)
        if isinstance(answer, Exists) and not answer.is_done_of(job.entry_id):
            logger.error("Plan %s cannot be ended: its claim is %s of entry %r", job.plan_id, *answer[:2])
            return False
        if isinstance(answer, LeaseLost | Broken):
            return False
        self._sent_log.end(OrderEnd(plan_id=job.plan_id, result_id=answer.result_id, fields=results.encode(job.result)))
        self._register.done(job)
        return True

    def _result(self, subject: Subject, ending: Ending, wait_ms: int, client_order_id: str = "") -> Result:
        return result_of(
            subject,
            ending,
            mode=self._mode,
            wait_ms=wait_ms,
            timestamp=int(self._clock.now()),
            client_order_id=client_order_id,
        )

    def _told(self, end: Result, answer: FinishAnswer | AnswerAnswer) -> None:
        if isinstance(answer, Broken):
            self._warn(f"{answer.key} has a wrong type: no result can be written until it is moved away")
        if not isinstance(answer, Done):
            return
        metrics.ended(end)
        level = {Decision.EXECUTE: logging.INFO, Decision.SKIP: logging.DEBUG, Decision.ERROR: logging.WARNING}
        logger.log(level.get(end.decision, logging.INFO), "%s", described(end))

    def _warn(self, line: str) -> None:
        """Log what somebody must put right, but not as often as it is met."""
        now = self._clock.monotonic()
        if now >= self._warn_again_s:
            self._warn_again_s = now + WARN_EVERY_S
            logger.error("%s", line)


def described(end: Result) -> str:
    """Describe a result in one line."""
    what = f"{end.symbol or '?'} {end.side or ''}".strip()
    plan = f"plan {end.plan_id or '?'}, waited {end.wait_ms} ms"
    if end.executed:
        return f"EXECUTE {what} {end.quantity} at {end.price} ({plan}, order {end.order_id})"
    gate = f" by {end.gate}" if end.gate else ""
    return f"{end.decision} {what} {end.error}{gate} ({plan})"
