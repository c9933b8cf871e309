"""The request weight the feed allows itself. Pure: monotonic time in, seconds to wait out."""

from collections import deque

PERIOD_S = 60.0


class WeightBudget:
    """Never lets more than `per_min` be used within any 60 seconds.

    The exchange counts by calendar minutes; a sliding minute stays within them whatever the clocks say.

    Args:
        per_min: weight allowed in any 60 seconds.
    """

    def __init__(self, per_min: int) -> None:
        self._per_min = per_min
        self._used = 0
        self._spent: deque[tuple[float, int]] = deque()

    def wait_s(self, weight: int, now: float, *, reserve: int = 0) -> float:
        """Return the seconds until `weight` may be used; 0 is now.

        Args:
            weight: what the request costs.
            now: monotonic seconds.
            reserve: weight that must be left over for more urgent requests; at most half of the budget counts.
        """
        self._forget(now)
        allowed = max(self._per_min - min(reserve, self._per_min // 2), weight)
        used = self._used
        wait_s = 0.0
        for at, spent in self._spent:
            if used + weight <= allowed:
                break
            used -= spent
            wait_s = at + PERIOD_S - now
        return wait_s

    def spend(self, weight: int, now: float) -> None:
        """Count a request that is sent at `now`."""
        self._forget(now)
        self._spent.append((now, weight))
        self._used += weight

    @property
    def used(self) -> int:
        """Weight used in the 60 seconds before the newest question."""
        return self._used

    def _forget(self, now: float) -> None:
        while self._spent and self._spent[0][0] + PERIOD_S <= now:
            self._used -= self._spent.popleft()[1]
