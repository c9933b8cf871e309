"""Time as an argument: whoever needs a clock is given one."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for what others will read, monotonic time for intervals."""

    def now(self) -> float:
        """Give the wall time in epoch seconds, UTC."""

    def monotonic(self) -> float:
        """Give seconds that only ever grow; their zero means nothing."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Give the wall time in epoch seconds, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Give seconds that only ever grow; their zero means nothing."""
        return time.monotonic()
