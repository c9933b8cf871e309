"""The apply layer over a paper exchange: what each plan ends in, and that it ends exactly once."""

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from microservices.apply_layer.sent_log import SentLog
from microservices.contracts import claim, control, permit, plan, position, result
from microservices.contracts.claim import ClaimState
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Decision, Side
from tests.support.apply_paper import SOL, Desk
from tests.support.apply_world import redis_ms
from tests.support.paper import PaperExchange
from tests.support.waiting import wait_until


@pytest.fixture
def desk(redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> Desk:
    """Everything but the layer itself."""
    return Desk(redis_client, paper, tmp_path)


@pytest.fixture
def impatient(redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> Desk:
    """The same, with a layer that waits for permits so shortly that a test can."""
    return Desk(redis_client, paper, tmp_path, APPLY_EXIT_WAIT_MS="1500", APPLY_PERMIT_WAIT_MS="400")


def test_a_permitted_open_becomes_one_order_and_one_result(desk: Desk) -> None:
    """From plan to fill: claim, log, order, result, heartbeat; the price is the fill's."""
    with desk.running():
        entry_id = desk.open(plan_id="p1")
        end = desk.world.await_result(entry_id)
        assert (end.decision, end.executed, end.error, end.retryable) == (Decision.EXECUTE, True, "", False)
        assert (end.quantity, end.side, end.reduce_only) == (Decimal(1), Side.BUY, False)
        assert end.price > 0
        (post,) = desk.posts()
        sent = post["parameters"]
        assert (sent["newClientOrderId"], sent["reduceOnly"], sent["type"]) == (
            claim.client_order_id("p1"),
            "false",
            "MARKET",
        )
        assert (sent["quantity"], sent["recvWindow"], sent["newOrderRespType"]) == ("1", "2000", "RESULT")
        made = desk.world.claim("p1")
        assert made is not None
        assert (made.state, made.sent_at_ms) == (ClaimState.DONE, int(sent["timestamp"]))
        wait_until(lambda: len(desk.log_lines()) == 2)
        desk.assert_told_the_truth(SOL, end)
        desk.world.assert_settled(1)
        wait_until(lambda: desk.redis.hget(claim.STATUS_KEY, "last_ts"), what="a heartbeat")
        assert desk.redis.exists(permit.key(Gate.P33, "p1")) == 0


def test_an_exit_is_sent_reduce_only(desk: Desk) -> None:
    """I-14: whatever the plan says or leaves out, an exit cannot open."""
    desk.hold(SOL, "3")
    with desk.running():
        end = desk.world.await_result(desk.exit(quantity="2"))
        assert (end.executed, end.quantity, end.reduce_only) == (True, Decimal(2), True)
        assert desk.posts()[0]["parameters"]["reduceOnly"] == "true"
        desk.assert_told_the_truth(SOL, end, held_before="3")


@pytest.mark.parametrize("first", ["permit", "plan"])
def test_a_permit_is_found_whichever_way_it_is_told(desk: Desk, first: str) -> None:
    """I-01: there before the plan is read, or coming later without any event: the key decides."""
    desk.hold(SOL, "1")
    if first == "permit":
        entry_id = desk.exit()
        with desk.running():
            assert desk.world.await_result(entry_id).executed
        return
    with desk.running():
        entry_id = desk.world.add("p1", symbol=SOL)
        wait_until(lambda: desk.world.pending() == 1)
        desk.world.permit(entry_id, safe_qty="1", event=False)
        assert desk.world.await_result(entry_id).executed


@pytest.mark.parametrize(
    ("decision", "codes", "error"),
    [
        ("SKIP", "action_hold", "action_hold"),
        ("BLOCKED", "Kill_Score_Critical: 0.93,other", "kill_score_critical"),
        ("ERROR", None, "plan_error"),
        ("skip", "", "plan_skip"),
    ],
)
def test_plans_that_came_decided_end_at_once(desk: Desk, decision: str, codes: str | None, error: str) -> None:
    """No permit is waited for, and a permit that is there stays."""
    with desk.running():
        entry_id = desk.world.add("p1", decision=decision, reason_codes=codes)
        end = desk.world.await_result(entry_id)
        assert (end.decision, end.error, end.gate, end.executed) == (Decision(decision.upper()), error, "", False)
        made = desk.world.claim("p1")
        assert made is not None
        assert made.state is ClaimState.DONE
        desk.world.assert_settled(1)
        assert desk.posts() == []


INVALID: list[dict[str, object]] = [
    {"plan_id": None}, {"plan_id": "a b"}, {"plan_id": "p33:x"}, {"plan_id": "x" * 129}, {"symbol": None},
    {"symbol": "BTC USDT"}, {"decision": "MAYBE"}, {"action": "CLOSE"}, {"side": "LONG"}, {"timestamp": None},
    {"timestamp": "now"}, {"action": "OPEN", "qty": "1"}, {"action": "OPEN", "reduceOnly": False, "qty": "0"},
    {"action": "OPEN", "reduceOnly": False, "qty": "NaN"}, {"reduceOnly": False}, {"reduceOnly": "maybe"},
    {"qty": "-1"}, {"expected_position": "1e3"},
]  # fmt: skip


def test_invalid_plans_end_as_errors_each_once(desk: Desk) -> None:
    """I-03: nothing stands in for what is missing, and a plan id that may not be a key becomes none."""
    with desk.running():
        entries = [desk.world.add(f"i{number}", **change) for number, change in enumerate(INVALID)]
        for entry_id in entries:
            end = desk.world.await_result(entry_id)
            assert (end.decision, end.error, end.retryable) == (Decision.ERROR, "invalid_plan", False)
        keys = [bytes(key).decode() for key in desk.redis.scan_iter(claim.key("*"))]
        assert len(keys) == len([change for change in INVALID if "plan_id" not in change])
        assert all(plan.is_plan_id(key.removeprefix(claim.key(""))) for key in keys)
        desk.world.assert_settled(len(INVALID))
        assert desk.posts() == []


def test_bytes_that_are_no_text_end_as_an_error(desk: Desk) -> None:
    """The plan id is still readable, and its entry is answered under it."""
    with desk.running():
        raw: Any = {"plan_id": "raw", "symbol": "BTCUSDT", "decision": "EXECUTE", "source": b"\xff"}
        entry: Any = desk.redis.xadd(plan.STREAM, raw)
        end = desk.world.await_result(entry.decode())
        assert (end.plan_id, end.error) == ("raw", "invalid_plan")


def test_a_second_entry_under_a_plan_id_is_a_duplicate(desk: Desk) -> None:
    """I-05: while the first waits, after it ended, and whatever the second says; the first goes its way."""
    desk.hold(SOL, "1")
    with desk.running():
        first = desk.world.add("p1", symbol=SOL)
        second = desk.world.add("p1", symbol=SOL)
        third = desk.world.add("p1", decision="SKIP", reason_codes="action_hold")
        assert desk.world.await_result(second).error == "duplicate_plan"
        assert desk.world.await_result(third).error == "duplicate_plan"
        assert desk.world.results_of(first) == []
        desk.world.permit(first, safe_qty="1")
        assert desk.world.await_result(first).executed
        made = desk.redis.dump(claim.key("p1"))
        fourth = desk.world.add("p1", symbol=SOL)
        fifth = desk.world.add("p1", symbol="")
        for entry_id in (fourth, fifth):
            end = desk.world.await_result(entry_id)
            assert (end.decision, end.retryable) == (Decision.SKIP, False)
        assert desk.world.results_of(fourth)[0].error == "duplicate_plan"
        assert desk.redis.dump(claim.key("p1")) == made
        assert len(desk.posts()) == 1
        desk.world.assert_settled(5)


def test_a_plan_in_sent_log_is_a_duplicate_though_redis_forgot_its_claim(desk: Desk) -> None:
    """The log remembers for 48 h what a claim does for 24."""
    desk.hold(SOL, "2")
    with desk.running():
        assert desk.world.await_result(desk.exit(plan_id="p1")).executed
        desk.redis.delete(claim.key("p1"))
        again = desk.exit(plan_id="p1")
        assert desk.world.await_result(again).error == "duplicate_plan"
        assert len(desk.posts()) == 1
        assert desk.redis.exists(permit.key(Gate.P33, "p1"))


def test_a_missing_permit_ends_the_wait_with_the_gates_that_are_missing(impatient: Desk) -> None:
    """I-07: opens wait shorter than exits, and none for ever; a permit that comes later finds the plan ended."""
    desk = impatient
    with desk.running():
        opening = desk.world.add_open("o1", symbol=SOL)
        exiting = desk.world.add("e1", symbol="ETHUSDT")
        end = desk.world.await_result(opening)
        assert (end.decision, end.error, end.gate, end.retryable) == (Decision.BLOCKED, "permit_timeout", "p33", True)
        assert end.wait_ms >= 400
        late = desk.world.await_result(exiting)
        assert (late.error, late.gate) == ("permit_timeout", "p33")
        assert late.wait_ms >= 1_500
        desk.world.permit(exiting, safe_qty="1")
        after = desk.world.add("e2", symbol=SOL, decision="SKIP")
        desk.world.await_result(after)
        assert desk.posts() == []
        desk.world.assert_settled(3)


@pytest.mark.parametrize(
    ("reason", "decision"),
    [
        ("no_position", "SKIP"),
        ("not_in_allowlist", "SKIP"),
        ("cooldown_in_flight", "BLOCKED"),
        ("invalid_plan", "ERROR"),
    ],
)
def test_a_deny_ends_the_plan_with_its_reason(desk: Desk, reason: str, decision: str) -> None:
    """I-08: and no other permit is burnt."""
    with desk.running():
        entry_id = desk.world.add("p1", symbol=SOL)
        desk.world.permit(entry_id, allow=False, safe_qty="0", reason=reason)
        end = desk.world.await_result(entry_id)
        assert (end.decision.value, end.error, end.gate) == (decision, reason, "p33")
        assert desk.redis.exists(permit.key(Gate.P33, "p1"))
        assert desk.posts() == []


@pytest.mark.parametrize("age_s", [120, -60])
def test_an_expired_plan_is_not_executed_with_or_without_a_permit(impatient: Desk, age_s: float) -> None:
    """A permit cannot make it young; without one it is told apart from a plan whose gates were slow."""
    desk = impatient
    desk.hold(SOL, "1")
    with desk.running():
        made = f"{time.time() - age_s:.3f}"
        permitted = desk.exit(timestamp=made)
        silent = desk.world.add(symbol="ETHUSDT", timestamp=made)
        for entry_id in (permitted, silent):
            end = desk.world.await_result(entry_id)
            assert (end.decision, end.error, end.retryable) == (Decision.BLOCKED, "plan_expired", True)
        assert desk.posts() == []


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("SET", control.KILL_SWITCH_KEY, "full_stop"), "kill_switch"),
        (("SET", control.KILL_SWITCH_KEY, "rubbish"), "kill_switch"),
        (("SET", control.hold_key(SOL), "all: by hand"), "reconcile_hold_active"),
        (("HSET", "quantum:cfg:account", "account", "other"), "account_mismatch"),
        (("DEL", position.inflight_key(SOL)), "mark_lost"),
    ],
)
def test_what_forbids_an_exit(desk: Desk, command: tuple[str, ...], error: str) -> None:
    """Each is read inside the consuming script, and none of them costs a permit."""
    desk.hold(SOL, "1")
    with desk.running():
        entry_id = desk.world.add("p1", symbol=SOL)
        wait_until(lambda: desk.world.pending() == 1)
        desk.world.mark(desk.world.plan(entry_id))
        getattr(desk.redis, "execute_command")(*command)  # noqa: B009 - untyped in redis-py's stubs
        desk.world.permit(entry_id, safe_qty="1", mark=False)
        end = desk.world.await_result(entry_id)
        assert (end.decision, end.error, end.gate) == (Decision.BLOCKED, error, "")
        assert desk.posts() == []
        assert desk.redis.exists(permit.key(Gate.P33, "p1"))


