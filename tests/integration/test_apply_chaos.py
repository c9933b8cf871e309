"""Everything that can break, in combinations nobody thought of: four things stay true."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from microservices.contracts import claim
from tests.support.apply_chaos import TIMEOUT_S, Chaos
from tests.support.apply_paper import SOL, Desk
from tests.support.apply_process import process
from tests.support.apply_truth import assert_all_true
from tests.support.paper import PaperExchange
from tests.support.redis_server import RedisServer
from tests.support.scale import scaled
from tests.support.waiting import wait_until

HELD = {SOL: "35"}
SEEDS = range(scaled(3))
RUNS = 4
ACTS = 12
SETTINGS = {
    "APPLY_ORDER_TIMEOUT_MS": str(int(TIMEOUT_S * 1000)), "APPLY_EXIT_WAIT_MS": "1500", "APPLY_PERMIT_WAIT_MS": "400",
}  # fmt: skip


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis of the test's own that keeps its data on the disk."""
    with RedisServer(appendonly=True) as own:
        yield own


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_breaks_at_once_four_things_stay_true(
    server: RedisServer, paper: PaperExchange, tmp_path: Path, seed: int
) -> None:
    """I-10, I-40, I-43: one order at most for a plan, one result for an entry, true claims, a position that agrees."""
    with server.client() as client:
        desk = Desk(client, paper, tmp_path / "state")
        desk.hold(SOL, HELD[SOL])
        chaos = Chaos(seed, server, desk, tmp_path / "kept")
        for _ in range(RUNS):
            with process(server, desk, variables=SETTINGS) as running:
                wait_until(lambda: client.get(claim.LEASE_KEY), 30, what="the lease")
                for _ in range(ACTS):
                    chaos.act(running)
                chaos.end(running)
        chaos.calm()
        desk.let_absences_be_final()
        with process(server, desk, variables=SETTINGS):
            wait_until(lambda: not chaos.unanswered(), 60, what=f"a result for each entry after {chaos.done}")
            assert desk.world.await_result(desk.exit(), 30).executed, f"it works no more after {chaos.done}"
            wait_until(lambda: desk.world.pending() == 0 and not client.hlen(claim.OPEN_KEY), 30, what="nothing open")
        paper.clear_faults()
        desk.paper.fault({"fault": "skew_clock", "seconds": 0})
        assert_all_true(desk, HELD, own_codes=frozenset({"plan_skip", "plan_blocked"}))
