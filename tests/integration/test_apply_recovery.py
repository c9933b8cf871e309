"""What a start finds: claims, lines and results in every combination that a crash or a rollback can leave."""

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis

from microservices.apply_layer.assembly import UNIT
from microservices.apply_layer.sent_log import OrderEnd
from microservices.contracts import account, claim, control, hashes, plan, position, result
from microservices.contracts.claim import ClaimState
from microservices.contracts.plan import Decision, Side
from microservices.contracts.position import Baseline
from microservices.runtime import Away, LeaseHeld, Refused
from microservices.runtime.streams import newest_entries
from tests.support.apply_left import Left
from tests.support.apply_paper import SOL, Desk
from tests.support.apply_world import redis_ms
from tests.support.paper import PaperExchange
from tests.support.waiting import wait_until


@pytest.fixture
def desk(redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> Desk:
    """Everything but the layer itself, with a position to close."""
    made = Desk(redis_client, paper, tmp_path)
    made.hold(SOL, "2")
    return made


def orders_of(desk: Desk, left: Left) -> int:
    """Count the orders of a plan at the exchange, whoever sent them."""
    return len([post for post in desk.posts() if post["parameters"].get("newClientOrderId") == left.client_order_id])


def test_a_claim_without_a_line_goes_on_while_its_plan_is_young(desk: Desk) -> None:
    """The crash came between claim and line: nothing was sent, and now it is, once."""
    left = Left(desk)
    left.claim(ClaimState.CLAIMED)
    with desk.running():
        end = left.end()
        assert (end.executed, end.quantity, end.source) == (True, Decimal(1), "test")
        assert orders_of(desk, left) == 1
        assert desk.paper.position(SOL) == 1


@pytest.mark.parametrize(
    ("age_s", "command"),
    [
        (90.0, ()),
        (1.0, ("SET", control.KILL_SWITCH_KEY, "full_stop")),
        (1.0, ("SET", control.hold_key(SOL), "all: look at this")),
        (1.0, ("HSET", control.BACKOFF_KEY, "orders_until_ms", "99999999999999")),
        (1.0, ("HSET", control.BACKOFF_KEY, "orders_until_ms", "soon")),
        (1.0, ("SET", control.KILL_SWITCH_KEY, "Of f")),
        (1.0, ("RPUSH", control.hold_key(SOL), "x")),
    ],
)
def test_a_claim_without_a_line_is_not_sent_where_something_forbids_it(
    desk: Desk, age_s: float, command: tuple[str, ...]
) -> None:
    """Too old, or stopped by an operator or the exchange since: it ends, retryable, without an order."""
    left = Left(desk, age_s=age_s)
    left.claim(ClaimState.CLAIMED)
    if command:
        send: Any = desk.redis.execute_command
        send(*command)
    with desk.running():
        end = left.end()
        assert (end.decision, end.error, end.retryable) == (Decision.ERROR, "order_not_placed", True)
        assert orders_of(desk, left) == 0


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("HSET", control.BACKOFF_KEY, "banned_until_ms", "99999999999999"), "the exchange, which may not be asked"),
        (("SET", control.BACKOFF_KEY, "x"), "quantum:exchange:backoff is no hash: delete it"),
    ],
)
def test_a_start_asks_nothing_of_an_exchange_that_has_banned_us(desk: Desk, command: tuple[str, ...], why: str) -> None:
    """I-24: a restart in the midst of a ban would make it longer; where it cannot be read, it may be one."""
    left = Left(desk)
    left.claim(ClaimState.CLAIMED)
    send: Any = desk.redis.execute_command
    send(*command)
    asked = len(desk.paper.requests())
    with pytest.raises(Away, match=why), desk.running():
        pass
    assert len(desk.paper.requests()) == asked
    desk.redis.delete(control.BACKOFF_KEY)
    with desk.running():
        assert left.end().executed


def test_a_claim_whose_plan_is_gone_is_not_sent(desk: Desk) -> None:
    """Nobody knows any more what was to be done."""
    left = Left(desk)
    left.claim(ClaimState.CLAIMED)
    desk.redis.xdel(plan.STREAM, left.entry_id)
    with desk.running():
        end = left.end()
        assert (end.error, end.plan_id) == ("order_not_placed", left.plan_id)
        assert orders_of(desk, left) == 0


