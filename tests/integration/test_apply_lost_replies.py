"""Redis did what it was asked, and its reply was lost: nobody knows, nothing is done twice, nothing is left undone."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from microservices.apply_layer.scripts import Claimed, Done, Scripts
from tests.support.apply_paper import SOL, Desk
from tests.support.paper import PaperExchange
from tests.support.waiting import wait_until


@pytest.fixture
def desk(redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> Desk:
    """Everything but the layer itself, with a position to close."""
    made = Desk(redis_client, paper, tmp_path)
    made.hold(SOL, "2")
    return made


class Lost:
    """Loses replies of one script, after it has run or instead of running it.

    Args:
        patch: pytest's own.
        name: the method of `Scripts`.
        counts: whether an answer is one whose loss is meant.
        error: what the caller sees.
        times: how many replies are lost.
        before: the script does not even run.
    """

    def __init__(self, patch: pytest.MonkeyPatch, name: str, counts: Any, error: Exception, **how: Any) -> None:
        self.lost = 0
        original = getattr(Scripts, name)
        times, before = how.get("times", 1), how.get("before", False)

        def losing(scripts: Scripts, *args: Any, **kwargs: Any) -> Any:
            if before and self.lost < times:
                self.lost += 1
                raise error
            answer = original(scripts, *args, **kwargs)
            if not before and self.lost < times and counts(answer):
                self.lost += 1
                raise error
            return answer

        patch.setattr(Scripts, name, losing)


def is_claimed(answer: object) -> bool:
    """Whether a claim was made."""
    return isinstance(answer, Claimed)


def is_done(answer: object) -> bool:
    """Whether a result was written."""
    return isinstance(answer, Done)


AWAY = RedisConnectionError("Connection reset by peer")
SILENT = RedisTimeoutError("Timeout reading from socket")


@pytest.mark.parametrize("error", [AWAY, SILENT], ids=["reset", "silent"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_claim_whose_reply_was_lost_still_becomes_its_one_order(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception, times: int
) -> None:
    """The claim stands in Redis and in nobody's hand: it is found, and goes on."""
    lost = Lost(monkeypatch, "consume", is_claimed, error, times=times)
    with desk.running():
        end = desk.world.await_result(desk.exit())
        assert (end.executed, end.quantity) == (True, Decimal(1))
        assert lost.lost == 1, "it was claimed once"
        assert len(desk.posts()) == 1
        desk.world.assert_settled(1)


@pytest.mark.parametrize("before", [False, True])
def test_without_the_word_that_the_claim_is_sent_nothing_is_sent(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """Whether it is or not: no POST was made, and that is certain."""
    Lost(monkeypatch, "mark_sent", lambda word: word == "sent", AWAY, before=before)
    with desk.running():
        end = desk.world.await_result(desk.exit())
        assert (end.error, end.retryable, end.executed) == ("order_not_placed", True, False)
        assert desk.posts() == []
        desk.world.assert_settled(1)
        assert desk.world.await_result(desk.exit()).executed


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("times", [1, 3])
def test_a_fill_whose_result_got_no_reply_has_one_result(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, times: int, before: bool
) -> None:
    """Written or not: it is tried until an answer says that it is there, and is there once."""
    lost = Lost(monkeypatch, "finish", is_done, AWAY, times=times, before=before)
    with desk.running():
        end = desk.world.await_result(desk.exit())
        assert end.executed
        wait_until(lambda: len(desk.log_lines()) == 2, 30, what="the end line")
        assert lost.lost >= 1
        desk.assert_told_the_truth(SOL, end, held_before="2")
        desk.world.assert_settled(1)


@pytest.mark.parametrize("before", [False, True])
def test_plans_without_an_order_end_once_too(desk: Desk, monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    """A skip, an invalid one, a deny: each reply of the ending script is lost once."""
    Lost(monkeypatch, "finish", is_done, SILENT, times=3, before=before)
    with desk.running():
        denied = desk.world.add(symbol="LTCUSDT")
        desk.world.permit(denied, allow=False, safe_qty="0", reason="dust_position")
        entries = {desk.world.add(decision="SKIP"): "plan_skip", desk.world.add(side=""): "invalid_plan"}
        for entry_id, error in (entries | {denied: "dust_position"}).items():
            assert desk.world.await_result(entry_id, 15).error == error
        desk.world.assert_settled(3)


@pytest.mark.parametrize("before", [False, True])
def test_a_duplicate_is_answered_once_too(desk: Desk, monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    """Its answer is not bound to a claim, but to the pending list."""
    Lost(monkeypatch, "answer", is_done, AWAY, times=2, before=before)
    with desk.running():
        first = desk.exit(plan_id="twice")
        second = desk.world.add("twice", symbol=SOL)
        nameless = desk.world.add("a b")
        assert desk.world.await_result(first).executed
        assert desk.world.await_result(second, 15).error == "duplicate_plan"
        assert desk.world.await_result(nameless, 15).error == "invalid_plan"
        desk.world.assert_settled(3)


def test_an_unresolved_orders_claim_is_given_back_though_the_reply_is_lost(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Putting things right can fail on its way, and begins anew."""
    desk.paper.fault(
        {"fault": "swallow_reply", "times": 1}, {"fault": "drop", "method": "GET", "path": "/fapi/v1/order"}
    )
    with desk.running():
        entry_id = desk.exit()
        wait_until(lambda: len(desk.queries()) >= 1, 30)
    lost = Lost(monkeypatch, "restore_sent", lambda answer: answer is None, AWAY)
    with pytest.raises(RedisConnectionError), desk.running():
        pass
    desk.paper.clear_faults()
    with desk.running():
        assert desk.world.await_result(entry_id).executed
        assert lost.lost == 1
        assert len(desk.posts()) == 1
        desk.world.assert_settled(1)
