"""Every reason for which the brain denies a plan, brought about in the whole suite and followed to its count.

Denies that need a part to be stopped or set otherwise are in `test_end_to_end_trouble.py`, those of the apply layer and
of the exchange in `test_end_to_end_orders.py`. Not brought about here:

- `gate_not_configured` on mainnet, which the paper exchange is not (tests of the apply layer's gates); its other way is
  in `test_end_to_end_trouble.py`.
- nothing else: `tests/unit/test_reasons_followed.py` checks that every code is brought about in one of these files.
"""

import re
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from microservices.contracts import control, position, universe
from microservices.contracts.plan import Action, Decision, Side
from microservices.contracts.reason import Reason
from tests.support.ops import ops_json
from tests.support.story import assert_books, assert_denied, assert_ended, assert_executed
from tests.support.suite import Added, Story, Suite
from tests.support.waiting import wait_until

LONG, SHORT, DUST, BIGGER, TURNED, FOREIGN = "XRPUSDT", "ADAUSDT", "AAVEUSDT", "DOGEUSDT", "TRXUSDT", "XLMUSDT"
FRESH = "LINKUSDT"
DRIFTED = (BIGGER, TURNED, FOREIGN)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite without cooldown, which looks at the account every second."""
    brain = {"P33_COOLDOWN_SEC": "0", "P33_POLL_SEC": "1", "P33_ALLOWLIST_REFRESH_S": "1"}
    settings = {"position-state-brain": brain, "apply-layer": {"APPLY_MAX_POSITIONS": "30"}}
    with Suite(tmp_path_factory.mktemp("suite"), settings) as running:
        yield running


@pytest.fixture(scope="module")
def held(suite: Suite) -> dict[str, Decimal]:
    """Positions opened through the chain, settled: symbol to signed amount."""
    opened = [suite.open(LONG), suite.open(SHORT, Side.SELL), suite.open(DUST, qty="0.1")]
    opened += [suite.open(BIGGER), suite.open(TURNED)]
    for added in opened:
        story = suite.follow(added)
        assert_executed(suite, story, story.result.quantity)
    for added in opened:
        suite.settle(added.symbol)
    return {symbol: suite.ledger(symbol) for symbol in (LONG, SHORT, DUST, BIGGER, TURNED)}


def assert_invalid(story: Story) -> None:
    """Check an ERROR `invalid_plan`; both read the plan at once, and where the apply layer was first, it had ended."""
    assert_ended(story, Reason.INVALID_PLAN, Decision.ERROR)
    assert len(story.events) == 1
    assert story.events[0].reason in (Reason.INVALID_PLAN, Reason.PLAN_ENDED)
    assert not story.events[0].allow
    assert story.permit is None or not story.permit.allow
    assert story.order is None


OPEN_FIELDS: dict[str, object] = {
    "symbol": FRESH,
    "action": Action.OPEN,
    "side": Side.BUY,
    "qty": 4,
    "reduceOnly": False,
}
EXIT_FIELDS: dict[str, object] = {"symbol": LONG, "action": Action.PARTIAL_25, "side": Side.SELL}


@pytest.mark.parametrize(
    "wrong",
    [
        {"plan_id": None},
        {"plan_id": "with blank"},
        {"plan_id": "p33:other-gates-key"},
        {"plan_id": "p26:other-gates-key"},
        {"plan_id": "x" * 129},
        {"plan_id": b"\xff\xfe"},
        {"symbol": None},
        {"symbol": "BTC/USDT"},
        {"decision": None},
        {"decision": "MAYBE"},
        {"action": None},
        {"action": "CLOSE"},
        {"side": None},
        {"side": "LONG"},
        {"qty": None},
        {"qty": "0"},
        {"qty": "-4"},
        {"qty": "1e3"},
        {"qty": "NaN"},
        {"reduceOnly": None},
        {"reduceOnly": True},
        {"reduceOnly": "no"},
        {"timestamp": None},
        {"timestamp": "soon"},
        {"timestamp": "-1"},
        {"expected_position": "all"},
        {"source": b"\xff"},
    ],
    ids=str,
)
def test_an_invalid_open_is_an_error(suite: Suite, wrong: dict[str, object]) -> None:
    """A plan with one field missing or wrong is answered, ordered never, and an error."""
    assert_invalid(suite.follow(suite.plan(**(OPEN_FIELDS | wrong))))


@pytest.mark.parametrize(
    "wrong", [{"reduceOnly": False}, {"action": "PARTIAL_33"}, {"qty": "+1"}, {"expected_position": "1,5"}], ids=str
)
def test_an_invalid_exit_is_an_error(suite: Suite, held: dict[str, Decimal], wrong: dict[str, object]) -> None:
    """An exit too: not even a missing or contradictory `reduceOnly` makes an open of it."""
    assert_invalid(suite.follow(suite.plan(**(EXIT_FIELDS | wrong))))
    assert suite.positions()[LONG] == held[LONG]


@pytest.mark.parametrize("decided", [Decision.EXECUTE, Decision.SKIP])
def test_a_plan_id_is_used_once(suite: Suite, decided: Decision) -> None:
    """A second entry under the id, of whatever decision and content, is a duplicate and changes nothing (I-05)."""
    symbol = {Decision.EXECUTE: "LTCUSDT", Decision.SKIP: "BCHUSDT"}[decided]
    first = suite.open(symbol)
    second = suite.open(symbol, Side.SELL, plan_id=first.plan_id, decision=decided)
    one, other = suite.follow(first), suite.follow(second)
    assert_executed(suite, one, one.result.quantity)
    end = other.result
    assert (end.decision, end.error, end.retryable) == (Decision.SKIP, Reason.DUPLICATE_PLAN, False)
    assert (end.executed, end.quantity) == (False, Decimal(0))
    assert other.reasons == ([Reason.DUPLICATE_PLAN] if decided is Decision.EXECUTE else [])
    assert suite.positions()[symbol] == one.result.quantity
    later = suite.follow(suite.open(symbol, plan_id=first.plan_id))
    assert (later.result.error, later.reasons, later.posts) == (Reason.DUPLICATE_PLAN, [Reason.DUPLICATE_PLAN], 1)


@pytest.mark.parametrize(
    ("symbol", "second"),
    [
        ("FILUSDT", {"symbol": "ETCUSDT", "qty": 3}),
        ("APTUSDT", {"symbol": "ETCUSDT", "qty": "0"}),
        ("INJUSDT", {"symbol": "ETCUSDT", "decision": Decision.SKIP}),
    ],
    ids=["another plan", "an invalid one", "a SKIP"],
)
def test_an_exit_that_waits_keeps_its_plan_id(suite: Suite, symbol: str, second: dict[str, object]) -> None:
    """Right after the fill the exit waits for a snapshot; a second entry under its id takes nothing from it (I-05)."""
    opened = suite.follow(suite.open(symbol))
    waiting = suite.exit(symbol, Side.SELL)
    other = suite.plan(**(OPEN_FIELDS | {"plan_id": waiting.plan_id} | second))
    late, done = suite.follow(other), suite.follow(waiting)
    assert_executed(suite, done, opened.result.quantity)
    assert late.result.error in (Reason.DUPLICATE_PLAN, Reason.INVALID_PLAN)
    assert not any(event.allow for event in late.events)
    assert "ETCUSDT" not in suite.positions()


@pytest.mark.parametrize("off_by_s", [-61.0, +10.0])
def test_a_plan_of_another_time_is_expired(suite: Suite, held: dict[str, Decimal], off_by_s: float) -> None:
    """Too old or from the future, an open and an exit alike."""
    timestamp = f"{time.time() + off_by_s:.3f}"
    for added in (suite.open(FRESH, timestamp=timestamp), suite.exit(LONG, Side.SELL, timestamp=timestamp)):
        assert_denied(suite.follow(added), Reason.PLAN_EXPIRED, retryable=True)


@pytest.mark.parametrize("value", ["no_new_risk", " NO_NEW_RISK\n", "full_stop", "stop everything", "", None])
def test_the_kill_switch_stops_opens(suite: Suite, value: str | None) -> None:
    """Every value but `off` does, its absence too."""
    command = ("DEL", control.KILL_SWITCH_KEY) if value is None else ("SET", control.KILL_SWITCH_KEY, value)
    try:
        added = suite.plan_after([command], **OPEN_FIELDS)
        assert_denied(suite.follow(added), Reason.KILL_SWITCH)
    finally:
        suite.set_kill_switch("off")


@pytest.mark.parametrize("value", ["full_stop", "FULL_STOP ", "typo"])
def test_the_kill_switch_stops_exits_only_at_full_stop(suite: Suite, held: dict[str, Decimal], value: str) -> None:
    """At `full_stop`, and at a word that nobody knows."""
    try:
        added = suite.plan_after([("SET", control.KILL_SWITCH_KEY, value)], **EXIT_FIELDS)
        assert_denied(suite.follow(added), Reason.KILL_SWITCH)
    finally:
        suite.set_kill_switch("off")


def test_an_exit_goes_through_a_stop_of_new_risk(suite: Suite, held: dict[str, Decimal]) -> None:
    """`no_new_risk`, and an exit is done."""
    suite.set_kill_switch("no_new_risk")
    try:
        story = suite.follow(suite.exit(SHORT, Side.BUY, Action.PARTIAL_25))
    finally:
        suite.set_kill_switch("off")
    assert_executed(suite, story, -held[SHORT] * Decimal("0.25") // 1)


def test_no_allowlist_stops_everything(suite: Suite, held: dict[str, Decimal]) -> None:
    """Without a list from any source nothing is permitted, exits included; with the list it is again."""
    keys = (universe.ACTIVE_KEY, universe.LAST_OK_KEY, universe.META_KEY)
    suite.pause("universe-service")
    try:
        added = suite.plan_after([("RENAME", key, f"away:{key}") for key in keys], **OPEN_FIELDS)
        stories = [suite.follow(added), suite.follow(suite.plan(**EXIT_FIELDS))]
    finally:
        for key in keys:
            suite.redis.rename(f"away:{key}", key)
        suite.resume("universe-service")
    for story in stories:
        assert_denied(story, Reason.NO_ALLOWLIST, retryable=True)


def test_an_open_of_an_unlisted_symbol_is_skipped(suite: Suite) -> None:
    """What is not in the list is not opened; an exit of it is of a position that nobody knows."""
    opened = suite.plan(**(OPEN_FIELDS | {"symbol": "NOSUCHUSDT"}))
    assert_denied(suite.follow(opened), Reason.NOT_IN_ALLOWLIST, Decision.SKIP)
    assert_denied(suite.follow(suite.exit("NOSUCHUSDT", Side.SELL)), Reason.NO_EXCHANGE_SNAPSHOT, retryable=True)


def test_a_hold_stops_opens_and_with_all_exits(suite: Suite, held: dict[str, Decimal]) -> None:
    """An operator's hold; only one that says `all:` keeps a position from being closed."""
    key = control.hold_key(LONG)
    stopped = suite.plan_after([("SET", key, "looking into it")], **(OPEN_FIELDS | {"symbol": LONG, "qty": 40}))
    assert_denied(suite.follow(stopped), Reason.RECONCILE_HOLD_ACTIVE)
    kept = suite.plan_after([("SET", key, "all: looking into it")], **EXIT_FIELDS)
    assert_denied(suite.follow(kept), Reason.RECONCILE_HOLD_ACTIVE)
    done = suite.follow(suite.plan_after([("SET", key, "looking into it")], **EXIT_FIELDS))
    assert_executed(suite, done, done.result.quantity)
    assert done.result.quantity > 0
    suite.redis.delete(key)


