"""The back-off that all services of one IP address share: whoever is throttled tells the others.

Hash of `quantum:exchange:backoff`: `weight_until_ms` (used weight over 80 %), `throttled_until_ms` (429),
`banned_until_ms` (418), `orders_until_ms` (an order itself was answered with 429 or 418), `by`. All times are Redis's
own clock, so that the services' clocks need not agree, and the script only ever raises a value.
"""

import logging
from collections.abc import Sequence
from enum import Enum

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from microservices.exchange.errors import Throttled
from microservices.runtime import Away, LuaScript, is_wrong_type

# REQUEST_WEIGHT of USDⓈ-M futures, per IP address and minute:
# https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info and `rateLimits` of exchangeInfo.
WEIGHT_LIMIT_PER_MIN = 2_400
WEIGHT_SHARE = 0.8
LIMIT_PAUSE_MAX_S = 60.0
"""The longest interval of the exchange's limits (`rateLimits` of exchangeInfo: 10 s and 1 min): an answer that asks for
more must not keep exits, or what became of them, waiting for days. A ban (418) has a field of its own."""

_log = logging.getLogger(__name__)

_RAISE = LuaScript.load(__package__, "raise_backoff.lua")


class BackoffLevel(Enum):
    """Who obeys what: the value lists the fields that hold the caller up."""

    MARKET_DATA = ("weight_until_ms", "throttled_until_ms", "banned_until_ms")
    SNAPSHOTS = ("throttled_until_ms", "banned_until_ms")
    ORDERS = ("banned_until_ms",)
    NEW_ORDERS = ("orders_until_ms", "banned_until_ms")
    """Orders have a limit of their own: one that was refused by it holds up the next ones, and not their queries."""


class BackoffUnreadable(Away):
    """It is no hash, or holds something that is no time; whoever reads it must assume that it may not ask."""


class SharedBackoff:
    """Reads and raises the shared back-off.

    A reading that fails raises, and the caller treats the back-off as unknown: it asks nothing of the exchange for
    which a service may be banned. `note_throttled` and `note_weight` are called by the clients themselves.

    Args:
        redis: a client whose answers are bytes.
        key: the hash's key.
        by: the service's name, written beside what it raises.
    """

    def __init__(self, redis: Redis, key: str, by: str) -> None:
        self._redis = redis
        self._key = key
        self._by = by

    def note_throttled(self, throttled: Throttled) -> None:
        """Raise `banned_until_ms` (418) or `throttled_until_ms` (429) by the answer's Retry-After.

        Raises:
            redis.exceptions.RedisError: Redis did not take it.
        """
        field = "banned_until_ms" if throttled.banned else "throttled_until_ms"
        self._raise(field, f"+{int(throttled.retry_after_s * 1000)}")

    def note_order_throttled(self, throttled: Throttled) -> None:
        """Raise `orders_until_ms` by the answer that an order itself was given: the next ones would be refused too.

        A minute at most.

        Raises:
            redis.exceptions.RedisError: Redis did not take it.
        """
        pause_s = min(throttled.retry_after_s, LIMIT_PAUSE_MAX_S)
        self._raise("orders_until_ms", f"+{int(pause_s * 1000)}")

    def note_weight(self, used: int, limit: int = WEIGHT_LIMIT_PER_MIN) -> None:
        """Raise `weight_until_ms` to the next full minute where more than 80 % of the weight is used.

        Raises:
            redis.exceptions.RedisError: Redis did not take it.
        """
        if used > limit * WEIGHT_SHARE:
            self._raise("weight_until_ms", "next_minute")

    def remaining_s(self, level: BackoffLevel) -> float:
        """Return the seconds for which a caller of this level must not ask, by Redis's clock; 0 when free.

        Raises:
            redis.exceptions.RedisError: the back-off could not be read.
            BackoffUnreadable: it is no hash, or a field is not a time.
        """
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hmget(self._key, level.value)
        pipeline.time()
        try:
            values, (seconds, microseconds) = pipeline.execute()
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            raise BackoffUnreadable(f"{self._key} is no hash: delete it") from None
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        return max(0, _latest_ms(values) - now_ms) / 1000

    def _raise(self, field: str, until: str) -> None:
        _RAISE(self._redis, keys=[self._key], args=[field, until, self._by])


def tell_throttled(backoff: SharedBackoff | None, throttled: Throttled) -> None:
    """Tell the other services of a throttling; where Redis does not take it, a warning is all that can be done."""
    if backoff is not None:
        try:
            backoff.note_throttled(throttled)
        except RedisError as error:
            _log.warning("%s could not be shared: %s", throttled, error)


def _latest_ms(values: Sequence[bytes | str | None]) -> int:
    latest = 0
    for value in values:
        if value is not None:
            if not value.isdigit() or len(value) > 15:
                raise BackoffUnreadable(f"back-off time is {value[:40]!r}, expected epoch milliseconds")
            latest = max(latest, int(value))
    return latest
