"""The feed never uses more weight than it may, and never waits longer than it must."""

from hypothesis import given
from hypothesis import strategies as st

from microservices.candle_feed.budget import PERIOD_S, WeightBudget


def test_waits_for_what_was_spent_to_expire() -> None:
    """A full budget frees what was spent 60 s ago, in that order."""
    budget = WeightBudget(10)
    budget.spend(6, 100.0)
    budget.spend(4, 120.0)
    assert budget.wait_s(1, 130.0) == 30.0
    assert budget.wait_s(7, 130.0) == 50.0
    assert budget.wait_s(6, 160.0) == 0.0
    assert budget.used == 4


def test_deep_history_leaves_room_for_what_is_urgent() -> None:
    """Deep history uses no more than is left beside the urgent requests of a minute, which may use all."""
    budget = WeightBudget(10)
    budget.spend(3, 0.0, deep=True)
    assert budget.wait_s(1, 1.0, keep_free=6) == 0.0
    assert budget.wait_s(2, 1.0, keep_free=6) == 59.0
    assert budget.wait_s(7, 1.0) == 0.0
    assert budget.wait_s(8, 1.0) == 59.0


def test_urgent_requests_do_not_starve_deep_history() -> None:
    """What urgent requests used counts against the whole budget only: in steady state depth still gets on."""
    budget = WeightBudget(10)
    budget.spend(6, 0.0)
    assert budget.wait_s(2, 1.0, keep_free=6) == 0.0


def test_deep_history_gets_on_with_any_number_of_symbols() -> None:
    """With more symbols than weight a tenth of the budget, and at least one request, is left for depth."""
    assert WeightBudget(100).wait_s(10, 0.0, keep_free=1_000) == 0.0
    assert WeightBudget(10).wait_s(2, 0.0, keep_free=1_000) == 0.0


@given(
    st.integers(2, 50),
    st.lists(st.tuples(st.integers(1, 2), st.floats(0, 30), st.none() | st.integers(0, 60)), max_size=60),
)
def test_never_more_than_allowed_in_any_minute(per_min: int, wishes: list[tuple[int, float, int | None]]) -> None:
    """Whoever waits as told stays within the budget in every 60 seconds, and waiting as told is enough."""
    budget = WeightBudget(per_min)
    now = 0.0
    spent: list[tuple[float, int]] = []
    for weight, idle_s, keep_free in wishes:
        now += idle_s
        wait_s = budget.wait_s(weight, now, keep_free=keep_free)
        assert 0 <= wait_s <= PERIOD_S + 1e-9
        now += wait_s + 1e-6
        assert budget.wait_s(weight, now, keep_free=keep_free) == 0
        budget.spend(weight, now, deep=keep_free is not None)
        spent.append((now, weight))
        assert sum(used for at, used in spent if at + PERIOD_S > now) <= per_min
