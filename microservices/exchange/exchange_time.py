"""The exchange's clock, kept as an offset to our monotonic one, so that a step of the local clock changes nothing."""

import threading
from collections.abc import Callable

from microservices.exchange.errors import ExchangeError
from microservices.runtime import Clock

REFRESH_S = 600.0
RETRY_S = 30.0
# A slower answer leaves the offset uncertain by more than a request's window forgives; it is measured again.
ROUND_TRIP_MAX_S = 1.0
ATTEMPTS = 3


class ExchangeTime:
    """Tells the exchange's time.

    The server's time is taken to be that of the middle of the request that asked for it; of up to three attempts the
    one with the shortest round trip counts.

    Args:
        clock: monotonic time.
        ask: asks the exchange for its time in epoch ms.
        refresh_s: an offset older than this is measured again.
    """

    def __init__(self, clock: Clock, ask: Callable[[], int], refresh_s: float = REFRESH_S) -> None:
        self._clock = clock
        self._ask = ask
        self._refresh_s = refresh_s
        self._lock = threading.Lock()
        self._offset_ms = 0.0
        self._due_s: float | None = None

    def now_ms(self) -> int:
        """Return the exchange's time in epoch ms, measuring the offset first where there is none or it is old.

        Where an old offset cannot be measured again it is used on: clocks drift by milliseconds an hour.

        Raises:
            ExchangeError: the exchange's time was never measured, or was distrusted, and cannot be measured now.
        """
        with self._lock:
            if self._due_s is None:
                self._measure()
            elif self._clock.monotonic() >= self._due_s:
                self._measure_again()
            return int(self._clock.monotonic() * 1000 + self._offset_ms)

    def refresh(self) -> None:
        """Measure the offset now.

        Raises:
            ExchangeError: the exchange did not tell its time.
        """
        with self._lock:
            self._measure()

    def distrust(self) -> None:
        """Forget the offset, because the exchange refused a timestamp made with it."""
        with self._lock:
            self._due_s = None

    def _measure_again(self) -> None:
        try:
            self._measure()
        except ExchangeError:
            self._due_s = self._clock.monotonic() + RETRY_S

    def _measure(self) -> None:
        best_s = float("inf")
        for _ in range(ATTEMPTS):
            asked_s = self._clock.monotonic()
            server_ms = self._ask()
            answered_s = self._clock.monotonic()
            if answered_s - asked_s < best_s:
                best_s = answered_s - asked_s
                self._offset_ms = server_ms - (asked_s + answered_s) * 500
                self._due_s = answered_s + self._refresh_s
            if best_s <= ROUND_TRIP_MAX_S:
                return