def test_a_symbol_that_the_exchange_leaves_out_is_unknown(suite: Suite) -> None:
    """Without a row of it in the account's answer neither an open nor an exit of a symbol is permitted."""
    suite.fault({"fault": "partial_account", "without": ["TIAUSDT"]})
    try:
        suite.wait_for_snapshot()
        stories = [suite.follow(added) for added in (suite.open("TIAUSDT"), suite.exit("TIAUSDT", Side.SELL))]
    finally:
        suite.paper.clear_faults()
    for story in stories:
        assert_denied(story, Reason.NO_EXCHANGE_SNAPSHOT, retryable=True)


def test_an_open_right_after_a_fill_meets_a_stale_position(suite: Suite) -> None:
    """Until the account was asked 2 s after the symbol's last fill, its position may not show that fill."""
    opened = suite.follow(suite.open("SUIUSDT"))
    assert_executed(suite, opened, opened.result.quantity)
    assert_denied(suite.follow(suite.open("SUIUSDT")), Reason.STALE_EXCHANGE_STATE, retryable=True)


def test_an_account_without_baseline_opens_nothing(suite: Suite) -> None:
    """The account must have been adopted; on paper the brain does it by itself, once the executor could speak first."""
    added = suite.plan_after([("DEL", position.BASELINE_KEY)], **OPEN_FIELDS)
    assert_denied(suite.follow(added), Reason.NO_BASELINE)
    wait_until(lambda: suite.redis.exists(position.BASELINE_KEY), 30, what="the account to be adopted anew")


