"""Writes what is published: each symbol's hash, its lifetime and its stream entry in one transaction.

No reader meets one without the others, and an outage leaves all or none. Where Redis refuses one of them alone, because
a key is of another type, the others are done all the same: the symbol counts as refused.
"""

import math
from collections.abc import Mapping

from redis import Redis
from redis.exceptions import ResponseError

from microservices.contracts import hashes, market_state
from microservices.contracts.market_state import MarketStateRow, PublisherStatus
from microservices.market_state_publisher.candle_window import Skipped, SkipReason

_SYMBOLS_PER_WRITE = 64
"""Three commands each in one transaction: Redis is busy with it for about a millisecond."""
_COMMANDS_PER_SYMBOL = 3


class StateWriter:
    """Writes rows in pipelined transactions.

    Args:
        redis: a client whose answers are bytes.
        interval_s: the publish interval; a hash lives ten of them.
    """

    def __init__(self, redis: Redis, interval_s: float) -> None:
        self._redis = redis
        self._ttl_ms = math.ceil(market_state.TTL_INTERVALS * interval_s * 1000)

    def write(self, rows: Mapping[str, MarketStateRow]) -> dict[str, Skipped]:
        """Publish all rows; return the symbols that Redis refused, which costs only themselves.

        Raises:
            redis.exceptions.RedisError: Redis did not answer; what was written before stands.
        """
        refused: dict[str, Skipped] = {}
        symbols = list(rows)
        for start in range(0, len(symbols), _SYMBOLS_PER_WRITE):
            refused |= self._write_some(
                {symbol: rows[symbol] for symbol in symbols[start : start + _SYMBOLS_PER_WRITE]}
            )
        return refused

    def write_status(self, status: PublisherStatus) -> None:
        """Replace the status hash."""
        self._redis.hset(market_state.STATUS_KEY, mapping=hashes.encode(status))

    def _write_some(self, rows: Mapping[str, MarketStateRow]) -> dict[str, Skipped]:
        pipeline = self._redis.pipeline(transaction=True)
        for symbol, row in rows.items():
            key = market_state.key(symbol)
            pipeline.hset(key, mapping=market_state.encode(row))
            pipeline.pexpire(key, self._ttl_ms)
            pipeline.xadd(
                market_state.STREAM,
                market_state.encode_event(symbol, row),
                maxlen=market_state.STREAM_MAXLEN,
                approximate=True,
            )
        answers = pipeline.execute(raise_on_error=False)
        refused = {}
        for index, symbol in enumerate(rows):
            of_symbol = answers[index * _COMMANDS_PER_SYMBOL : (index + 1) * _COMMANDS_PER_SYMBOL]
            errors = [str(answer) for answer in of_symbol if isinstance(answer, ResponseError)]
            if errors:
                refused[symbol] = Skipped(SkipReason.REFUSED, errors[0])
        return refused
