"""The kill switch in every value and on every path: what is not sent yet is not sent any more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis

from microservices.apply_layer.jobs import Job
from microservices.apply_layer.scripts import SENT, Claimed, OurRefusal, Ready
from microservices.apply_layer.sent_log import SentLog
from microservices.contracts import claim, control, permit
from microservices.contracts.claim import ClaimState
from microservices.contracts.permit import Gate
from microservices.contracts.result import Result
from tests.support.apply_bench import P33, Bench
from tests.support.apply_left import Left
from tests.support.apply_paper import ORDER_PATH, SOL, Desk
from tests.support.apply_world import redis_ms
from tests.support.paper import PaperExchange
from tests.support.waiting import wait_until

LTC = "LTCUSDT"
PADS = st.text(" \t\r\n\v\f", max_size=3)
WORDS = st.sampled_from(["off", "OFF", "no_new_risk", "No_New_Risk", "full_stop", "of", "0", "false", ""])
VALUES = st.one_of(st.binary(max_size=12), st.tuples(PADS, WORDS, PADS).map(lambda parts: "".join(parts).encode()))


@pytest.fixture
def desk(redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> Desk:
    """Everything but the layer itself, with one worker, and two positions to close."""
    made = Desk(redis_client, paper, tmp_path, APPLY_WORKERS="1")
    for symbol in (SOL, LTC):
        made.hold(symbol, "2")
    return made


@given(value=VALUES)
@example("\u00a0off".encode())
@example("no_new_ris\u212a".encode())
@example(b"off\x00")
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_value_means_one_thing_to_one_reader_and_more_to_another(redis_client: Redis, value: bytes) -> None:
    """I-35, I-39: the script that claims, the one that marks as sent, and the contract's reader agree on every byte."""
    redis_client.flushall()
    bench = Bench(redis_client)
    jobs = []
    for entry_id in (bench.world.add("e1"), bench.world.add_open("o1")):
        bench.world.permit(entry_id)
        answer = bench.consume(entry_id)
        assert isinstance(answer, Claimed)
        jobs.append(Job.of_plan(bench.world.plan(entry_id), answer.quantity, 0))
        redis_client.delete(claim.OPEN_KEY)  # or the next open would be judged by it
    state, _ = control.decode_kill_switch(value)
    redis_client.set(control.KILL_SWITCH_KEY, value)
    stopped = (state.stops_exits, state.stops_opens)
    assert tuple(bench.scripts.mark_sent(job, 1) != SENT for job in jobs) == stopped
    for entry_id, is_stopped in zip((bench.world.add("e2"), bench.world.add_open("o2")), stopped, strict=True):
        bench.world.permit(entry_id)
        answer = bench.scripts.consume(bench.world.plan(entry_id), P33, may_claim=False)
        assert answer == (OurRefusal("kill_switch") if is_stopped else Ready(0))


def stop(desk: Desk, value: str = " Full_Stop\n") -> None:
    """Press it."""
    desk.redis.set(control.KILL_SWITCH_KEY, value)


def stopped_while_waiting_for_its_permit(desk: Desk) -> str:
    """The permit comes a moment after the switch."""
    entry_id = desk.world.add(symbol=SOL)
    wait_until(lambda: desk.world.pending() == 1)
    stop(desk)
    desk.world.permit(entry_id, safe_qty="1")
    return entry_id


def stopped_behind(desk: Desk, symbol: str) -> str:
    """An order of this symbol is on its way when it is pressed."""
    desk.paper.fault({"fault": "latency", "seconds": 3.0, "method": "POST", "path": ORDER_PATH, "times": 1})
    desk.exit(symbol)
    wait_until(lambda: desk.posts(symbol))
    entry_id = desk.exit()
    wait_until(lambda: desk.world.pending() == 2)
    stop(desk)
    return entry_id


def stopped_while_waiting_for_a_worker(desk: Desk) -> str:
    """The one worker is busy with another symbol's order."""
    return stopped_behind(desk, LTC)


def stopped_while_waiting_for_its_symbol(desk: Desk) -> str:
    """Another order of the symbol is on its way."""
    return stopped_behind(desk, SOL)


