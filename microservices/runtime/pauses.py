"""Pauses that grow while something stays away, spread a little so that many waiters do not return at once."""

import random
from collections.abc import Callable

FIRST_S = 0.2  # short enough that a restarted Redis costs no noticeable time
LONGEST_S = 3.0  # long enough to leave a struggling server alone, short enough that an exit is not kept waiting
FACTOR = 2.0
SPREAD = 0.2  # each pause is within 20 % of its nominal length


class Pauses:
    """Give one growing pause after another, until `reset` starts again with the first.

    Args:
        first_s: nominal length of the first pause, seconds.
        longest_s: no pause is longer than this, spread included.
        factor: each pause is nominally this many times the one before; at least 1.
        spread: share of its nominal length by which a pause may be shorter or longer.
        random_unit: gives numbers in [0, 1); a test passes its own.

    Raises:
        ValueError: the arguments contradict each other.
    """

    def __init__(
        self,
        first_s: float = FIRST_S,
        longest_s: float = LONGEST_S,
        factor: float = FACTOR,
        spread: float = SPREAD,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        if not (0 < first_s <= longest_s and factor >= 1 and 0 <= spread < 1):
            raise ValueError(
                f"pauses need 0 < first ({first_s}) <= longest ({longest_s}), factor >= 1, spread in [0, 1)"
            )
        self._first_s = first_s
        self._longest_s = longest_s
        self._factor = factor
        self._spread = spread
        self._random_unit = random_unit
        self._nominal_s = first_s

    def next(self) -> float:
        """Give the next pause in seconds."""
        nominal_s = self._nominal_s
        self._nominal_s = min(nominal_s * self._factor, self._longest_s)
        return min(nominal_s * (1 + self._spread * (2 * self._random_unit() - 1)), self._longest_s)

    def reset(self) -> None:
        """Start again with the first pause."""
        self._nominal_s = self._first_s
