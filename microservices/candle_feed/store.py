"""The feed's candles and status in Redis."""

from collections.abc import Sequence
from typing import cast

from redis import Redis

from microservices.contracts import candles, hashes
from microservices.contracts.candles import Candle, FeedStatus
from microservices.contracts.fields import Unreadable
from microservices.runtime import LuaScript

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

        A member under another score than its open time, and two members of one open time, do not count.

        Raises:
            redis.exceptions.RedisError: Redis did not answer.
        """
        seen: dict[int, int] = {}
        scored = cast("list[tuple[bytes, float]]", self._redis.zrange(candles.key(symbol), 0, -1, withscores=True))
        for member, score in scored:
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
