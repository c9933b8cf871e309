"""What other systems of this kind have done wrong at this place, by the rows of the list of failures: ours does not.

A row that another test of the brain is about is named there; the last test of this file keeps the account.
"""

import re
from pathlib import Path

import pytest
from redis import Redis

from microservices.contracts import account, hashes, permit, plan, position
from microservices.contracts.account import AccountBinding
from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate
from microservices.exchange import base_url
from microservices.position_state_brain.committing import LeaseLost
from microservices.runtime import Refused
from tests.support.brain import BASELINE, SYMBOL, exit_fields
from tests.support.brain_world import ACCOUNT, World

TESTS = Path(__file__).parents[1]
TOUCHING_THE_BRAIN = (
    1, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 33, 34, 35, 39, 40, 41, 42, 44, 45,
)  # fmt: skip
"""The rest are of strategies, of the executor, of the counting, or of deployment."""


@pytest.fixture
def world(redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A brain that is ready to permit."""
    return World(redis_client, tmp_path, monkeypatch).begin()


def test_a_plan_is_answered_when_it_comes_not_at_the_next_poll(world: World) -> None:
    """I-01: no poll of the exchange lies between plan and permit while the snapshot in hand is good."""
    asked = world.exchange.asked
    world.open("p1")
    assert world.answer() == [("p1", "allowed")]
    assert world.exchange.asked == asked


@pytest.mark.parametrize("mode", [Mode.TESTNET, Mode.MAINNET])
def test_every_mode_has_its_permits_and_an_account_that_was_bound(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    """I-04: no gate is skipped on testnet; and outside paper nothing begins on a Redis that nobody bound."""
    world = World(redis_client, tmp_path, monkeypatch, trading_mode=mode, binance_futures_base_url="")
    with pytest.raises(Refused, match="set_account"):
        world.brain.prepare()
    world.brain.close()
    bound = AccountBinding(mode, account.host_of(base_url(mode)), ACCOUNT)
    redis_client.hset(account.KEY, mapping=hashes.encode(bound))
    redis_client.hset(position.BASELINE_KEY, mapping=hashes.encode(BASELINE))
    world.brain = world.another_brain()
    world.begin()
    world.open("p1")
    assert world.answer() == [("p1", "allowed")]
    permitted = world.permit("p1")
    assert permitted is not None
    assert permitted.mode is mode


def test_a_flat_symbol_is_known_not_missing(world: World) -> None:
    """I-07: an amount of 0 is a position like any other: an open goes, an exit has nothing to close."""
    world.close("out")
    world.open("in")
    assert world.answer() == [("out", "no_position"), ("in", "allowed")]


@pytest.mark.parametrize("symbol", [SYMBOL, "DOGEUSDT"])
def test_an_answer_touches_no_other_gates_permits(world: World, symbol: str) -> None:
    """I-08: neither an allow nor a deny of ours burns what governor and portfolio gate have said."""
    others = [permit.key(gate, "p1") for gate in (Gate.GOVERNOR, Gate.P26)]
    for key in others:
        world.redis.set(key, "theirs")
    world.open("p1", symbol=symbol)
    world.answer()
    assert world.redis.mget(others) == [b"theirs", b"theirs"]


def test_two_brains_never_answer_one_plan(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-10: whoever has lost the lease reads and writes nothing, however it goes on running."""
    world.redis.delete(position.LEASE_KEY)
    other = World(world.redis, tmp_path / "elsewhere", monkeypatch)
    other.exchange = world.exchange
    other.brain = other.another_brain()
    other.brain.prepare()
    other.snapshot()
    world.open("p1")
    with pytest.raises(LeaseLost):
        world.brain.permits.tick()
    assert other.answer() == [("p1", "allowed")]
    assert [event.plan_id for event in other.events() if event.plan_id] == ["p1"]


@pytest.mark.parametrize("score", ["1", "0.999", "NaN", "-5", "critical"])
def test_no_score_stops_an_exit(world: World, score: str) -> None:
    """I-12: whatever a plan's maker thought of it, and however it wrote that down."""
    world.holding()
    world.add(exit_fields(plan_id="out", kill_score=score, timestamp=f"{world.now_ms() / 1000:.3f}"))
    assert world.answer() == [("out", "allowed")]


def test_twins_in_one_batch_are_one_open(world: World) -> None:
    """I-15: the second of two equal plans sees what the first has just been given, although both were read at once."""
    world.open("p1")
    world.open("p2")
    assert world.answer() == [("p1", "allowed"), ("p2", "permit_outstanding")]


def test_an_exit_needs_no_ledger(world: World) -> None:
    """I-28: a row under another name, or none at all, drops no close: the position is the exchange's."""
    world.holding()
    world.redis.rename(position.ledger_key(SYMBOL), f"quantum:ledger:{SYMBOL}")
    world.close("out")
    assert world.answer() == [("out", "allowed")]


def test_what_a_dead_brain_had_read_is_answered_by_the_next(world: World) -> None:
    """I-33, I-34: read and not answered is pending, and no plan is acked but with its answer."""
    world.holding()
    view = world.brain._board.view
    world.brain._board.publish(type(view)(one_way=True, sequence=view.sequence))
    world.close("out")
    assert world.answer() == []
    assert world.redis.xpending(plan.STREAM, plan.GROUP_BRAIN)["pending"] == 1
    world.restart()
    world.snapshot()
    assert world.answer() == [("out", "allowed")]
    assert world.redis.xpending(plan.STREAM, plan.GROUP_BRAIN)["pending"] == 0


def test_every_row_that_touches_the_brain_is_named_by_a_test_of_it() -> None:
    """Whoever looks for a row finds its test."""
    files = [*TESTS.glob("integration/test_brain_*.py"), *TESTS.glob("unit/position_state_brain/*.py")]
    shared = [*TESTS.glob("unit/contracts/*.py"), *TESTS.glob("integration/test_end_to_end_*.py")]
    text = "".join(path.read_text() for path in files + shared)
    named = {int(number) for number in re.findall(r"I-(\d\d)\b", text)}
    assert sorted(set(TOUCHING_THE_BRAIN) - named) == []
