"""Results applied exactly once on a real Redis, and marks that end when their plan can become no order any more."""

from decimal import Decimal
from pathlib import Path

import pytest
from redis import Redis

from microservices.contracts import claim, permit, position, result
from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Side
from microservices.position_state_brain import ledger_loop, marks
from microservices.position_state_brain.books import NO_ROW
from microservices.position_state_brain.committing import LeaseLost
from tests.support.brain import SYMBOL, result_of
from tests.support.brain_world import World

D = Decimal


@pytest.fixture
def world(redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A brain that is ready to permit."""
    return World(redis_client, tmp_path, monkeypatch).begin()


def sweep(world: World) -> None:
    """Let the ledger loop look at the marks once more."""
    world.clock.advance(1.0)
    world.brain.ledger.tick()


def test_row_cursor_and_mark_change_together(world: World) -> None:
    """The fill is in the row, its id in row and cursor, and the symbol is free for the next plan."""
    entry_id = world.open("p1")
    world.answer()
    result_id = world.ended(entry_id, plan_id="p1")
    world.brain.ledger.tick()
    row = world.ledger()
    assert row is not None
    assert (row.position_amt, row.last_plan_id, row.last_order_id, row.last_result_id) == (
        D("0.01"),
        "p1",
        "77",
        result_id,
    )
    assert row.last_exec_ts_ms == int(result_id.partition("-")[0])
    assert world.redis.get(position.LEDGER_CURSOR_KEY) == result_id.encode()
    assert world.mark() is None


def test_a_result_of_another_entry_leaves_the_mark_alone(world: World) -> None:
    """A duplicate ends at once; the plan under way goes on."""
    entry_id = world.open("p1")
    world.answer()
    world.ended("1-1", plan_id="p1", executed=False, error="duplicate_plan")
    world.brain.ledger.tick()
    mark = world.mark()
    assert mark is not None
    assert mark.plan_entry_id == entry_id


def test_what_was_not_executed_ends_the_mark_and_nothing_else(world: World) -> None:
    """No row, no cooldown."""
    entry_id = world.open("p1")
    world.answer()
    world.ended(entry_id, plan_id="p1", executed=False, quantity=D(0), error="permit_timeout")
    world.brain.ledger.tick()
    assert (world.mark(), world.booked()) == (None, D(0))
    world.open("p2")
    assert world.answer() == [("p2", "allowed")]


def test_many_results_are_applied_in_their_order_each_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several batches, restarts in between, and the ledger is their sum."""
    monkeypatch.setattr(ledger_loop, "BATCH", 3)
    for number in range(10):
        world.ended(f"{number}-1", quantity=D("0.1") * (number + 1), side=Side.SELL if number % 2 else Side.BUY)
    for round_ in range(6):
        world.brain.ledger.tick()
        if round_ % 2:
            world.restart()
    assert world.booked() == D("-0.5")


def test_a_lost_cursor_costs_nothing(world: World) -> None:
    """Every row knows what it has: results are read again from the baseline, and none is added twice."""
    for number in range(3):
        world.ended(f"{number}-1")
    world.brain.ledger.tick()
    for broken in (None, "rubbish", "list"):
        world.redis.delete(position.LEDGER_CURSOR_KEY)
        if broken == "list":
            world.redis.lpush(position.LEDGER_CURSOR_KEY, "x")
        elif broken:
            world.redis.set(position.LEDGER_CURSOR_KEY, broken)
        world.restart()
        newest = world.ended("9-1", symbol="ETHUSDT")
        world.brain.ledger.tick()
        assert world.redis.get(position.LEDGER_CURSOR_KEY) == newest.encode()
    assert world.booked() == D("0.03")
    assert world.booked("ETHUSDT") == D("0.03")


@pytest.mark.parametrize("broken", [None, "rubbish"])
@pytest.mark.parametrize("restarts", [True, False])
def test_a_cursor_that_is_lost_while_nothing_happens_is_written_again(
    world: World, broken: str | None, *, restarts: bool
) -> None:
    """Else results would seem to wait unread for ever, and no drift would be held or adopted."""
    world.ended("1-1")
    world.brain.ledger.tick()
    newest = world.redis.getdel(position.LEDGER_CURSOR_KEY)
    assert isinstance(newest, bytes)
    world.redis.hset(position.BASELINE_KEY, "result_id", newest)
    world.redis.hset(position.ledger_key(SYMBOL), "last_exec_ts_ms", world.now_ms() - 60_000)
    if broken is not None:
        world.redis.set(position.LEDGER_CURSOR_KEY, broken)
    if restarts:
        world.restart()
    for _ in range(2):
        world.brain.ledger.tick()
    assert world.redis.get(position.LEDGER_CURSOR_KEY) == newest
    world.exchange.positions[SYMBOL] = "0.5"
    world.snapshot()
    assert world.hold() == "brain:exchange_above_ledger"


def test_a_result_that_is_written_again_after_an_adoption_counts_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis lost all, the account was adopted with the fill in it, and the executor writes what it knows again."""
    now_s = world.now_ms() // 1000
    world.ended("1-1", timestamp=now_s - 10)
    world.brain.ledger.tick()
    assert world.booked() == 0
    assert "ended before the account was adopted: it is in it" in caplog.text
    newest = world.ended("2-1", timestamp=now_s)
    world.brain.ledger.tick()
    assert world.booked() == D("0.01")
    assert world.redis.get(position.LEDGER_CURSOR_KEY) == newest.encode()


def test_an_executor_whose_clock_lags_loses_no_fill(world: World) -> None:
    """Its results look older than the adoption; that their plans came after it says that they are not in it."""
    entry_id = world.open("p1")
    world.answer()
    world.ended(entry_id, plan_id="p1", timestamp=world.now_ms() // 1000 - 3_600)
    world.brain.ledger.tick()
    assert (world.booked(), world.mark()) == (D("0.01"), None)


def test_a_row_that_changed_meanwhile_is_read_again(world: World) -> None:
    """An adoption between reading and writing must not be overwritten by an older sum."""
    world.ended("1-1")
    applying = world.brain.ledger._row_after

    def adopted_meanwhile(*arguments: object) -> object:
        world.redis.hset(position.ledger_key(SYMBOL), mapping={"position_amt": "0.5", "last_result_id": "1-1"})
        world.brain.ledger._row_after = applying  # type: ignore[method-assign] # only once
        return (NO_ROW, applying(*arguments)[1])  # type: ignore[arg-type] # passed on as they came

    world.brain.ledger._row_after = adopted_meanwhile  # type: ignore[method-assign, assignment] # a race, made to happen
    world.brain.ledger.tick()
    assert world.booked() == D("0.5")
    world.brain.ledger.tick()
    assert world.booked() == D("0.51")


def test_without_the_lease_nothing_is_applied(world: World) -> None:
    """And it is applied once the lease is ours again."""
    world.ended("1-1")
    lease = world.redis.getdel(position.LEASE_KEY)
    with pytest.raises(LeaseLost):
        world.brain.ledger.tick()
    assert world.booked() == 0
    assert isinstance(lease, bytes)
    world.redis.set(position.LEASE_KEY, lease)
    world.brain.ledger.tick()
    assert world.booked() == D("0.01")


def test_what_is_no_result_of_ours_is_passed_over_and_said(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Messages of other shapes, another mode, a fill without a side or of no entry: the loop goes on with the next."""
    world.redis.xadd(result.STREAM, {"executed": "True", "details": "{}"})
    world.redis.xadd(result.STREAM, {b"\xff": b"\xff"})
    world.redis.xadd(result.STREAM, result.encode(result_of(mode=Mode.TESTNET)))
    world.redis.xadd(result.STREAM, result.encode(result_of(side=None)))
    world.redis.xadd(result.STREAM, result.encode(result_of(plan_entry_id="x")))
    newest = world.ended("5-1")
    world.brain.ledger.tick()
    assert world.booked() == D("0.01")
    assert world.redis.get(position.LEDGER_CURSOR_KEY) == newest.encode()
    assert caplog.text.count("not applied to the ledger") == 5


@pytest.mark.parametrize("broken", ["hash", "list"])
def test_a_row_that_cannot_be_read_does_not_stop_the_others(world: World, broken: str) -> None:
    """Its fill is not added to rubbish; opens of the symbol are denied until somebody adopts its position."""
    if broken == "hash":
        world.redis.hset(position.ledger_key(SYMBOL), "position_amt", "NaN")
    else:
        world.redis.lpush(position.ledger_key(SYMBOL), "x")
    world.ended("1-1")
    newest = world.ended("2-1", symbol="ETHUSDT")
    world.brain.ledger.tick()
    assert world.booked("ETHUSDT") == D("0.01")
    assert world.redis.get(position.LEDGER_CURSOR_KEY) == newest.encode()
    world.open("p1")
    assert world.answer() == [("p1", "reconcile_required_qty_mismatch")]


def test_a_mark_ends_when_its_permit_is_gone_and_nobody_claimed_it(world: World) -> None:
    """Seen twice: between the looks every result there was has been applied."""
    world.open("p1")
    world.answer()
    sweep(world)
    assert world.mark() is not None
    world.redis.delete(permit.key(Gate.P33, "p1"))
    sweep(world)
    assert world.mark() is not None
    sweep(world)
    assert world.mark() is None
    world.open("p2")
    assert world.answer() == [("p2", "allowed")]


def test_a_mark_stays_while_its_plan_is_claimed(world: World) -> None:
    """The order may be out, whatever became of the permit."""
    world.open("p1")
    world.answer()
    world.redis.delete(permit.key(Gate.P33, "p1"))
    world.redis.hset(claim.key("p1"), "state", "sent")
    for _ in range(3):
        sweep(world)
    assert world.mark() is not None


def test_a_result_that_was_lost_closes_its_symbol_for_a_minute_not_for_a_day(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The claim of an order lives for a day; when it has been done for a minute, a next exit is not kept back by it."""
    world.holding()
    world.close("out")
    world.answer()
    world.redis.delete(permit.key(Gate.P33, "out"))
    minute_ago_ms = world.now_ms() - marks.DONE_FOR_MS
    kept: list[dict[str, str | int]] = [
        {"state": "sent", "sent_at_ms": minute_ago_ms},
        {"state": "done"},
        {"state": "done", "done_at_ms": world.now_ms()},
    ]
    for fields in kept:
        world.redis.delete(claim.key("out"))
        world.redis.hset(claim.key("out"), mapping=dict(fields.items()))
        for _ in range(3):
            sweep(world)
        assert world.mark() is not None, fields
    world.redis.hset(claim.key("out"), "done_at_ms", minute_ago_ms)
    sweep(world)
    assert world.mark() is None
    assert f"{SYMBOL}: mark of out ended: its claim is done, but its result never came" in caplog.text
    world.snapshot()
    world.close("again")
    assert world.answer() == [("again", "allowed")]


def test_a_claim_that_expired_with_its_result_unread_does_not_free_the_symbol(world: World) -> None:
    """The brain was away for longer than a claim lives: the fill comes into the ledger before the mark may end."""
    entry_id = world.open("p1")
    world.answer()
    world.redis.delete(permit.key(Gate.P33, "p1"))
    world.restart()
    world.ended(entry_id, plan_id="p1")
    sweep(world)
    assert (world.mark(), world.booked()) == (None, D("0.01"))


def test_a_mark_from_before_a_restart_is_found_and_ended(world: World) -> None:
    """No mark is left behind by a brain that died."""
    world.open("p1")
    world.answer()
    world.redis.delete(permit.key(Gate.P33, "p1"))
    world.restart()
    sweep(world)
    sweep(world)
    assert world.mark() is None


def test_a_mark_that_was_replaced_between_two_looks_is_another(world: World) -> None:
    """Only the entry that was suspected ends."""
    world.open("p1")
    world.answer()
    world.redis.delete(permit.key(Gate.P33, "p1"))
    sweep(world)
    world.redis.hset(position.inflight_key(SYMBOL), "plan_entry_id", "9-9")
    sweep(world)
    assert world.mark() is not None


def test_a_mark_nobody_can_read_is_said_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It closes its symbol; somebody must look."""
    world.redis.set(position.inflight_key(SYMBOL), "x")
    world.restart()
    for _ in range(3):
        sweep(world)
    assert caplog.text.count("until the key is removed") == 1
    assert world.redis.get(position.inflight_key(SYMBOL)) == b"x"
