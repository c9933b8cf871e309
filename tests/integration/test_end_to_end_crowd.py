"""A crowd of plans at once, with faults of the exchange and deaths of services among them: the books still balance."""

import random
import signal
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from microservices.contracts.plan import Action, Decision, Side
from microservices.paper_exchange.builtin_market import BASE_PRICES
from tests.support.story import assert_books
from tests.support.suite import Added, Suite
from tests.support.waiting import wait_until

SEED = 20
PLANS = 400
ROUNDS = 4
"""Between two rounds the suite has a moment to fill positions, so that there is something to close."""
DYING = ("position-state-brain", "apply-layer", "p35-decision-intelligence")
FAULTS: tuple[dict[str, Any], ...] = (
    {"fault": "unknown_execution", "executed": True},
    {"fault": "swallow_reply"},
    {"fault": "accept_late", "seconds": 2},
    {"fault": "hide_order", "seconds": 2},
    {"fault": "expire_partial", "share": 0.5},
    {"fault": "error", "code": -2019},
    {"fault": "latency", "seconds": 1},
)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite without cooldown."""
    brain = {"P33_COOLDOWN_SEC": "0", "P33_POLL_SEC": "1"}
    settings = {"position-state-brain": brain, "apply-layer": {"APPLY_MAX_POSITIONS": "30"}}
    with Suite(tmp_path_factory.mktemp("suite"), settings) as running:
        yield running


def some_plan(suite: Suite, rng: random.Random, symbol: str) -> Added:
    """Add one plan of any kind: mostly what a strategy would, at times what it should not."""
    side = rng.choice(list(Side))
    kind = rng.random()
    if kind < 0.45:
        return suite.open(symbol, side)
    if kind < 0.8:
        return suite.exit(symbol, side, rng.choice([action for action in Action if action.is_exit]))
    if kind < 0.9 and suite.added:
        return suite.open(symbol, side, plan_id=rng.choice(suite.added).plan_id)
    if kind < 0.95:
        return suite.open(symbol, side, qty="0")
    return suite.plan(symbol=symbol, decision=Decision.SKIP)


def test_a_crowd_of_plans(suite: Suite) -> None:
    """Every entry one result, every result one count, every plan at most one order, the ledger the exchange's."""
    rng = random.Random(SEED)
    symbols = sorted(set(BASE_PRICES) - {"BTCUSDT"})
    for round_number in range(ROUNDS):
        for fault in rng.sample(FAULTS, 4):
            suite.fault({**fault, "method": "POST", "path": "/fapi/v1/order", "after": rng.randrange(20), "times": 2})
        for number in range(PLANS // ROUNDS):
            some_plan(suite, rng, rng.choice(symbols))
            if round_number and number == PLANS // ROUNDS // 2:
                dying = DYING[round_number - 1]
                suite.stop(dying, signal.SIGKILL)
                suite.start(dying)
        wait_until(lambda: len(suite.results()) >= len(suite.added) // 2, 30, what="half of the results")
    wait_until(lambda: len(suite.results()) >= len(suite.added), 60, what="every result")
    executed = [one for one in suite.results() if one.executed]
    assert len(executed) > PLANS // 20
    assert {one.reduce_only for one in executed} == {True, False}
    assert all(one.quantity > Decimal(0) for one in executed)


def test_the_books_balance(suite: Suite) -> None:
    """One result an entry, one count a result, one order a plan; the ledger is the exchange's position."""
    assert_books(suite)