@pytest.mark.parametrize("state", [None, ClaimState.CLAIMED, ClaimState.SENT])
def test_a_line_without_an_end_is_never_sent_again(desk: Desk, state: ClaimState | None) -> None:
    """Whatever Redis remembers: the claim comes back as sent, and the order is found at the exchange."""
    left = Left(desk)
    if state is not None:
        left.claim(state)
    left.line()
    left.order()
    with desk.running():
        end = left.end()
        assert (end.executed, end.quantity, end.wait_ms, end.client_order_id) == (True, 1, 4, left.client_order_id)
        assert orders_of(desk, left) == 1
        wait_until(lambda: len(desk.log_lines()) == 2)


def test_a_line_whose_order_is_asked_for_has_its_claim_back(desk: Desk) -> None:
    """The brain sees it, and keeps the symbol closed to opens, until the order is answered for."""
    left = Left(desk)
    left.line()
    desk.paper.fault({"fault": "drop", "method": "GET", "path": "/fapi/v1/order"})
    with desk.running():
        wait_until(lambda: len(desk.queries()) >= 2)
        made = desk.world.claim(left.plan_id)
        assert made is not None
        assert (made.state, made.plan_entry_id, made.qty) == (ClaimState.SENT, left.entry_id, Decimal(1))
        assert desk.redis.hlen(claim.OPEN_KEY) == 1
        assert desk.world.results() == []
        left.order()
        desk.paper.clear_faults()
        assert left.end().executed


def test_a_line_whose_order_was_never_sent_ends_as_not_placed(desk: Desk) -> None:
    """The crash came between line and POST: found out by asking, and never by sending."""
    left = Left(desk)
    left.claim(ClaimState.CLAIMED)
    left.line()
    desk.let_absences_be_final()
    with desk.running():
        end = left.end()
        assert (end.error, end.retryable, end.executed) == ("order_not_placed", True, False)
        assert orders_of(desk, left) == 0


def test_a_sent_claim_without_a_line_is_asked_for(desk: Desk) -> None:
    """Its line is on another disk: Redis says that the order may be out."""
    left = Left(desk)
    left.claim(ClaimState.SENT)
    left.order()
    with desk.running():
        end = left.end()
        assert (end.executed, end.side) == (True, Side.SELL)
        assert orders_of(desk, left) == 1


def test_an_end_line_that_was_not_written_is_written_by_the_next_start(desk: Desk) -> None:
    """The crash came between result and end line, with the claim still there or long gone: no second result."""
    for claim_is_gone in (False, True):
        entry_id = desk.exit()
        with desk.running():
            desk.world.await_result(entry_id)
            wait_until(lambda: len(desk.log_lines()) == 2)
        path = desk.directory / "sent.log"
        path.write_text(desk.log_lines()[0] + "\n")
        if claim_is_gone:
            desk.redis.delete(claim.key(desk.world.plan(entry_id).plan_id))
        with desk.running():
            assert len(desk.log_lines()) == 2
            assert len(desk.world.results_of(entry_id)) == 1
            assert desk.redis.hlen(claim.OPEN_KEY) == 0
        path.unlink()


def test_an_ended_order_whose_result_is_gone_gets_it_back(desk: Desk) -> None:
    """Redis lost result and claim: both are written again, with the same content, and once."""
    entry_id = desk.exit()
    with desk.running():
        first = desk.world.await_result(entry_id)
        wait_until(lambda: len(desk.log_lines()) == 2)
    desk.redis.delete(result.STREAM, claim.key(first.plan_id))
    for _ in range(2):
        with desk.running():
            assert desk.world.results() == [first]
            made = desk.world.claim(first.plan_id)
            assert made is not None
            assert made.state is ClaimState.DONE
            assert len(desk.log_lines()) == 3
            assert len(desk.posts()) == 1


