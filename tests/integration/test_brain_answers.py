"""What a real paper exchange with its faults may answer about the account: believed or not, and why."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from microservices.contracts import control, position
from microservices.contracts.plan import Side
from microservices.exchange import SharedBackoff, SignedClient
from microservices.runtime import Secret, SystemClock
from tests.support.brain import SYMBOL
from tests.support.brain_world import POSITIONS_PATH, ReadExchange, World
from tests.support.paper import PaperExchange
from tests.support.waiting import wait_until

D = Decimal
HELD = D("0.5")


@pytest.fixture
def world(redis_client: Redis, paper: PaperExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A brain that has adopted an account of the paper exchange with one position; every instrument is known."""
    paper.clear_faults()
    if missing := HELD - paper.position(SYMBOL):
        assert paper.order(SYMBOL, "BUY" if missing > 0 else "SELL", abs(missing)).status == 200
    client = SignedClient(
        paper.base_url, Secret(paper.key), Secret(paper.secret), clock=SystemClock(),
        backoff=SharedBackoff(redis_client, control.BACKOFF_KEY, "test"),
    )  # fmt: skip
    ready = World(redis_client, tmp_path, monkeypatch, ReadExchange(client))
    ready.publish_universe(*(row.symbol for row in client.position_risk()), age_s=20)
    ready.redis.set(control.KILL_SWITCH_KEY, "off")
    ready.brain.prepare()
    recover(ready)
    assert ready.booked() == HELD
    return ready


def recover(world: World) -> None:
    """Have the account asked for until an answer is whole: on a busy machine one may be too late."""

    def is_known() -> bool:
        world.snapshot()
        return world.brain.snapshots.shortfall() == ""

    wait_until(is_known, 30, what="a complete answer")


def asked(paper: PaperExchange) -> list[dict[str, Any]]:
    """The requests for the account so far."""
    return paper.requests(path=POSITIONS_PATH)


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"fault": "empty_account"}, "no row at all"),
    ({"fault": "partial_account", "keep": 0.5}, "rows for only"),
    ({"fault": "partial_account", "without": [SYMBOL]}, f"no row for {SYMBOL}, which we hold"),
    ({"fault": "duplicate_rows"}, "are named twice"),
    ({"fault": "truncate", "path": POSITIONS_PATH}, "body"),
    ({"fault": "truncate", "path": POSITIONS_PATH, "honest_length": True}, "truncated"),
    ({"fault": "html", "path": POSITIONS_PATH, "status": 200}, "HTML instead of JSON"),
    ({"fault": "drop", "path": POSITIONS_PATH}, "connection"),
    ({"fault": "error", "code": -1000, "path": POSITIONS_PATH}, "-1000"),
    ({"fault": "error", "code": -2015, "path": POSITIONS_PATH}, "-2015"),
    ({"fault": "service_unavailable", "path": POSITIONS_PATH}, "503"),
]


@pytest.mark.parametrize(("fault", "why"), FAULTS, ids=lambda value: str(value)[:60])
def test_no_answer_changes_anything_until_one_is_whole(
    world: World, paper: PaperExchange, fault: dict[str, Any], why: str
) -> None:
    """I-44: neither account nor snapshot nor ledger; nothing is re-dated (I-26), and the next whole answer is taken."""
    before = (world.account(), world.row(), world.ledger())
    paper.fault(fault)
    for _ in range(3):
        world.snapshot()
    said = world.brain.snapshots.shortfall()
    assert (world.account(), world.row(), world.ledger()) == before
    assert said.startswith("no complete answer about the account: ")
    assert why in said
    paper.clear_faults()
    recover(world)
    assert world.hold() is None


