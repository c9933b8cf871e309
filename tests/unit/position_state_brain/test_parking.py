"""Plans that wait for a fresher snapshot: how long, for what, and in which order they come back."""

import pytest

from microservices.contracts.plan import Plan
from microservices.contracts.reason import Reason
from microservices.position_state_brain import parking
from microservices.position_state_brain.parking import EXIT_WAIT_S, OPEN_WAIT_S, Parking
from microservices.position_state_brain.verdict import Deny, Wait
from tests.support.brain import exit_plan, open_plan

STALE = Deny(Reason.STALE_EXCHANGE_STATE, {})


def wait_from(requested_from_ms: int) -> Wait:
    """A wait for a snapshot of that time."""
    return Wait(requested_from_ms, STALE)


def entry_ids(plans: list[parking.Parked]) -> list[str]:
    """Which plans these are."""
    return [parked.plan.entry_id for parked in plans]


def test_a_plan_comes_back_with_the_next_snapshot_or_when_its_time_is_over() -> None:
    """And not before: nothing could have changed."""
    lot = Parking()
    assert lot.park(open_plan("1-0"), wait_from(0), now_s=100.0, sequence=7)
    assert "1-0" in lot
    assert lot.due(100.5, sequence=7) == []
    assert entry_ids(lot.due(100.5, sequence=8)) == ["1-0"]
    assert entry_ids(lot.due(100.0 + OPEN_WAIT_S, sequence=7)) == ["1-0"]


@pytest.mark.parametrize(("plan", "wait_s"), [(exit_plan("1-0"), EXIT_WAIT_S), (open_plan("1-0"), OPEN_WAIT_S)])
def test_the_time_counts_from_the_first_parking(plan: Plan, wait_s: float) -> None:
    """Snapshots that do not help must not prolong it: 10 s for an exit, 0.9 s for an open."""
    lot = Parking()
    assert lot.park(plan, wait_from(0), 100.0, 1)
    assert lot.park(plan, wait_from(0), 100.0 + wait_s - 0.01, 2)
    assert not lot.park(plan, wait_from(0), 100.0 + wait_s, 3)
    assert len(lot) == 0


def test_exits_come_back_first() -> None:
    """Whoever wants out goes before whoever wants in."""
    lot = Parking()
    lot.park(open_plan("1-0"), wait_from(0), 0.0, 1)
    lot.park(exit_plan("2-0", plan_id="p2"), wait_from(0), 0.0, 1)
    lot.park(exit_plan("3-0", plan_id="p3"), wait_from(0), 0.0, 1)
    assert entry_ids(lot.due(0.1, 2)) == ["2-0", "3-0", "1-0"]


def test_the_earliest_need_decides_when_the_exchange_is_asked() -> None:
    """One request serves all who can be served by it."""
    lot = Parking()
    assert lot.requested_from_ms() is None
    lot.park(open_plan("1-0"), wait_from(500), 0.0, 1)
    lot.park(exit_plan("2-0"), wait_from(300), 0.0, 1)
    assert lot.requested_from_ms() == 300
    lot.release("2-0")
    lot.release("never parked")
    assert lot.requested_from_ms() == 500


def test_more_than_can_ever_be_needed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded; a flood is answered at once."""
    monkeypatch.setattr(parking, "MOST_PARKED", 2)
    lot = Parking()
    parked = [lot.park(exit_plan(f"{number}-0"), wait_from(0), 0.0, 1) for number in (1, 2, 3)]
    assert parked == [True, True, False]
    assert lot.park(exit_plan("2-0"), wait_from(0), 0.1, 2)


def test_a_plan_id_belongs_to_the_entry_that_waits_under_it() -> None:
    """From its first parking until it is released or refused; another entry's release takes nothing from it."""
    lot = Parking()
    lot.park(exit_plan("1-0", plan_id="p1"), wait_from(0), 0.0, 1)
    lot.release("2-0")
    assert (lot.entry_of("p1"), lot.entry_of("p2")) == ("1-0", None)
    lot.park(exit_plan("1-0", plan_id="p1"), wait_from(0), 1.0, 2)
    assert lot.entry_of("p1") == "1-0"
    assert not lot.park(exit_plan("1-0", plan_id="p1"), wait_from(0), EXIT_WAIT_S, 3)
    assert lot.entry_of("p1") is None
    lot.park(exit_plan("3-0", plan_id="p1"), wait_from(0), 20.0, 4)
    lot.release("3-0")
    assert lot.entry_of("p1") is None