@pytest.mark.parametrize("told_by", ["cursor", "baseline"])
def test_a_result_that_the_ledger_has_is_not_written_again(desk: Desk, told_by: str) -> None:
    """I-15: somebody deleted the stream, and the claim has run out: a second result would count the fill twice."""
    entry_id = desk.exit()
    with desk.running():
        first = desk.world.await_result(entry_id)
        wait_until(lambda: len(desk.log_lines()) == 2)
    result_id = newest_entries(desk.redis, result.STREAM, count=1)[0].id
    if told_by == "cursor":
        desk.redis.set(position.LEDGER_CURSOR_KEY, result_id)
    else:
        adopted = Baseline(redis_ms(desk.redis), "test", redis_ms(desk.redis) + 3_000, 1, result_id)
        desk.redis.hset(position.BASELINE_KEY, mapping=hashes.encode(adopted))
    desk.redis.delete(result.STREAM, claim.key(first.plan_id))
    with desk.running():
        wait_until(lambda: desk.world.pending() == 0)
        assert desk.world.results() == []
        assert len(desk.log_lines()) == 2


@pytest.mark.parametrize("ended_before_ms", [3_000, 2_999])
def test_exactly_what_the_ledger_would_pass_over_is_not_written_again(desk: Desk, ended_before_ms: int) -> None:
    """Ledger and executor ask the baseline alike: what is in it is not written again, all else is, and counts."""
    entry_id = desk.exit()
    with desk.running():
        first = desk.world.await_result(entry_id)
        wait_until(lambda: len(desk.log_lines()) == 2)
    adopted = Baseline(0, "test", first.timestamp * 1_000 + ended_before_ms, 1, "0-0")
    desk.redis.hset(position.BASELINE_KEY, mapping=hashes.encode(adopted))
    desk.redis.delete(result.STREAM, claim.key(first.plan_id))
    is_in_it = adopted.includes(entry_id, first.timestamp)
    assert is_in_it is (ended_before_ms == 3_000)
    with desk.running():
        assert desk.world.results() == ([] if is_in_it else [first])


@pytest.mark.parametrize("is_wrong_type", [False, True])
def test_a_cursor_from_before_a_lost_result_or_none_at_all_brings_it_back(
    desk: Desk, caplog: pytest.LogCaptureFixture, is_wrong_type: bool
) -> None:
    """Rolled back, the ledger's cursor and baseline are older than the fill, which it must learn of."""
    entry_id = desk.exit()
    before_ms = redis_ms(desk.redis)
    with desk.running():
        first = desk.world.await_result(entry_id)
        wait_until(lambda: len(desk.log_lines()) == 2)
    if is_wrong_type:
        desk.redis.rpush(position.LEDGER_CURSOR_KEY, "x")
        desk.redis.set(position.BASELINE_KEY, "x")
    else:
        desk.redis.set(position.LEDGER_CURSOR_KEY, f"{before_ms - 1}-0")
        adopted = Baseline(before_ms, "test", before_ms, 1, "0-0")
        desk.redis.hset(position.BASELINE_KEY, mapping=hashes.encode(adopted))
    desk.redis.delete(result.STREAM, claim.key(first.plan_id))
    with desk.running():
        assert desk.world.results() == [first]
    assert (position.BASELINE_KEY in caplog.text) is is_wrong_type


def test_a_result_that_was_trimmed_away_is_not_written_again(
    redis_client: Redis, paper: PaperExchange, tmp_path: Path
) -> None:
    """I-15: a ledger that got a fill twice would be wrong: what is older than the streams are kept stays gone."""
    desk = Desk(redis_client, paper, tmp_path, APPLY_STREAM_KEEP_H="1")
    left = Left(desk)
    log = left.line()
    old_id = f"{redis_ms(desk.redis) - 2 * 3_600_000}-0"
    log.end(OrderEnd(plan_id=left.plan_id, result_id=old_id, fields={"plan_id": left.plan_id}))
    with desk.running():
        wait_until(lambda: desk.world.pending() == 0, what="the entry to be acked")
        assert desk.world.results() == []


