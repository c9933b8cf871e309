"""Plans answered by a whole brain on a real Redis: the chain of reasons, duplicates, parked plans, wrong types."""

import logging
import threading
from pathlib import Path

import pytest
from redis import Redis

from microservices.contracts import claim, control, permit, plan, position, universe
from microservices.contracts.claim import ClaimState, OpenClaim
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Action
from microservices.contracts.universe_reader import Tier
from microservices.exchange import Unreachable
from microservices.position_state_brain import snapshots
from tests.support.brain import SYMBOL, plan_fields
from tests.support.brain_world import World
from tests.support.waiting import wait_until

AWAY = Unreachable("GET /fapi/v2/positionRisk", "no answer within 0.8 s", sent=True)


@pytest.fixture
def world(redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A brain that is ready to permit."""
    return World(redis_client, tmp_path, monkeypatch).begin()


def open_claim(world: World, plan_id: str, action: Action = Action.OPEN, symbol: str = SYMBOL) -> None:
    """Write an open claim as the apply layer does."""
    world.redis.hset(claim.key(plan_id), mapping={"state": "sent", "symbol": symbol})
    document = claim.encode_open(OpenClaim(symbol, action, ClaimState.SENT)).decode()
    world.redis.hset(claim.OPEN_KEY, plan_id, document)


def end_claim(world: World, plan_id: str) -> None:
    """End a claim as the apply layer does."""
    world.redis.hset(claim.key(plan_id), "state", "done")
    world.redis.hdel(claim.OPEN_KEY, plan_id)


def test_the_first_plan_on_an_empty_paper_redis_is_permitted(world: World) -> None:
    """Universe and exchange are there: one snapshot later the account is adopted and an open goes through."""
    world.open("p1")
    assert world.answer() == [("p1", "allowed")]
    permitted = world.permit("p1")
    assert permitted is not None
    assert (permitted.allow, permitted.safe_qty, permitted.context["mark_price"]) == (True, "0.01", "60000")


def test_three_opens_of_one_symbol_within_an_orders_latency(world: World) -> None:
    """Only the first is allowed, read in one batch or one after the other, until its result is in the ledger."""
    for plan_id in ("p1", "p2", "p3"):
        world.open(plan_id)
    outstanding = "permit_outstanding"
    assert world.answer() == [("p1", "allowed"), ("p2", outstanding), ("p3", outstanding)]
    open_claim(world, "p1")
    world.redis.delete(permit.key(Gate.P33, "p1"))
    world.open("p4")
    assert world.answer() == [("p4", outstanding)]
    end_claim(world, "p1")
    world.open("p5")
    assert world.answer() == [("p5", outstanding)]


def test_an_open_after_its_symbols_execution_cools_down(world: World) -> None:
    """The mark ends with the result of its entry; the ledger knows when it was."""
    entry_id = world.open("p1")
    world.answer()
    world.ended(entry_id, plan_id="p1")
    world.brain.ledger.tick()
    assert world.mark() is None
    world.exchange.positions[SYMBOL] = "0.01"
    world.open("p2")
    assert world.answer() == [("p2", "cooldown_in_flight")]


def test_a_plan_id_is_decided_once(world: World) -> None:
    """The same id under another entry, with another quantity or as a SKIP before (I-05), never changes the first."""
    world.add(plan_fields(plan_id="p1", decision="SKIP"))
    world.open("p1")
    world.open("p1", qty=5)
    assert world.answer() == [("p1", "allowed"), ("p1", "duplicate_plan")]
    permitted = world.permit("p1")
    assert permitted is not None
    assert permitted.safe_qty == "0.01"


def test_plans_that_are_none(world: World) -> None:
    """Each is answered, acked, and writes under no key but its own id's; an empty entry id harms nobody."""
    world.add({"symbol": SYMBOL})
    world.add(plan_fields(plan_id="p33:x"))
    world.add(plan_fields(plan_id="p1", symbol=""))
    world.add(plan_fields(plan_id="p2", reduceOnly=None))
    world.add(plan_fields(plan_id="p3", qty="NaN"))
    world.redis.xadd(plan.STREAM, {b"\xff": b"\xfe", b"plan_id": b"p4"})
    world.redis.xadd(plan.STREAM, {b"plan_id": b"\xff"})
    invalid = "invalid_plan"
    assert world.answer() == [
        ("", invalid), ("p33:x", invalid), ("p1", invalid), ("p2", invalid), ("p3", invalid), ("p4", invalid),
        ("\ufffd", invalid),
    ]  # fmt: skip
    keys = {bytes(key).decode() for key in world.redis.scan_iter("quantum:permit:*")}
    assert keys == {permit.key(Gate.P33, plan_id) for plan_id in ("p1", "p2", "p3", "p4")}
    assert world.redis.xpending(plan.STREAM, plan.GROUP_BRAIN)["pending"] == 0


def test_other_decisions_are_acked_without_a_permit(world: World) -> None:
    """SKIP, BLOCKED and ERROR are the apply layer's to count."""
    for decision in ("SKIP", "BLOCKED", "ERROR"):
        world.add(plan_fields(plan_id=decision, decision=decision))
    assert world.answer() == []
    assert world.redis.xpending(plan.STREAM, plan.GROUP_BRAIN)["pending"] == 0
    assert not list(world.redis.scan_iter("quantum:permit:*"))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (control.KILL_SWITCH_KEY, "kill_switch"),
        (control.hold_key(SYMBOL), "reconcile_hold_active"),
        (position.inflight_key(SYMBOL), "permit_outstanding"),
        (claim.OPEN_KEY, "permit_outstanding"),
        (position.ledger_key(SYMBOL), "reconcile_required_qty_mismatch"),
        (position.BASELINE_KEY, "no_baseline"),
        (universe.INSTRUMENTS_KEY, "instrument_unknown"),
        (position.verdict_key("p1"), "duplicate_plan"),
        (claim.key("p1"), "duplicate_plan"),
    ],
)
def test_one_key_of_another_type_denies_that_plan_and_nothing_else(world: World, key: str, reason: str) -> None:
    """The loop goes on (I-06): a plan that does not need the key is answered in the same round."""
    world.redis.delete(key)
    world.redis.lpush(key, "x")
    world.open("p1")
    world.add(plan_fields(plan_id="next", qty="0"))
    assert world.answer() == [("p1", reason), ("next", "invalid_plan")]
    assert world.redis.xpending(plan.STREAM, plan.GROUP_BRAIN)["pending"] == 0


