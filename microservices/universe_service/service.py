"""Keep the list of tradeable symbols: fetch, judge, publish; on any doubt say that what is there is stale."""

import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from redis import Redis
from redis.exceptions import ResponseError

from microservices.contracts import account, universe
from microservices.contracts.control import BACKOFF_KEY
from microservices.contracts.fields import Unreadable
from microservices.contracts.universe import UniverseDocument
from microservices.exchange import (
    BackoffLevel,
    BackoffUnreadable,
    ExchangeError,
    PublicClient,
    SharedBackoff,
    Throttled,
)
from microservices.runtime import Clock, Context, Loop, Pauses, Refused, is_wrong_type, progress
from microservices.universe_service import metrics
from microservices.universe_service.filters import AnswerRejected, Selection, first_of, select
from microservices.universe_service.publication import ShrinkGuard, Stored, at_start, bounded
from microservices.universe_service.settings import Settings
from microservices.universe_service.store import Store

_log = logging.getLogger(__name__)

UNIT = "quantum-universe-service"
FIRST_RETRY_S = 1.0
"""After a failed fetch it is tried again soon, then ever later, at most the refresh interval."""
THROTTLED_FACTOR = 2.0
THROTTLED_LONGEST_S = 3600.0
"""Our own lengthening of Retry-After ends here; a longer Retry-After is obeyed all the same."""
NEARLY_FULL = 0.9
REDIS_SHARE_S = 15.0
"""What the fetch may take besides its deadline, and a refresh before and after it, before it counts as hung."""
NAMED_AT_MOST = 300
WATCH_EVERY_S = 2.0
"""How often it is looked whether what was published is still there; without a list not even exits are permitted."""


