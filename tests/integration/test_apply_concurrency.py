"""Many plans at once: exits leave first and in time, and nobody waits for another's order."""

import time
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from redis import Redis

from microservices.paper_exchange.builtin_market import BASE_PRICES
from tests.support.apply_paper import ORDER_PATH, SOL, Desk
from tests.support.paper import PaperExchange
from tests.support.waiting import wait_until

SMALL = {"BTCUSDT": "0.002", "ETHUSDT": "0.02", "BNBUSDT": "0.1", "BCHUSDT": "0.1"}


def small(symbol: str) -> str:
    """Give a quantity of about 50 USDT that is a multiple of every step."""
    return SMALL.get(symbol) or str(int(Decimal(50) / BASE_PRICES[symbol]) + 1)


@pytest.fixture
def desk(redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> Desk:
    """Everything but the layer itself."""
    return Desk(redis_client, paper, tmp_path)


def test_exits_all_leave_within_their_permits_life_though_orders_are_slow(desk: Desk) -> None:
    """Half a second an order and one that hangs for ten: thirty exits on eight workers are through in seconds."""
    symbols = sorted(BASE_PRICES)
    for symbol in symbols:
        desk.hold(symbol, small(symbol))
    held = {symbol: desk.paper.position(symbol) for symbol in symbols}
    desk.paper.fault(
        {"fault": "accept_late", "seconds": 9.0, "reply": "hang", "symbol": symbols[0], "times": 1},
        {"fault": "latency", "seconds": 0.4, "method": "POST", "path": ORDER_PATH},
    )
    with desk.running():
        began = time.monotonic()
        entries = {symbol: desk.exit(symbol, str(held[symbol])) for symbol in symbols}
        for symbol in symbols[1:]:
            end = desk.world.await_result(entries[symbol], 15)
            assert (end.executed, end.quantity) == (True, held[symbol]), symbol
        assert time.monotonic() - began < 8, "the one that hangs holds nobody up"
        assert len(desk.posts()) == len(symbols)
        hung = desk.world.await_result(entries[symbols[0]], 15)
        assert hung.executed
        desk.world.assert_settled(len(symbols))


def test_opens_never_overtake_exits(redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> None:
    """With everything permitted and one worker, every exit leaves before the first open."""
    desk = Desk(redis_client, paper, tmp_path, APPLY_WORKERS="1")
    exits, opens = ("LTCUSDT", "AVAXUSDT", "DOTUSDT"), (SOL, "BCHUSDT")
    for symbol in exits:
        desk.hold(symbol, "10")
    opening = [desk.open(symbol, "4", price="10") for symbol in opens]
    exiting = [desk.exit(symbol, "10") for symbol in exits]
    desk.paper.fault({"fault": "latency", "seconds": 0.1, "method": "POST", "path": ORDER_PATH})
    with desk.running():
        for entry_id in [*exiting, *opening]:
            assert desk.world.await_result(entry_id).executed
        assert [post["parameters"]["reduceOnly"] for post in desk.posts()] == [*["true"] * 3, *["false"] * 2]


def test_an_exit_has_a_worker_while_opens_hang(redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> None:
    """Opens leave the last worker to an exit."""
    desk = Desk(redis_client, paper, tmp_path, APPLY_WORKERS="3", APPLY_ORDER_TIMEOUT_MS="3000")
    desk.hold("DOTUSDT", "10")
    opens = (SOL, "LTCUSDT", "BCHUSDT")
    for symbol in opens:
        desk.paper.fault({"fault": "latency", "seconds": 1.0, "method": "POST", "path": ORDER_PATH, "symbol": symbol})
    with desk.running():
        opening = [desk.open(symbol, "4", price="10") for symbol in opens]
        wait_until(lambda: desk.redis.hlen("quantum:apply:open") == 2, what="two opens on their way")
        began = time.monotonic()
        assert desk.world.await_result(desk.exit("DOTUSDT", "10")).executed
        assert time.monotonic() - began < 0.5
        for entry_id in opening:
            assert desk.world.await_result(entry_id).executed


def test_one_symbols_orders_go_one_after_the_other(desk: Desk) -> None:
    """Two permitted exits of one symbol, by whatever mistake: never two orders at the same time."""
    desk.hold(SOL, "2")
    desk.paper.fault({"fault": "latency", "seconds": 0.4, "method": "POST", "path": ORDER_PATH})
    with desk.running():
        first = desk.exit()
        wait_until(lambda: desk.redis.hlen("quantum:apply:open") == 1)
        second = desk.exit()
        assert desk.world.await_result(first).executed
        assert desk.world.await_result(second).executed
        one, two = desk.posts()
        assert int(two["time_ms"]) - int(one["time_ms"]) >= 350
        assert desk.paper.position(SOL) == 0


def test_a_plan_is_through_in_tens_of_milliseconds(desk: Desk) -> None:
    """From the permit to the result of a filled order, over the whole way."""
    desk.hold(SOL, "30")
    took_ms = []
    with desk.running():
        for _ in range(15):
            entry_id = desk.world.add(symbol=SOL)
            began = time.perf_counter()
            desk.world.permit(entry_id, safe_qty="1")
            wait_until(partial(desk.world.results_of, entry_id), every_s=0.001)
            took_ms.append((time.perf_counter() - began) * 1000)
        assert sorted(took_ms)[len(took_ms) // 2] < 80, took_ms
        assert desk.paper.position(SOL) == Decimal(15)
        desk.world.assert_settled(15)
