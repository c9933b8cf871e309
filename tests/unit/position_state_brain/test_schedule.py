"""When the exchange is asked for the account."""

import pytest

from microservices.position_state_brain.schedule import MARGIN_S, Schedule


def asked_at(now_s: float) -> Schedule:
    """A schedule that polls every five seconds and has just asked."""
    schedule = Schedule(5.0)
    schedule.asked(now_s)
    return schedule


def test_the_first_request_is_made_at_once() -> None:
    """A brain without a snapshot can permit nothing."""
    assert Schedule(5.0).due_in_s(0.0, None) <= 0
    assert not Schedule(5.0).is_early(0.0)


@pytest.mark.parametrize(
    ("now_s", "needed_in_s", "expected"),
    [
        (100.0, None, 5.0),
        (104.0, None, 1.0),
        (105.5, None, -0.5),
        (100.2, -3.0, 0.8),
        (102.0, -3.0, 0.0),
        (100.2, 1.5, 1.5 + MARGIN_S),
        (100.2, 0.1, 0.8),
        (100.2, 60.0, 4.8),
    ],
)
def test_waiting_plans_bring_the_next_request_forward(now_s: float, needed_in_s: float | None, expected: float) -> None:
    """To the moment from which an answer helps, but never within a second of the last."""
    assert asked_at(100.0).due_in_s(now_s, needed_in_s) == pytest.approx(expected)


def test_what_must_be_seen_again_is_looked_at_after_a_second() -> None:
    """A vanished position is not left in doubt for a whole poll."""
    schedule = asked_at(100.0)
    schedule.look_again(True)
    assert schedule.due_in_s(100.0, None) == pytest.approx(1.0)
    assert not schedule.is_early(101.0)
    schedule.asked(101.0)
    assert schedule.due_in_s(101.0, None) == pytest.approx(5.0)


def test_a_request_before_its_poll_is_one_on_demand() -> None:
    """It gets the short deadline."""
    schedule = asked_at(100.0)
    assert schedule.is_early(104.9)
    assert not schedule.is_early(105.0)


def test_the_shared_back_off_is_obeyed_whoever_waits() -> None:
    """Asking on while the exchange says no ends in a ban (I-24)."""
    schedule = asked_at(100.0)
    schedule.bar(100.0, 30.0)
    assert schedule.due_in_s(101.0, -5.0) == pytest.approx(29.0)
