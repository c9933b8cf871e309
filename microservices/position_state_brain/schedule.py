"""When the exchange is asked for the account. Pure: monotonic seconds in, seconds out."""

GAP_S = 1.0
"""Between two requests, whoever waits."""
DEMAND_DEADLINE_S = 0.8
"""Of a request that plans wait for: an open waits 0.9 s."""
POLL_DEADLINE_S = 3.0
"""Of any other: a slow answer is better than none, and dated by its request."""
MARGIN_S = 0.01
"""A request is dated in whole milliseconds; this much later it is surely not before the time that is needed."""


class Schedule:
    """Keeps when the next request is due.

    Args:
        poll_s: between two requests where nobody waits.
    """

    def __init__(self, poll_s: float) -> None:
        self._poll_s = poll_s
        self._asked_s = float("-inf")
        self._barred_until_s = float("-inf")
        self._again = False

    def asked(self, now_s: float) -> None:
        """Note a request, or that it was not allowed."""
        self._asked_s = now_s
        self._again = False

    def bar(self, now_s: float, seconds: float) -> None:
        """Ask nothing for so long."""
        self._barred_until_s = now_s + seconds

    def look_again(self, again: bool) -> None:  # noqa: FBT001 - the value is the whole argument
        """Say whether the newest answer must be seen again before it is believed: then the next comes soon."""
        self._again = again

    def is_early(self, now_s: float) -> bool:
        """Tell whether a request now would be before the next poll."""
        return not self._again and now_s < self._asked_s + self._poll_s

    def due_in_s(self, now_s: float, needed_in_s: float | None) -> float:
        """Tell how long to wait for the next request; 0 or less is now.

        Args:
            now_s: monotonic time.
            needed_in_s: in how many seconds a request would help those who wait; None where nobody does.
        """
        soon_s = self._asked_s + GAP_S
        due_s = soon_s if self._again else self._asked_s + self._poll_s
        if needed_in_s is not None:
            due_s = min(due_s, max(soon_s, now_s + needed_in_s + MARGIN_S if needed_in_s > 0 else now_s))
        return max(due_s, self._barred_until_s) - now_s
