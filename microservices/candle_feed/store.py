"""The feed's candles and status in Redis."""

import logging
from collections.abc import Sequence
from typing import cast

from redis import Redis
from redis.exceptions import ResponseError

from microservices.contracts import candles, hashes
from microservices.contracts.candles import Candle, FeedStatus
from microservices.contracts.fields import Unreadable
from microservices.runtime import LuaScript, is_wrong_type

_log = logging.getLogger(__name__)

_STORE = LuaScript.load(__package__, "store_candles.lua")


class CandleStore:
    """Reads and writes `quantum:candles:{symbol}` and the status hash.

    Args:
        redis: a client whose answers are bytes.
        keep: candles kept of each symbol.
    """

    def __init__(self, redis: Redis, keep: int) -> None:
        self._redis = redis
        self._keep = keep

    def stored_minutes(self, symbol: str) -> set[int]:
        """Return the open times of all candles that can be read; any other member will be replaced in its turn.

        A member under another score than its open time, and two members of one open time, do not count. A key of
        another type holds none, and is replaced by the first store.

        Raises:
            redis.exceptions.RedisError: Redis did not answer.
        """
        seen: dict[int, int] = {}
        for member, score in self._scored(candles.key(symbol)):
            minute = int(score)
            readable = minute == score and _open_ms(member) == minute
            seen[minute] = seen.get(minute, 0) + (1 if readable else 2)
        return {minute for minute, count in seen.items() if count == 1}

    def store(self, symbol: str, found: Sequence[Candle]) -> int:
        """Store candles, replacing those of the same open times, and return how many the symbol has then.

        Raises:
            redis.exceptions.RedisError: Redis did not take them; they may be stored, and may be stored again.
        """
        arguments: list[str | bytes | int] = [self._keep]
        for candle in found:
            arguments += (candle.open_ms, candles.encode(candle))
        return int(_STORE(self._redis, keys=[candles.key(symbol)], args=arguments))

    def _scored(self, key: str) -> list[tuple[bytes, float]]:
        try:
            return cast("list[tuple[bytes, float]]", self._redis.zrange(key, 0, -1, withscores=True))
        except ResponseError as fault:
            if not is_wrong_type(fault):
                raise
            _log.warning("%s is of another type and will be replaced", key)
            return []

    def write_status(self, status: FeedStatus) -> None:
        """Write the status hash.

        Raises:
            redis.exceptions.RedisError: Redis did not take it.
        """
        self._redis.hset(candles.STATUS_KEY, mapping=hashes.encode(status))


def _open_ms(member: bytes) -> int | None:
    try:
        return candles.decode(member, "candle").open_ms
    except Unreadable:
        return None
