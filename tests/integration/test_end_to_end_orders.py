"""What the exchange can do to an order, and what the apply layer refuses by itself, followed through the suite."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from microservices.contracts import account, claim, control, position
from microservices.contracts.plan import Action, Decision, Side
from microservices.contracts.reason import Reason
from tests.support.story import assert_books, assert_denied, assert_ended, assert_executed
from tests.support.suite import Added, Story, Suite
from tests.support.waiting import wait_until

HOLD_S = 8.0
"""For how long orders are held back at most while a test changes something about a permitted plan."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite without cooldown, which looks at the account every second."""
    brain = {"P33_COOLDOWN_SEC": "0", "P33_POLL_SEC": "1"}
    settings = {"position-state-brain": brain, "apply-layer": {"APPLY_MAX_POSITIONS": "30"}}
    with Suite(tmp_path_factory.mktemp("suite"), settings) as running:
        yield running


class Refused(NamedTuple):
    """An order that the exchange certainly did not execute: the fault, the code, and whether it passes by itself."""

    symbol: str
    fault: dict[str, Any]
    error: str
    retryable: bool


REFUSED = [
    Refused("XRPUSDT", {"fault": "error", "code": -2019}, "exchange_error_2019", False),
    Refused("ADAUSDT", {"fault": "error", "code": -4131}, "exchange_error_4131", True),
    Refused("DOGEUSDT", {"fault": "error", "code": -1021}, "exchange_error_1021", True),
    Refused("TRXUSDT", {"fault": "error", "code": -5028}, "exchange_error_5028", True),
    Refused("LINKUSDT", {"fault": "error", "code": -1008}, "exchange_error_1008", True),
    Refused("ATOMUSDT", {"fault": "service_unavailable"}, "exchange_error_1001", True),
    Refused("AVAXUSDT", {"fault": "error", "code": -2015}, "exchange_error_2015", False),
    Refused("DOTUSDT", {"fault": "error", "code": -1111}, "exchange_error_1111", False),
    Refused("LTCUSDT", {"fault": "html", "status": 403}, Reason.ORDER_REJECTED, False),
    Refused("BCHUSDT", {"fault": "expire_partial", "share": 0}, Reason.ORDER_REJECTED, True),
    Refused("XLMUSDT", {"fault": "latency", "seconds": 3, "at": "arrival"}, "exchange_error_1021", True),
]

LOST: dict[str, tuple[str, dict[str, Any]]] = {
    "503 unknown, not executed": ("ETCUSDT", {"fault": "unknown_execution", "executed": False}),
    "dropped on arrival": ("FILUSDT", {"fault": "drop", "at": "arrival"}),
    "502 of a proxy": ("NEARUSDT", {"fault": "html", "status": 502}),
}
"""Orders that never reached the book, of which nobody can know it at once."""

FILLED: dict[str, tuple[str, dict[str, Any]]] = {
    "503 unknown, executed": ("APTUSDT", {"fault": "unknown_execution", "executed": True}),
    "reply swallowed": ("ARBUSDT", {"fault": "swallow_reply"}),
    "reply cut short": ("SUIUSDT", {"fault": "truncate"}),
    "accepted late, connection lost": ("INJUSDT", {"fault": "accept_late", "seconds": 5}),
    "accepted late, 503": ("UNIUSDT", {"fault": "accept_late", "seconds": 3, "reply": "unknown"}),
    "not to be found for a while": ("ENAUSDT", {"fault": "hide_order", "seconds": 3}),
    "unknown and not to be found": ("SEIUSDT", {"fault": "swallow_reply"}),
    "answered late": ("TIAUSDT", {"fault": "latency", "seconds": 2}),
}
"""Orders that were filled, whatever became of the reply."""


@pytest.fixture(scope="module")
def struck(suite: Suite) -> dict[str, Added]:
    """All orders with a fault, sent at once, each fault for its own order alone: symbol to plan."""
    faults: dict[str, dict[str, Any]] = {case.symbol: case.fault for case in REFUSED}
    faults |= dict([*LOST.values(), *FILLED.values()])
    plans = {symbol: f"struck-{symbol}" for symbol in faults}
    for symbol, fault in faults.items():
        only = {"method": "POST", "path": "/fapi/v1/order", "client_order_id": claim.client_order_id(plans[symbol])}
        suite.fault({**fault, **only})
    hidden = claim.client_order_id(plans["SEIUSDT"])
    suite.fault({"fault": "hide_order", "seconds": 4, "client_order_id": hidden})
    return {symbol: suite.open(symbol, plan_id=plan_id) for symbol, plan_id in plans.items()}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case.error}-{case.fault['fault']}")