class Drift(NamedTuple):
    """A trade by hand: in which symbol, how much of what is held, and what the brain makes of it."""

    symbol: str
    side: Side
    share: int
    cause: str
    reason: Reason


@pytest.mark.parametrize(
    "drift",
    [
        Drift(BIGGER, Side.BUY, 1, "exchange_above_ledger", Reason.RECONCILE_REQUIRED_QTY_MISMATCH),
        Drift(TURNED, Side.SELL, 2, "side_mismatch", Reason.RECONCILE_REQUIRED_SIDE_MISMATCH),
        Drift(FOREIGN, Side.BUY, 1, "external_position", Reason.RECONCILE_REQUIRED_SIDE_MISMATCH),
    ],
    ids=lambda drift: drift.cause,
)
def test_drift_closes_a_symbol_to_opens(suite: Suite, held: dict[str, Decimal], drift: Drift) -> None:
    """A trade by hand is held; opens are denied with and without the hold; an exit is still done (I-21, I-22)."""
    symbol, key = drift.symbol, control.hold_key(drift.symbol)
    before = held.get(symbol, suite.quantity(symbol, Decimal(60)))
    assert suite.paper.order(symbol, drift.side, before * drift.share).status == 200
    after = suite.positions()[symbol]
    wait_until(lambda: suite.redis.get(key) == f"brain:{drift.cause}".encode(), 30, what=f"the hold of {drift.cause}")
    fields = OPEN_FIELDS | {"symbol": symbol, "side": drift.side, "qty": before}
    assert_denied(suite.follow(suite.plan(**fields)), Reason.RECONCILE_HOLD_ACTIVE)
    assert_denied(suite.follow(suite.plan_after([("DEL", key)], **fields)), drift.reason)
    story = suite.follow(suite.exit(symbol, Side.SELL if after > 0 else Side.BUY))
    assert_executed(suite, story, abs(after))
    assert '"ledger_agrees":false' in story.events[0].context