def stopped_while_a_ban_holds_it(desk: Desk) -> str:
    """The exchange has banned us; the switch ends the wait."""
    desk.redis.hset(control.BACKOFF_KEY, "banned_until_ms", redis_ms(desk.redis) + 600_000)
    entry_id = desk.exit()
    wait_until(lambda: desk.world.pending() == 1)
    stop(desk)
    return entry_id


@pytest.mark.parametrize(
    "path",
    [
        stopped_while_waiting_for_its_permit,
        stopped_while_waiting_for_a_worker,
        stopped_while_waiting_for_its_symbol,
        stopped_while_a_ban_holds_it,
    ],
    ids=lambda path: str(path.__name__),
)
def test_what_waits_is_not_sent_once_it_is_pressed(desk: Desk, path: Callable[[Desk], str]) -> None:
    """I-39: whatever it waits for; it ends with that code, and its permit is not burnt."""
    with desk.running():
        entry_id = path(desk)
        pressed_ms = redis_ms(desk.redis)
        end = desk.world.await_result(entry_id, 20)
        assert (end.decision.value, end.error) == ("BLOCKED", "kill_switch")
        assert [post for post in desk.posts() if int(post["time_ms"]) > pressed_ms] == []
        assert desk.redis.exists(permit.key(Gate.P33, end.plan_id))


def not_placed(end: Result) -> bool:
    """Whether a claimed plan ended as it must where no order may go out."""
    return (end.decision.value, end.error, end.retryable) == ("ERROR", "order_not_placed", True)


def test_a_claim_whose_line_is_being_written_is_not_sent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pressed between claim and POST: the script before the POST reads it once more."""
    append = SentLog.append

    def pressed(log: SentLog, order: Any) -> None:
        append(log, order)
        stop(desk)

    monkeypatch.setattr(SentLog, "append", pressed)
    with desk.running():
        assert not_placed(desk.world.await_result(desk.exit()))
        assert desk.posts() == []
        desk.world.assert_settled(1)


def test_a_recovered_claim_that_queues_for_a_worker_is_not_sent(desk: Desk) -> None:
    """A crash has left two; the first is being sent when it is pressed."""
    first, second = Left(desk, symbol=LTC, age_s=2), Left(desk, symbol=SOL, age_s=1)
    for left in (first, second):
        left.claim(ClaimState.CLAIMED)
    desk.paper.fault({"fault": "latency", "seconds": 3.0, "method": "POST", "path": ORDER_PATH, "times": 1})
    with desk.running():
        wait_until(desk.posts)
        stop(desk)
        ends = [desk.world.await_result(left.entry_id, 20) for left in (first, second)]
        assert sorted(end.executed for end in ends) == [False, True]
        assert [not_placed(end) for end in ends if not end.executed] == [True]
        assert len(desk.posts()) == 1


def test_it_keeps_nobody_from_learning_what_became_of_an_order(desk: Desk) -> None:
    """What is out is asked for and its result written, whatever the switch says: the ledger must learn of it."""
    desk.paper.fault({"fault": "swallow_reply", "times": 1}, {"fault": "drop", "method": "GET", "path": ORDER_PATH})
    with desk.running():
        entry_id = desk.exit()
        wait_until(desk.queries)
        stop(desk)
        desk.paper.clear_faults()
        assert desk.world.await_result(entry_id, 20).executed
        assert len(desk.posts()) == 1


def test_exits_only_lets_exits_go_and_off_lets_all(desk: Desk) -> None:
    """The two words that let something through do so at once, in any spelling."""
    with desk.running():
        stop(desk, "\tNO_NEW_RISK ")
        assert desk.world.await_result(desk.exit()).executed
        assert desk.world.await_result(desk.open()).error == "kill_switch"
        stop(desk, " Off\r\n")
        assert desk.world.await_result(desk.open()).executed
        desk.redis.delete(control.KILL_SWITCH_KEY)
        assert desk.world.await_result(desk.open()).error == "kill_switch"
        assert desk.world.await_result(desk.exit()).executed
