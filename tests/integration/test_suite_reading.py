"""What the board and the final check of a run take for a service at work."""

import time
from decimal import Decimal

import msgspec
import pytest
from redis import Redis

from microservices.contracts import candles, claim, decision, hashes, market_state, position, result
from microservices.contracts.candles import FeedStatus
from microservices.contracts.claim import ApplyStatus
from microservices.contracts.control import Mode
from microservices.contracts.decision import P35Status
from microservices.contracts.market_state import PublisherStatus
from microservices.contracts.plan import Decision
from microservices.contracts.position import BrainStatus
from microservices.contracts.result import Result
from ops.suite.orders import OrdersLine
from ops.suite.reading import SuiteReader

PUBLISH_INTERVAL_S = 10
NOW = int(time.time())
ALIVE: dict[str, tuple[str, msgspec.Struct]] = {
    "candles": (candles.STATUS_KEY, FeedStatus(30, 0, NOW, 0, 0, NOW)),
    "marketstate": (market_state.STATUS_KEY, PublisherStatus(30, 0, "{}", 5, NOW)),
    "brain": (position.STATUS_KEY, BrainStatus(NOW, Mode.PAPER, "1", "universe", 30, 400)),
    "apply": (claim.STATUS_KEY, ApplyStatus(NOW, Mode.PAPER, "1", 0, 0)),
    "decisions": (decision.STATUS_KEY, P35Status(processed_total=3, last_ts=NOW)),
}
HEARTBEATS = {
    "candles": "updated_at",
    "marketstate": "last_cycle_epoch",
    "brain": "last_ts",
    "apply": "last_ts",
    "decisions": "last_ts",
}


def ready(redis: Redis, name: str, **changes: object) -> bool:
    """Whether a service counts as ready that says this of itself."""
    key, said = ALIVE[name]
    moment = {HEARTBEATS[name]: int(time.time())}
    redis.hset(key, mapping=hashes.encode(msgspec.structs.replace(said, **(moment | changes))))
    view = SuiteReader(redis, PUBLISH_INTERVAL_S).read()
    return next(line.ready for line in view.services if line.name == name)


@pytest.mark.parametrize("name", ALIVE)
def test_a_young_sign_of_life_is_ready_and_an_old_one_is_not(redis_client: Redis, name: str) -> None:
    """A minute of silence is no service at work, whatever it said last."""
    assert ready(redis_client, name)
    assert not ready(redis_client, name, **{HEARTBEATS[name]: int(time.time()) - 60})


@pytest.mark.parametrize(
    ("name", "nothing"),
    [("candles", {"symbols": 0}), ("marketstate", {"published": 0}), ("brain", {"snapshot_age_ms": -1})],
)
def test_a_service_that_has_nothing_yet_is_not_ready(redis_client: Redis, name: str, nothing: dict[str, int]) -> None:
    """No symbol followed, none published, no complete snapshot: alive, but not at work."""
    assert not ready(redis_client, name, **nothing)


def test_where_nobody_has_written_nobody_is_ready(redis_client: Redis) -> None:
    """An empty Redis: every line says that there is no sign of life."""
    view = SuiteReader(redis_client, PUBLISH_INTERVAL_S).read()
    assert [line.name for line in view.services] == ["universe", *ALIVE]
    assert not any(line.ready for line in view.services)
    assert not view.ready


def test_what_cannot_be_read_is_said_and_not_ready(redis_client: Redis) -> None:
    """A status that is no status neither ends the watch nor passes for one."""
    redis_client.hset(position.STATUS_KEY, mapping={"last_ts": "soon"})
    view = SuiteReader(redis_client, PUBLISH_INTERVAL_S).read()
    assert any(position.STATUS_KEY in fault for fault in view.faults)
    assert not view.ready


def test_results_and_what_the_executor_says_make_the_line_of_orders(redis_client: Redis) -> None:
    """Of the last five minutes; a result that cannot be read is named and counts for nothing."""
    ends = {"executed": Decision.EXECUTE, "failed": Decision.ERROR, "blocked": Decision.BLOCKED}
    for name, kind in ends.items():
        end = Result(
            plan_id=name, plan_entry_id="1-0", decision=kind, executed=name == "executed", mode=Mode.PAPER,
            quantity=Decimal(name == "executed"), wait_ms=3, timestamp=NOW,
        )  # fmt: skip
        redis_client.xadd(result.STREAM, result.encode(end))
    redis_client.xadd(result.STREAM, {"plan_id": "rubbish"})
    assert ready(redis_client, "apply", unresolved=2, kill_switch="no_new_risk", held_up="by the exchange for 9 s")
    view = SuiteReader(redis_client, PUBLISH_INTERVAL_S).read()
    assert view.orders == OrdersLine(1, 1, (3, 3), 2, "by the exchange for 9 s", "no_new_risk")
    assert any(result.STREAM in fault for fault in view.faults)
