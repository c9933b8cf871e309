"""What has cost others money, row by row of the list of failures, as far as an executor can do it."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from redis import Redis

from microservices.contracts import permit
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Decision, Side
from tests.support.apply_paper import SOL, Desk
from tests.support.apply_truth import assert_all_true
from tests.support.apply_world import redis_ms
from tests.support.daemon import ROOT
from tests.support.paper import PaperExchange

ROWS = (1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 18, 21, 24, 25, 30, 32, 34, 35, 38, 39, 40, 42, 43, 45)
"""The rows that touch the executor."""


@pytest.fixture
def desk(redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> Desk:
    """Everything but the layer itself."""
    return Desk(redis_client, paper, tmp_path)


def test_every_row_that_touches_the_executor_is_named_by_a_test_of_it() -> None:
    """So that none is only believed."""
    files = [*(ROOT / "tests/integration").glob("test_apply*.py"), *(ROOT / "tests/unit/apply_layer").glob("*.py")]
    named = {int(row) for file in files for row in re.findall(r"\bI-(\d\d)\b", file.read_text())}
    assert set(ROWS) - named == set()


def test_a_permit_that_a_producer_made_for_itself_is_not_enough(desk: Desk) -> None:
    """I-09: the brain is away and a strategy writes its permit, good for a day: the symbol's mark is not its plan's."""
    desk.hold(SOL, "2")
    with desk.running():
        entry_id = desk.world.add(symbol=SOL)
        a_day_ms = redis_ms(desk.redis) + 86_400_000
        desk.world.permit(entry_id, safe_qty="2", expires_at_ms=a_day_ms, mark=False)
        end = desk.world.await_result(entry_id)
        assert (end.decision, end.error) == (Decision.BLOCKED, "mark_lost")
        assert desk.posts() == []


def test_twenty_entries_of_one_intent_are_one_order(desk: Desk) -> None:
    """I-11: what makes an order unique is the plan's id; a quantity that drifts in its last digits changes nothing."""
    desk.hold(SOL, "30")
    with desk.running():
        entries = [desk.world.add("one-intent", symbol=SOL, qty=f"1.0000000000{number:02}") for number in range(20)]
        desk.world.permit(entries[0], safe_qty="1")
        ends = [desk.world.await_result(entry_id) for entry_id in entries]
        assert [end.error for end in ends] == ["", *["duplicate_plan"] * 19]
        assert len(desk.posts()) == 1
        desk.await_no_claims()
        assert_all_true(desk, {SOL: "30"})


def test_the_exit_of_a_short_buys_and_makes_it_smaller(desk: Desk) -> None:
    """I-18: no sign is lost on the way: quantity without one, side from the plan, reduce-only."""
    desk.hold(SOL, "-2")
    with desk.running():
        end = desk.world.await_result(desk.exit(side="BUY"))
        assert (end.executed, end.side, end.quantity) == (True, Side.BUY, Decimal(1))
        assert desk.paper.position(SOL) == -1
        desk.await_no_claims()
        assert_all_true(desk, {SOL: "-2"})


def test_an_order_that_is_too_small_is_not_made_larger(desk: Desk) -> None:
    """I-30: what the gates allowed is sent, and the exchange's own no is the result."""
    with desk.running():
        end = desk.world.await_result(desk.open("XLMUSDT", "1", price="0.25"))
        assert (end.error, end.retryable) == ("exchange_error_4164", False)
        assert [post["parameters"]["quantity"] for post in desk.posts()] == ["1"]


def test_an_exit_that_nobody_permits_is_never_acked_in_silence(desk: Desk) -> None:
    """I-34, I-32: it is pending until its one result says what became of it, and the result names the gate."""
    with desk.running():
        entry_id = desk.world.add(symbol=SOL)
        desk.world.permit(entry_id, allow=False, safe_qty="0", reason="stale_exchange_state")
        end = desk.world.await_result(entry_id)
        assert (end.error, end.gate, end.retryable) == ("stale_exchange_state", "p33", True)
        assert desk.redis.exists(permit.key(Gate.P33, end.plan_id))
        desk.await_no_claims()
        assert_all_true(desk, {})