def test_a_refused_order_ends_with_the_exchanges_code(suite: Suite, struck: dict[str, Added], case: Refused) -> None:
    """Sent once, refused, nothing filled: an ERROR with the exchange's digits, retryable where it passes by itself."""
    story = suite.follow(struck[case.symbol])
    assert story.reasons == [Reason.ALLOWED]
    assert_ended(story, case.error, Decision.ERROR, retryable=case.retryable, posts=1)
    assert case.symbol not in suite.positions()


@pytest.mark.parametrize("symbol", [symbol for symbol, _ in FILLED.values()], ids=list(FILLED))
def test_a_filled_order_is_told_as_filled(suite: Suite, struck: dict[str, Added], symbol: str) -> None:
    """Whatever became of the reply: asked for until it is found, one order, one POST, the fill in every book (I-43)."""
    story = suite.follow(struck[symbol])
    assert_executed(suite, story, story.result.quantity)
    assert suite.positions()[symbol] == story.result.quantity > 0


@pytest.mark.parametrize("symbol", [symbol for symbol, _ in LOST.values()], ids=list(LOST))
def test_an_order_that_is_nowhere_is_not_placed(suite: Suite, struck: dict[str, Added], symbol: str) -> None:
    """Asked for until the exchange would have refused it as too late, twice; then it may be planned anew (I-40)."""
    story = suite.follow(struck[symbol])
    assert story.reasons == [Reason.ALLOWED]
    assert_ended(story, Reason.ORDER_NOT_PLACED, Decision.ERROR, retryable=True, posts=1)
    asked = suite.paper.requests(method="GET", path="/fapi/v1/order")
    name = claim.client_order_id(story.added.plan_id)
    assert sum(request["parameters"].get("origClientOrderId") == name for request in asked) >= 2
    assert symbol not in suite.positions()


def test_a_part_fill_counts_for_what_it_is(suite: Suite) -> None:
    """A market order that ends EXPIRED with half of it filled is executed, with that half."""
    suite.fault({"fault": "expire_partial", "share": 0.5, "times": 1})
    story = suite.follow(suite.open("1000PEPEUSDT", qty=10_000))
    assert_executed(suite, story, Decimal(5_000), ordered=Decimal(10_000))
    assert story.order is not None
    assert story.order.status == "EXPIRED"
    wait_until(lambda: suite.ledger("1000PEPEUSDT") == 5_000, 20, what="the ledger to show the half")


def test_an_open_above_the_largest_notional_is_blocked(suite: Suite) -> None:
    """The gates allowed it, and still nothing above APPLY_MAX_NOTIONAL_USDT is opened (I-16)."""
    story = suite.follow(suite.open("ETHUSDT", usdt=Decimal(260)))
    assert story.reasons == [Reason.ALLOWED]
    assert_ended(story, Reason.MAX_NOTIONAL)


class Held(NamedTuple):
    """A permitted plan whose order is held back, for what is changed meanwhile to meet it."""

    changed: str
    command: tuple[str, ...]
    error: Reason
    retryable: bool


@pytest.mark.parametrize(
    "case",
    [
        Held("switched off", ("SET", control.KILL_SWITCH_KEY, "no_new_risk"), Reason.KILL_SWITCH, False),
        Held("held", ("SET", control.hold_key("SOLUSDT"), "wait"), Reason.RECONCILE_HOLD_ACTIVE, False),
        Held("mark gone", ("DEL", position.inflight_key("SOLUSDT")), Reason.MARK_LOST, True),
        Held("other account", ("HSET", account.KEY, "account", "other"), Reason.ACCOUNT_MISMATCH, False),
    ],
    ids=lambda case: case.changed,
)
def test_a_permit_is_no_order(suite: Suite, case: Held) -> None:
    """What an operator changes between permit and order still stops the order."""
    bound: Any = suite.redis.hget(account.KEY, "account")
    suite.hold_orders(HOLD_S)
    try:
        added = suite.open("SOLUSDT")
        wait_until(lambda: suite.permit(added), 20, what="the permit")
        suite.command(*case.command)
        suite.let_orders_go()
        story = suite.follow(added)
    finally:
        suite.let_orders_go()
        suite.set_kill_switch("off")
        suite.redis.delete(control.hold_key("SOLUSDT"))
        suite.redis.hset(account.KEY, "account", bound)
    assert story.reasons == [Reason.ALLOWED]
    assert_ended(story, case.error, retryable=case.retryable)


def permitted(suite: Suite, added: Added) -> bool:
    """Wait for the brain's word and tell whether it is an allow."""
    wait_until(lambda: suite.events(added), 15, what=f"the brain's answer to {added}")
    return suite.events(added)[0].allow


