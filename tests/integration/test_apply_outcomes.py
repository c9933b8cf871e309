"""Whatever the exchange does to an order: one order at most, one result, and it tells what was filled."""

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis

from microservices.apply_layer import metrics
from microservices.contracts import claim, control, permit, universe
from microservices.contracts.claim import ClaimState
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Decision
from microservices.contracts.universe import Instrument
from tests.support.apply_paper import ORDER_PATH, SOL, Desk
from tests.support.apply_world import redis_ms
from tests.support.paper import PaperExchange
from tests.support.waiting import wait_until

FINAL_ABSENCE_S = 14.0
LTC = Instrument("TRADING", 1, "0.01", "0.001", "0.001", "5000", "20", 1, 1)


@pytest.fixture
def desk(redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> Desk:
    """Everything but the layer itself."""
    return Desk(redis_client, paper, tmp_path)


@pytest.fixture
def hasty(redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> Desk:
    """The same, with a deadline of a second for orders: for those whose answer does not come in any case."""
    return Desk(redis_client, paper, tmp_path, APPLY_ORDER_TIMEOUT_MS="1000")


def on_post(fault: str, **fields: Any) -> dict[str, Any]:
    """Give a fault that strikes one order."""
    return {"fault": fault, "method": "POST", "path": ORDER_PATH, "times": 1} | fields


FILLED_AFTER_ALL: list[dict[str, Any]] = [
    {"fault": "swallow_reply"},
    on_post("drop", at="reply"),
    on_post("truncate", keep=0.3),
    on_post("truncate", keep=0.3, honest_length=True),
    on_post("unknown_execution", executed=True),
    on_post("latency", seconds=1.5, at="reply"),
    {"fault": "accept_late", "seconds": 1.0, "reply": "drop", "times": 1},
    {"fault": "accept_late", "seconds": 1.0, "reply": "unknown", "times": 1},
]


@pytest.mark.parametrize("fault", FILLED_AFTER_ALL, ids=lambda fault: f"{fault['fault']}-{fault.get('reply', '')}")
def test_an_order_that_nobody_answered_for_is_found(hasty: Desk, fault: dict[str, Any]) -> None:
    """I-43: unknown is no result; the claim stays sent until the order is answered for, and nothing is sent twice."""
    desk = hasty
    desk.paper.fault(fault)
    with desk.running():
        entry_id = desk.open()
        end = desk.world.await_result(entry_id)
        assert (end.decision, end.executed, end.quantity) == (Decision.EXECUTE, True, Decimal(1))
        assert len(desk.posts()) == 1
        assert desk.queries()
        desk.assert_told_the_truth(SOL, end)
        desk.world.assert_settled(1)


def test_an_unresolved_order_is_no_result(desk: Desk) -> None:
    """The claim says sent, the symbol is closed to opens, an exit goes on, and asking does not end."""
    desk.hold(SOL, "2")
    desk.paper.fault({"fault": "swallow_reply", "times": 1}, {"fault": "drop", "method": "GET", "path": ORDER_PATH})
    with desk.running():
        opening = desk.open()
        wait_until(lambda: len(desk.queries()) >= 3, what="being asked for")
        made = desk.world.claim(desk.world.plan(opening).plan_id)
        assert made is not None
        assert made.state is ClaimState.SENT
        exiting = desk.exit(quantity="1")
        assert desk.world.await_result(exiting).executed
        second = desk.open()
        time.sleep(0.3)  # nothing must happen, which no event tells
        assert desk.world.results_of(opening) == desk.world.results_of(second) == []
        assert desk.redis.exists(permit.key(Gate.P33, desk.world.plan(second).plan_id))
        desk.paper.clear_faults()
        assert desk.world.await_result(opening).executed
        assert desk.world.await_result(second).executed
        assert desk.paper.position(SOL) == Decimal(3)


@pytest.mark.slow
def test_an_absence_is_believed_only_late_and_twice(desk: Desk) -> None:
    """Orders that never arrived, arrive 5 s late, or stay hidden a while, all at once, each on its own symbol."""
    names = ("never", "late", "hidden", "proxy", "open", "busy")
    symbols = dict(zip(names, (SOL, "LTCUSDT", "AVAXUSDT", "DOTUSDT", "ETCUSDT", "ATOMUSDT"), strict=True))
    desk.paper.fault(
        on_post("drop", at="arrival", symbol=symbols["never"]),
        {"fault": "accept_late", "seconds": 5.0, "reply": "hang", "symbol": symbols["late"], "times": 1},
        {"fault": "hide_order", "seconds": 4.0, "symbol": symbols["hidden"], "times": 1},
        on_post("drop", at="reply", symbol=symbols["hidden"]),
        on_post("html", status=502, symbol=symbols["proxy"]),
        on_post("unknown_execution", executed=False, symbol=symbols["open"]),
        on_post("service_unavailable", symbol=symbols["busy"]),
    )
    with desk.running():
        began = time.monotonic()
        entries = {name: desk.open(symbol, "4", price="10") for name, symbol in symbols.items()}
        for name in ("late", "hidden"):
            end = desk.world.await_result(entries[name], 20)
            assert (end.executed, end.quantity) == (True, Decimal(4)), name
        busy = desk.world.await_result(entries["busy"])
        assert (busy.error, busy.retryable) == ("exchange_error_1001", True), "it says itself that nothing was done"
        for name in ("never", "proxy", "open"):
            end = desk.world.await_result(entries[name], 45)
            assert (end.decision, end.error, end.retryable) == (Decision.ERROR, "order_not_placed", True), name
            assert time.monotonic() - began >= FINAL_ABSENCE_S
        for name, symbol in symbols.items():
            assert len(desk.posts(symbol)) <= 1, name
            desk.assert_told_the_truth(symbol, desk.world.results_of(entries[name])[0])
        desk.world.assert_settled(6)


@pytest.mark.parametrize(
    ("fault", "error", "retryable"),
    [
        (on_post("error", code=-1021), "exchange_error_1021", True),
        (on_post("error", code=-5028), "exchange_error_5028", True),
        (on_post("error", code=-1008), "exchange_error_1008", True),
        (on_post("error", code=-2019), "exchange_error_2019", False),
        (on_post("status", status=429, retry_after_s=1), "exchange_error_1003", True),
        (on_post("status", status=403, code=-2015), "exchange_error_2015", False),
        (on_post("html", status=403), "order_rejected", False),
    ],
    ids=str,
)
def test_a_certain_refusal_ends_the_plan_at_once(
    desk: Desk, fault: dict[str, Any], error: str, retryable: bool
) -> None:
    """Nothing is asked for, and nothing is tried again under this plan."""
    desk.paper.fault(fault)
    with desk.running():
        end = desk.world.await_result(desk.open())
        assert (end.decision, end.error, end.retryable, end.executed) == (Decision.ERROR, error, retryable, False)
        assert len(desk.posts()) == 1
        assert desk.queries() == []
        assert desk.paper.position(SOL) == 0
        desk.world.assert_settled(1)


def test_the_exchanges_own_refusals_keep_their_codes(desk: Desk) -> None:
    """−2022 without a position, −1111 off the step, −2019 without margin, −1121 for no symbol of its."""
    with desk.running():
        for entry_id, error in (
            (desk.exit(), "exchange_error_2022"),
            (desk.exit("LTCUSDT", "0.0015"), "exchange_error_1111"),
            (desk.exit("NOSUCHUSDT"), "exchange_error_1121"),
            (desk.open("BTCUSDT", "100", price="1"), "exchange_error_2019"),
        ):
            assert desk.world.await_result(entry_id).error == error
        desk.world.assert_settled(4)


@pytest.mark.parametrize(("share", "quantity"), [(0.5, "0.5"), (0.0, "0")])
def test_an_expired_order_counts_with_what_it_filled(desk: Desk, share: float, quantity: str) -> None:
    """The status says EXPIRED; the position says what happened."""
    desk.paper.fault({"fault": "expire_partial", "share": share, "times": 1})
    with desk.running():
        end = desk.world.await_result(desk.open())
        assert (end.executed, end.quantity) == (quantity != "0", Decimal(quantity))
        assert (end.error, end.retryable) == (("", False) if share else ("order_rejected", True))
        assert end.order_id
        desk.assert_told_the_truth(SOL, end)


def test_an_exit_larger_than_the_position_ends_with_what_was_closed(desk: Desk) -> None:
    """A partial liquidation on the way: reduce-only cuts the order, and the result says so."""
    desk.hold(SOL, "1")
    with desk.running():
        end = desk.world.await_result(desk.exit(quantity="5"))
        assert (end.executed, end.quantity) == (True, Decimal(1))
        desk.assert_told_the_truth(SOL, end, held_before="1")


def held_by_a_ban(desk: Desk, caplog: pytest.LogCaptureFixture) -> str:
    """Ban us for long, and give the entry id of an exit once it waits for nothing else."""
    desk.redis.hset(control.BACKOFF_KEY, "banned_until_ms", redis_ms(desk.redis) + 600_000)
    entry_id = desk.exit()
    wait_until(lambda: f"{desk.world.plan(entry_id).plan_id} ({SOL}) waits" in caplog.text)
    return entry_id


def test_an_exit_waits_out_a_ban_within_its_plans_life(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Orders obey 418: no POST while it lasts, one after it; the permits stay unburnt meanwhile."""
    desk.hold(SOL, "1")
    with desk.running():
        entry_id = held_by_a_ban(desk, caplog)
        assert desk.redis.exists(permit.key(Gate.P33, desk.world.plan(entry_id).plan_id))
        until_ms = redis_ms(desk.redis) + 300
        desk.redis.hset(control.BACKOFF_KEY, "banned_until_ms", until_ms)
        assert desk.world.await_result(entry_id).executed
        assert [int(post["time_ms"]) >= until_ms for post in desk.posts()] == [True]


def test_a_ban_that_outlives_the_permits_ends_the_plan_as_not_placed(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Never silently: a new plan can succeed."""
    desk.hold(SOL, "1")
    with desk.running():
        entry_id = held_by_a_ban(desk, caplog)
        desk.redis.delete(permit.key(Gate.P33, desk.world.plan(entry_id).plan_id))  # it has run out
        end = desk.world.await_result(entry_id)
        assert (end.decision, end.error, end.retryable) == (Decision.ERROR, "order_not_placed", True)
        assert desk.posts() == []


def test_a_ban_is_shared_and_no_second_order_goes_out(desk: Desk) -> None:
    """I-24: the first 418 is told to everybody, ourselves included."""
    for symbol in (SOL, "LTCUSDT"):
        desk.hold(symbol, "1")
    desk.paper.fault(on_post("status", status=418, retry_after_s=600))
    with desk.running():
        first = desk.world.await_result(desk.exit())
        assert (first.error, first.retryable) == ("exchange_error_1003", True)
        assert desk.redis.hget(control.BACKOFF_KEY, "banned_until_ms") is not None
        second = desk.exit("LTCUSDT")
        time.sleep(0.5)  # nothing must happen, which no event tells
        assert len(desk.posts()) == 1
        desk.redis.delete(control.BACKOFF_KEY)  # it is over
        assert desk.world.await_result(second).executed


@pytest.mark.parametrize(
    "refusal", [{"fault": "status", "status": 429}, {"fault": "status", "status": 429, "code": -1015}], ids=str
)
def test_a_throttled_order_lets_the_next_ones_wait_for_their_one_post(desk: Desk, refusal: dict[str, Any]) -> None:
    """I-24: the limit of orders would refuse them too, and each has one POST: it goes out when the limit has passed."""
    others = ("LTCUSDT", "DOTUSDT")
    for symbol in (SOL, *others):
        desk.hold(symbol, "10")
    desk.paper.fault(on_post(retry_after_s=2, **refusal))
    with desk.running():
        first = desk.world.await_result(desk.exit())
        assert (first.error.startswith("exchange_error_10"), first.retryable) == (True, True)
        until_ms = int(desk.redis.hget(control.BACKOFF_KEY, "orders_until_ms") or 0)
        for end in [desk.world.await_result(desk.exit(symbol)) for symbol in others]:
            assert end.executed, end
        assert [int(post["time_ms"]) >= until_ms for post in desk.posts()] == [False, True, True]
        desk.world.assert_settled(3)


def test_a_throttled_query_is_not_repeated_before_its_time(desk: Desk) -> None:
    """I-24: asking on after a 429 would end in a ban, and then no exit goes out either; orders go on meanwhile."""
    for symbol in (SOL, "LTCUSDT", "DOTUSDT"):
        desk.hold(symbol, "10")
    desk.paper.fault(
        *({"fault": "swallow_reply", "symbol": symbol, "times": 1} for symbol in (SOL, "LTCUSDT")),
        {"fault": "status", "status": 429, "retry_after_s": 3, "method": "GET", "path": ORDER_PATH, "times": 1},
    )
    with desk.running():
        unanswered = [desk.exit(SOL), desk.exit("LTCUSDT")]
        wait_until(desk.queries)
        assert desk.world.await_result(desk.exit("DOTUSDT")).executed
        for entry_id in unanswered:
            assert desk.world.await_result(entry_id, 20).executed
        asked_ms = [int(query["time_ms"]) for query in desk.queries() if query["status"] != 200]
        answered_ms = [int(query["time_ms"]) for query in desk.queries() if query["status"] == 200]
        assert len(asked_ms) == 1
        assert min(answered_ms) >= asked_ms[0] + 2_900


def test_a_quantity_is_cut_to_the_exchanges_step(desk: Desk) -> None:
    """I-45: the smallest of several gates' need be no multiple of the step; it is cut, never rounded, in plain text."""
    desk.redis.hset(universe.INSTRUMENTS_KEY, "LTCUSDT", universe.encode_instrument(LTC))
    desk.hold("LTCUSDT", "10")
    with desk.running():
        end = desk.world.await_result(desk.exit("LTCUSDT", "2.0019999999999"))
        assert (end.executed, end.quantity) == (True, Decimal("2.001"))
        assert [post["parameters"]["quantity"] for post in desk.posts()] == ["2.001"]
        made = desk.world.claim(end.plan_id)
        assert made is not None
        assert made.qty == Decimal("2.001")
        opened = desk.world.await_result(desk.open("LTCUSDT", "0.0009", price="85"))
        assert (opened.decision, opened.error) == (Decision.BLOCKED, "below_minimum")
        assert len(desk.posts()) == 1
        desk.world.assert_settled(2)


@pytest.mark.parametrize(
    "command", [("HSET", universe.INSTRUMENTS_KEY, "LTCUSDT", "rubbish"), ("SET", universe.INSTRUMENTS_KEY, "rubbish")]
)
def test_trouble_in_the_universe_stops_no_exit(desk: Desk, command: tuple[str, ...]) -> None:
    """I-12: what the gates allow is sent as it is, and the exchange's own filters decide."""
    desk.hold("LTCUSDT", "10")
    send: Any = desk.redis.execute_command
    send(*command)
    with desk.running():
        assert desk.world.await_result(desk.exit("LTCUSDT", "2")).executed
        assert desk.world.await_result(desk.exit("LTCUSDT", "0.0015")).error == "exchange_error_1111"


def test_rules_that_leave_nothing_of_an_exit_do_not_stop_it(desk: Desk) -> None:
    """I-12: the gate knew other rules a moment ago; where these are right the exchange says so by its own code."""
    wrong = msgspec.structs.replace(LTC, min_qty="1000000")
    desk.redis.hset(universe.INSTRUMENTS_KEY, "LTCUSDT", universe.encode_instrument(wrong))
    desk.hold("LTCUSDT", "10")
    with desk.running():
        assert desk.world.await_result(desk.exit("LTCUSDT", "2")).executed
        small = desk.world.await_result(desk.exit("LTCUSDT", "0.0009"))
        assert (small.decision, small.executed, small.error) == (Decision.ERROR, False, "exchange_error_1111")
        assert len(desk.posts()) == 2
        desk.world.assert_settled(2)


def test_a_back_off_that_is_no_hash_is_in_plain_sight(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """I-06: no order goes out and none is asked for; status, log and metric say why, and what mends it."""
    desk.hold("LTCUSDT", "1")
    desk.paper.fault({"fault": "swallow_reply", "times": 1}, {"fault": "drop", "method": "GET", "path": ORDER_PATH})
    with desk.running():
        unresolved = desk.open()
        wait_until(desk.queries)
        desk.redis.set(control.BACKOFF_KEY, "x")
        said = "and none is asked for: quantum:exchange:backoff is no hash: delete it"
        wait_until(lambda: _says(desk, held_up=said, unresolved=1), 15)
        assert metrics.HELD_UP._value.get() == 1
        assert f"Orders are held up {said}" in [
            record.message for record in caplog.records if record.levelname == "ERROR"
        ]
        desk.paper.clear_faults()
        exiting = desk.exit("LTCUSDT")
        wait_until(lambda: "takes no order now, or cannot be read" in caplog.text, 15)
        assert desk.world.results() == []
        desk.redis.delete(control.BACKOFF_KEY)
        assert desk.world.await_result(exiting, 20).executed
        assert desk.world.await_result(unresolved, 20).executed
        wait_until(lambda: _says(desk, held_up="", unresolved=0), 15)


def _says(desk: Desk, **wanted: object) -> bool:
    """Tell whether the heartbeat says this."""
    status = claim.decode_status(desk.redis.hgetall(claim.STATUS_KEY))
    return all(getattr(status, name, None) == value for name, value in wanted.items())


def test_without_a_line_in_the_log_there_is_no_order(desk: Desk) -> None:
    """A full disk: the plan ends, retryable, and the claim with it."""
    desk.hold(SOL, "1")
    with desk.running() as layer:
        log = layer.layer._given.sent_log
        log.close()
        (desk.directory / "sent.log").unlink()
        (desk.directory / "sent.log").mkdir()
        end = desk.world.await_result(desk.exit())
        assert (end.decision, end.error, end.retryable) == (Decision.ERROR, "order_not_placed", True)
        assert desk.posts() == []
        desk.world.assert_settled(1)


def test_an_exchange_that_is_away_places_nothing(desk: Desk) -> None:
    """No connection was made at all: that is certain, and needs no asking."""
    with desk.running():
        wait_until(lambda: desk.redis.hget(claim.STATUS_KEY, "last_ts"))
        desk.paper.stop()
        try:
            end = desk.world.await_result(desk.open())
            assert (end.error, end.retryable) == ("order_not_placed", True)
        finally:
            desk.paper.start()
