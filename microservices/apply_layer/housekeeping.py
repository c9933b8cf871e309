"""What goes on beside the orders: lease and heartbeat, the exchange's clock, the length of streams and `sent.log`."""

import logging
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from microservices.apply_layer import metrics
from microservices.apply_layer.lost_results import LOG_KEPT_H
from microservices.apply_layer.recovery import Recovery
from microservices.apply_layer.register import Register
from microservices.apply_layer.sent_log import SentLog
from microservices.apply_layer.watching import Watch
from microservices.contracts import claim, hashes, plan, position, result
from microservices.contracts.claim import ApplyStatus
from microservices.contracts.control import Mode
from microservices.contracts.fields import Unreadable, stream_id, text
from microservices.exchange import BackoffLevel, SharedBackoff, SignedClient
from microservices.runtime import Clock, SingleInstance, redis_ms

logger = logging.getLogger(__name__)

HEARTBEAT_EVERY_S = 1.0
TRIM_EVERY_S = 60.0
CLOCK_EVERY_S = 300.0
"""Measured here well before it grows old, so that no order has to wait for it."""
LONGEST_KEPT_MS = 7 * 24 * 3600 * 1000
_GROUPS = {plan.STREAM: plan.GROUPS, result.STREAM: (result.GROUP_DECISION_INTELLIGENCE,)}


class Heartbeat:
    """Renew the lease, watch for another Redis, and say how things are.

    Args:
        redis: a client whose answers are bytes.
        instance: who the one instance is.
        recovery: requested where the lease was lost, or the server is another.
        register: what is in hand.
        watch: what keeps orders from going out.
        clock: dates the heartbeat.
        mode: what the exchange is.
        build: version and commit.
    """

    def __init__(
        self,
        redis: Redis,
        instance: SingleInstance,
        recovery: Recovery,
        register: Register,
        *,
        watch: Watch,
        clock: Clock,
        mode: Mode,
        build: str,
    ) -> None:
        self._redis = redis
        self._instance = instance
        self._recovery = recovery
        self._register = register
        self._clock = clock
        self._mode = mode
        self._build = build
        self._watch = watch

    def tick(self) -> float:
        """Do it once; return the seconds to pause.

        Raises:
            LeaseHeld: another instance is the one: the scripts do nothing for us meanwhile.
            redis.exceptions.RedisError: Redis is away.
        """
        if not self._instance.renew():
            self._recovery.request("the lease was lost")
            self._instance.acquire()
            self._recovery.request("the lease is ours again")  # what another may have done meanwhile
        self._recovery.look()
        status = ApplyStatus(
            last_ts=int(self._clock.now()),
            mode=self._mode,
            build=self._build,
            waiting=self._register.waiting_count,
            open_claims=self._open_claims(),
            unresolved=self._register.unresolved_count,
            kill_switch=self._watch.kill_switch().value,
            held_up=self._watch.held_up(),
        )
        self._redis.hset(claim.STATUS_KEY, mapping=hashes.encode(status))
        metrics.WAITING.set(status.waiting)
        metrics.OPEN_CLAIMS.set(status.open_claims)
        metrics.UNRESOLVED.set(status.unresolved)
        return HEARTBEAT_EVERY_S

    def _open_claims(self) -> int:
        try:
            return int(self._redis.hlen(claim.OPEN_KEY))
        except ResponseError as error:
            logger.error("%s: %s", claim.OPEN_KEY, error)  # noqa: TRY400 (the line says it all)
            return 0


class Housekeeping:
    """Keep the exchange's time measured, and streams and log as long as they must be and no longer.

    Args:
        redis: a client whose answers are bytes.
        client: the exchange, for its clock.
        sent_log: its ended orders are dropped after 48 h.
        backoff: the exchange is not even asked for its time while it has banned us.
        clock: monotonic time.
        stream_keep_h: how long plans and results are kept at least.
    """

    def __init__(
        self,
        redis: Redis,
        client: SignedClient,
        sent_log: SentLog,
        *,
        backoff: SharedBackoff,
        clock: Clock,
        stream_keep_h: int,
    ) -> None:
        self._redis = redis
        self._client = client
        self._sent_log = sent_log
        self._backoff = backoff
        self._clock = clock
        self._stream_keep_ms = stream_keep_h * 3600 * 1000
        self._clock_due_s = clock.monotonic() + CLOCK_EVERY_S

    def trim(self) -> float:
        """Trim both streams behind what everybody has read, and drop old lines of the log.

        Raises:
            redis.exceptions.RedisError: Redis is away.
            OSError: the log could not be written anew.
        """
        now_ms = redis_ms(self._redis)
        kept_from = min([(now_ms - self._stream_keep_ms, 0), *self._needed_from()])
        kept_from = max(kept_from, (now_ms - LONGEST_KEPT_MS, 0))
        for stream in _GROUPS:
            removed = int(self._redis.xtrim(stream, minid=f"{kept_from[0]}-{kept_from[1]}", approximate=True))
            metrics.TRIMMED.labels(stream=stream).inc(removed)
        self._sent_log.drop_ended_before(now_ms - LOG_KEPT_H * 3600 * 1000)
        return TRIM_EVERY_S

    def sync_clock(self) -> float:
        """Measure the exchange's time where that is due; return the seconds to pause.

        Raises:
            ExchangeError: the exchange did not tell it; the offset known so far is used on.
            BackoffUnreadable: it may be that we are banned: it is not asked.
            redis.exceptions.RedisError: Redis is away.
        """
        remaining_s = self._clock_due_s - self._clock.monotonic()
        if remaining_s > 0:
            return remaining_s
        banned_s = self._backoff.remaining_s(BackoffLevel.ORDERS)
        if banned_s > 0:
            return min(banned_s, CLOCK_EVERY_S)
        self._client.sync_time()
        self._clock_due_s = self._clock.monotonic() + CLOCK_EVERY_S
        return CLOCK_EVERY_S

    def _needed_from(self) -> list[tuple[int, int]]:
        """Name the ids from which on somebody still reads: the ledger's cursor, and what each group has open."""
        needed = [stream_id(oldest, stream) for stream in _GROUPS for oldest in self._groups_need(stream)]
        raw = self._redis.get(position.LEDGER_CURSOR_KEY)
        if raw is not None:
            needed.append(_cursor(raw))
        return needed

    def _groups_need(self, stream: str) -> list[str]:
        try:
            groups = self._redis.xinfo_groups(stream)
        except ResponseError as error:
            if "no such key" in str(error):
                return []
            raise
        wanted = {name.encode() for name in _GROUPS[stream]}
        return [self._group_needs(stream, group) for group in groups if group["name"] in wanted]

    def _group_needs(self, stream: str, group: dict[str, Any]) -> str:
        if group["pending"]:
            lowest = self._redis.xpending(stream, group["name"])["min"]
            if lowest is not None:
                return bytes(lowest).decode()
        delivered = group["last-delivered-id"]
        return delivered.decode() if isinstance(delivered, bytes) else str(delivered)


def _cursor(raw: object) -> tuple[int, int]:
    """Read the ledger's cursor; one that cannot be read holds everything, up to the longest time."""
    try:
        return stream_id(text(raw, position.LEDGER_CURSOR_KEY), position.LEDGER_CURSOR_KEY)
    except Unreadable as fault:
        logger.error("%s: nothing is trimmed before 7 days", fault)  # noqa: TRY400 (the line says it all)
        return (0, 0)
