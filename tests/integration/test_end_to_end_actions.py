"""Every action and every decision of a plan, followed through the suite to its order, its result and its count."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import product

import pytest

from microservices.contracts.claim import ClaimState
from microservices.contracts.plan import Action, Decision, Side
from microservices.contracts.reason import Reason
from tests.support.story import assert_books, assert_denied, assert_ended, assert_executed, follow_all
from tests.support.suite import Suite

EXITS = [action for action in Action if action.is_exit]
SHARES = {
    Action.FULL_CLOSE_PROPOSED: Decimal(1),
    Action.PARTIAL_75: Decimal("0.75"),
    Action.PARTIAL_50: Decimal("0.5"),
    Action.PARTIAL_25: Decimal("0.25"),
}
SYMBOLS = ("XRPUSDT", "ADAUSDT", "DOGEUSDT", "TRXUSDT", "XLMUSDT", "FILUSDT", "ARBUSDT", "SUIUSDT")
HELD = dict(zip(product(EXITS, Side), SYMBOLS, strict=True))
"""By action and by the side that opened it, the symbol in which a position is held."""
BOUND, EXPECTED, BARE = "ATOMUSDT", "SEIUSDT", "ENAUSDT"
"""Three more, for exits with a bound, with the position they were decided on, and without `reduceOnly`."""

Positions = dict[str, Decimal]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite that allows as many positions as the tests hold."""
    folder = tmp_path_factory.mktemp("suite")
    with Suite(folder, {"apply-layer": {"APPLY_MAX_POSITIONS": "30"}}) as running:
        yield running


@pytest.fixture(scope="module")
def held(suite: Suite) -> Positions:
    """Positions, opened through the chain all at once: symbol to signed amount."""
    opened = [suite.open(symbol, side) for (_, side), symbol in HELD.items()]
    opened += [suite.open(symbol) for symbol in (BOUND, EXPECTED, BARE)]
    amounts = {}
    for story in follow_all(suite, opened):
        assert_executed(suite, story, story.result.quantity)
        amounts[story.added.symbol] = story.result.quantity * (1 if story.result.side is Side.BUY else -1)
    assert amounts.items() <= suite.positions().items()
    return amounts


def closing(amount: Decimal) -> Side:
    """Name the side that makes a position smaller."""
    return Side.SELL if amount > 0 else Side.BUY


def floored(suite: Suite, symbol: str, amount: Decimal) -> Decimal:
    """Cut an amount to the symbol's step."""
    step = Decimal(suite.instrument(symbol).step_size)
    return abs(amount) // step * step


@pytest.mark.parametrize("side", Side)
def test_an_open_becomes_one_order(suite: Suite, side: Side) -> None:
    """Long and short: permitted, ordered once, filled, written into the ledger, counted."""
    symbol = {Side.BUY: "LINKUSDT", Side.SELL: "AVAXUSDT"}[side]
    quantity = suite.quantity(symbol, Decimal(60))
    story = suite.follow(suite.open(symbol, side, qty=quantity))
    assert_executed(suite, story, quantity)
    assert suite.positions()[symbol] == (quantity if side is Side.BUY else -quantity)


def test_an_open_is_cut_to_the_step(suite: Suite) -> None:
    """What the exchange would refuse for its precision is floored, never rounded up."""
    quantity = suite.quantity("NEARUSDT", Decimal(60))
    story = suite.follow(suite.open("NEARUSDT", qty=quantity + Decimal("0.987")))
    assert_executed(suite, story, quantity, ordered=quantity)


def test_an_open_right_after_an_execution_is_cooled_down(suite: Suite) -> None:
    """A second open of the symbol waits out the cooldown, whatever its quantity."""
    first = suite.follow(suite.open("UNIUSDT"))
    assert first.result.executed
    again = suite.follow(suite.open("UNIUSDT"))
    assert_denied(again, Reason.COOLDOWN_IN_FLIGHT, retryable=True)


@pytest.mark.parametrize(("action", "side"), HELD, ids=str)
def test_an_exit_closes_its_share(suite: Suite, held: Positions, action: Action, side: Side) -> None:
    """Every exit of a long and of a short closes its share, floored to the step, and no more."""
    symbol = HELD[action, side]
    before = held[symbol]
    story = suite.follow(suite.exit(symbol, closing(before), action))
    quantity = floored(suite, symbol, before * SHARES[action])
    assert_executed(suite, story, quantity)
    rest = before - quantity.copy_sign(before)
    assert suite.positions().get(symbol, Decimal(0)) == rest


def test_a_bound_cuts_an_exit(suite: Suite, held: Positions) -> None:
    """An exit never closes more than the plan says."""
    bound = floored(suite, BOUND, held[BOUND] / 3)
    story = suite.follow(suite.exit(BOUND, Side.SELL, qty=bound))
    assert_executed(suite, story, bound)


def test_an_exit_of_the_expected_position_is_done(suite: Suite, held: Positions) -> None:
    """Decided on the position that is there, an exit goes through."""
    story = suite.follow(suite.exit(EXPECTED, Side.SELL, expected_position=held[EXPECTED]))
    assert_executed(suite, story, held[EXPECTED])


def test_an_exit_needs_no_reduce_only(suite: Suite, held: Positions) -> None:
    """A missing `reduceOnly` never turns an exit into an open: the order is reduce-only all the same."""
    story = suite.follow(suite.exit(BARE, Side.SELL, reduceOnly=None))
    assert_executed(suite, story, held[BARE])


@pytest.mark.parametrize(
    ("decided", "codes", "expected"),
    [
        (Decision.SKIP, None, Reason.PLAN_SKIP),
        (Decision.SKIP, "action_hold", "action_hold"),
        (Decision.SKIP, ",Action Hold: nothing to do,other", "action_hold"),
        (Decision.BLOCKED, None, Reason.PLAN_BLOCKED),
        (Decision.BLOCKED, "kill_score_critical,regime_flip", "kill_score_critical"),
        (Decision.ERROR, None, Reason.PLAN_ERROR),
        (Decision.ERROR, "Data/Missing", "data_missing"),
    ],
)
def test_a_plan_that_is_not_to_be_executed_keeps_its_words(
    suite: Suite, decided: Decision, codes: str | None, expected: str
) -> None:
    """Its decision and its first reason are its result; no gate is asked and nothing is ordered."""
    added = suite.plan(symbol="BTCUSDT", decision=decided, reason_codes=codes, action=Action.OPEN, side=Side.BUY)
    story = suite.follow(added)
    assert_ended(story, expected, decided)
    assert story.events == ()
    assert (story.verdict, story.permit, story.order) == (None, None, None)
    assert story.claim is not None
    assert (story.claim.state, story.claim.plan_entry_id) == (ClaimState.DONE, added.entry_id)


def test_everything_can_be_closed_at_once(suite: Suite, held: Positions) -> None:
    """An exit of every position in one moment: none waits for another symbol's, and nothing is left."""
    left = suite.positions()
    assert held.keys() & left.keys()
    added = [suite.exit(symbol, closing(amount)) for symbol, amount in left.items()]
    for story in follow_all(suite, added):
        assert_executed(suite, story, abs(left[story.added.symbol]))
    assert suite.positions() == {}


def test_the_books_balance(suite: Suite) -> None:
    """One result an entry, one count a result, one order a plan; the ledger is the exchange's position."""
    assert_books(suite)