def test_the_whole_account_is_one_request_a_poll(world: World, paper: PaperExchange) -> None:
    """I-19, I-20: never one a symbol, however many there are; all that are traded are known afterwards."""
    before = len(asked(paper))
    for _ in range(4):
        world.snapshot()
    new = asked(paper)[before:]
    assert len(new) == 4
    assert not any("symbol" in request["parameters"] for request in new)

    def all_are_priced() -> bool:
        world.snapshot()
        view = world.brain._board.view
        return set(view.mark_prices) == set(view.rows) and len(view.rows) > 10

    wait_until(all_are_priced, 30, what="a price for every symbol")


def test_being_throttled_stops_the_asking_until_its_time_is_over(world: World, paper: PaperExchange) -> None:
    """I-24: a 429 is shared with everybody and obeyed; plans get their reason, not another request."""
    paper.fault({"fault": "status", "status": 429, "retry_after_s": 600, "path": POSITIONS_PATH})
    world.snapshot()
    assert int(world.redis.hget(control.BACKOFF_KEY, "throttled_until_ms") or 0) > world.now_ms() + 500_000
    view = world.brain._board.view
    world.brain._board.publish(type(view)(one_way=True, sequence=view.sequence))
    count = len(asked(paper))
    world.close("out")
    assert world.answer() == []
    for _ in range(3):
        world.snapshot()
    world.clock.advance(10.1)
    assert world.answer() == [("out", "no_exchange_snapshot")]
    assert len(asked(paper)) == count
    world.redis.delete(control.BACKOFF_KEY)
    paper.clear_faults()
    recover(world)


def test_a_slow_answer_is_as_old_as_its_request(world: World, paper: PaperExchange) -> None:
    """Half a second on its way: half a second old when it comes."""
    paper.fault({"fault": "latency", "seconds": 0.5, "path": POSITIONS_PATH})
    recover(world)
    account = world.account()
    assert account is not None
    assert world.now_ms() - account.ts_ms >= 450


def test_an_answer_that_plans_wait_for_has_a_shorter_deadline(world: World, paper: PaperExchange) -> None:
    """An open waits 0.9 s: an answer that takes longer is given up, and asked for again a second later."""
    paper.fault({"fault": "latency", "seconds": 2, "path": POSITIONS_PATH, "times": 1})
    world.brain.snapshots._demand.set(world.now_ms())
    world.clock.advance(1.0)
    assert world.brain.snapshots.tick() > 0
    assert "no answer within 0.8 s" in world.brain.snapshots.shortfall()
    world.brain.snapshots._demand.set(None)
    recover(world)


@pytest.mark.parametrize("rows_only", [True, False])
def test_hedge_mode_is_seen_in_rows_and_in_the_mode(world: World, paper: PaperExchange, *, rows_only: bool) -> None:
    """Whichever the exchange shows first; everything is denied, exits too, because LONG and SHORT have no one sign."""
    paper.fault({"fault": "hedge_mode", "rows_only": rows_only})

    def is_seen() -> bool:
        world.snapshot(after_s=301)
        return world.brain._board.view.one_way is False

    wait_until(is_seen, 30, what="hedge mode to be seen")
    world.close("out")
    assert world.answer() == [("out", "hedge_mode_unsupported")]
    account = position.decode_account(world.redis.hgetall(position.ACCOUNT_KEY))
    assert account is not None
    assert not account.one_way


@pytest.mark.parametrize("by", ["liquidation", "adl"])
def test_what_the_exchange_closes_by_force_is_held_by_name(world: World, paper: PaperExchange, by: str) -> None:
    """A part of a position is gone, and no result of ours says so; what is left can be closed."""
    world.redis.hset(position.ledger_key(SYMBOL), "last_exec_ts_ms", world.now_ms() - 60_000)
    paper.fault({"fault": "liquidate", "symbol": SYMBOL, "share": 0.4, "by": by})
    recover(world)
    assert world.hold() == "brain:exchange_below_ledger"
    world.close("out", side=Side.SELL)
    assert world.answer() == [("out", "allowed")]
    permitted = world.permit("out")
    assert permitted is not None
    assert D(permitted.safe_qty) == paper.position(SYMBOL) < HELD