@pytest.fixture(scope="module")
def race(suite: Suite) -> dict[str, Story]:
    """On one symbol with a position, orders held back: an open, another open, an exit, another exit."""
    first = suite.follow(suite.open("WLDUSDT"))
    assert_executed(suite, first, first.result.quantity)
    suite.settle("WLDUSDT")
    suite.hold_orders(HOLD_S)
    try:
        added = {"open": suite.open("WLDUSDT")}
        assert permitted(suite, added["open"])
        added["second open"] = suite.open("WLDUSDT")
        assert not permitted(suite, added["second open"])
        added["exit"] = suite.exit("WLDUSDT", Side.SELL)
        assert permitted(suite, added["exit"])
        added["second exit"] = suite.exit("WLDUSDT", Side.SELL, Action.PARTIAL_50)
        assert not permitted(suite, added["second exit"])
    finally:
        suite.let_orders_go()
    return {name: suite.follow(one) for name, one in added.items()}


@pytest.mark.parametrize("name", ["second open", "second exit"])
def test_one_plan_of_a_symbol_at_a_time(race: dict[str, Story], name: str) -> None:
    """While an open is on its way no other is permitted, and while an exit is, no other exit (I-10, I-15)."""
    assert_denied(race[name], Reason.PERMIT_OUTSTANDING, retryable=True)


def test_an_exit_displaces_an_unclaimed_open(suite: Suite, race: dict[str, Story]) -> None:
    """An open never stops an exit: its permit is withdrawn with an event, and the exit is done."""
    opened, left = race["open"], race["exit"]
    assert opened.reasons == [Reason.ALLOWED, Reason.DISPLACED_BY_EXIT]
    assert_ended(opened, Reason.DISPLACED_BY_EXIT, gate="p33", retryable=True)
    assert opened.verdict is not None
    assert (opened.verdict.allow, opened.verdict.reason) == (False, Reason.DISPLACED_BY_EXIT)
    assert_executed(suite, left, left.result.quantity)
    assert "WLDUSDT" not in suite.positions()


def test_an_exit_of_what_is_gone_is_refused_by_the_exchange(suite: Suite) -> None:
    """Closed by hand between permit and order: reduce-only is what keeps the exit from opening the other side."""
    opened = suite.follow(suite.open("1000SHIBUSDT"))
    suite.settle("1000SHIBUSDT")
    suite.hold_orders(HOLD_S)
    try:
        added = suite.exit("1000SHIBUSDT", Side.SELL)
        assert permitted(suite, added)
        assert suite.paper.order("1000SHIBUSDT", "SELL", opened.result.quantity, reduceOnly="true").status == 200
    finally:
        suite.let_orders_go()
    story = suite.follow(added)
    assert story.reasons == [Reason.ALLOWED]
    assert_ended(story, "exchange_error_2022", Decision.ERROR, posts=1)
    assert "1000SHIBUSDT" not in suite.positions()


def test_being_throttled_ends_one_order_and_not_the_next(suite: Suite) -> None:
    """429 on an order: told with its code, shared with everybody, and over when the exchange said it would be."""
    suite.fault({"fault": "status", "status": 429, "retry_after_s": 2, "method": "POST", "times": 1})
    story = suite.follow(suite.open("BNBUSDT"))
    assert_ended(story, "exchange_error_1003", Decision.ERROR, retryable=True, posts=1)
    now_s, _ = suite.redis.time()
    assert int(suite.redis.hget(control.BACKOFF_KEY, "throttled_until_ms") or 0) > now_s * 1000
    again = suite.follow(suite.open("BNBUSDT"))
    assert_executed(suite, again, again.result.quantity)


def test_a_ban_holds_orders_back_until_it_ends(suite: Suite) -> None:
    """418 on an order: the next one waits until the ban is over, and then goes out once (I-24)."""
    suite.wait_for_snapshot()
    suite.fault({"fault": "status", "status": 418, "retry_after_s": 3, "method": "POST", "times": 1})
    banned = suite.follow(suite.open("AAVEUSDT"))
    assert_ended(banned, "exchange_error_1003", Decision.ERROR, retryable=True, posts=1)
    until_ms = int(suite.redis.hget(control.BACKOFF_KEY, "banned_until_ms") or 0)
    story = suite.follow(suite.open("ETHUSDT"))
    assert_executed(suite, story, story.result.quantity)
    order = next(r for r in suite.paper.requests(method="POST") if r["parameters"]["symbol"] == "ETHUSDT")
    assert order["time_ms"] >= until_ms


def test_the_books_balance(suite: Suite) -> None:
    """One result an entry, one count a result, one order a plan; the ledger is the exchange's position."""
    assert_books(suite)
