"""Whatever the exchange does to an order: one order at most, one result, and it tells what was filled."""

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from microservices.contracts import claim, control, permit
from microservices.contracts.claim import ClaimState
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Decision
from tests.support.apply_paper import ORDER_PATH, SOL, Desk
from tests.support.apply_world import redis_ms
from tests.support.paper import PaperExchange
from tests.support.waiting import wait_until

FINAL_ABSENCE_S = 14.0


@pytest.fixture
def desk(redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> Desk:
    """Everything but the layer itself; orders have a deadline of a second."""
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
def test_an_order_that_nobody_answered_for_is_found(desk: Desk, fault: dict[str, Any]) -> None:
    """I-43: unknown is no result; the claim stays sent until the order is answered for, and nothing is sent twice."""
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
        assert desk.world.await_result(opening, 12).executed
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
        assert time.monotonic() - began < FINAL_ABSENCE_S, "they were found before an absence could be final"
        for name in ("never", "proxy", "open", "busy"):
            end = desk.world.await_result(entries[name], 30)
            assert (end.decision, end.error, end.retryable) == (Decision.ERROR, "order_not_placed", True), name
        assert FINAL_ABSENCE_S <= time.monotonic() - began < FINAL_ABSENCE_S + 4
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
        end = desk.world.await_result(desk.open(), 3)
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


def test_an_exit_waits_out_a_ban_within_its_plans_life(desk: Desk) -> None:
    """Orders obey 418: no POST while it lasts, one after it; the permits stay unburnt meanwhile."""
    desk.hold(SOL, "1")
    until_ms = redis_ms(desk.redis) + 1_500
    desk.redis.hset(control.BACKOFF_KEY, "banned_until_ms", until_ms)
    with desk.running():
        entry_id = desk.exit()
        time.sleep(0.5)  # nothing must happen, which no event tells
        assert desk.posts() == []
        assert desk.redis.exists(permit.key(Gate.P33, desk.world.plan(entry_id).plan_id))
        end = desk.world.await_result(entry_id)
        assert end.executed
        assert int(desk.posts()[0]["time_ms"]) >= until_ms
        assert end.wait_ms >= 1_000


def test_a_ban_that_outlives_the_permits_ends_the_plan_as_not_placed(desk: Desk) -> None:
    """Never silently: a new plan can succeed."""
    desk.hold(SOL, "1")
    desk.redis.hset(control.BACKOFF_KEY, "banned_until_ms", redis_ms(desk.redis) + 60_000)
    with desk.running():
        entry_id = desk.world.add(symbol=SOL)
        desk.world.permit(entry_id, safe_qty="1", expires_at_ms=redis_ms(desk.redis) + 800)
        end = desk.world.await_result(entry_id)
        assert (end.decision, end.error, end.retryable) == (Decision.ERROR, "order_not_placed", True)
        assert desk.posts() == []


def test_a_ban_is_shared_and_no_second_order_goes_out(desk: Desk) -> None:
    """I-24: the first 418 is told to everybody, ourselves included."""
    for symbol in (SOL, "LTCUSDT"):
        desk.hold(symbol, "1")
    desk.paper.fault(on_post("status", status=418, retry_after_s=2))
    with desk.running():
        first = desk.world.await_result(desk.exit())
        assert (first.error, first.retryable) == ("exchange_error_1003", True)
        assert desk.redis.hget(control.BACKOFF_KEY, "banned_until_ms") is not None
        second = desk.exit("LTCUSDT")
        time.sleep(0.5)  # nothing must happen, which no event tells
        assert len(desk.posts()) == 1
        assert desk.world.await_result(second).executed


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
            end = desk.world.await_result(desk.open(), 5)
            assert (end.error, end.retryable) == ("order_not_placed", True)
        finally:
            desk.paper.start()
