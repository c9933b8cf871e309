"""The feed's candles and status in Redis."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from redis import Redis
from redis.exceptions import NoScriptError, ResponseError

from microservices.contracts import candles, hashes
from microservices.contracts.candles import INTERVAL_MS, Candle, FeedStatus
from microservices.contracts.fields import Unreadable
from microservices.runtime import LuaScript, is_wrong_type

_log = logging.getLogger(__name__)

_STORE = LuaScript.load(__package__, "store_candles.lua")


class Stored(NamedTuple):
    """What a symbol's set is after a store: candles from the asked minute on, and how many had other figures before."""

    held: int
    corrected: int


class CandleStore:
    """Reads and writes `quantum:candles:{symbol}` and the status hash.

    Args:
        redis: a client whose answers are bytes.
        keep: candles kept of each symbol.
    """

    def __init__(self, redis: Redis, keep: int) -> None:
        self._redis = redis
        self._keep = keep

    def take_up(self, symbol: str, newest_ms: int) -> set[int]:
        """Return the open times of the candles that are there, and take out whatever is none.

        That is a member that cannot be read, one under another score than its open time, each of two of one open time,
        and one that has not closed: it would make the symbol unusable for as long as it stood there. A key of another
        type holds none, and is replaced by the first store.

        Args:
            symbol: whose.
            newest_ms: the open time of the newest candle that has closed.

        Raises:
            redis.exceptions.RedisError: Redis did not answer.
        """
        key = candles.key(symbol)
        scored = self._scored(key)
        counts = Counter(score for _, score in scored)
        good = {
            member: int(score)
            for member, score in scored
            if counts[score] == 1 and score <= newest_ms and score % INTERVAL_MS == 0 and _open_ms(member) == score
        }
        if bad := [member for member, _ in scored if member not in good]:
            self._redis.zrem(key, *bad)
            _log.warning("%s: took out %d members that are no closed candles", key, len(bad))
        return set(good.values())

    def store(self, found: Mapping[str, Sequence[Candle]], from_ms: Mapping[str, int]) -> dict[str, Stored]:
        """Store candles of symbols in one round trip, replacing those of the same open times.

        Args:
            found: the candles by symbol.
            from_ms: from which open time on each symbol's candles are counted afterwards.

        Raises:
            redis.exceptions.RedisError: Redis did not take them; they may be stored, and may be stored again.
        """
        try:
            answers = self._send(found, from_ms)
        except NoScriptError:
            _STORE.upload(self._redis)
            answers = self._send(found, from_ms)
        return {symbol: Stored(*answer) for symbol, answer in zip(found, answers, strict=True)}

    def _send(self, found: Mapping[str, Sequence[Candle]], from_ms: Mapping[str, int]) -> list[list[int]]:
        pipeline = self._redis.pipeline(transaction=False)
        for symbol, some in found.items():
            arguments: list[str | bytes | int] = [self._keep, from_ms[symbol]]
            for candle in some:
                arguments += (candle.open_ms, candles.encode(candle))
            pipeline.evalsha(_STORE.sha, 1, candles.key(symbol), *arguments)
        return pipeline.execute()

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
