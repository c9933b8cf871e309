"""A clock that moves only when a test moves it."""


class FakeClock:
    """Satisfies `runtime.Clock`; wall and monotonic time advance together unless `step` moves the wall alone."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._monotonic = 1_000.0

    def now(self) -> float:
        """Give the wall time in epoch seconds."""
        return self._now

    def monotonic(self) -> float:
        """Give the monotonic time in seconds."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Step the wall clock, as an administrator or NTP does: monotonic time does not move."""
        self._now += seconds
