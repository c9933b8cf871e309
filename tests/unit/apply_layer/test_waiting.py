"""Who waits, for how long, and in which order they are looked at."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.apply_layer.waiting import WaitingRoom, WaitLimits
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Action, Plan
from tests.unit.apply_layer.plans import a_plan, an_open

LIMITS = WaitLimits(open_s=1.2, exit_s=15.0)
GATES = (Gate.GOVERNOR, Gate.P33)


def room_with(*plans: Plan) -> WaitingRoom:
    """Give a room in which these plans began to wait one second after another, the first at 0."""
    room = WaitingRoom(LIMITS)
    for second, plan in enumerate(plans):
        room.add(plan, GATES, float(second))
    return room


@pytest.mark.parametrize(("action", "wait_s"), [(Action.OPEN, 1.2), (Action.PARTIAL_25, 15.0)])
def test_the_wait_ends_in_a_timeout_that_names_the_missing_gates(action: Action, wait_s: float) -> None:
    """I-01: opens wait 1.2 s, exits 15 s; what is missing is in the result, and a new plan can succeed."""
    waiting = WaitingRoom(LIMITS).add(a_plan(action=action, qty=Decimal(1)), GATES, 100.0)
    waiting.lacks([Gate.GOVERNOR], is_expired=False)
    assert waiting.overdue(100.0 + wait_s - 0.01) is None
    ending = waiting.overdue(100.0 + wait_s)
    assert ending is not None
    assert (ending.error, ending.gate, ending.retryable) == ("permit_timeout", "governor", True)


def test_all_missing_gates_are_named() -> None:
    """The order is that of the settings."""
    waiting = WaitingRoom(LIMITS).add(an_open(), GATES, 0.0)
    ending = waiting.overdue(2.0)
    assert ending is not None
    assert ending.gate == "governor,p33"


def test_an_expired_exit_waits_no_longer_than_an_open() -> None:
    """Its gates may still say why; without a word it ends as what it is."""
    waiting = WaitingRoom(LIMITS).add(a_plan(), GATES, 0.0)
    waiting.lacks(GATES, is_expired=True)
    assert waiting.overdue(1.1) is None
    ending = waiting.overdue(1.2)
    assert ending is not None
    assert ending.error == "plan_expired"


def test_a_plan_whose_permits_lapsed_while_it_waited_for_a_worker_was_not_placed() -> None:
    """It had its permits: a new plan can succeed."""
    waiting = WaitingRoom(LIMITS).add(a_plan(), GATES, 0.0)
    waiting.has_all(look_at_s=1.0, is_held=False)
    waiting.lacks(GATES, is_expired=False)
    ending = waiting.overdue(0.5)
    assert ending is not None
    assert (ending.error, ending.retryable) == ("order_not_placed", True)


def test_exits_go_first_then_the_older() -> None:
    """An open never overtakes an exit."""
    room = room_with(an_open(plan_id="o1"), a_plan(plan_id="e1"), an_open(plan_id="o2"), a_plan(plan_id="e2"))
    due = room.due(["o2", "e2", "e1", "o1", "unknown"], now_s=0.0)
    assert [waiting.plan.plan_id for waiting in due] == ["e1", "e2", "o1", "o2"]


def test_only_those_are_judged_for_whom_something_is_new() -> None:
    """Named ones, those whose time is up, and ready ones now and then."""
    room = room_with(an_open(plan_id="late"), a_plan(plan_id="ready"), a_plan(plan_id="quiet"))
    ready = room.get("ready")
    assert ready is not None
    ready.has_all(look_at_s=3.0, is_held=True)
    assert [waiting.plan.plan_id for waiting in room.due([], 1.0)] == []
    assert [waiting.plan.plan_id for waiting in room.due([], 2.0)] == ["late"]
    assert [waiting.plan.plan_id for waiting in room.due([], 3.0)] == ["ready", "late"]
    assert [waiting.plan.plan_id for waiting in room.without_permits()] == ["late", "quiet"]
    assert room.startable() == []


def test_a_ready_plan_that_no_back_off_holds_can_start() -> None:
    """It is judged again as soon as a worker is free."""
    room = room_with(an_open(plan_id="open"), a_plan(plan_id="exit"))
    for plan_id in ("open", "exit"):
        waiting = room.get(plan_id)
        assert waiting is not None
        waiting.has_all(look_at_s=9.0, is_held=False)
    assert [waiting.plan.plan_id for waiting in room.startable()] == ["exit", "open"]


def test_a_plan_id_waits_once() -> None:
    """The second entry under an id is a duplicate and never gets here."""
    room = room_with(a_plan())
    with pytest.raises(ValueError, match="waits already"):
        room.add(a_plan(entry_id="2-0"), GATES, 0.0)
    room.remove("p1")
    room.remove("p1")
    assert len(room) == 0


@given(st.floats(0, 20), st.booleans(), st.booleans())
def test_every_wait_ends(wait_s: float, is_exit: bool, is_expired: bool) -> None:
    """Whatever happens, after the longest wait there is an ending, and before the shortest there is none."""
    waiting = WaitingRoom(LIMITS).add(a_plan() if is_exit else an_open(), GATES, 0.0)
    waiting.lacks(GATES, is_expired=is_expired)
    limit_s = LIMITS.exit_s if is_exit and not is_expired else LIMITS.open_s
    assert (waiting.overdue(wait_s) is not None) is (wait_s >= limit_s)
