"""kill -9 after every step of a plan, and stopped at it for longer than the lease lives: four things stay true.

The steps are whatever leaves the process for the plan, enumerated from the code: a new one fails the first test.
"""

import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from microservices.contracts import claim, result
from microservices.contracts.claim import ClaimState
from tests.support.apply_crasher import ORDER, STEPS
from tests.support.apply_left import Left
from tests.support.apply_paper import SOL, Desk
from tests.support.apply_process import OUTPUT, process
from tests.support.apply_truth import assert_all_true
from tests.support.paper import PaperExchange
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

UNSENT = ("write sent", "fdatasync", "mark_sent.lua")
"""After these the line is there and the POST was not made: only asking tells."""
HELD = {SOL: "3"}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A Redis of the file's own."""
    with RedisServer() as own:
        yield own


@pytest.fixture
def desk(server: RedisServer, paper: PaperExchange, tmp_path: Path) -> Iterator[Desk]:
    """Everything but the process, with a position to close."""
    with server.client() as client:
        client.flushall()
        made = Desk(client, paper, tmp_path)
        made.hold(SOL, HELD[SOL])
        yield made


def permitted(desk: Desk, plan_id: str) -> str:
    """An exit with its permit."""
    return desk.exit(plan_id=plan_id)


def unanswered(desk: Desk, plan_id: str) -> str:
    """An order that fills, and whose answer is lost."""
    desk.paper.fault({"fault": "swallow_reply", "times": 1})
    return permitted(desk, plan_id)


def denied(desk: Desk, plan_id: str) -> str:
    """A gate says no."""
    entry_id = desk.world.add(plan_id, symbol=SOL)
    desk.world.permit(entry_id, allow=False, safe_qty="0", reason="no_position")
    return entry_id


def skipped(desk: Desk, plan_id: str) -> str:
    """Nothing to do."""
    return desk.world.add(plan_id, symbol=SOL, decision="SKIP")


def duplicate(desk: Desk, plan_id: str) -> str:
    """The id has ended under another entry."""
    done: dict[Any, Any] = {"state": "done", "plan_entry_id": "1-0", "symbol": SOL, "done_at_ms": "1"}
    desk.redis.hset(claim.key(plan_id), mapping=done)
    return permitted(desk, plan_id)


def claimed(desk: Desk, plan_id: str) -> str:
    """A crash came between claim and line."""
    left = Left(desk, plan_id=plan_id)
    left.claim(ClaimState.CLAIMED)
    return left.entry_id


def sent(desk: Desk, plan_id: str) -> str:
    """A crash came after the order, and Redis has forgotten the claim."""
    left = Left(desk, plan_id=plan_id)
    left.line()
    left.order()
    return left.entry_id


def lost(desk: Desk, plan_id: str) -> str:
    """Redis has forgotten result and claim of an order that ended."""
    entry_id = permitted(desk, plan_id)
    with desk.running():
        desk.world.await_result(entry_id)
        wait_until(lambda: len(desk.log_lines()) == 2)
    desk.redis.delete(result.STREAM, claim.key(plan_id))
    return entry_id


CASES: dict[str, Callable[[Desk, str], str]] = {
    "order": permitted, "unanswered": unanswered, "denied": denied, "skipped": skipped, "duplicate": duplicate,
    "claimed": claimed, "sent": sent, "lost": lost,
}  # fmt: skip
BEHIND = {
    "unanswered": ("XREADGROUP", "MGET", "consume.lua", "HGET", "write sent", "fdatasync", "mark_sent.lua"),
    "denied": ("XREADGROUP", "MGET", "consume.lua"),
    "skipped": ("XREADGROUP",),
    "duplicate": ("XREADGROUP", "MGET", "consume.lua"),
    "claimed": ("XREADGROUP", *ORDER),
    "sent": ("XREADGROUP",),
}
AT_ITS_LEISURE = {"claimed": {"XREADGROUP"}, "sent": {"XREADGROUP"}}
"""What a start does beside taking up what a crash left: the plan may have ended before its entry is read again."""
KILLS = [(case, step) for case, steps in STEPS.items() for step in steps if step not in BEHIND.get(case, ())]
"""Where a case is like `order` up to a step, or from it on, it is killed there once, as `order`."""


