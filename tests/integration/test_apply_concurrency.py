"""Many plans at once: exits leave first and in time, and nobody waits for another's order."""

import json
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from redis import Redis

from microservices.paper_exchange.builtin_market import builtin_exchange_info
from tests.support.apply_paper import ORDER_PATH, SOL, Desk
from tests.support.apply_truth import assert_all_true
from tests.support.apply_world import FAR, redis_ms
from tests.support.paper import PaperExchange
from tests.support.waiting import wait_until

EXITS = 45
HANGS_S = 10.0


@pytest.fixture
def desk(redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> Desk:
    """Everything but the layer itself."""
    return Desk(redis_client, paper, tmp_path)


@pytest.fixture
def crowded(redis_client: Redis, tmp_path: Path) -> Iterator[Desk]:
    """An exchange with a symbol for each exit and three opens, and a position in each of the former."""
    listing = builtin_exchange_info()
    [pattern] = [entry for entry in listing["symbols"] if entry["symbol"] == "DOTUSDT"]
    listing["symbols"] = [pattern | {"symbol": f"C{number:02}USDT"} for number in range(EXITS + 3)]
    (tmp_path / "exchange-info.json").write_text(json.dumps(listing))
    with PaperExchange(settings={"PAPER_EXCHANGE_INFO": str(tmp_path / "exchange-info.json")}) as paper:
        yield Desk(redis_client, paper, tmp_path / "state")


def test_45_exits_leave_within_their_permits_life_and_before_any_open(crowded: Desk) -> None:
    """Orders take 100 to 500 ms and one hangs for ten seconds; it holds nobody up, and no open goes first."""
    desk = crowded
    symbols = [f"C{number:02}USDT" for number in range(EXITS + 3)]
    amounts = {symbol: str(math.ceil(30 / desk.paper.mark(symbol))) for symbol in symbols}
    exits, opens = symbols[:EXITS], symbols[EXITS:]
    for symbol in exits:
        desk.hold(symbol, amounts[symbol])
    slow = [{"fault": "latency", "seconds": 0.1 + 0.4 * number / EXITS} for number in range(EXITS)]
    aims = [{"method": "POST", "path": ORDER_PATH, "symbol": symbol} for symbol in exits]
    desk.paper.fault(
        {"fault": "accept_late", "seconds": HANGS_S, "reply": "hang", "symbol": exits[0], "times": 1},
        *(fault | aim for fault, aim in zip(slow[1:], aims[1:], strict=True)),
    )
    entries = {symbol: desk.exit(symbol, amounts[symbol]) for symbol in exits}
    entries |= {symbol: desk.open(symbol, amounts[symbol], price="1") for symbol in opens}
    permitted_ms = redis_ms(desk.redis)
    with desk.running():
        for symbol in [*symbols[1:], symbols[0]]:
            desk.world.show_account()  # as the brain does all the time
            end = desk.world.await_result(entries[symbol], 45)
            assert (end.executed, end.quantity) == (True, Decimal(amounts[symbol])), end
        assert max(int(post["time_ms"]) for post in desk.posts()) < permitted_ms + FAR
        assert max(claimed_ms(desk, entries[symbol]) for symbol in exits) <= min(
            claimed_ms(desk, entries[symbol]) for symbol in opens
        )
        desk.await_no_claims()
        assert_all_true(desk, {symbol: amounts[symbol] for symbol in exits})


def claimed_ms(desk: Desk, entry_id: str) -> int:
    """Tell when a plan was claimed."""
    made = desk.world.claim(desk.world.plan(entry_id).plan_id)
    assert made is not None
    assert made.claimed_at_ms is not None
    return made.claimed_at_ms


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
    desk = Desk(redis_client, paper, tmp_path, APPLY_WORKERS="3")
    desk.hold("DOTUSDT", "10")
    opens = (SOL, "LTCUSDT", "BCHUSDT")
    for symbol in opens:
        desk.paper.fault({"fault": "latency", "seconds": 3.0, "method": "POST", "path": ORDER_PATH, "symbol": symbol})
    with desk.running():
        opening = [desk.open(symbol, "4", price="10") for symbol in opens]
        wait_until(lambda: desk.redis.hlen("quantum:apply:open") == 2, what="two opens on their way")
        assert desk.world.await_result(desk.exit("DOTUSDT", "10")).executed
        assert [desk.world.results_of(entry_id) for entry_id in opening] == [[], [], []]
        for entry_id in opening:
            assert desk.world.await_result(entry_id).executed


def test_one_symbols_orders_go_one_after_the_other(desk: Desk) -> None:
    """Two permitted exits of one symbol, by whatever mistake: never two orders at the same time."""
    desk.hold(SOL, "2")
    desk.paper.fault({"fault": "latency", "seconds": 0.4, "method": "POST", "path": ORDER_PATH})
    with desk.running():
        first = desk.exit()
        wait_until(desk.posts, what="the first order")
        second = desk.exit()
        assert desk.world.await_result(first).executed
        assert desk.world.await_result(second).executed
        one, two = desk.posts()
        assert int(two["time_ms"]) - int(one["time_ms"]) >= 350
        assert desk.paper.position(SOL) == 0
