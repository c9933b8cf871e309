"""Cycles are locked to the wall clock."""

from hypothesis import given
from hypothesis import strategies as st

from microservices.market_state_publisher.schedule import PHASE_S, until_next_cycle_s


@given(st.floats(1e9, 3e9), st.sampled_from([1.0, 5.0, 10.0, 60.0, 300.0]))
def test_the_next_cycle_is_at_a_multiple_of_the_interval_plus_the_phase(now: float, interval_s: float) -> None:
    """However late a cycle was, the next one is on the grid, ahead, and not further than one interval."""
    pause_s = until_next_cycle_s(now, interval_s)
    assert 0 < pause_s <= interval_s
    past_grid = (now + pause_s - PHASE_S) % interval_s
    assert min(past_grid, interval_s - past_grid) < 1e-5


def test_a_whole_minute_by_hand() -> None:
    """At 12:00:01 the next is at 12:00:02, at 12:00:02 at 12:01:02."""
    assert until_next_cycle_s(1_800_000_001, 60) == 1
    assert until_next_cycle_s(1_800_000_002, 60) == 60