def begun(desk: Desk, case: str) -> tuple[str, tuple[str, ...]]:
    """Leave what the case begins with; give the entry id, and all that names the plan."""
    plan_id = f"plan-{secrets.token_hex(6)}"
    entry_id = CASES[case](desk, plan_id)
    return entry_id, (plan_id, entry_id, claim.client_order_id(plan_id), SOL)


def settled(desk: Desk, entry_id: str) -> None:
    """Wait for the end, and assert that everything agrees."""
    desk.world.await_result(entry_id, 30)
    wait_until(lambda: desk.world.pending() == 0 and not desk.redis.hlen(claim.OPEN_KEY), 30, what="nothing open")
    desk.paper.fault({"fault": "skew_clock", "seconds": 0})
    assert_all_true(desk, HELD, own_codes=frozenset({"plan_skip"}))


@pytest.mark.parametrize("case", CASES)
def test_the_steps_are_those_of_the_code(server: RedisServer, desk: Desk, case: str) -> None:
    """Whatever leaves the process for a plan is a step at which it is killed below."""
    assert STEPS.keys() == CASES.keys()
    (entry_id, names), steps = begun(desk, case), desk.directory / "steps"
    with process(server, desk, str(steps), "note", *names) as noting:
        settled(desk, entry_id)
        ends = 2 if "write end" in STEPS[case] else len(desk.log_lines())
        wait_until(lambda: len(desk.log_lines()) >= ends, 15, what="the end line")
        noting.terminate()
        assert noting.wait(15) == 0
    seen = set(steps.read_text().splitlines())
    assert seen | AT_ITS_LEISURE.get(case, set()) == set(STEPS[case])


@pytest.mark.parametrize(("case", "step"), KILLS)
def test_killed_after_a_step_the_plan_still_ends_once(server: RedisServer, desk: Desk, case: str, step: str) -> None:
    """Whatever the step: the next start sends what certainly was not sent, and asks for what may have been."""
    entry_id, names = begun(desk, case)
    with process(server, desk, step, "SIGKILL", *names) as killed:
        assert killed.wait(30) == -signal.SIGKILL
    desk.let_absences_be_final()
    with process(server, desk):
        settled(desk, entry_id)
    end = desk.world.results_of(entry_id)[0]
    if case == "order":
        assert (end.executed, end.error) == ((False, "order_not_placed") if step in UNSENT else (True, ""))
        assert len(desk.posts()) == (0 if step in UNSENT else 1)


@pytest.mark.parametrize("step", ["consume.lua", "fdatasync", "mark_sent.lua", "POST /fapi/v1/order"])
def test_stopped_at_a_step_for_longer_than_its_lease_it_does_no_harm(
    server: RedisServer, desk: Desk, step: str, tmp_path: Path
) -> None:
    """I-10: frozen, replaced by an executor on another machine, and woken: whatever it goes on with is refused."""
    entry_id, names = begun(desk, "order")
    with process(server, desk, step, "SIGSTOP", *names) as frozen:
        wait_until(lambda: _state(frozen.pid) == "T", 20, what="the stop")
        desk.redis.delete(claim.LEASE_KEY)  # it has run out
        desk.let_absences_be_final()
        with process(server, desk, directory=tmp_path / "other"):
            desk.world.await_result(entry_id, 30)
            frozen.send_signal(signal.SIGCONT)
            output = desk.directory / OUTPUT
            wait_until(lambda: "LeaseHeld" in output.read_text(), 30, what="the lease to be missed")
            settled(desk, entry_id)
    with process(server, desk):
        wait_until(lambda: desk.redis.get(claim.LEASE_KEY), 30)
        settled(desk, entry_id)
        assert len(desk.world.results()) == 1


def _state(pid: int) -> str:
    """Give the state of a process: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0]
