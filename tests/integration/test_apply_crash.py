"""Redis killed, emptied and rolled back under a real process: at most one order, exactly one result, the truth told."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from microservices.contracts import claim, permit, result
from microservices.contracts.claim import ClaimState
from microservices.contracts.permit import Gate
from tests.support.apply_paper import ORDER_PATH, SOL, Desk
from tests.support.apply_process import environment, process, roll_back
from tests.support.apply_truth import assert_all_true
from tests.support.daemon import ROOT
from tests.support.paper import PaperExchange
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

HELD = {SOL: "2"}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis of the test's own that keeps its data on the disk, so that it can be rolled back."""
    with RedisServer(appendonly=True) as own:
        yield own


@pytest.fixture
def desk(server: RedisServer, paper: PaperExchange, tmp_path: Path) -> Iterator[Desk]:
    """Everything but the process, with a position to close."""
    with server.client() as client:
        made = Desk(client, paper, tmp_path)
        made.hold(SOL, HELD[SOL])
        yield made


def told_the_truth(desk: Desk) -> None:
    """Wait until nothing is on its way, and assert that everything agrees."""
    desk.await_no_claims()
    wait_until(lambda: desk.world.pending() == 0, 30)
    assert_all_true(desk, HELD)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_redis_rolled_back_to_before_the_claim_gets_no_second_order(
    server: RedisServer, desk: Desk, restarted: bool
) -> None:
    """The plan is pending again and its permit is back: the log knows better, and the result is written again."""
    with process(server, desk) as first:
        entry_id = desk.world.add(symbol=SOL)
        wait_until(lambda: desk.world.pending() == 1, 20)
        desk.redis.set(permit.key(Gate.P33, "other"), "written before the copy is made")

        def trade() -> None:
            desk.world.permit(entry_id, safe_qty="1")
            desk.world.await_result(entry_id)
            wait_until(lambda: len(desk.log_lines()) == 2)
            if restarted:
                first.kill()

        roll_back(server, desk.directory / "kept", trade)
        assert not restarted or desk.world.results() == [], "Redis has forgotten it"
        desk.world.set_up()
        desk.world.permit(entry_id, safe_qty="1")
        if not restarted:
            end = desk.world.await_result(entry_id, 20)
            assert end.executed
    with process(server, desk):
        end = desk.world.await_result(entry_id, 20)
        assert (end.executed, end.quantity) == (True, Decimal(1))
        assert len(desk.posts()) == 1
        told_the_truth(desk)


def test_a_redis_rolled_back_while_an_order_is_unresolved_keeps_the_symbol_closed(
    server: RedisServer, desk: Desk
) -> None:
    """The claim comes back as sent from the log, and the one result follows when the exchange answers."""
    desk.paper.fault({"fault": "swallow_reply", "times": 1}, {"fault": "drop", "method": "GET", "path": ORDER_PATH})
    with process(server, desk):
        entry_id = desk.world.add(symbol=SOL)
        wait_until(lambda: desk.world.pending() == 1, 20)

        def trade() -> None:
            desk.world.permit(entry_id, safe_qty="1")
            wait_until(lambda: len(desk.queries()) >= 2, 30)

        roll_back(server, desk.directory / "kept", trade)
        made = wait_until(lambda: desk.world.claim(desk.world.plan(entry_id).plan_id), 20, what="the claim")
        assert made is not None
        assert (made.state, made.plan_entry_id) == (ClaimState.SENT, entry_id)
        assert desk.world.results() == []
        desk.paper.clear_faults()
        assert desk.world.await_result(entry_id, 20).executed
        told_the_truth(desk)


def test_an_empty_redis_gets_its_results_back(server: RedisServer, desk: Desk) -> None:
    """Everything is gone: what was executed is written again, each once, before anything new is done."""
    with process(server, desk):
        ends = [desk.world.await_result(desk.exit(), 20) for _ in range(2)]
        assert all(end.executed for end in ends)
        wait_until(lambda: len(desk.log_lines()) == 4)
        server.stop(signal.SIGKILL)
        shutil.rmtree(server.directory / "appendonlydir")
        server.start()
        wait_until(lambda: desk.redis.xlen(result.STREAM) == 2, 20, what="the results")
        assert sorted(end.order_id for end in desk.world.results()) == sorted(end.order_id for end in ends)
        assert all((made := desk.world.claim(end.plan_id)) and made.state is ClaimState.DONE for end in ends)
        assert len(desk.posts()) == 2


def test_redis_restarted_in_the_midst_of_waiting_changes_nothing(server: RedisServer, desk: Desk) -> None:
    """With its data: the plans that waited go on, and end once."""
    with process(server, desk):
        entries = [desk.world.add(symbol=SOL), desk.world.add(symbol="LTCUSDT")]
        wait_until(lambda: desk.world.pending() == 2, 20)
        server.stop()
        server.start()
        desk.world.permit(entries[0], safe_qty="1")
        desk.world.permit(entries[1], allow=False, safe_qty="0", reason="no_position")
        assert desk.world.await_result(entries[0], 20).executed
        assert desk.world.await_result(entries[1], 20).error == "no_position"
        told_the_truth(desk)


def test_the_process_ends_when_told_to_and_starts_again_at_once(server: RedisServer, desk: Desk) -> None:
    """SIGTERM: exit 0, lease and lock given up."""
    with process(server, desk) as running:
        wait_until(lambda: desk.redis.hget(claim.STATUS_KEY, "last_ts"), 20)
        running.terminate()
        assert running.wait(20) == 0
        assert desk.redis.get(claim.LEASE_KEY) is None
    with process(server, desk):
        assert desk.world.await_result(desk.exit(), 20).executed


def test_check_config_once_and_a_wrong_setting(server: RedisServer, desk: Desk) -> None:
    """I-38: the command line of every service: secrets masked, `--once` does what there is, 78 for a wrong value."""
    given = environment(server, desk, desk.directory)
    del given["APPLY_MODE"]

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "microservices/apply_layer/main.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=given | variables, capture_output=True, text=True, timeout=30)

    shown = run("--check-config")
    assert shown.returncode == 0
    assert desk.paper.secret not in shown.stdout
    assert "APPLY_MODE=dry_run" in shown.stdout
    wrong = run("--check-config", APPLY_MODE="mainnet")
    assert wrong.returncode == 78
    assert wrong.stderr.startswith("APPLY_MODE='mainnet': allowed is")
    entry_id = desk.exit()
    once = run("--once")
    assert once.returncode == 0, once.stderr
    assert [end.error for end in desk.world.results_of(entry_id)] == ["dry_run"]