@pytest.mark.parametrize(
    ("key", "field", "value", "reason"),
    [
        (position.inflight_key(SYMBOL), "plan_id", "p0", "permit_outstanding"),
        (position.ledger_key(SYMBOL), "position_amt", "NaN", "reconcile_required_qty_mismatch"),
        (position.ledger_key(SYMBOL), "position_amt", "1E-3", "reconcile_required_qty_mismatch"),
        (claim.OPEN_KEY, "p9", "{}", "permit_outstanding"),
        (claim.OPEN_KEY, "p9", "\xff", "permit_outstanding"),
        (position.verdict_key("p1"), "allow", "yes", "duplicate_plan"),
        (universe.INSTRUMENTS_KEY, SYMBOL, '{"step_size":"0"}', "instrument_unknown"),
    ],
)
def test_a_value_that_cannot_be_read_denies(world: World, key: str, field: str, value: str, reason: str) -> None:
    """Half a hash, a NaN, an exponent, rubbish: never a default in its place."""
    world.redis.hset(key, field, value)
    world.open("p1")
    assert world.answer() == [("p1", reason)]


@pytest.mark.parametrize("key", [permit.EVENTS, position.verdict_key("p1")])
def test_what_cannot_be_written_is_acked_and_said(world: World, key: str, caplog: pytest.LogCaptureFixture) -> None:
    """No permit, no endless return of the same plan, and an error that somebody sees."""
    world.redis.delete(key)
    world.redis.set(key, "x")
    world.open("p1")
    world.brain.permits.tick()
    assert world.redis.xpending(plan.STREAM, plan.GROUP_BRAIN)["pending"] == 0
    assert not world.redis.exists(permit.key(Gate.P33, "p1"))
    assert key != permit.EVENTS or "not answered" in caplog.text