@pytest.mark.parametrize(("symbol", "why"), [("SUIUSDT", "within_tolerance"), ("ARBUSDT", "flat_in_two_answers")])
def test_what_is_no_drift_is_adopted(suite: Suite, symbol: str, why: str) -> None:
    """A step of difference, and a position that somebody else has closed: the ledger follows, with an event (I-23)."""
    if not suite.ledger(symbol):
        assert suite.follow(suite.open(symbol)).result.executed
    suite.settle(symbol)
    before = suite.ledger(symbol)
    by_hand = before if why == "flat_in_two_answers" else Decimal(suite.instrument(symbol).step_size)
    assert suite.paper.order(symbol, "SELL", by_hand, reduceOnly="true").status == 200
    wait_until(lambda: suite.ledger(symbol) == before - by_hand, 30, what="the ledger to follow")
    (adopted,) = (event for event in suite.permit_events() if (event.symbol, event.plan_id) == (symbol, ""))
    assert (adopted.reason, adopted.allow, adopted.safe_qty) == (Reason.LEDGER_ADOPTED, False, "0")
    assert f'"{why}"' in adopted.context
    assert suite.redis.get(control.hold_key(symbol)) is None


@pytest.mark.parametrize("seen", ["never", "before"])
def test_an_instrument_must_be_known(suite: Suite, held: dict[str, Decimal], seen: str) -> None:
    """An open needs rules of the list in force; an exit needs any that were ever seen."""
    suite.settle(LONG)
    suite.pause("universe-service")
    before: Any = suite.redis.hgetall(universe.INSTRUMENTS_KEY)
    old = re.sub(rb'"seen_epoch":\d+', b'"seen_epoch":1700000000', before[LONG.encode()])
    change = {
        "never": ("HDEL", universe.INSTRUMENTS_KEY, LONG),
        "before": ("HSET", universe.INSTRUMENTS_KEY, LONG, old),
    }[seen]
    try:
        fields = OPEN_FIELDS | {"symbol": LONG, "qty": 40}
        opened = suite.follow(suite.plan_after([change], **fields))
        left = suite.follow(suite.plan(**EXIT_FIELDS))
    finally:
        suite.redis.hset(universe.INSTRUMENTS_KEY, LONG, before[LONG.encode()])
        suite.resume("universe-service")
    assert_denied(opened, Reason.INSTRUMENT_UNKNOWN)
    if seen == "never":
        assert_denied(left, Reason.INSTRUMENT_UNKNOWN)
    else:
        assert_executed(suite, left, left.result.quantity)


def test_an_open_against_a_position_is_refused(suite: Suite, held: dict[str, Decimal]) -> None:
    """Neither a long nor a short is turned over: it has to be closed first."""
    suite.settle(LONG)
    suite.settle(SHORT)
    for added in (suite.open(LONG, Side.SELL), suite.open(SHORT, Side.BUY)):
        assert_denied(suite.follow(added), Reason.OPPOSITE_POSITION)


