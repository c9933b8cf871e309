"""Snapshots and reconciliation on a real Redis: what is published, adopted, held, and never believed."""

from decimal import Decimal
from pathlib import Path

import pytest
from redis import Redis

from microservices.contracts import claim, control, hashes, position, universe
from microservices.contracts.claim import ClaimState, OpenClaim
from microservices.contracts.control import Mode
from microservices.contracts.plan import Action, Side
from microservices.contracts.position import AccountRow, Baseline, PositionSide
from microservices.exchange import PositionSide as RowSide
from microservices.exchange import Unreachable
from microservices.position_state_brain.committing import LeaseLost
from tests.support.brain import SYMBOL, position_row
from tests.support.brain_world import ACCOUNT, World

D = Decimal
AWAY = Unreachable("GET /fapi/v2/positionRisk", "no answer within 3 s", sent=True)


@pytest.fixture
def world(redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A brain that is ready to permit."""
    return World(redis_client, tmp_path, monkeypatch).begin()


def test_a_complete_answer_is_published(world: World) -> None:
    """The account's row, and the rows that are not flat, each to live a minute, dated by the request."""
    before_ms = world.now_ms()
    world.holding("-0.5")
    account, row = world.account(), world.row()
    assert account is not None
    assert row is not None
    assert (account.mode, account.account, account.complete, account.one_way) == (Mode.PAPER, ACCOUNT, True, True)
    assert before_ms <= account.ts_ms <= world.now_ms()
    assert account.open_positions == 1
    assert (row.symbol, row.position_amt, row.side) == (SYMBOL, D("-0.5"), PositionSide.SHORT)
    assert (row.mark_price, row.leverage, row.ts_ms) == (D(60_000), "20", account.ts_ms)
    assert world.row("ETHUSDT") is None
    assert 0 < world.redis.ttl(position.snapshot_key(SYMBOL)) <= position.SNAPSHOT_TTL_S
    assert 0 < world.redis.ttl(position.ACCOUNT_KEY) <= position.SNAPSHOT_TTL_S


def test_a_position_that_our_own_fill_closed_is_flat_at_once(world: World) -> None:
    """Its row says so, for readers that have not seen the change."""
    world.holding()
    world.ended("1-1", side=Side.SELL, quantity=D("0.5"))
    world.brain.ledger.tick()
    world.exchange.positions[SYMBOL] = "0"
    world.snapshot()
    row, account = world.row(), world.account()
    assert row is not None
    assert account is not None
    assert (row.side, account.open_positions) == (PositionSide.FLAT, 0)


def test_one_wrong_answer_does_not_make_an_external_position_flat(world: World) -> None:
    """Our ledger is flat beside it, and would agree: hold and denies stay until a second answer says the same."""
    world.holding("0")
    world.exchange.positions[SYMBOL] = "0.5"
    world.snapshot()
    world.exchange.positions[SYMBOL] = "0"
    world.snapshot()
    assert world.hold() == "brain:external_position"
    world.exchange.positions[SYMBOL] = "0.5"
    world.snapshot(after_s=1.0)
    assert world.hold() == "brain:external_position"
    world.exchange.positions[SYMBOL] = "0"
    for _ in range(2):
        world.snapshot()
    assert world.hold() is None


def test_the_first_snapshot_of_a_process_removes_what_the_last_one_left(world: World) -> None:
    """A position that was closed while nobody looked must not stand there for a minute."""
    world.redis.hset(position.snapshot_key("ETHUSDT"), "position_amt", "3")
    world.restart()
    world.snapshot()
    assert world.row("ETHUSDT") is None


def test_an_older_answer_never_replaces_a_newer_one(world: World) -> None:
    """One that another brain requested later stands; a time in the future, left by a clock set back, is none."""
    later_ms = world.now_ms()
    world.redis.hset(position.ACCOUNT_KEY, mapping={"ts_ms": later_ms})
    view, before = world.brain._board.view, world.brain._board.view
    assert not world.brain._writer.write(before, view)
    world.redis.hset(position.ACCOUNT_KEY, mapping={"ts_ms": world.now_ms() + 3_600_000})
    assert world.brain._writer.write(before, view)
    assert world.account() == AccountRow(view.ts_ms, Mode.PAPER, ACCOUNT, True, True, 0)


def test_without_the_lease_nothing_is_published(world: World) -> None:
    """Two brains must not write one account."""
    world.redis.set(position.LEASE_KEY, "another:instance")
    before = world.account()
    with pytest.raises(LeaseLost):
        world.snapshot()
    assert world.account() == before


def test_an_answer_that_fails_leaves_the_last_one_to_age(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is re-dated without new data (I-26); the log says so once, and again when it is over."""
    before = world.account()
    world.exchange.error = AWAY
    for _ in range(3):
        world.snapshot()
    assert world.account() == before
    assert caplog.text.count("no complete answer about the account") == 1
    assert "no answer within" in world.brain.snapshots.shortfall()
    world.exchange.error = None
    world.snapshot()
    assert world.account() != before
    assert world.brain.snapshots.shortfall() == ""


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [position_row("ETHUSDT")],
        [position_row(SYMBOL, "0.5"), position_row(SYMBOL, "0.5"), position_row("ETHUSDT")],
        [position_row(SYMBOL, "0.5")],
    ],
    ids=["empty", "without what we hold", "twice", "half of what is traded"],
)
def test_an_incomplete_answer_changes_nothing(world: World, rows: list[object]) -> None:
    """Not the account, not a symbol, not the ledger (I-44)."""
    world.holding()
    before = (world.account(), world.row(), world.ledger())
    world.exchange.rows = rows  # type: ignore[assignment] # rows of an answer
    world.snapshot()
    assert (world.account(), world.row(), world.ledger()) == before


def test_the_shared_back_off_is_obeyed(world: World) -> None:
    """After a 429 of anybody nothing is asked until its time is over; an unreadable one forbids too (I-24)."""
    asked = world.exchange.asked
    world.redis.hset(control.BACKOFF_KEY, "throttled_until_ms", world.now_ms() + 60_000)
    world.snapshot()
    world.redis.hset(control.BACKOFF_KEY, "throttled_until_ms", "soon")
    world.snapshot(after_s=6)
    assert world.exchange.asked == asked
    world.redis.hset(control.BACKOFF_KEY, "throttled_until_ms", "0")
    world.redis.hset(control.BACKOFF_KEY, "weight_until_ms", world.now_ms() + 60_000)
    world.snapshot(after_s=6)
    assert world.exchange.asked == asked + 1


@pytest.mark.parametrize("how", ["mode", "rows"])
def test_hedge_mode_denies_everything_until_it_is_over(world: World, how: str) -> None:
    """By the exchange's word or by its rows: it is seen at the next question, and ends with a clean answer."""
    if how == "mode":
        world.exchange.hedge = True
        world.clock.advance(300)
    else:
        world.exchange.rows = [
            position_row(SYMBOL, "1", position_side=RowSide.LONG), position_row(SYMBOL, position_side=RowSide.SHORT),
        ]  # fmt: skip
    world.snapshot()
    world.open("p1")
    assert world.answer() == [("p1", "hedge_mode_unsupported")]
    account = world.account()
    assert account is not None
    assert not account.one_way
    world.exchange.rows, world.exchange.hedge = None, False
    world.snapshot(after_s=301)
    world.open("p2")
    assert world.answer() == [("p2", "allowed")]


def test_a_position_mode_that_is_not_answered_again_stands(world: World) -> None:
    """The five-minute question must not cost the snapshots, but the first must be answered."""
    world.exchange.mode_error = AWAY
    world.clock.advance(300)
    world.snapshot()
    assert world.brain.snapshots.shortfall() == ""
    world.restart()
    world.snapshot()
    assert "no answer" in world.brain.snapshots.shortfall()


def test_without_mark_prices_exits_go_on_and_opens_do_not(world: World) -> None:
    """An open's notional must be known; a position can be closed without."""
    world.exchange.price_error = AWAY
    world.restart()
    world.holding()
    world.open("in", symbol="ETHUSDT")
    world.close("out")
    assert world.answer() == [("out", "allowed")]
    world.clock.advance(1.0)
    assert world.answer() == [("in", "no_exchange_snapshot")]


def test_a_vanished_position_is_looked_at_again_after_a_second(world: World) -> None:
    """Meanwhile nothing is decided on it; after the second answer it is gone from the ledger too, with an event."""
    world.holding()
    world.exchange.positions[SYMBOL] = "0"
    world.snapshot()
    row = world.row()
    assert row is not None
    assert (row.position_amt, world.booked()) == (D("0.5"), D("0.5"))
    world.snapshot(after_s=1.0)
    row = world.row()
    assert row is not None
    assert row.position_amt == 0
    world.snapshot()
    assert world.booked() == 0
    event = world.events()[-1]
    assert (event.symbol, event.reason, event.plan_id, event.allow) == (SYMBOL, "ledger_adopted", "", False)
    assert "flat_in_two_answers" in event.context


@pytest.mark.parametrize(
    ("ours", "theirs", "cause"),
    [
        ("0", "0.5", "external_position"),
        ("0.5", "-0.5", "side_mismatch"),
        ("0.5", "0.3", "exchange_below_ledger"),
        ("0.5", "0.8", "exchange_above_ledger"),
    ],
)
def test_drift_has_a_hold_with_its_cause_until_it_ends(world: World, ours: str, theirs: str, cause: str) -> None:
    """By hand, by liquidation, by another program: opens stop, exits go on, and agreement ends it by itself."""
    world.holding(ours)
    world.exchange.positions[SYMBOL] = theirs
    world.snapshot()
    assert (world.hold(), world.booked()) == (f"brain:{cause}", D(ours))
    world.open("in", side=Side.BUY)
    world.close("out", side=Side.BUY if theirs.startswith("-") else Side.SELL)
    assert world.answer() == [("in", "reconcile_hold_active"), ("out", "allowed")]
    world.exchange.positions[SYMBOL] = ours
    for _ in range(3):
        world.snapshot()
    assert world.hold() is None


def test_a_hold_of_the_operators_is_never_touched(world: World) -> None:
    """Neither overwritten by drift nor removed by agreement (I-39)."""
    world.redis.set(control.hold_key(SYMBOL), "I am looking")
    world.exchange.positions[SYMBOL] = "0.5"
    world.snapshot()
    assert world.hold() == "I am looking"
    world.redis.hset(position.ledger_key(SYMBOL), mapping={"position_amt": "0.5"})
    world.snapshot()
    assert world.hold() == "I am looking"


def test_a_hold_from_before_a_restart_ends_with_agreement(world: World) -> None:
    """Also where no ledger row was ever written for the symbol."""
    world.exchange.positions[SYMBOL] = "0.5"
    world.snapshot()
    assert world.hold() == "brain:external_position"
    world.exchange.positions[SYMBOL] = "0"
    world.restart()
    world.snapshot()
    assert world.hold() is None


def test_a_difference_within_the_tolerance_is_adopted_with_an_event(world: World) -> None:
    """Half a percent is rounding, not drift."""
    world.holding()
    world.exchange.positions[SYMBOL] = "0.4975"
    world.snapshot()
    assert (world.booked(), world.hold()) == (D("0.4975"), None)
    assert "within_tolerance" in world.events()[-1].context


def test_nothing_is_adopted_or_held_while_a_fill_may_be_on_its_way(world: World) -> None:
    """An open claim, an unread result, a fill of a moment ago: the next answer decides."""
    world.holding()
    world.exchange.positions[SYMBOL] = "0.8"
    document = claim.encode_open(OpenClaim(SYMBOL, Action.OPEN, ClaimState.SENT)).decode()
    world.redis.hset(claim.OPEN_KEY, "p1", document)
    world.snapshot()
    assert world.hold() is None
    world.redis.delete(claim.OPEN_KEY)
    world.ended("1-1", quantity=D("0.3"))
    world.snapshot()
    assert world.hold() is None
    world.brain.ledger.tick()
    world.exchange.positions[SYMBOL] = "0.9"
    world.snapshot()
    assert (world.hold(), world.booked()) == (None, D("0.8"))
    world.redis.hset(position.ledger_key(SYMBOL), "last_exec_ts_ms", world.now_ms() - 2_100)
    world.snapshot()
    assert world.hold() == "brain:exchange_above_ledger"


def test_an_operator_can_have_a_symbol_adopted(world: World) -> None:
    """The request is done once and consumed; hold and drift end; who asked is in the event."""
    world.exchange.positions[SYMBOL] = "0.5"
    world.snapshot()
    world.redis.set(control.adopt_key(SYMBOL), "jana", ex=control.ADOPT_TTL_S)
    world.snapshot()
    assert (world.booked(), world.hold()) == (D("0.5"), None)
    assert not world.redis.exists(control.adopt_key(SYMBOL))
    assert '"by":"jana"' in world.events()[-1].context
    world.open("p1")
    assert world.answer() == [("p1", "allowed")]


@pytest.mark.parametrize("broken", ["hash", "string"])
def test_an_adoption_as_asked_mends_a_row_that_nobody_can_read(world: World, broken: str) -> None:
    """Without deleting keys by hand."""
    key = position.ledger_key(SYMBOL)
    if broken == "hash":
        world.redis.hset(key, mapping={"position_amt": "NaN", "last_exec_ts_ms": "x"})
    else:
        world.redis.set(key, "x")
    world.exchange.positions[SYMBOL] = "0.5"
    world.redis.set(control.adopt_key(SYMBOL), "jana")
    world.snapshot()
    assert world.booked() == D("0.5")


def test_a_delisted_symbol_does_not_close_the_others(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The exchange settles it and names it no more: it is unknown and said, and an operator can write it off."""
    world.holding("0.5", "ETHUSDT")
    world.publish_universe(SYMBOL)
    world.redis.hdel(universe.INSTRUMENTS_KEY, "ETHUSDT")
    del world.exchange.positions["ETHUSDT"]
    world.snapshot()
    world.snapshot(after_s=1.0)
    assert world.brain.snapshots.shortfall() == ""
    assert "ETHUSDT: the exchange names no position any more, our ledger 0.5" in caplog.text
    world.close("p1", symbol="ETHUSDT")
    world.open("p2")
    assert world.answer() == [("p1", "no_exchange_snapshot"), ("p2", "allowed")]
    world.redis.set(control.adopt_key("ETHUSDT"), "jana")
    world.snapshot()
    assert world.booked("ETHUSDT") == 0


def test_on_paper_the_first_start_adopts_the_account(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every position there is, and results from here on."""
    world = World(redis_client, tmp_path, monkeypatch)
    world.ended("1-1")
    world.exchange.positions["ETHUSDT"] = "-2"
    world.publish_universe()
    world.brain.prepare()
    world.snapshot()
    assert not world.has_baseline()
    world.brain.ledger.tick()
    world.redis.hset(position.ledger_key(SYMBOL), "last_exec_ts_ms", world.now_ms() - 2_100)
    world.snapshot()
    baseline = hashes.decode(world.redis.hgetall(position.BASELINE_KEY), Baseline, position.BASELINE_KEY)
    assert (baseline.by, baseline.positions) == ("first start on paper", 1)
    assert (world.booked(), world.booked("ETHUSDT")) == (D(0), D(-2))


def test_an_open_claim_keeps_the_account_from_being_adopted(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fill would be missing from one of the two."""
    document = claim.encode_open(OpenClaim(SYMBOL, Action.OPEN, ClaimState.SENT)).decode()
    redis_client.hset(claim.OPEN_KEY, "p1", document)
    world = World(redis_client, tmp_path, monkeypatch).begin()
    assert not world.has_baseline()
    redis_client.delete(claim.OPEN_KEY)
    world.snapshot()
    assert world.has_baseline()


def test_elsewhere_an_operator_must_ask_for_the_adoption(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then opens are denied, exits are not, and the log names the command once."""
    redis_client.hset(
        "quantum:cfg:account", mapping={"mode": "testnet", "host": "testnet.binancefuture.com", "account": ACCOUNT}
    )
    world = World(redis_client, tmp_path, monkeypatch, trading_mode=Mode.TESTNET, binance_futures_base_url="",
                  p33_allowlist=(SYMBOL,))  # fmt: skip
    world.exchange.positions[SYMBOL] = "0.5"
    world.begin()
    world.snapshot()
    assert caplog.text.count("ops/reconcile_position.sh --all --adopt-exchange") == 1
    world.open("in")
    world.close("out")
    assert world.answer() == [("in", "no_baseline"), ("out", "allowed")]
    redis_client.set(control.ADOPT_ALL_KEY, "jana", ex=control.ADOPT_TTL_S)
    world.snapshot()
    assert world.redis.hget(position.BASELINE_KEY, "by") == b"jana"
    assert not redis_client.exists(control.ADOPT_ALL_KEY)
    assert world.booked() == D("0.5")


def test_a_warm_restart_changes_nothing(world: World) -> None:
    """The same account, the same books: no event, no hold, no adoption."""
    world.holding()
    before = {key: world.redis.dump(key) for key in world.redis.scan_iter("quantum:position:ledger*")}
    events = len(world.events())
    world.restart()
    for _ in range(3):
        world.brain.ledger.tick()
        world.snapshot()
    assert {key: world.redis.dump(key) for key in world.redis.scan_iter("quantum:position:ledger*")} == before
    assert (len(world.events()), world.hold()) == (events, None)