@pytest.mark.parametrize(
    ("positions", "quantity", "error"),
    [(10, "1", "max_positions"), (0, "2", "max_notional"), (None, "1", "stale_exchange_state")],
)
def test_what_forbids_an_open(desk: Desk, positions: int | None, quantity: str, error: str) -> None:
    """I-15, I-16: whatever the gates say."""
    with desk.running():
        entry_id = desk.world.add_open("p1", symbol=SOL, qty=quantity)
        desk.redis.delete(position.ACCOUNT_KEY)
        if positions is not None:
            desk.world.show_account(open_positions=positions)
        desk.world.permit(entry_id, safe_qty=quantity, context={"mark_price": "140"})
        end = desk.world.await_result(entry_id)
        assert (end.decision, end.error) == (Decision.BLOCKED, error)
        assert desk.posts() == []


def test_opens_on_their_way_count_against_the_positions(desk: Desk) -> None:
    """I-15: two opens at once with room for one: one order."""
    desk.paper.fault({"fault": "latency", "seconds": 0.3, "path": "/fapi/v1/order"})
    with desk.running():
        desk.world.show_account(open_positions=9)
        entries = [desk.world.add_open(symbol=symbol, qty="1") for symbol in (SOL, "AVAXUSDT", "BCHUSDT")]
        for entry_id in entries:
            desk.world.permit(entry_id, safe_qty="1", context={"mark_price": "140"})
        ends = [desk.world.await_result(entry_id) for entry_id in entries]
        assert sorted(end.error for end in ends) == ["", "max_positions", "max_positions"]
        after = desk.world.add_open(symbol="LINKUSDT", qty="1")
        desk.world.permit(after, safe_qty="1", context={"mark_price": "140"})
        assert desk.world.await_result(after).error == "max_positions"
        assert len(desk.posts()) == 1