@pytest.mark.parametrize("has_claim", [True, False])
def test_an_open_claim_of_an_order_that_ended_is_ended(
    redis_client: Redis, paper: PaperExchange, tmp_path: Path, has_claim: bool
) -> None:
    """Rolled back by longer than the streams are kept, or its claim deleted: its symbol would stay closed for ever."""
    desk = Desk(redis_client, paper, tmp_path, APPLY_STREAM_KEEP_H="1")
    desk.hold(SOL, "2")
    with desk.running():
        first = desk.world.await_result(desk.exit())
        wait_until(lambda: len(desk.log_lines()) == 2)
    left = Left(desk, plan_id="ended-long-ago", age_s=0)
    left.claim(ClaimState.SENT)
    if not has_claim:
        desk.redis.delete(claim.key(left.plan_id))
    ended = result.encode(msgspec.structs.replace(first, plan_id=left.plan_id, plan_entry_id=left.entry_id))
    old_id = f"{redis_ms(desk.redis) - 2 * 3_600_000}-0"
    left.line().end(OrderEnd(plan_id=left.plan_id, result_id=old_id, fields=ended))
    asked = len(desk.posts())
    with desk.running():
        wait_until(lambda: desk.world.pending() == 0)
        desk.await_no_claims()
        assert [end.plan_id for end in desk.world.results()] == [first.plan_id, left.plan_id][: 1 + has_claim]
        assert len(desk.posts()) == asked