@pytest.mark.parametrize("switch", [None, "no_new_risk", "OFF ", "on", "\xff"])
def test_the_kill_switch_is_read_strictly(world: World, switch: str | None) -> None:
    """Absent stops opens, an unknown word stops everything, spaces and capitals do not matter (I-35, I-39)."""
    world.exchange.positions[SYMBOL] = "0.5"
    world.redis.hset(position.ledger_key(SYMBOL), "position_amt", "0.5")
    world.snapshot()
    world.redis.delete(control.KILL_SWITCH_KEY)
    if switch is not None:
        world.redis.set(control.KILL_SWITCH_KEY, switch)
    world.open("in")
    world.close("out")
    opens = "allowed" if switch == "OFF " else "kill_switch"
    exits = "allowed" if switch in (None, "no_new_risk", "OFF ") else "kill_switch"
    assert {("in", opens), ("out", exits)} <= set(world.answer())


def test_an_exit_displaces_the_open_before_it(world: World) -> None:
    """Both in one batch: the open is withdrawn, the exit goes out, and a second exit waits for its end."""
    world.exchange.positions[SYMBOL] = "0.5"
    world.redis.hset(position.ledger_key(SYMBOL), "position_amt", "0.5")
    world.snapshot()
    world.open("p1")
    world.close("p2", action="PARTIAL_50")
    world.close("p3")
    assert world.answer() == [
        ("p1", "allowed"),
        ("p2", "allowed"),
        ("p1", "displaced_by_exit"),
        ("p3", "permit_outstanding"),
    ]


def fill(world: World, plan_id: str, amount: str, *, entry_id: str) -> None:
    """Let a plan's order be filled: at the exchange, in the results, in the ledger."""
    world.exchange.positions[SYMBOL] = amount
    world.ended(entry_id, plan_id=plan_id)
    world.brain.ledger.tick()


def test_an_exit_after_a_fill_waits_for_the_snapshot_that_shows_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is parked, the exchange is asked 2 s after the fill, and other plans are answered meanwhile."""
    entry_id = world.open("p1")
    world.answer()
    fill(world, "p1", "0.01", entry_id=entry_id)
    from_ms = world.now_ms() + position.SETTLE_MS
    world.redis.hset(position.ledger_key(SYMBOL), "last_exec_ts_ms", from_ms - position.SETTLE_MS)
    world.close("p2")
    world.open("other", symbol="ETHUSDT")
    assert world.answer() == [("other", "allowed")]
    demand, asked = world.brain.snapshots._demand, world.exchange.asked
    assert (world.brain.permits.parked, demand.from_ms) == (1, from_ms)
    world.clock.advance(1.0)
    with monkeypatch.context() as early:  # whatever time it has become meanwhile
        early.setattr(snapshots, "redis_ms", lambda _: from_ms - 1_500)
        assert 1.5 < world.brain.snapshots.tick() < 1.6
    assert world.exchange.asked == asked
    wait_until(lambda: world.now_ms() >= from_ms, 15)
    world.brain.snapshots.tick()
    assert world.exchange.asked == asked + 1
    assert world.exchange.deadlines_s[-1] == 0.8
    assert world.answer() == [("p2", "allowed")]
    assert world.brain.permits.parked == 0
    assert demand.from_ms is None


@pytest.mark.parametrize(("kind", "wait_s"), [("open", 0.9), ("close", 10.0)])
def test_a_parked_plan_is_denied_when_no_snapshot_comes_in_time(world: World, kind: str, wait_s: float) -> None:
    """The exchange is silent: an open is told after 0.9 s, an exit after 10 s, with the reason of the snapshot."""
    world.exchange.error = AWAY
    view = world.brain._board.view
    world.brain._board.publish(type(view)(one_way=True, sequence=view.sequence))
    getattr(world, kind)("p1")
    assert world.answer() == []
    world.clock.advance(wait_s - 0.01)
    assert world.answer() == []
    world.clock.advance(0.02)
    assert world.answer() == [("p1", "no_exchange_snapshot")]


def test_one_request_serves_all_who_wait(world: World) -> None:
    """45 exits at once are one question to the exchange, and all are answered by its answer."""
    symbols = [f"S{number}USDT" for number in range(45)]
    world.publish_universe(*symbols)
    world.exchange.positions = dict.fromkeys(symbols, "1")
    view = world.brain._board.view
    world.brain._board.publish(type(view)(one_way=True, sequence=view.sequence))
    for symbol in symbols:
        world.close(f"p-{symbol}", symbol=symbol)
    assert world.answer() == []
    assert world.brain.permits.parked == 45
    asked = world.exchange.asked
    world.clock.advance(1.0)
    world.brain.snapshots.tick()
    assert sorted(world.answer()) == sorted((f"p-{symbol}", "allowed") for symbol in symbols)
    assert world.exchange.asked == asked + 1


def test_a_parked_plan_survives_a_restart(world: World) -> None:
    """It was never acked: the next brain reads it again, and it waits anew."""
    view = world.brain._board.view
    world.brain._board.publish(type(view)(one_way=True, sequence=view.sequence))
    world.close("p1")
    assert world.answer() == []
    world.restart()
    assert world.answer() == []
    world.snapshot()
    assert world.answer() == [("p1", "no_position")]


def test_without_snapshots_on_demand_a_plan_waits_for_the_next_poll(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked for it."""
    world = World(redis_client, tmp_path, monkeypatch, p33_ondemand_snapshot=False).begin()
    view = world.brain._board.view
    world.brain._board.publish(type(view)(one_way=True, sequence=view.sequence))
    world.close("p1")
    assert world.answer() == []
    assert world.brain.snapshots._demand.from_ms is None
    world.snapshot()
    assert world.answer() == [("p1", "no_position")]