def test_a_dry_run_consumes_permits_and_sends_nothing(
    redis_client: Redis, paper: PaperExchange, tmp_path: Path
) -> None:
    """The claim is done, the result says so; no order, no line, no position to come."""
    desk = Desk(redis_client, paper, tmp_path, APPLY_MODE="dry_run")
    with desk.running():
        entry_id = desk.open(plan_id="p1")
        end = desk.world.await_result(entry_id)
        assert (end.decision, end.error, end.executed, end.client_order_id) == (Decision.SKIP, "dry_run", False, "")
        made = desk.world.claim("p1")
        assert made is not None
        assert made.state is ClaimState.DONE
        assert not desk.redis.exists(permit.key(Gate.P33, "p1"))
        assert not desk.redis.exists(claim.OPENS_KEY)
        assert (desk.posts(), desk.log_lines()) == ([], [])
        desk.world.assert_settled(1)


def test_the_kill_switch_is_watched_and_a_word_that_is_none_is_an_alarm(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """I-39: the operator sees that it took effect, and that a slip stops everything."""
    caplog.set_level("INFO")
    for value, said in (("off", "Kill switch: off"), ("no_new_risk", "no_new_risk"), ("of", "everything stops")):
        desk.redis.set(control.KILL_SWITCH_KEY, value)
        with desk.running():
            wait_until(lambda said=said: said in caplog.text, what=said)  # type: ignore[misc] # a loop's value, bound
    assert [record.levelname for record in caplog.records if "everything stops" in record.message] == ["ERROR"]


def test_an_entry_whose_body_was_trimmed_away_still_gets_its_result(desk: Desk) -> None:
    """It was read before a crash and is gone now: nobody knows what it was."""
    entry_id = desk.world.add("p1")
    desk.redis.xgroup_create(plan.STREAM, plan.GROUP_APPLY, "0")
    desk.redis.xreadgroup(plan.GROUP_APPLY, plan.CONSUMER_APPLY, {plan.STREAM: ">"})
    desk.redis.xdel(plan.STREAM, entry_id)
    with desk.running():
        end = desk.world.await_result(entry_id)
        assert (end.decision, end.error, end.plan_id) == (Decision.ERROR, "invalid_plan", "")
        desk.world.assert_settled(1)


def test_streams_are_trimmed_behind_what_everybody_has_read(desk: Desk) -> None:
    """Nothing that is younger than 48 h, or that a group or the ledger has yet to read, ever goes before 7 days."""
    now_ms = redis_ms(desk.redis)

    def id_of(age_h: int) -> str:
        return f"{now_ms - age_h * 3_600_000}-0"

    def ages(stream: str) -> list[int]:
        entries: Any = desk.redis.xrange(stream)
        return [round((now_ms - int(entry.split(b"-")[0])) / 3_600_000) for entry, _ in entries]

    kept = ["stream-node-max-entries", str(desk.redis.config_get("stream-node-max-entries")["stream-node-max-entries"])]
    desk.redis.config_set("stream-node-max-entries", "1")  # else whole nodes of 100 entries stay
    for age_h in (200, 100, 60, 40):
        desk.redis.xadd(result.STREAM, {"plan_entry_id": "1-0"}, id=id_of(age_h))
        desk.redis.xadd(plan.STREAM, {"plan_id": "x"}, id=id_of(age_h))
    desk.redis.config_set(*kept)
    desk.redis.xgroup_create(plan.STREAM, plan.GROUP_BRAIN, "$")
    desk.redis.xgroup_create(plan.STREAM, "somebody-elses", "0")
    desk.redis.xgroup_create(result.STREAM, result.GROUP_DECISION_INTELLIGENCE, id_of(61))
    desk.redis.xreadgroup(result.GROUP_DECISION_INTELLIGENCE, "c", {result.STREAM: ">"})
    desk.redis.set(position.LEDGER_CURSOR_KEY, id_of(100))
    with desk.running() as layer:
        trim = next(loop for loop in layer.layer.loops() if loop.name == "trim")
        wait_until(lambda: ages(plan.STREAM) == ages(result.STREAM) == [100, 60, 40], what="the ledger's cursor")
        desk.redis.set(position.LEDGER_CURSOR_KEY, f"{now_ms}-0")
        trim.tick()
        assert ages(plan.STREAM) == ages(result.STREAM) == [60, 40], "pending in decision intelligence"
        desk.redis.xack(result.STREAM, result.GROUP_DECISION_INTELLIGENCE, id_of(60))
        desk.redis.set(position.LEDGER_CURSOR_KEY, "rubbish")
        trim.tick()
        assert ages(plan.STREAM) == ages(result.STREAM) == [60, 40], "a cursor that cannot be read"
        desk.redis.delete(position.LEDGER_CURSOR_KEY)
        trim.tick()
        assert ages(plan.STREAM) == ages(result.STREAM) == [40]


def test_the_log_forgets_what_ended_two_days_ago(desk: Desk) -> None:
    """An order without an end stays, however old."""
    with desk.running() as layer:
        entry_id = desk.open()
        desk.world.await_result(entry_id)
        wait_until(lambda: len(desk.log_lines()) == 2)
        next(loop for loop in layer.layer.loops() if loop.name == "trim").tick()
        assert len(desk.log_lines()) == 2
    log = SentLog(desk.directory)
    log.open()
    assert log.drop_ended_before(redis_ms(desk.redis) + 10_000) == 1
    assert desk.log_lines() == []