@pytest.mark.parametrize(("symbol", "qty"), [("LINKUSDT", "0.01"), ("NEARUSDT", "0.9"), ("BTCUSDT", "0.001")])
def test_an_open_below_the_minimum_is_refused(suite: Suite, symbol: str, qty: str) -> None:
    """Below the notional or below one step: nothing is ever rounded up (I-30, I-45)."""
    assert_denied(suite.follow(suite.open(symbol, qty=qty)), Reason.BELOW_MINIMUM)


@pytest.mark.parametrize("side", Side)
def test_there_must_be_a_position_to_close(suite: Suite, side: Side) -> None:
    """An exit of a flat symbol is skipped, on either side."""
    assert_denied(suite.follow(suite.exit(FRESH, side)), Reason.NO_POSITION, Decision.SKIP)


def test_an_exit_must_oppose_the_position(suite: Suite, held: dict[str, Decimal]) -> None:
    """A BUY closes no long, a SELL no short (I-18)."""
    for added in (suite.exit(LONG, Side.BUY), suite.exit(SHORT, Side.SELL)):
        assert_denied(suite.follow(added), Reason.SIDE_MISMATCH)


@pytest.mark.parametrize("expected", ["999", "-36", "0"])
def test_an_exit_of_another_position_is_refused(suite: Suite, held: dict[str, Decimal], expected: str) -> None:
    """Decided on a position that is not there any more, an exit is not done."""
    added = suite.exit(LONG, Side.SELL, expected_position=expected)
    assert_denied(suite.follow(added), Reason.POSITION_CHANGED, retryable=True)


def test_dust_is_not_ordered(suite: Suite, held: dict[str, Decimal]) -> None:
    """A share below the smallest quantity, of a small position or by a small bound."""
    assert held[DUST] == Decimal("0.1")
    for added in (suite.exit(DUST, Side.SELL, Action.PARTIAL_25), suite.exit(SHORT, Side.BUY, qty="0.5")):
        assert_denied(suite.follow(added), Reason.DUST_POSITION)


def test_hedge_mode_stops_everything_and_ends_with_it(suite: Suite, held: dict[str, Decimal]) -> None:
    """Rows of LONG and SHORT say that positions cannot be told apart here: nothing is permitted until they are gone."""

    def stories() -> list[Story]:
        added: list[Added] = [
            suite.plan(**(OPEN_FIELDS | {"symbol": "ENAUSDT", "qty": 300})),
            suite.plan(**EXIT_FIELDS),
        ]
        return [suite.follow(one) for one in added]

    suite.fault({"fault": "hedge_mode"})
    try:
        wait_until(lambda: suite.account().one_way is False, 30, what="the brain to see hedge mode")
        denied = stories()
    finally:
        suite.paper.clear_faults()
    for story in denied:
        assert_denied(story, Reason.HEDGE_MODE_UNSUPPORTED)
    wait_until(lambda: suite.account().one_way, 30, what="the brain to see one-way mode")
    suite.wait_for_snapshot()
    assert [story.result.executed for story in stories()] == [True, True]


def test_why_sh_tells_what_the_chain_said(suite: Suite, held: dict[str, Decimal]) -> None:
    """A deny by the brain with its figures, and an order; by plan id and, the newest plan, by symbol."""
    denied = suite.follow(suite.exit(LONG, Side.BUY))
    traded = suite.follow(suite.open(FRESH))
    assert traded.result.executed
    port = suite.redis.connection_pool.connection_kwargs["port"]
    told = ops_json("why.sh", denied.added.plan_id, port=port)
    assert told["status"] == "NOT TRADED"
    assert told["plan"]["entry_id"] == denied.added.entry_id
    assert told["result"]["fields"]["error"] == Reason.SIDE_MISMATCH
    [verdict] = told["verdicts"]
    assert (verdict["gate"], verdict["allow"], verdict["reason"]) == ("p33", False, Reason.SIDE_MISMATCH)
    assert Decimal(verdict["context"]["position_amt"]) == suite.ledger(LONG)
    assert verdict["context"]["snapshot_age_ms"] >= 0
    for name in (traded.added.plan_id, FRESH):
        told = ops_json("why.sh", name, port=port)
        assert (told["status"], told["claim"]["state"]) == ("TRADED", "done")
        assert told["plan"]["entry_id"] == traded.added.entry_id
        assert told["result"]["fields"]["order_id"] == traded.result.order_id


def test_the_books_balance(suite: Suite) -> None:
    """One result an entry, one count a result, one order a plan; the ledger is the exchange's position."""
    assert_books(suite, DRIFTED)
