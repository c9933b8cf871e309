"""Safe quantities: examples from the specification, and what must hold for every position, plan and instrument."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microservices.contracts.fields import exact
from microservices.contracts.plan import Action
from microservices.position_state_brain.quantity import MarketRules, close_quantity, open_quantity, rules_of
from tests.support.brain import INSTRUMENT

D = Decimal
RULES = MarketRules(step=D("0.001"), min_qty=D("0.001"), max_qty=D(100), min_notional=D(5))
EXITS = [action for action in Action if action.is_exit]


@pytest.mark.parametrize(
    ("position", "action", "bound", "expected"),
    [
        ("0.5", Action.FULL_CLOSE_PROPOSED, "0", "0.5"),
        ("-0.5", Action.FULL_CLOSE_PROPOSED, "0", "0.5"),
        ("0.5", Action.PARTIAL_75, "0", "0.375"),
        ("0.5", Action.PARTIAL_50, "0", "0.25"),
        ("0.5", Action.PARTIAL_25, "0", "0.125"),
        ("0.0015", Action.FULL_CLOSE_PROPOSED, "0", "0.001"),
        ("0.5", Action.FULL_CLOSE_PROPOSED, "0.2", "0.2"),
        ("0.5", Action.FULL_CLOSE_PROPOSED, "9", "0.5"),
        ("0.5", Action.PARTIAL_50, "0.1", "0.1"),
        ("0.5", Action.FULL_CLOSE_PROPOSED, "0.0005", "0"),
    ],
)
def test_the_share_is_bounded_and_floored(position: str, action: Action, bound: str, expected: str) -> None:
    """Never rounded up: 0.0015 must not become 0.002 (I-45); a short counts by its size (I-18)."""
    assert close_quantity(D(position), action, D(bound), RULES).qty == D(expected)


def test_a_partial_that_would_leave_dust_closes_all() -> None:
    """A rest below the minimum could never be closed."""
    rules = MarketRules(step=D("0.001"), min_qty=D("0.01"), max_qty=D(100), min_notional=D(5))
    assert close_quantity(D("0.03"), Action.PARTIAL_75, D(0), rules).qty == D("0.03")
    assert close_quantity(D("0.03"), Action.PARTIAL_75, D("0.03"), rules).qty == D("0.03")
    assert close_quantity(D("0.03"), Action.PARTIAL_75, D("0.025"), rules).qty == D("0.022")
    assert close_quantity(D("0.04"), Action.PARTIAL_75, D(0), rules).qty == D("0.03")


def test_more_than_the_maximum_is_cut_and_said() -> None:
    """The exchange refuses a larger market order; the rest needs another plan."""
    rules = MarketRules(step=D("0.1"), min_qty=D("0.1"), max_qty=D("10.05"), min_notional=D(5))
    quantity = close_quantity(D(25), Action.FULL_CLOSE_PROPOSED, D(0), rules)
    assert (quantity.qty, quantity.clamped_to_max_qty) == (D("10.0"), True)
    assert open_quantity(D(25), rules).qty == D("10.0")
    assert not open_quantity(D("0.25"), rules).clamped_to_max_qty
    assert open_quantity(D("0.25"), rules).qty == D("0.2")


def test_rules_are_read_from_the_instruments_text() -> None:
    """Decimals from text, never by way of a float."""
    assert rules_of(INSTRUMENT) == RULES


amounts = st.decimals(min_value="0.000000001", max_value="999999999", places=9, allow_nan=False, allow_infinity=False)
steps = st.sampled_from([D(1), D("0.1"), D("0.01"), D("0.001"), D("0.00001"), D(10), D("0.5"), D("0.3")])


@settings(deadline=None)
@given(
    held=amounts,
    is_short=st.booleans(),
    action=st.sampled_from(EXITS),
    bound=st.one_of(st.just(D(0)), amounts),
    step=steps,
    min_steps=st.integers(1, 50),
    max_steps=st.integers(50, 1_000_000),
)
def test_what_may_be_closed(
    *, held: Decimal, is_short: bool, action: Action, bound: Decimal, step: Decimal, min_steps: int, max_steps: int
) -> None:
    """Never above position, plan or maximum; a multiple of the step; less than a step below what was wanted."""
    rules = MarketRules(step, min_steps * step, max_steps * step, D(5))
    quantity = close_quantity(-held if is_short else held, action, bound, rules).qty
    with exact():
        assert 0 <= quantity <= held
        assert quantity <= rules.max_qty
        assert not bound or quantity <= bound
        assert quantity % step == 0
        wanted = min(held * action.closed_fraction, bound or held, rules.max_qty)
        assert quantity > wanted - step
        assert quantity <= wanted or held - wanted < rules.min_qty + step


@settings(deadline=None)
@given(held=amounts, step=steps, min_steps=st.integers(1, 50))
def test_a_partial_never_leaves_a_rest_that_cannot_be_closed(held: Decimal, step: Decimal, min_steps: int) -> None:
    """Either nothing can be closed at all, or what stays is none, less than a step, or the minimum at least."""
    rules = MarketRules(step, min_steps * step, D(10) ** 15, D(5))
    quantity = close_quantity(held, Action.PARTIAL_75, D(0), rules).qty
    with exact():
        rest = held - quantity
        assert rest < step or rest >= rules.min_qty


@settings(deadline=None)
@given(wanted=amounts, step=steps)
def test_an_open_is_never_more_than_wanted(wanted: Decimal, step: Decimal) -> None:
    """Floored, by less than a step."""
    quantity = open_quantity(wanted, MarketRules(step, step, D(10) ** 15, D(5))).qty
    assert wanted - step < quantity <= wanted
