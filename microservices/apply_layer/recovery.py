"""Compare `sent.log` with Redis, at start and after every reconnect, before anything is consumed.

A crash, a failover or a lost end of the append-only file can leave Redis behind what was done at the exchange. The log
knows better: an order in it is never sent again, gets its claim back, and ends in exactly one result.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from microservices.apply_layer import metrics
from microservices.apply_layer.endings import ended
from microservices.apply_layer.jobs import Job
from microservices.apply_layer.lost_results import LostResults
from microservices.apply_layer.register import Register
from microservices.apply_layer.resolver import Resolver
from microservices.apply_layer.result_stream import WrittenResult, result_by_id, results_since
from microservices.apply_layer.scripts import Exists, LeaseLost, Scripts
from microservices.apply_layer.sent_log import OrderEnd, SentLog, SentOrder
from microservices.contracts import claim, plan
from microservices.contracts.claim import Claim, ClaimState, OpenClaim
from microservices.contracts.fields import Unreadable
from microservices.contracts.plan import Action, InvalidPlan, Plan
from microservices.contracts.reason import Reason
from microservices.runtime import Away, Clock, progress
from microservices.runtime.streams import entry_of

logger = logging.getLogger(__name__)

CLOCK_SLACK_MS = 600_000
"""Exchange and Redis may disagree on the time; results are searched from this much before an order's own."""


@dataclass(frozen=True)
class Rules:
    """What recovery must know of the settings."""

    is_dry_run: bool
    stream_keep_h: int


