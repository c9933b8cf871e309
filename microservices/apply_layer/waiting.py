"""Plans that wait for their permits: who is looked at when, exits first, and when waiting ends."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from microservices.apply_layer.endings import Ending, ended
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Plan
from microservices.contracts.reason import Reason

READY_LOOK_S = 1.0
"""A plan that has its permits but no worker is judged again this often: permits and plans expire."""

Permits = tuple[bytes | None, ...]


@dataclass(frozen=True)
class WaitLimits:
    """How long plans wait for permits, seconds."""

    open_s: float
    exit_s: float


@dataclass(slots=True)
class WaitingPlan:
    """One plan that waits, from its arrival until it is claimed or ended. Times are monotonic seconds."""

    plan: Plan
    gates: tuple[Gate, ...]
    arrived_s: float
    deadline_s: float
    expired_deadline_s: float
    """An expired plan waits no longer than an OPEN: all it can still get is its gates' own reason."""
    missing: tuple[Gate, ...] = ()
    is_ready: bool = False
    """Every permit is there; a worker, the symbol or a back-off is waited for."""
    is_held: bool = False
    """It is a back-off: a free worker changes nothing."""
    is_expired: bool = False
    look_at_s: float = 0.0
    seen: Permits = ()

    def wait_ms(self, now_s: float) -> int:
        """Tell how long it has waited."""
        return max(0, round((now_s - self.arrived_s) * 1000))

    def lacks(self, gates: Sequence[Gate], *, is_expired: bool) -> None:
        """Note which permits are not there, and whether the plan is too old by now."""
        self.missing = tuple(gates)
        self.is_expired = is_expired
        if is_expired:
            self.deadline_s = min(self.deadline_s, self.expired_deadline_s)

    def has_all(self, look_at_s: float, *, is_held: bool) -> None:
        """Note that all permits are there, whether a back-off holds the plan, and when to judge again at the latest."""
        self.missing = ()
        self.is_ready = True
        self.is_held = is_held
        self.look_at_s = look_at_s

    def overdue(self, now_s: float) -> Ending | None:
        """End the wait for permits that are not there: their time is up, or they were there and lapsed."""
        if self.is_ready:
            return ended(Reason.ORDER_NOT_PLACED)
        if now_s < self.deadline_s:
            return None
        return ended(Reason.PLAN_EXPIRED) if self.is_expired else ended(Reason.PERMIT_TIMEOUT, self.missing)


class WaitingRoom:
    """All plans that wait, by plan id. Not safe for several threads: whoever shares it locks it.

    Args:
        limits: how long they wait.
    """

    def __init__(self, limits: WaitLimits) -> None:
        self._limits = limits
        self._plans: dict[str, WaitingPlan] = {}

    def __len__(self) -> int:
        return len(self._plans)

    def add(self, plan: Plan, gates: tuple[Gate, ...], now_s: float) -> WaitingPlan:
        """Have a plan wait from now on.

        Raises:
            ValueError: a plan of this id waits already.
        """
        if plan.plan_id in self._plans:
            raise ValueError(f"plan {plan.plan_id} waits already")
        wait_s = self._limits.exit_s if plan.is_exit else self._limits.open_s
        waiting = WaitingPlan(plan, gates, now_s, now_s + wait_s, now_s + min(wait_s, self._limits.open_s), gates)
        self._plans[plan.plan_id] = waiting
        return waiting

    def get(self, plan_id: str) -> WaitingPlan | None:
        """Give a waiting plan, or None."""
        return self._plans.get(plan_id)

    def remove(self, plan_id: str) -> None:
        """Let a plan go; nothing happens where it does not wait."""
        self._plans.pop(plan_id, None)

    def without_permits(self) -> list[WaitingPlan]:
        """List the plans whose permits are still to be looked for."""
        return [waiting for waiting in self._plans.values() if not waiting.is_ready]

    def due(self, named: Iterable[str], now_s: float) -> list[WaitingPlan]:
        """List whom to judge now: those named, those ready again, those whose time is up; exits first, then by age."""
        names = set(named)
        chosen = [waiting for plan_id, waiting in self._plans.items() if plan_id in names or _is_due(waiting, now_s)]
        return in_order(chosen)

    def startable(self) -> list[WaitingPlan]:
        """List the plans that wait for nothing but a worker or their symbol, exits first, then by age."""
        return in_order(waiting for waiting in self._plans.values() if waiting.is_ready and not waiting.is_held)


def in_order(plans: Iterable[WaitingPlan]) -> list[WaitingPlan]:
    """Sort: exits before opens, older before younger."""
    return sorted(plans, key=lambda waiting: (not waiting.plan.is_exit, waiting.arrived_s))


def _is_due(waiting: WaitingPlan, now_s: float) -> bool:
    return now_s >= (waiting.look_at_s if waiting.is_ready else waiting.deadline_s)