def test_a_lost_group_begins_where_plans_may_still_be_young_enough(world: World) -> None:
    """Deleted with everything in it: what was answered stays answered, what was not is answered now."""
    world.open("p1")
    assert world.answer() == [("p1", "allowed")]
    world.open("p2", symbol="ETHUSDT")
    world.redis.xgroup_destroy(plan.STREAM, plan.GROUP_BRAIN)
    assert world.answer() == [("p2", "allowed")]
    assert world.redis.xpending(plan.STREAM, plan.GROUP_BRAIN)["pending"] == 0


def test_a_new_list_takes_effect_with_the_next_plan(world: World) -> None:
    """Between two refreshes the universe is published anew: list and instruments are read together."""
    world.publish_universe(SYMBOL, "NEWUSDT")
    world.exchange.positions["NEWUSDT"] = "0"
    world.snapshot()
    world.open("p1", symbol="NEWUSDT")
    assert world.answer() == [("p1", "allowed")]


def test_the_list_is_gone_after_having_worked(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Whenever all tiers fail nothing is permitted, also where it worked before."""
    caplog.set_level(logging.INFO)
    world.redis.delete(universe.ACTIVE_KEY, universe.LAST_OK_KEY)
    world.redis.hset(universe.META_KEY, "stale", "1")
    world.open("in")
    world.close("out")
    assert world.answer() == [("in", "no_allowlist"), ("out", "no_allowlist")]
    assert world.brain._watch.latest.source is Tier.NONE
    lines = [record.message for record in caplog.records]
    assert "FAIL-CLOSED: No valid allowlist from any source!" in lines
    assert "P3.3 allowlist source=none stale=? count=0 asof_epoch=? age_s=?" in lines


def test_a_symbol_outside_the_list_is_said_at_debug(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Word for word."""
    caplog.set_level(logging.DEBUG)
    world.open("0123456789", symbol="DOGEUSDT")
    assert world.answer() == [("0123456789", "not_in_allowlist")]
    assert "DOGEUSDT: Not in allowlist (source=universe) - ACK plan 01234567" in caplog.text


def test_plans_and_other_loops_do_not_wait_for_one_another(world: World) -> None:
    """While the exchange hangs for seconds plans are answered as ever."""
    release = threading.Event()
    hang = world.exchange.position_risk

    def hanging(*, timeout_s: float | None = None) -> object:
        release.wait(5)
        return hang(timeout_s=timeout_s)

    world.exchange.position_risk = hanging  # type: ignore[assignment, method-assign] # a slow exchange
    slow = threading.Thread(target=world.snapshot)
    slow.start()
    world.open("p1")
    assert world.answer() == [("p1", "allowed")]
    release.set()
    slow.join(5)
    assert not slow.is_alive()
