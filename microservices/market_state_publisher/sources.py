"""Where the publisher's closes come from: the candle feed's sorted sets, or a synthetic market. One or the other."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from redis import Redis
from redis.exceptions import ResponseError

from microservices.contracts import candles
from microservices.contracts.market_state import Source
from microservices.market_state_publisher.candle_window import Skipped, SkipReason, Window, judge
from microservices.market_state_publisher.synthetic import SyntheticMarket

_SYMBOLS_PER_READ = 32
"""300 candles each make about a megabyte of answers: memory stays flat whatever the number of symbols."""


class PriceSource(Protocol):
    """Gives the newest closes of symbols, or why there are none to use."""

    source: Source

    def windows(self, symbols: Sequence[str], now: float) -> Iterator[tuple[str, Window | Skipped]]:
        """Give each symbol's window, or why it has none, in the order of the symbols."""


class CandleSource:
    """Reads the candle feed's sorted sets, many symbols in one round trip.

    Args:
        redis: a client whose answers are bytes.
        window: newest candles read of each symbol.
        needed: closes that one state needs.
        max_age_s: how long ago the newest candle may have closed.
    """

    source = Source.CANDLES

    def __init__(self, redis: Redis, *, window: int, needed: int, max_age_s: float) -> None:
        self._redis = redis
        self._window = window
        self._needed = needed
        self._max_age_s = max_age_s

    def windows(self, symbols: Sequence[str], now: float) -> Iterator[tuple[str, Window | Skipped]]:
        """Read and judge; a key of another type costs its own symbol only."""
        for start in range(0, len(symbols), _SYMBOLS_PER_READ):
            some = symbols[start : start + _SYMBOLS_PER_READ]
            pipeline = self._redis.pipeline(transaction=False)
            for symbol in some:
                pipeline.zrange(candles.key(symbol), -self._window, -1)
            for symbol, answer in zip(some, pipeline.execute(raise_on_error=False), strict=True):
                yield symbol, self._judge(answer, now)

    def _judge(self, answer: list[bytes] | ResponseError, now: float) -> Window | Skipped:
        if isinstance(answer, ResponseError):
            return Skipped(SkipReason.FAULTY, str(answer))
        return judge(answer, now, needed=self._needed, max_age_s=self._max_age_s)


class SyntheticSource:
    """Makes prices up, for proof runs; what it gives is published as synthetic and nothing else."""

    source = Source.SYNTHETIC

    def __init__(self, window: int) -> None:
        self._market = SyntheticMarket(window)

    def windows(self, symbols: Sequence[str], now: float) -> Iterator[tuple[str, Window | Skipped]]:
        """Give every symbol a window."""
        for symbol in symbols:
            yield symbol, self._market.closes(symbol, now)