def test_a_lost_result_that_cannot_be_read_does_not_stop_the_others(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Its end came from a foreign entry of the stream: it is named, and exits go on."""
    left = Left(desk)
    log = left.line()
    log.end(OrderEnd(plan_id=left.plan_id, result_id=f"{redis_ms(desk.redis)}-0", fields={"plan_id": left.plan_id}))
    with desk.running():
        other = desk.world.add(symbol="BTCUSDT")
        desk.world.permit(other, allow=False, safe_qty="0", reason="no_position")
        assert desk.world.await_result(other).error == "no_position"
    assert f"the lost result of plan {left.plan_id}" in caplog.text


def test_a_done_claim_in_the_list_of_open_ones_is_taken_out(desk: Desk) -> None:
    """It would keep its symbol closed for ever."""
    left = Left(desk)
    left.claim(ClaimState.CLAIMED)
    desk.redis.hset(claim.key(left.plan_id), "state", "done")
    with desk.running():
        assert desk.redis.hlen(claim.OPEN_KEY) == 0
        wait_until(lambda: desk.world.pending() == 0)


def test_a_claim_that_somebody_deleted_is_asked_for(desk: Desk) -> None:
    """Only its line among the open ones is left: the exchange knows whether there is an order."""
    left = Left(desk)
    left.claim(ClaimState.SENT)
    desk.redis.delete(claim.key(left.plan_id))
    left.order()
    with desk.running():
        assert left.end().executed
        assert orders_of(desk, left) == 1


def test_a_claim_that_is_no_hash_does_not_stop_the_others(desk: Desk) -> None:
    """I-06: one key of another type; its order is asked for, and exits of other plans go on."""
    left = Left(desk)
    left.claim(ClaimState.SENT)
    desk.redis.delete(claim.key(left.plan_id))
    desk.redis.set(claim.key(left.plan_id), "rubbish")
    with desk.running():
        other = desk.world.add(symbol="BTCUSDT")
        desk.world.permit(other, allow=False, safe_qty="0", reason="no_position")
        assert desk.world.await_result(other).error == "no_position"


def test_a_claim_that_the_open_ones_do_not_name_is_taken_up(desk: Desk) -> None:
    """I-43: somebody deleted the list; the exit is sent once all the same, and nobody else waits for it."""
    left = Left(desk)
    left.claim(ClaimState.CLAIMED)
    desk.redis.delete(claim.OPEN_KEY)
    with desk.running():
        assert left.end().executed
        assert orders_of(desk, left) == 1


def test_a_dry_run_ends_a_claim_that_a_crash_left(redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> None:
    """Between consuming and ending: the same result as ever."""
    desk = Desk(redis_client, paper, tmp_path, APPLY_MODE="dry_run")
    left = Left(desk)
    left.claim(ClaimState.CLAIMED)
    with desk.running():
        end = left.end()
        assert (end.decision, end.error) == (Decision.SKIP, "dry_run")
        assert orders_of(desk, left) == 0


def test_plans_that_were_waiting_go_on_waiting(desk: Desk) -> None:
    """Read, not acked, nothing claimed: the next start finds them pending, and their permits too."""
    entry_id = desk.world.add(symbol=SOL)
    with desk.running():
        wait_until(lambda: desk.world.pending() == 1)
    desk.world.permit(entry_id, safe_qty="1")
    with desk.running():
        assert desk.world.await_result(entry_id).executed
        desk.world.assert_settled(1)


def test_a_log_that_cannot_be_read_refuses_the_start(desk: Desk) -> None:
    """It is not known what was sent: somebody must look, and nothing is consumed meanwhile."""
    (desk.directory / "sent.log").write_text("rubbish\n")
    with pytest.raises(Refused, match=r"sent\.log line 1 cannot be read"), desk.running():
        pass


@pytest.mark.parametrize("change", [{"account": "other"}, {"mode": "mainnet"}, {"host": "fapi.binance.com"}])
def test_a_redis_of_another_account_refuses_the_start(desk: Desk, change: dict[Any, Any]) -> None:
    """One line that says what differs."""
    desk.redis.hset(account.KEY, mapping=change)
    with pytest.raises(Refused, match="this Redis belongs to another account"), desk.running():
        pass


def test_a_second_process_with_the_same_state_directory_is_refused(desk: Desk) -> None:
    """I-10: two executors started by mistake."""
    with desk.running(), pytest.raises(Refused, match="another process holds"), desk.running():
        pass


def test_a_second_executor_elsewhere_waits_for_the_lease(
    redis_client: Redis, paper: PaperExchange, tmp_path: Path
) -> None:
    """I-10: with its own lock file, as on another machine; the first goes on undisturbed."""
    desk = Desk(redis_client, paper, tmp_path / "one")
    other = Desk(redis_client, paper, tmp_path / "two")
    desk.hold(SOL, "1")
    with desk.running():
        with pytest.raises(LeaseHeld), other.running():
            pass
        assert desk.world.await_result(desk.exit()).executed


def test_a_stolen_lease_stops_everything_until_it_is_ours_again(desk: Desk) -> None:
    """Every script asks for it: nothing is claimed, sent or ended meanwhile."""
    with desk.running():
        wait_until(lambda: desk.redis.hget(claim.STATUS_KEY, "last_ts"))
        desk.redis.set(claim.LEASE_KEY, "another:one")
        entry_id = desk.exit()
        skipped = desk.world.add(decision="SKIP")
        time.sleep(1.5)  # nothing must happen, which no event tells
        assert desk.world.results() == []
        assert desk.posts() == []
        desk.redis.delete(claim.LEASE_KEY)
        assert desk.world.await_result(entry_id).executed
        assert desk.world.await_result(skipped).error == "plan_skip"
        desk.world.assert_settled(2)


def test_a_deleted_group_answers_nobody_twice(desk: Desk) -> None:
    """Its successor begins a plan's life before now: what was answered under the old one is acked and no more."""
    with desk.running():
        ended = [desk.world.add(decision="SKIP"), desk.world.add("a b"), desk.exit()]
        ended.append(desk.world.add(desk.world.plan(ended[2]).plan_id, symbol=SOL))
        for entry_id in ended:
            desk.world.await_result(entry_id)
        waiting = desk.world.add(symbol=SOL)
        wait_until(lambda: desk.world.pending() == 1)
        desk.redis.xgroup_destroy(plan.STREAM, plan.GROUP_APPLY)
        after = desk.world.add(decision="SKIP")
        assert desk.world.await_result(after).error == "plan_skip"
        desk.world.permit(waiting, safe_qty="1")
        assert desk.world.await_result(waiting).executed
        desk.world.assert_settled(6)


def test_the_unit_names_itself(desk: Desk) -> None:
    """The name in the shared back-off and in systemd."""
    assert UNIT == "quantum-apply-layer"
    assert desk.settings.state_path == desk.directory
