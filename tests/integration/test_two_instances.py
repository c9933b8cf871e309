"""Two brains, or two apply layers, on one account: the one without the lease takes nothing away from the other."""

import logging
from pathlib import Path

import pytest
from redis import Redis

from microservices.contracts import claim, plan, position
from microservices.position_state_brain.committing import LeaseLost
from microservices.runtime import LeaseHeld
from tests.support.apply_paper import Desk
from tests.support.brain_world import World
from tests.support.paper import PaperExchange
from tests.support.waiting import wait_until


@pytest.fixture
def rivals(redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[World, World]:
    """A brain that lost its lease unawares, as after a long freeze, and the other that has it now."""
    former = World(redis_client, tmp_path / "former", monkeypatch).begin()
    assert former.answer() == []
    redis_client.delete(position.LEASE_KEY)
    successor = World(redis_client, tmp_path / "successor", monkeypatch).begin()
    return former, successor


def test_a_brain_without_the_lease_takes_no_plans(rivals: tuple[World, World]) -> None:
    """Both read under one name: what the former took would be pending for ever, and an exit with it."""
    former, successor = rivals
    successor.open("mine")
    with pytest.raises(LeaseLost):
        former.brain.permits.tick()
    pending = successor.redis.xpending(plan.STREAM, plan.GROUP_BRAIN)
    assert pending["pending"] == 0
    assert [plan_id for plan_id, _ in successor.answer()] == ["mine"]


def test_a_brain_that_has_its_lease_again_finishes_what_the_other_left(rivals: tuple[World, World]) -> None:
    """The other read a plan and died: nobody else would ever look at it again."""
    former, successor = rivals
    with pytest.raises(LeaseLost):
        former.brain.permits.tick()
    entry_id = successor.open("left")
    former.redis.xreadgroup(plan.GROUP_BRAIN, plan.CONSUMER_BRAIN, {plan.STREAM: ">"})
    with pytest.raises(LeaseHeld):
        former.brain.heartbeat()
    former.redis.delete(position.LEASE_KEY)
    former.brain.heartbeat()
    assert [plan_id for plan_id, _ in former.answer()] == ["left"]
    assert former.redis.xpending_range(plan.STREAM, plan.GROUP_BRAIN, entry_id, entry_id, 1) == []


def test_an_apply_layer_without_the_lease_takes_no_plans(
    redis_client: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it took would have no result until it has the lease again; then it goes on, and says so each time."""
    caplog.set_level(logging.INFO)
    with PaperExchange() as paper:
        desk = Desk(redis_client, paper, tmp_path)
        with desk.running():
            desk.world.await_result(desk.open())
            desk.redis.set(claim.LEASE_KEY, "another", px=60_000)
            wait_until(lambda: "the lease" in caplog.text, 20, what="the layer to notice")
            wait_until(lambda: _nobody_reads(desk.redis), 20, what="the last read to end")
            entry_id = desk.open()
            wait_until(lambda: f"the lease {claim.LEASE_KEY} is not ours" in caplog.text, 20, what="the reason")
            assert desk.world.pending() == 0
            assert desk.redis.xinfo_groups(plan.STREAM)[0]["lag"] == 1
            desk.redis.delete(claim.LEASE_KEY)
            assert desk.world.await_result(entry_id).executed


def _nobody_reads(redis: Redis) -> bool:
    """Tell whether nobody waits in XREADGROUP: what arrives then is given to nobody who was let in before."""
    return all(client["cmd"] != "xreadgroup" or "b" not in client["flags"] for client in redis.client_list())
