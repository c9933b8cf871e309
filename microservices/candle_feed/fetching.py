"""Asks for candles with a few requests at a time, within the budget and the shared back-off."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

from microservices.candle_feed import metrics
from microservices.candle_feed.budget import WeightBudget
from microservices.candle_feed.planning import Request
from microservices.candle_feed.validation import Examined, examine
from microservices.exchange import BackoffLevel, ExchangeError, PublicClient, SharedBackoff, Throttled
from microservices.runtime import Clock

# Requests under way at once: keeps a round trip of 50 ms from limiting the feed to 20 symbols a second.
WORKERS = 8
# Under the 5 s in which a stopped unit must be gone.
TIMEOUT_S = 4.0
# How long one pass asks before it lets the feed plan anew.
PASS_S = 2.0
# So many failures without a success mean that the exchange is away, not a symbol.
FAILURES_MEAN_AWAY = 3
_BACKOFF_READ_EVERY_S = 0.25

_log = logging.getLogger(__name__)


class Task(NamedTuple):
    """A request, and for deep history the weight that more urgent requests need each minute (None: it is urgent)."""

    request: Request
    keep_free: int | None


class Pass(NamedTuple):
    """How a pass ended.

    Args:
        left: requests that were not sent.
        wait_s: seconds until the first of them may be sent; 0 is now.
        failures: who failed with what, in order.
    """

    left: int
    wait_s: float
    failures: list[tuple[str, ExchangeError]]


class Fetcher:
    """Runs requests in a few threads; what they bring is handed over in the caller's own thread.

    Args:
        client: the exchange; bound to tell `backoff` of every throttling.
        backoff: read before asking.
        budget: the feed's own limit.
        clock: monotonic time.
        stop: set when the service ends.
    """

    def __init__(
        self,
        client: PublicClient,
        backoff: SharedBackoff,
        budget: WeightBudget,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self._client = client
        self._backoff = backoff
        self._budget = budget
        self._clock = clock
        self._stop = stop
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="klines")
        self._held_until = 0.0
        self._backoff_read_at = float("-inf")
        self._time_requests = 0

    def run(self, requests: Sequence[Task], take: Callable[[Request, Examined], None]) -> Pass:
        """Send requests in their order until they are done, held up, or `PASS_S` is over.

        Args:
            requests: what to ask, most urgent first.
            take: called with every good answer.

        Raises:
            ExchangeError: the exchange is away: only failures came.
            redis.exceptions.RedisError: the back-off could not be read, or `take` could not store.
        """
        left = deque(requests)
        running: dict[Future[Examined], Request] = {}
        ends_at = self._clock.monotonic() + PASS_S
        answers, wait_s = 0, 0.0
        failures: list[tuple[str, ExchangeError]] = []
        while True:
            if self._clock.monotonic() < ends_at and not _is_away(answers, failures):
                wait_s = self._submit(left, running)
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                request = running.pop(future)
                error = self._failure(request, future)
                if error is not None:
                    failures.append((request.symbol, error))
                else:
                    answers += 1
                    take(request, future.result())
        if _is_away(answers, failures):
            raise failures[-1][1]
        return Pass(len(left), wait_s, failures)

    def held_s(self) -> float:
        """Return the seconds for which the exchange asked to be left alone, as last known; 0 when free."""
        return max(0.0, self._held_until - self._clock.monotonic())

    def close(self) -> None:
        """Start no further request; those under way end by their deadline."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, left: deque[Task], running: dict[Future[Examined], Request]) -> float:
        """Start as many requests as may be; return the seconds until the next one may be, 0 where none is held up."""
        while left and len(running) < WORKERS and not self._stop.is_set():
            request, keep_free = left[0]
            wait_s = self._wait_s(request, keep_free)
            if wait_s > 0:
                return wait_s
            left.popleft()
            self._budget.spend(request.weight, self._clock.monotonic(), deep=keep_free is not None)
            running[self._pool.submit(self._ask, request)] = request
        return 0.0

    def _wait_s(self, request: Request, keep_free: int | None) -> float:
        now = self._clock.monotonic()
        if now - self._backoff_read_at >= _BACKOFF_READ_EVERY_S:
            self._held_until = max(self._held_until, now + self._backoff.remaining_s(BackoffLevel.MARKET_DATA))
            self._backoff_read_at = now
        self._count_time_requests(now)
        return max(self._held_until - now, self._budget.wait_s(request.weight, now, keep_free=keep_free))

    def _count_time_requests(self, now: float) -> None:
        """Take into account what the client asked for the exchange's time meanwhile, whoever needed it."""
        asked = self._client.time_requests
        if asked > self._time_requests:
            self._budget.spend(asked - self._time_requests, now)
            self._time_requests = asked

    def _ask(self, request: Request) -> Examined:
        now_ms = self._client.exchange_time_ms()
        rows = self._client.klines(
            request.symbol,
            limit=request.limit,
            start_ms=request.first_ms,
            end_ms=request.last_ms,
            timeout_s=TIMEOUT_S,
        )
        return examine(rows, request, now_ms)

    def _failure(self, request: Request, future: Future[Examined]) -> ExchangeError | None:
        """Return the exchange's error of a finished request; anything else it raised is raised here."""
        error = future.exception()
        outcome = "answered" if error is None else type(error).__name__
        metrics.REQUESTS.labels(outcome=outcome).inc()
        if isinstance(error, Throttled):
            self._hold(request, error)
        if error is not None and not isinstance(error, ExchangeError):
            raise error
        return error

    def _hold(self, request: Request, throttled: Throttled) -> None:
        until = self._clock.monotonic() + throttled.retry_after_s
        if until > self._held_until:
            self._held_until = until
            _log.warning("%s: %s; asking nothing for %.0f s", request.symbol, throttled, throttled.retry_after_s)


def _is_away(answers: int, failures: Sequence[tuple[str, ExchangeError]]) -> bool:
    limited = any(isinstance(error, Throttled) for _, error in failures)
    return not answers and not limited and len(failures) >= FAILURES_MEAN_AWAY
