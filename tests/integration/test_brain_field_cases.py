"""What happens to positions in the field, one case each, and that the brain always comes to rest.

An account that nobody touches any more is agreed upon, or held under a name, within two polls; by whatever way it came
to where it is.
"""

import itertools
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest
from redis import Redis

from microservices.contracts import claim, control, position, universe
from microservices.contracts.claim import ClaimState, OpenClaim
from microservices.contracts.plan import Action, Side
from tests.support.brain import SYMBOL
from tests.support.brain_world import World
from tests.support.metrics import registered

D = Decimal
OTHER = "ETHUSDT"
POLLS = 2


@pytest.fixture
def world(redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A brain that is ready to permit."""
    return World(redis_client, tmp_path, monkeypatch).begin()


def two_polls(world: World) -> None:
    """Let the time of two polls pass: the snapshot loop asks whenever it says that it wants to."""
    left_s = POLLS * world.settings.p33_poll_sec
    while left_s > 0:
        pause_s = max(world.brain.snapshots.tick(), 0.001)
        world.brain.ledger.tick()
        world.clock.advance(min(pause_s, left_s))
        left_s -= pause_s
    world.brain.snapshots.tick()


def filled_long_ago(world: World) -> None:
    """Date the symbol's last execution back: a snapshot of now shows it."""
    world.redis.hset(position.ledger_key(SYMBOL), "last_exec_ts_ms", world.now_ms() - 60_000)


def test_a_position_closed_by_hand_is_written_off(world: World) -> None:
    """I-23: no ghost stays in the ledger; at the second answer without it the row is 0, said by an event, and free."""
    world.holding()
    world.exchange.positions[SYMBOL] = "0"
    world.snapshot()
    assert world.booked() == D("0.5")
    world.snapshot(after_s=1.0)
    assert (world.booked(), world.hold()) == (D(0), None)
    assert '"why":"flat_in_two_answers"' in world.events()[-1].context
    world.close("out")
    world.open("in")
    assert world.answer() == [("out", "no_position"), ("in", "allowed")]


def test_an_order_that_was_filled_while_we_were_down_is_found(world: World) -> None:
    """The result waited in its stream: no drift, no adoption, and its mark is gone."""
    entry_id = world.open("p1")
    world.answer()
    world.brain.close()
    world.exchange.positions[SYMBOL] = "0.01"
    world.ended(entry_id, plan_id="p1")
    before = len(world.events())
    world.brain = world.another_brain()
    world.brain.prepare()
    world.brain.ledger.tick()
    filled_long_ago(world)
    two_polls(world)
    assert (world.booked(), world.hold(), world.mark()) == (D("0.01"), None, None)
    assert len(world.events()) == before


def test_an_order_without_a_result_yet_is_no_drift(world: World) -> None:
    """Filled while the executor is down: its claim is open, so that nothing is adopted or held until it speaks."""
    entry_id = world.open("p1")
    world.answer()
    row = claim.encode_open(OpenClaim(SYMBOL, Action.OPEN, ClaimState.SENT)).decode()
    world.redis.hset(claim.OPEN_KEY, "p1", row)
    world.exchange.positions[SYMBOL] = "0.01"
    two_polls(world)
    assert (world.booked(), world.hold()) == (D(0), None)
    world.redis.hdel(claim.OPEN_KEY, "p1")
    world.ended(entry_id, plan_id="p1")
    world.brain.ledger.tick()
    filled_long_ago(world)
    two_polls(world)
    assert (world.booked(), world.hold()) == (D("0.01"), None)


def test_an_external_position_is_held_and_can_be_left(world: World) -> None:
    """I-22: 0.007 BTC from nowhere: opens stop, named; nothing is adopted by itself, and an exit goes (I-21)."""
    world.exchange.positions[SYMBOL] = "0.007"
    two_polls(world)
    assert (world.hold(), world.booked()) == ("brain:external_position", D(0))
    world.open("in")
    world.close("out")
    assert world.answer() == [("in", "reconcile_hold_active"), ("out", "allowed")]


def test_a_part_fill_counts_for_what_it_filled(world: World) -> None:
    """Half of what was permitted: the ledger is the exchange's half."""
    entry_id = world.open("p1", qty=D("0.01"))
    world.answer()
    world.exchange.positions[SYMBOL] = "0.005"
    world.ended(entry_id, plan_id="p1", quantity=D("0.005"))
    world.brain.ledger.tick()
    filled_long_ago(world)
    two_polls(world)
    assert (world.booked(), world.hold()) == (D("0.005"), None)


def test_a_ledger_ahead_of_the_exchange_sells_nothing(world: World) -> None:
    """I-44: what is missing is not sold off; an exit closes what the exchange holds, and no more (I-42)."""
    world.holding("0.8")
    world.exchange.positions[SYMBOL] = "0.5"
    two_polls(world)
    assert (world.hold(), world.booked()) == ("brain:exchange_below_ledger", D("0.8"))
    world.close("out", qty=D("0.8"))
    assert world.answer() == [("out", "allowed")]
    permitted = world.permit("out")
    assert permitted is not None
    assert (permitted.safe_qty, permitted.context["ledger_agrees"]) == ("0.5", False)


@pytest.mark.parametrize("held", ["0.5", "-0.5"])
def test_a_partial_liquidation_is_held_with_its_cause(world: World, held: str) -> None:
    """The exchange has taken some: opens stop, the rest can be closed, and its side is not lost on the way (I-18)."""
    world.holding(held)
    world.exchange.positions[SYMBOL] = str(D(held) * D("0.6"))
    two_polls(world)
    assert world.hold() == "brain:exchange_below_ledger"
    world.close("out", side=Side.SELL if D(held) > 0 else Side.BUY)
    assert world.answer() == [("out", "allowed")]
    permitted = world.permit("out")
    assert permitted is not None
    assert permitted.safe_qty == "0.3"


def test_auto_deleveraging_between_permit_and_fill(world: World) -> None:
    """The exit was permitted for 0.5; 0.2 is taken meanwhile, the order fills 0.3: flat, agreed after two answers."""
    world.holding()
    entry_id = world.close("out")
    assert world.answer() == [("out", "allowed")]
    world.exchange.positions[SYMBOL] = "0"
    world.ended(entry_id, plan_id="out", side=Side.SELL, quantity=D("0.3"))
    world.brain.ledger.tick()
    assert world.booked() == D("0.2")
    filled_long_ago(world)
    two_polls(world)
    assert (world.booked(), world.hold()) == (D(0), None)


def test_all_positions_closed_by_us_at_once_are_gone_at_once(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """45 fills of our own: one answer without any position is believed, and no second is asked for (I-44)."""
    world = World(redis_client, tmp_path, monkeypatch)
    symbols = [f"S{number}USDT" for number in range(45)]
    world.exchange.positions = dict.fromkeys(symbols, "1")
    world.begin()
    world.publish_universe(*symbols)
    world.snapshot()
    entries = {symbol: world.close(f"out-{symbol}", symbol=symbol) for symbol in symbols}
    assert {reason for _, reason in world.answer()} == {"allowed"}
    for symbol, entry_id in entries.items():
        world.ended(entry_id, plan_id=f"out-{symbol}", symbol=symbol, side=Side.SELL, quantity=D(1))
    world.brain.ledger.tick()
    world.exchange.positions = dict.fromkeys(symbols, "0")
    asked = world.exchange.asked
    world.snapshot()
    account = world.account()
    assert account is not None
    assert (account.open_positions, world.exchange.asked, world.brain.snapshots.shortfall()) == (0, asked + 1, "")
    assert {world.booked(symbol) for symbol in symbols} == {D(0)}


def test_a_position_in_a_symbol_that_stops_trading_can_only_be_left(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Alarm in log and metrics, once; off the list no open, but an exit goes; when it is closed the alarm ends."""
    world.holding("0.5", OTHER)
    world.publish_universe(SYMBOL)
    two_polls(world)
    assert caplog.text.count(f"positions in symbols that are not traded any more: {OTHER}: close them") == 1
    assert registered("p33_untraded_positions") == 1
    world.open("in", symbol=OTHER)
    world.close("out", symbol=OTHER)
    assert world.answer() == [("in", "not_in_allowlist"), ("out", "allowed")]
    world.exchange.positions[OTHER] = "0"
    two_polls(world)
    assert (registered("p33_untraded_positions"), world.booked(OTHER)) == (0, D(0))


@pytest.mark.parametrize("how", ["row kept", "row gone"])
def test_a_delisted_symbol_that_the_exchange_forgets_closes_no_other(world: World, how: str) -> None:
    """Its instrument's row stays for days as it was last seen: TRADING. The account is known without it all the same.

    Its own position is unknown and held by name until an operator writes it off; a crash it never is.
    """
    world.holding("0.5", OTHER)
    world.publish_universe(SYMBOL)
    if how == "row gone":
        world.redis.hdel(universe.INSTRUMENTS_KEY, OTHER)
    del world.exchange.positions[OTHER]
    two_polls(world)
    assert world.brain.snapshots.shortfall() == ""
    assert (world.hold(OTHER), world.booked(OTHER)) == ("brain:not_on_exchange", D("0.5"))
    world.close("out", symbol=OTHER)
    world.open("in")
    assert world.answer() == [("out", "no_exchange_snapshot"), ("in", "allowed")]
    world.redis.set(control.adopt_key(OTHER), "jana")
    two_polls(world)
    assert (world.booked(OTHER), world.hold(OTHER)) == (D(0), None)


@pytest.mark.parametrize("broken", ["hash", "string"])
def test_a_ledger_row_nobody_can_read_is_held_by_name(world: World, broken: str) -> None:
    """The hold ends with the adoption that the log's line names."""
    key = position.ledger_key(SYMBOL)
    if broken == "hash":
        world.redis.hset(key, "position_amt", "NaN")
    else:
        world.redis.set(key, "x")
    world.restart()
    two_polls(world)
    assert world.hold() == "brain:ledger_unreadable"
    world.redis.set(control.adopt_key(SYMBOL), "jana")
    two_polls(world)
    assert (world.hold(), world.booked()) == (None, D(0))


def test_a_baseline_nobody_can_read_is_named_and_replaced_only_as_asked(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a baseline is none, and paper does not adopt over it by itself."""
    world.redis.hdel(position.BASELINE_KEY, "snapshot_ts_ms")
    world.exchange.positions[SYMBOL] = "0.5"
    two_polls(world)
    assert caplog.text.count("snapshot_ts_ms is missing: opens are denied: run ops/reconcile_position.sh --all") == 1
    assert world.booked() == 0
    world.redis.set(control.ADOPT_ALL_KEY, "jana")
    two_polls(world)
    assert position.decode_baseline(world.redis.hgetall(position.BASELINE_KEY)) is not None
    assert world.booked() == D("0.5")


def test_an_emptied_redis_counts_no_fill_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor writes the lost result again; the account is adopted behind it, not between loss and result."""
    monkeypatch.setattr(position, "SETTLE_MS", 0)
    entry_id = world.open("p1")
    world.answer()
    world.ended(entry_id, plan_id="p1")
    world.brain.ledger.tick()
    world.exchange.positions[SYMBOL] = "0.01"
    world.redis.flushall()
    world.brain.heartbeat()
    world.publish_universe()
    world.snapshot()
    assert not world.has_baseline()
    world.ended(entry_id, plan_id="p1")
    world.brain.ledger.tick()
    two_polls(world)
    assert (world.has_baseline(), world.booked(), world.hold()) == (True, D("0.01"), None)


LEDGERS = [None, "0", "0.5", "0.498", "0.3", "-0.5", "NaN"]
POSITIONS = [None, "0", "0.5", "-0.2"]
HOLDS = [None, "brain:external_position", "mine"]
STATES = list(itertools.product(LEDGERS, POSITIONS, HOLDS))


def arrange(world: World, symbol: str, state: tuple[str | None, str | None, str | None]) -> None:
    """Put a symbol into a state; without a position it is delisted and not named by the exchange."""
    ours, theirs, hold = state
    if ours is not None:
        world.redis.hset(position.ledger_key(symbol), "position_amt", ours)
    if hold is not None:
        world.redis.set(control.hold_key(symbol), hold)
    if theirs is not None:
        world.exchange.positions[symbol] = theirs


def is_at_rest(world: World, symbol: str) -> bool:
    """Tell whether ledger and position agree without a hold of the brain's, or a named hold says that they do not."""
    hold = world.hold(symbol) or ""
    raw = cast("bytes", world.redis.hget(position.ledger_key(symbol), "position_amt") or b"0")
    theirs = D(world.exchange.positions.get(symbol, "0"))
    return hold == "mine" or (raw != b"NaN" and D(raw.decode()) == theirs) is not hold.startswith("brain:")


@pytest.mark.parametrize("other_at_first", [True, False], ids=["it moved while we watched", "it was so at the start"])
def test_from_any_state_the_brain_comes_to_rest_within_two_polls(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, other_at_first: bool
) -> None:
    """Every ledger beside every position and hold, a symbol each; then a warm restart changes nothing at all."""
    monkeypatch.setattr(position, "SETTLE_MS", 0)
    world = World(redis_client, tmp_path, monkeypatch).begin()
    states = {f"S{number}USDT": state for number, state in enumerate(STATES)}
    named = [symbol for symbol, state in states.items() if state[1] is not None]
    if other_at_first:
        world.publish_universe(*states, age_s=10)
        world.exchange.positions = dict.fromkeys(states, "0.25")
        world.snapshot()
    world.publish_universe(*named)
    world.exchange.positions = {}
    for symbol, state in states.items():
        arrange(world, symbol, state)
    world.restart() if not other_at_first else world.brain._find_symbols()
    two_polls(world)
    assert [states[symbol] for symbol in states if not is_at_rest(world, symbol)] == []
    written = {key: world.redis.dump(key) for key in world.redis.scan_iter("quantum:*") if b":snapshot:" not in key}
    world.restart()
    two_polls(world)
    kept = {key: world.redis.dump(key) for key in written}
    changed = {key for key in written if kept[key] != written[key]}
    assert changed <= {b"quantum:position:account", b"quantum:position:lease"}
