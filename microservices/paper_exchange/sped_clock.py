"""A clock that runs faster than the machine's, for tests that cannot wait for a minute."""

from microservices.runtime import Clock


class SpedClock:
    """Satisfies `runtime.Clock`: wall time runs `speed` times faster from now on, monotonic time as ever.

    Args:
        clock: the machine's.
        speed: 1 for no difference.
    """

    def __init__(self, clock: Clock, speed: int) -> None:
        self._clock = clock
        self._speed = speed
        self._began = clock.now()

    def now(self) -> float:
        """Give the exchange's wall time in epoch seconds, UTC."""
        return self._began + (self._clock.now() - self._began) * self._speed

    def monotonic(self) -> float:
        """Give the machine's own seconds that only ever grow."""
        return self._clock.monotonic()
