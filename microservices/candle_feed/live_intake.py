"""Which closed candles of the streams may be stored, judged by the exchange's own clock."""

import logging
from collections.abc import Iterable, Sequence

from microservices.candle_feed import metrics
from microservices.candle_feed.validation import Fault, candle_of, fault_of
from microservices.contracts.candles import Candle
from microservices.exchange import KlineEvent, PublicClient
from microservices.runtime import Clock

# What the kept offset of the exchange's clock may be wrong by.
TOLERANCE_MS = 1_000
MEASURE_EVERY_S = 10.0

_log = logging.getLogger(__name__)


class LiveIntake:
    """Judges closed candles as answers are judged, and has the exchange's clock measured again where they are ahead.

    Args:
        client: knows the exchange's time.
        clock: monotonic time.
    """

    def __init__(self, client: PublicClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._measured_at = float("-inf")

    def candles(self, events: Sequence[KlineEvent]) -> dict[str, list[Candle]]:
        """Return the candles that may be stored, by symbol; the others are counted by what is wrong with them.

        Raises:
            ExchangeError: the exchange's time is not known.
        """
        now_ms = self._now_ms(events) + TOLERANCE_MS
        found: dict[str, list[Candle]] = {}
        for event in events:
            fault = fault_of(event.kline, now_ms)
            if fault is None:
                found.setdefault(event.symbol, []).append(candle_of(event.kline))
            else:
                self._refuse(event, fault)
        return found

    def _now_ms(self, events: Iterable[KlineEvent]) -> int:
        """Return the exchange's time; a closed candle says that it is at least the candle's close."""
        now_ms = self._client.exchange_time_ms()
        newest_ms = max((event.kline.close_ms for event in events), default=0)
        now_s = self._clock.monotonic()
        if newest_ms > now_ms + TOLERANCE_MS and now_s - self._measured_at >= MEASURE_EVERY_S:
            self._measured_at = now_s
            self._client.sync_time()
            now_ms = self._client.exchange_time_ms()
        return now_ms

    def _refuse(self, event: KlineEvent, fault: Fault) -> None:
        metrics.REFUSED.labels(fault=fault.value).inc()
        _log.debug("%s by stream: %s, opened at %d", event.symbol, fault, event.kline.open_ms)