class UniverseService:
    """Refresh the universe until stopped.

    Args:
        settings: what it was told.
        redis: a client whose answers are bytes.
        client: the exchange.
        backoff: read before every request; the client raises it.
        clock: wall time dates the lists, monotonic time measures waits.
        stop: once it is set nothing is written any more: a fetch that the end cut short says nothing of the list.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        client: PublicClient,
        *,
        backoff: SharedBackoff,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._client = client
        self._backoff = backoff
        self._clock = clock
        self._stop = stop
        self._store = Store(redis)
        self._guard = ShrinkGuard(settings.universe_min_ratio, settings.pattern)
        self._pauses = Pauses(FIRST_RETRY_S, settings.universe_refresh_sec)
        self._throttled_in_a_row = 0
        self._ask_again_at = 0.0
        self._start_error = ""
        self._failure = ""
        self._said: dict[str, object] = {}
        self._count = 0
        self._asof_epoch = 0
        self._lost = threading.Event()

    def prepare(self) -> None:
        """Refuse a Redis of another account; mark what is there as stale, so that an old list never looks fresh.

        Raises:
            Refused: this Redis belongs to another mode or host.
        """
        self._check_account()
        stored = self._store.read()
        start = at_start(stored, self._settings.universe_mode)
        self._store.start(start)
        self._start_error = start.meta.error
        self._count, self._asof_epoch = start.meta.count, start.meta.asof_epoch
        metrics.started(self._count, self._asof_epoch)
        _log.info(
            "Universe service starts: mode %s, %s, %s", self._settings.universe_mode, self._base, self._start_error
        )

    def loops(self) -> Sequence[Loop]:
        """Give the refresh, and the look at what it has left."""
        longest_s = self._settings.http_timeout_sec + REDIS_SHARE_S
        return [
            Loop("refresh", self.refresh, max_tick_s=longest_s, shortfall=lambda: self._trouble, wake=self._lost),
            Loop("watch", self.watch),
        ]

    def status_line(self) -> str:
        """Say how many symbols there are and how old they are."""
        if not self._count:
            return f"no list: {self._trouble}"
        age_s = max(0, int(self._clock.now() - self._asof_epoch))
        return f"{self._count} symbols, {age_s} s old" + (f", stale: {self._trouble}" if self._trouble else "")

    def close(self) -> None:
        """Let go of the connections; what is in Redis stays as it is."""
        self._client.close()

    def refresh(self) -> float:
        """Fetch, judge and publish once.

        Returns:
            Seconds until the next refresh.

        Raises:
            redis.exceptions.RedisError: Redis is away; the runner tries again.
        """
        wait_s = self._ask_again_at - self._clock.monotonic()
        if wait_s > 0:
            return wait_s
        stored = self._store.read()
        held_up_s = self._held_up_s(stored)
        if held_up_s > 0:
            return held_up_s
        asked_epoch = int(self._clock.now())
        try:
            body = self._fetch()
            progress()
            selection = self._judged(body, stored, asked_epoch)
        except Throttled as throttled:
            pause_s = self._throttled(throttled)
            self._fail(stored, str(throttled), asked_epoch, metrics.FETCH_FAILED)
            return pause_s
        except ExchangeError as error:
            self._fail(stored, str(error), asked_epoch, metrics.FETCH_FAILED)
            return self._pauses.next()
        except AnswerRejected as rejected:
            self._fail(stored, str(rejected), asked_epoch, metrics.REJECTED)
            return self._pauses.next()
        self._publish(selection, asked_epoch)
        return self._settings.universe_refresh_sec

    def watch(self) -> float:
        """Have the list published at once where it is gone from Redis, emptied by somebody or rolled back.

        Raises:
            redis.exceptions.RedisError: Redis is away.
        """
        if self._count and not self._redis.exists(universe.META_KEY):
            self._lost.set()
        return WATCH_EVERY_S

    @property
    def _trouble(self) -> str:
        """Why the list is stale; empty where it is the answer to the last refresh."""
        return self._failure or self._start_error

    @property
    def _base(self) -> str:
        return self._settings.base_url

    def _check_account(self) -> None:
        mode = self._settings.universe_mode
        try:
            bound = account.decode(self._redis.hgetall(account.KEY))
        except Unreadable as fault:
            raise Refused(str(fault)) from None
        except ResponseError as fault:
            if not is_wrong_type(fault):
                raise
            raise Refused(f"{account.KEY}: {fault}") from None
        if bound is None:
            _log.warning("%s is not set, any mode may write here: run ops/set_account.sh --mode %s", account.KEY, mode)
            return
        if different := account.mismatch(bound, mode=mode, host=account.host_of(self._base), account=None):
            raise Refused(different)

    def _held_up_s(self, stored: Stored) -> float:
        """Tell for how long the exchange must not be asked because this or another service was throttled."""
        try:
            held_up_s = self._backoff.remaining_s(BackoffLevel.MARKET_DATA)
            throttled_s = self._backoff.remaining_s(BackoffLevel.SNAPSHOTS) if held_up_s > 0 else 0.0
        except (BackoffUnreadable, ResponseError) as fault:
            if isinstance(fault, ResponseError) and not is_wrong_type(fault):
                raise
            self._fail(stored, f"{BACKOFF_KEY} holds the exchange back: {fault}", None, metrics.HELD_UP)
            return self._pauses.next()
        if throttled_s > 0:
            until = datetime.fromtimestamp(self._clock.now() + throttled_s, UTC)
            self._fail(
                stored, f"no request before {until:%Y-%m-%d %H:%M:%S} UTC ({BACKOFF_KEY})", None, metrics.HELD_UP
            )
        return min(held_up_s, self._settings.universe_refresh_sec)

    def _fetch(self) -> bytes:
        with metrics.FETCH_SECONDS.time():
            return self._client.exchange_info()

    def _throttled(self, throttled: Throttled) -> float:
        """Forget no Retry-After, whatever happens to the writing of it: each in a row waits longer."""
        longer_s = throttled.retry_after_s * THROTTLED_FACTOR**self._throttled_in_a_row
        self._throttled_in_a_row = min(self._throttled_in_a_row + 1, 16)
        pause_s = max(throttled.retry_after_s, min(longer_s, THROTTLED_LONGEST_S))
        self._ask_again_at = self._clock.monotonic() + pause_s
        return pause_s

    def _judged(self, body: bytes, stored: Stored, asked_epoch: int) -> Selection:
        settings = self._settings
        selection = select(body, pattern=settings.pattern, max_symbols=settings.universe_max, asof_epoch=asked_epoch)
        refusal = self._guard.refusal(
            selection.symbols, stored.last_good(settings.universe_mode), self._clock.monotonic()
        )
        if refusal:
            raise AnswerRejected(refusal)
        return selection

    def _fail(self, stored: Stored, why: str, asked_epoch: int | None, outcome: str) -> None:
        if self._stop.is_set():
            return
        error = bounded(self._start_error, why)
        if stored.meta is None:
            start = at_start(stored, self._settings.universe_mode)
            self._store.start(msgspec.structs.replace(start, meta=msgspec.structs.replace(start.meta, error=error)))
        self._store.fail(error, asked_epoch)
        metrics.failed(outcome)
        if why != self._failure:
            _log.warning("Universe not refreshed: %s; %d symbols stay, stale", why, self._count)
        self._failure = why

    def _publish(self, selection: Selection, asked_epoch: int) -> None:
        symbols = selection.symbols
        document = UniverseDocument(
            asked_epoch, universe.SOURCE, self._settings.universe_mode, symbols, universe.FILTERS
        )
        kept = self._store.publish(document, selection.dropped, selection.instruments)
        self._log_published(selection, kept)
        self._guard.published()
        self._pauses.reset()
        self._throttled_in_a_row = 0
        self._start_error = self._failure = ""
        self._count, self._asof_epoch = len(symbols), asked_epoch
        metrics.published(len(symbols), asked_epoch, selection.dropped, kept)

    def _log_published(self, selection: Selection, kept: int) -> None:
        """Log what is new since the last time; a refresh that changed nothing is silent."""
        count, most = len(selection.symbols), self._settings.universe_max
        if self._guard.has_waited:
            _log.warning("A much shorter list stayed the same for 15 minutes and is accepted: %d symbols", count)
        if self._trouble or count != self._count:
            _log.info("Universe published: %d symbols, %d dropped, %d instruments", count, selection.dropped, kept)
        if self._is_new("dropped", selection.outside_pattern):
            names = first_of(selection.outside_pattern, NAMED_AT_MOST)
            _log.info("UNIVERSE_SYMBOL_REGEX drops %d traded perpetuals: %s", len(selection.outside_pattern), names)
        if self._is_new("unusable", selection.unusable):
            names = first_of(selection.unusable, NAMED_AT_MOST)
            _log.warning("%d entries without usable rules are left out: %s", len(selection.unusable), names)
        if self._is_new("nearly full", count >= NEARLY_FULL * most):
            _log.warning("%d symbols are nearly UNIVERSE_MAX=%d; more than that are refused", count, most)

    def _is_new(self, what: str, value: object) -> bool:
        """Tell whether there is something to say that was not said last time."""
        changed = self._said.get(what) != value
        self._said[what] = value
        return changed and bool(value)


def build(context: Context[Settings]) -> UniverseService:
    """Make the service of its parts."""
    settings = context.settings
    backoff = SharedBackoff(context.redis, BACKOFF_KEY, UNIT)
    client = PublicClient(settings.base_url, clock=context.clock, timeout_s=settings.http_timeout_sec, backoff=backoff)
    return UniverseService(settings, context.redis, client, backoff=backoff, clock=context.clock, stop=context.stop)
