"""The request weight the feed allows itself. Pure: monotonic time in, seconds to wait out."""

from collections import deque

PERIOD_S = 60.0
# However many symbols there are, deep history gets on by so much of the budget.
DEEP_SHARE_MIN = 0.1


class SlidingSum:
    """What was used within the last 60 seconds."""

    def __init__(self) -> None:
        self.used = 0
        self._spent: deque[tuple[float, int]] = deque()

    def add(self, amount: int, now: float) -> None:
        """Count what is used at `now`."""
        self._forget(now)
        self._spent.append((now, amount))
        self.used += amount

    def wait_s(self, at_most: int, now: float) -> float:
        """Return the seconds until no more than `at_most` is used; 0 is now, and 60 s are enough for anything."""
        self._forget(now)
        used, wait_s = self.used, 0.0
        for at, amount in self._spent:
            if used <= at_most:
                break
            used -= amount
            wait_s = at + PERIOD_S - now
        return wait_s

    def _forget(self, now: float) -> None:
        while self._spent and self._spent[0][0] + PERIOD_S <= now:
            self.used -= self._spent.popleft()[1]


class WeightBudget:
    """Never lets more than `per_min` be used within any 60 seconds, and keeps room in them for what is urgent.

    The exchange counts by calendar minutes; a sliding minute stays within them whatever the clocks say.

    Args:
        per_min: weight allowed in any 60 seconds.
    """

    def __init__(self, per_min: int) -> None:
        self._per_min = per_min
        self._all = SlidingSum()
        self._deep = SlidingSum()

    def wait_s(self, weight: int, now: float, *, keep_free: int | None = None) -> float:
        """Return the seconds until `weight` may be used; 0 is now.

        Args:
            weight: what the request costs.
            now: monotonic seconds.
            keep_free: None for an urgent request; for deep history the weight that urgent ones need each minute, so
                that deep history never uses more than the rest.
        """
        wait_s = self._all.wait_s(self._per_min - weight, now)
        if keep_free is None:
            return wait_s
        share = max(self._per_min - keep_free, int(self._per_min * DEEP_SHARE_MIN), weight)
        return max(wait_s, self._deep.wait_s(share - weight, now))

    def spend(self, weight: int, now: float, *, deep: bool = False) -> None:
        """Count a request that is sent at `now`."""
        self._all.add(weight, now)
        if deep:
            self._deep.add(weight, now)

    @property
    def used(self) -> int:
        """Weight used in the 60 seconds before the newest question."""
        return self._all.used