class Recovery:
    """Bring Redis, `sent.log` and what is in hand to agree.

    Args:
        redis: a client whose answers are bytes.
        scripts: what is written.
        sent_log: what was, or may have been, sent.
        register: what is in hand; recovered jobs go there.
        resolver: takes the orders to ask for and the results to write.
        clock: monotonic time: how long a plan had waited that turns out to be claimed.
        rules: dry run, and how long results are kept.
        check: called first; raises where this Redis is not ours (any more).
    """

    def __init__(
        self,
        redis: Redis,
        scripts: Scripts,
        sent_log: SentLog,
        *,
        register: Register,
        resolver: Resolver,
        clock: Clock,
        rules: Rules,
        check: Callable[[], None],
    ) -> None:
        self._redis = redis
        self._scripts = scripts
        self._sent_log = sent_log
        self._register = register
        self._resolver = resolver
        self._clock = clock
        self._rules = rules
        self._lost_results = LostResults(redis, scripts, sent_log, stream_keep_h=rules.stream_keep_h)
        self._check = check
        self._due = threading.Event()
        self._due.set()
        self._unlisted: dict[str, Plan] = {}
        self._run_id = b""
        self.runs = 0

    @property
    def is_due(self) -> bool:
        """Whether nothing may be consumed before `run` has succeeded."""
        return self._due.is_set()

    def request(self, why: str) -> None:
        """Have it run before anything more is consumed."""
        if not self._due.is_set():
            logger.info("Comparing sent.log with Redis: %s", why)
            self._due.set()

    def found(self, plan: Plan) -> None:
        """Have this plan's claim taken up, which is not in hand: a reply was lost, or its line among the open ones."""
        self._unlisted[plan.plan_id] = plan
        self.request(f"plan {plan.plan_id} has a claim that is not in hand")

    def look(self) -> None:
        """Ask which server this is, and request a run where it is another one, or was restarted.

        Raises:
            redis.exceptions.RedisError: Redis is away.
        """
        if self._server() != self._run_id:
            self.request("Redis was restarted, or is another server")

    def run(self) -> None:
        """Compare and repair; nothing else may claim meanwhile. May be called again at any time.

        Raises:
            redis.exceptions.RedisError: Redis is away; it stays due.
            Refused: this Redis is not ours any more.
            Away: the lease is not ours.
        """
        self._due.clear()
        done = False
        try:
            run_id = self._server()
            self._check()
            self._take_up_unended()
            self._lost_results.rewrite()
            self._take_up_open_claims()
            done = True
        finally:
            if not done:
                self._due.set()
        self._run_id = run_id
        self.runs += 1
        metrics.RECOVERIES.inc()

    def _server(self) -> bytes:
        return str(self._redis.info("server").get("run_id", "")).encode()

    def _take_up_unended(self) -> None:
        """Give the orders without an end their claims back, and have them asked for."""
        orders = self._sent_log.unended()
        written = self._written_for([order for order in orders if self._register.job(order.plan_id) is None])
        for order in orders:
            job = self._register.job(order.plan_id)
            if job is None and order.plan_entry_id in written:
                self._note_end(order, written[order.plan_entry_id])
            elif job is None or not job.is_unsent:
                self._restore(order, has_job=job is not None)
            progress()

    def _written_for(self, orders: list[SentOrder]) -> dict[str, WrittenResult]:
        """Find results of these orders that were written although their end line was not."""
        if not orders:
            return {}
        entries = {order.plan_entry_id for order in orders}
        first_ms = min(order.sent_at_ms for order in orders) - CLOCK_SLACK_MS
        found = (written for written in results_since(self._redis, first_ms) if written.plan_entry_id in entries)
        return {written.plan_entry_id: written for written in found}

    def _restore(self, order: SentOrder, *, has_job: bool) -> None:
        answer = self._scripts.restore_sent(order)
        if isinstance(answer, LeaseLost):
            raise _lease_lost()
        if isinstance(answer, Exists) and answer.is_done_of(order.plan_entry_id):
            fields = result_by_id(self._redis, answer.result_id) if answer.result_id else None
            self._note_end(order, WrittenResult(answer.result_id, fields or {}))
            return
        if answer is not None:
            logger.error("Plan %s was sent, but its claim is %s of entry %r", order.plan_id, *answer[:2])
        if not has_job:
            logger.warning("Order %s of plan %s has no end: it is asked for", order.client_order_id, order.plan_id)
            self._adopt(Job.of_sent(order))

    def _note_end(self, order: SentOrder, written: WrittenResult) -> None:
        end = OrderEnd(plan_id=order.plan_id, result_id=written.result_id, fields=written.fields)
        self._sent_log.end(end)

    def _take_up_open_claims(self) -> None:
        """Go on with claims that no line and nothing in hand speaks of: what a crash left between claim and line."""
        self._list_unlisted()
        lines: dict[Any, Any] = self._redis.hgetall(claim.OPEN_KEY)
        for name, raw in lines.items():
            progress()
            plan_id = name.decode("utf-8", "replace")
            logged = self._sent_log.find(plan_id)
            if self._register.job(plan_id) is not None:
                continue
            if logged is None:
                self._take_up(plan_id, raw)
            elif logged.end is not None:
                self._end_again(logged.end)

    def _list_unlisted(self) -> None:
        """Name claims among the open ones that were found to be missing there, taken for sent until they are read."""
        for plan_id, found in self._unlisted.items():
            line = OpenClaim(found.symbol, found.action, ClaimState.SENT, found.entry_id)
            self._redis.hsetnx(claim.OPEN_KEY, plan_id, claim.encode_open(line))
        self._unlisted = {}

    def _take_up(self, plan_id: str, raw_line: bytes) -> None:
        line = _open_line(raw_line, plan_id)
        state = self._claim(plan_id)
        if state is not None and state.state is ClaimState.DONE:
            self._redis.hdel(claim.OPEN_KEY, plan_id)
            return
        waiting = self._register.waiting(plan_id)
        if waiting is not None and (state is None or waiting.plan.entry_id != state.plan_entry_id):
            waiting = None
        entry_id = line.plan_entry_id if state is None else state.plan_entry_id
        body = waiting.plan if waiting is not None else self._plan(entry_id)
        job = _job(plan_id, entry_id, line, state, body)
        if waiting is not None:
            job.wait_ms = waiting.wait_ms(self._clock.monotonic())
        if state is None or state.state is ClaimState.SENT:
            job.sent_at_ms = (state.sent_at_ms if state else None) or 0
            logger.warning("Plan %s has a claim that may have been sent, and no line: it is asked for", plan_id)
            self._adopt(job)
        elif self._rules.is_dry_run or body is None:
            job.ending = ended(Reason.DRY_RUN if self._rules.is_dry_run else Reason.ORDER_NOT_PLACED)
            self._adopt(job)
        else:
            logger.warning("Plan %s was claimed and not sent: it goes on if it may", plan_id)
            self._register.begin(job)
            self._register.queue(job)

    def _end_again(self, end: OrderEnd) -> None:
        """End a claim that is open although its order has ended: it would keep its symbol closed for ever.

        Redis is older than the result then, so that nobody has counted it. Without a claim only the open line is left.
        """
        if self._redis.exists(claim.key(end.plan_id)):
            self._lost_results.rewrite_one(end)
        else:
            self._redis.hdel(claim.OPEN_KEY, end.plan_id)

    def _claim(self, plan_id: str) -> Claim | None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(claim.key(plan_id))
        raw = pipeline.execute(raise_on_error=False)[0]
        try:
            if isinstance(raw, ResponseError):
                raise Unreadable(claim.key(plan_id), str(raw))
            return claim.decode(raw, plan_id)
        except Unreadable as fault:
            logger.error("%s", fault)  # noqa: TRY400 (the line says it all)
            return None

    def _plan(self, entry_id: str) -> Plan | None:
        entry = entry_of(self._redis, plan.STREAM, entry_id) if entry_id else None
        if entry is None or entry.fields is None:
            return None
        try:
            return plan.decode(plan.decode_header(entry.id, entry.fields))
        except InvalidPlan:
            return None

    def _adopt(self, job: Job) -> None:
        self._register.begin(job)
        self._resolver.adopt(job)


def _job(plan_id: str, entry_id: str, line: OpenClaim, state: Claim | None, body: Plan | None) -> Job:
    """Make a job of what is left of a claim; without the plan's body it has no side, and is never sent."""
    quantity = state.qty if state is not None and state.qty is not None else Decimal(0)
    if body is not None:
        return Job.of_plan(body, quantity, 0)
    return Job(
        plan_id=plan_id,
        entry_id=entry_id,
        symbol=line.symbol,
        action=line.action,
        side=None,
        quantity=quantity,
        source="",
        wait_ms=0,
        times=None,
    )


def _open_line(raw: bytes, plan_id: str) -> OpenClaim:
    """Read what an open claim is about; one that cannot be read is taken for the worse, an open."""
    try:
        return claim.decode_open(raw, plan_id)
    except Unreadable as fault:
        logger.error("%s", fault)  # noqa: TRY400 (the line says it all)
        return OpenClaim("", Action.OPEN, ClaimState.SENT)


def _lease_lost() -> Away:
    return Away(f"the lease {claim.LEASE_KEY}")
