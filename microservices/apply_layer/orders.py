"""Send the one order of a claim: line in `sent.log`, claim to sent, POST, result."""

import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

from redis.exceptions import RedisError

from microservices.apply_layer import metrics
from microservices.apply_layer.closing import Closer
from microservices.apply_layer.endings import Ending, ended
from microservices.apply_layer.instruments import Instruments
from microservices.apply_layer.jobs import Job
from microservices.apply_layer.outcome import Unknown, of_error, of_order
from microservices.apply_layer.register import Register
from microservices.apply_layer.resolver import Resolver
from microservices.apply_layer.scripts import SENT, Scripts
from microservices.apply_layer.sent_log import NotLogged, SentLog, SentOrder
from microservices.contracts.plan import Side
from microservices.contracts.reason import Reason
from microservices.exchange import ExchangeError, Order, OrderRequest, SharedBackoff, Throttled
from microservices.exchange import Side as OrderSide
from microservices.runtime import progress

logger = logging.getLogger(__name__)

IDLE_S = 60.0


class OrderClient(Protocol):
    """What sending and resolving need of the exchange."""

    def exchange_time_ms(self) -> int:
        """Tell the exchange's time."""

    def new_order(self, order: OrderRequest, sent_at_ms: int, *, timeout_s: float | None = None) -> Order:
        """Send an order, once."""

    def query_order(self, symbol: str, client_order_id: str, *, timeout_s: float | None = None) -> Order:
        """Ask for an order."""


class OrderWorker:
    """One of those who send orders, one at a time.

    Args:
        register: told when this worker is idle, and when an order is no longer being sent.
        scripts: turns claims to sent.
        sent_log: every order is in it before it is sent.
        client: the exchange.
        instruments: cut quantities to what the exchange takes.
        backoff: told where an order itself was throttled: the next ones wait.
        closer: writes results.
        resolver: takes what is not done when this worker is through with it.
        timeout_s: deadline of one order.
        on_free: called when this worker may be given something again.
    """

    def __init__(
        self,
        register: Register,
        scripts: Scripts,
        sent_log: SentLog,
        client: OrderClient,
        *,
        instruments: Instruments,
        backoff: SharedBackoff,
        closer: Closer,
        resolver: Resolver,
        timeout_s: float,
        on_free: Callable[[], None],
    ) -> None:
        self._register = register
        self._scripts = scripts
        self._sent_log = sent_log
        self._client = client
        self._instruments = instruments
        self._backoff = backoff
        self._closer = closer
        self._resolver = resolver
        self._timeout_s = timeout_s
        self._on_free = on_free
        self._job: Job | None = None
        self.wake: Callable[[], None] = _nothing

    @property
    def has_job(self) -> bool:
        """Whether it was given something that it is not through with."""
        return self._job is not None

    def assign(self, job: Job) -> None:
        """Take a job; the worker's loop does it.

        Raises:
            RuntimeError: it has one already, which must not be lost.
        """
        if self._job is not None:
            raise RuntimeError(f"worker has plan {self._job.plan_id} and was given {job.plan_id}")
        self._job = job
        self.wake()

    def tick(self) -> float:
        """Do the job there is, or say that there is none; return the seconds to pause.

        Raises:
            redis.exceptions.RedisError: Redis is away; the job is with the resolver.
        """
        job = self._job
        if job is None:
            self._register.idle(self)
            self._on_free()
            return IDLE_S
        try:
            self._do(job)
        finally:
            self._job = None
            self._register.sent(job)
            if self._register.job(job.plan_id) is job:
                self._resolver.adopt(job)
        return 0.0

    def _do(self, job: Job) -> None:
        job.ending = ended(Reason.ORDER_NOT_PLACED)  # what it ends in until the order may have been sent
        if job.side is None:
            return
        cut = self._instruments.floored(job.symbol, job.quantity)
        if not cut and not job.is_exit:
            self._closer.end_job(job, ended(Reason.BELOW_MINIMUM))
            return
        job.quantity = cut or job.quantity  # rules that leave nothing of an exit may be wrong: the exchange decides
        outcome = self._send(job, job.side)
        progress()
        if isinstance(outcome, Unknown):
            logger.warning(
                "Order %s of plan %s (%s %s %s): outcome unknown, %s; it is asked for",
                job.client_order_id, job.plan_id, job.symbol, job.side, job.quantity, outcome.why,
            )  # fmt: skip
            return
        self._closer.end_job(job, outcome)

    def _send(self, job: Job, side: Side) -> Ending | Unknown:
        """Send the order if everything before it succeeds; what is certain comes back as an ending."""
        try:
            sent_at_ms = self._client.exchange_time_ms()
        except ExchangeError as error:
            return _not_placed(job, f"the exchange's time is not known: {error}")
        try:
            with metrics.LOG_SECONDS.time():
                self._sent_log.append(_sent_order(job, side, sent_at_ms))
        except NotLogged as error:
            return _not_placed(job, str(error))
        progress()
        word = self._scripts.mark_sent(job, sent_at_ms)
        if word != SENT:
            return _not_placed(job, word)
        job.sent_at_ms, job.ending = sent_at_ms, None
        progress()
        outcome = self._post(_request(job, side), sent_at_ms)
        metrics.ORDERS.labels(outcome=_kind(outcome)).inc()
        return outcome

    def _post(self, request: OrderRequest, sent_at_ms: int) -> Ending | Unknown:
        try:
            with metrics.ORDER_SECONDS.time():
                return of_order(self._client.new_order(request, sent_at_ms, timeout_s=self._timeout_s))
        except ExchangeError as error:
            if isinstance(error, Throttled):
                self._tell_throttled(error)
            return of_error(error)

    def _tell_throttled(self, error: Throttled) -> None:
        """Have the next orders wait for their one POST; a Redis that is away changes nothing about this one."""
        try:
            self._backoff.note_order_throttled(error)
        except RedisError as trouble:
            logger.warning("%s could not be shared: %s", error, trouble)


def _not_placed(job: Job, why: str) -> Ending:
    logger.warning("Plan %s (%s): no order was sent: %s", job.plan_id, job.symbol, why)
    return ended(Reason.ORDER_NOT_PLACED)


def _sent_order(job: Job, side: Side, sent_at_ms: int) -> SentOrder:
    return SentOrder(
        plan_id=job.plan_id,
        plan_entry_id=job.entry_id,
        symbol=job.symbol,
        action=job.action,
        side=side,
        quantity=job.quantity,
        reduce_only=job.is_exit,
        client_order_id=job.client_order_id,
        sent_at_ms=sent_at_ms,
        source=job.source,
        wait_ms=job.wait_ms,
    )


def _request(job: Job, side: Side) -> OrderRequest:
    return OrderRequest(
        symbol=job.symbol,
        side=OrderSide(side.value),
        quantity=Decimal(job.quantity),
        reduce_only=job.is_exit,
        client_order_id=job.client_order_id,
    )


def _kind(outcome: Ending | Unknown) -> str:
    if isinstance(outcome, Unknown):
        return metrics.UNKNOWN
    return metrics.FILLED if outcome.executed else metrics.REFUSED


def _nothing() -> None:
    """Wake nobody: the worker has no loop yet."""
