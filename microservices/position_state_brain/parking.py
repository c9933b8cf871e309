"""Plans that wait for a fresher snapshot, bounded in number and time. Pure: the time is passed in."""

import msgspec

from microservices.contracts.plan import Plan
from microservices.position_state_brain.verdict import Wait

EXIT_WAIT_S = 10.0
OPEN_WAIT_S = 0.9
MOST_PARKED = 2_000
"""More are refused at once: a thousand symbols with an exit and an open each is more than there can be."""


class Parked(msgspec.Struct, frozen=True):
    """A plan that waits."""

    plan: Plan
    wait: Wait
    until_s: float
    """Monotonic."""
    sequence: int
    """Of the account view that it was last judged on."""


class Parking:
    """Keeps the plans that wait, by stream entry."""

    def __init__(self) -> None:
        self._parked: dict[str, Parked] = {}
        self._entry_of: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._parked)

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self._parked

    def entry_of(self, plan_id: str) -> str | None:
        """Name the entry that waits under a plan id: it came first, and the id is its own; None where none does."""
        return self._entry_of.get(plan_id)

    def park(self, plan: Plan, wait: Wait, now_s: float, sequence: int) -> bool:
        """Let a plan wait, or wait on: its time counts from the first call.

        Args:
            plan: the plan.
            wait: for what.
            now_s: monotonic time.
            sequence: of the account view that it was judged on.

        Returns:
            False where its time is over, or too many wait: what holds otherwise holds now.
        """
        before = self._parked.get(plan.entry_id)
        self.release(plan.entry_id)
        until_s = before.until_s if before else now_s + (EXIT_WAIT_S if plan.is_exit else OPEN_WAIT_S)
        if now_s >= until_s or len(self._parked) >= MOST_PARKED:
            return False
        self._parked[plan.entry_id] = Parked(plan, wait, until_s, sequence)
        self._entry_of[plan.plan_id] = plan.entry_id
        return True

    def due(self, now_s: float, sequence: int) -> list[Parked]:
        """Give the plans to be judged again, exits first: there is a newer snapshot, or their time is over."""
        due = [parked for parked in self._parked.values() if parked.sequence != sequence or now_s >= parked.until_s]
        return sorted(due, key=lambda parked: not parked.plan.is_exit)

    def release(self, entry_id: str) -> None:
        """Let go of a plan that is decided."""
        parked = self._parked.pop(entry_id, None)
        if parked is not None:
            self._entry_of.pop(parked.plan.plan_id, None)

    def requested_from_ms(self) -> int | None:
        """Name the earliest request time, on Redis's clock, that serves somebody who waits; None where nobody does."""
        return min((parked.wait.requested_from_ms for parked in self._parked.values()), default=None)
