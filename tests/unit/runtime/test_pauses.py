"""Growing pauses: their bounds and their growth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.runtime import Pauses


def test_pauses_double_up_to_the_longest() -> None:
    """Without spread the nominal lengths are seen."""
    pauses = Pauses(first_s=0.5, longest_s=3.0, spread=0.0)
    assert [pauses.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_reset_starts_again() -> None:
    """After a success the first pause is short again."""
    pauses = Pauses(first_s=0.5, longest_s=3.0, spread=0.0)
    pauses.next()
    pauses.next()
    pauses.reset()
    assert pauses.next() == 0.5


@given(
    first=st.floats(0.001, 10),
    longest=st.floats(10, 100),
    factor=st.floats(1, 10),
    spread=st.floats(0, 0.99),
    units=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=30),
)
def test_every_pause_is_above_zero_and_bounded(
    first: float, longest: float, factor: float, spread: float, units: list[float]
) -> None:
    """No pause is nothing, and none is longer than the longest, spread included."""
    given_units = iter(units)
    pauses = Pauses(first, longest, factor, spread, lambda: next(given_units))
    assert all(0 < pauses.next() <= longest for _ in units)


@pytest.mark.parametrize(
    ("first_s", "longest_s", "factor", "spread"), [(0, 1, 2, 0), (2, 1, 2, 0), (1, 2, 0.5, 0), (1, 2, 2, 1)]
)
def test_contradictory_arguments_are_refused(first_s: float, longest_s: float, factor: float, spread: float) -> None:
    """A mistake is found where the pauses are made, not at the first outage."""
    with pytest.raises(ValueError, match="pauses need"):
        Pauses(first_s, longest_s, factor, spread)
