"""Find out what became of orders that nobody answered for, and write the results that could not be written."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from microservices.apply_layer.closing import Closer
from microservices.apply_layer.endings import Ending
from microservices.apply_layer.jobs import Job
from microservices.apply_layer.outcome import Inquiry, Unknown
from microservices.exchange import (
    LIMIT_PAUSE_MAX_S,
    BackoffLevel,
    BackoffUnreadable,
    ExchangeError,
    Order,
    Rejected,
    SharedBackoff,
    Throttled,
    Unreachable,
    codes,
)
from microservices.runtime import Clock, Pauses, progress

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0
QUERY_TIMEOUT_S = 5.0
IDLE_S = 5.0
REMIND_EVERY_S = 60.0
LONGEST_HELD_UP_S = 30.0
UNREADABLE_BACKOFF_S = 1.0


class QueryClient(Protocol):
    """What resolving needs of the exchange."""

    def exchange_time_ms(self) -> int:
        """Tell the exchange's time."""

    def query_order(self, symbol: str, client_order_id: str, *, timeout_s: float | None = None) -> Order:
        """Ask for an order."""


@dataclass(slots=True)
class _Case:
    job: Job
    inquiry: Inquiry
    since_s: float
    due_s: float
    remind_s: float
    pauses: Pauses = field(default_factory=lambda: Pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S))


class Resolver:
    """Asks for orders by client order id until they are answered for; a loop of its own, never a worker's.

    Args:
        client: the exchange.
        closer: writes results.
        backoff: order queries wait for a ban's end; what cannot be read may be one. A 429 to anybody else does not hold
            them up, one to a query of ours does, for a minute at most.
        clock: monotonic time for the pauses.
    """

    def __init__(self, client: QueryClient, closer: Closer, backoff: SharedBackoff, clock: Clock) -> None:
        self._client = client
        self._closer = closer
        self._backoff = backoff
        self._clock = clock
        self._lock = threading.Lock()
        self._cases: dict[str, _Case] = {}
        self._throttled_until_s = 0.0
        self.wake: Callable[[], None] = _nothing

    def adopt(self, job: Job) -> None:
        """Take a job that is not done: an order to ask for, or a result to write."""
        now = self._clock.monotonic()
        case = _Case(job, Inquiry(job.sent_at_ms or 0), now, now, now + REMIND_EVERY_S)
        with self._lock:
            self._cases[job.plan_id] = case
        self.wake()

    def tick(self) -> float:
        """Go on with every case that is due; return the seconds to pause.

        Raises:
            redis.exceptions.RedisError: Redis is away; nothing is lost.
        """
        for case in self._due():
            try:
                is_closed = self._settle(case)
            except ExchangeError as error:
                self._remind(case, error.why)
                break  # it cannot be asked at all: asking for the others would only wait for as many deadlines
            if is_closed:
                with self._lock:
                    self._cases.pop(case.job.plan_id, None)
            progress()
        with self._lock:
            due_s = min((case.due_s for case in self._cases.values()), default=None)
        return IDLE_S if due_s is None else max(0.01, due_s - self._clock.monotonic())

    def _due(self) -> list[_Case]:
        now = self._clock.monotonic()
        with self._lock:
            due = [case for case in self._cases.values() if case.due_s <= now]
        # What only has to be written comes first, exits before opens.
        return sorted(due, key=lambda case: (case.job.ending is None, not case.job.is_exit))

    def _settle(self, case: _Case) -> bool:
        """Ask where that is needed, and write the result where it is known; tell whether the case is closed."""
        job = case.job
        case.due_s = self._clock.monotonic() + case.pauses.next()  # also where the next lines raise
        if job.ending is None:
            outcome = self._ask(case)
            if isinstance(outcome, Unknown):
                self._remind(case, outcome.why)
                return False
            took_s = self._clock.monotonic() - case.since_s
            logger.info("Order %s of plan %s is answered for after %.1f s", job.client_order_id, job.plan_id, took_s)
            job.ending = outcome
        return self._closer.end_job(job, job.ending)

    def _ask(self, case: _Case) -> Ending | Unknown:
        held_up_s = self._held_up_s()
        if held_up_s > 0:
            case.due_s = self._clock.monotonic() + min(held_up_s, LONGEST_HELD_UP_S)
            return Unknown(f"the exchange may not be asked for {held_up_s:.1f} s")
        job = case.job
        asked_at_ms = self._client.exchange_time_ms()
        try:
            order = self._client.query_order(job.symbol, job.client_order_id, timeout_s=QUERY_TIMEOUT_S)
        except Unreachable:
            raise
        except ExchangeError as error:
            if isinstance(error, Throttled):
                self._throttled_until_s = self._clock.monotonic() + min(error.retry_after_s, LIMIT_PAUSE_MAX_S)
            if isinstance(error, Rejected) and error.code == codes.NO_SUCH_ORDER:
                outcome = case.inquiry.absent(asked_at_ms)
                decisive_s = self._clock.monotonic() + (case.inquiry.decisive_at_ms() - asked_at_ms) / 1000
                case.due_s = min(case.due_s, decisive_s)
                return outcome
            return Unknown(error.why)
        return case.inquiry.found(order, asked_at_ms)

    def _held_up_s(self) -> float:
        throttled_s = self._throttled_until_s - self._clock.monotonic()
        try:
            return max(throttled_s, self._backoff.remaining_s(BackoffLevel.ORDERS))
        except BackoffUnreadable:  # the heartbeat says so, in the log, the metrics and its status
            return UNREADABLE_BACKOFF_S

    def _remind(self, case: _Case, why: str) -> None:
        """Say now and then what is still open: the symbol stays closed to opens, and somebody should know."""
        now = self._clock.monotonic()
        if now < case.remind_s:
            return
        case.remind_s = now + REMIND_EVERY_S
        job = case.job
        logger.warning(
            "Order %s of plan %s (%s) has been unresolved for %.0f s: %s",
            job.client_order_id, job.plan_id, job.symbol, now - case.since_s, why,
        )  # fmt: skip


def _nothing() -> None:
    """Wake nobody: there is no loop yet."""
