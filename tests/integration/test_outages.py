"""What an operator meets at night: Redis frozen, crashed, services and exchange killed, a full disk, a second start.

One suite for all, in this order. Whatever happens, a plan ends once and is counted once, no order goes out twice, and
the log says in one line what was wrong.
"""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from microservices.apply_layer.sent_log import OrderEnd, SentLog, SentOrder
from microservices.contracts import claim, position
from microservices.contracts.plan import Action, Decision, Side
from microservices.contracts.reason import Reason
from tests.support.story import assert_books, assert_denied, assert_ended, assert_executed, follow_all
from tests.support.suite import Story, Suite
from tests.support.waiting import wait_until

APPLY, BRAIN, COUNTER, PAPER = "apply-layer", "position-state-brain", "p35-decision-intelligence", "paper-exchange"
HELD, OTHER = "XRPUSDT", "ADAUSDT"
LONG_LINE = 200_000
"""Bytes: far more than the apply layer writes to its other files, so that a limit on their size is sent.log's."""
FROZEN_S = 8
"""Longer than a client waits for an answer."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite with two positions, which looks often at account and universe."""
    settings = {
        BRAIN: {"P33_COOLDOWN_SEC": "0", "P33_POLL_SEC": "1", "P33_STALE_THRESHOLD_SEC": "3"},
        "universe-service": {"UNIVERSE_REFRESH_SEC": "10"},
    }
    folder = tmp_path_factory.mktemp("suite")
    made = Suite(folder, settings)
    _lengthen(folder / APPLY)
    with made as running:
        for story in follow_all(running, [running.open(symbol) for symbol in (HELD, OTHER)]):
            assert_executed(running, story, story.result.quantity)
        yield running


def _lengthen(directory: Path) -> None:
    """Have `sent.log` begin with the long line of an order that has ended."""
    log = SentLog(directory)
    log.open()
    name = claim.client_order_id("long-ago")
    log.append(
        SentOrder(
            plan_id="long-ago", plan_entry_id="1-0", symbol=HELD, action=Action.OPEN, side=Side.BUY,
            quantity=Decimal(1), reduce_only=False, client_order_id=name, sent_at_ms=int(time.time() * 1000),
            source="x" * LONG_LINE,
        )
    )  # fmt: skip
    log.end(OrderEnd(plan_id="long-ago", result_id="", fields={}))
    log.close()


def quarter(suite: Suite, symbol: str) -> Story:
    """Sell a quarter of a position, and follow it."""
    story = suite.follow(suite.exit(symbol, Side.SELL, Action.PARTIAL_25))
    assert_executed(suite, story, story.result.quantity)
    return story


def wait_for_redis(suite: Suite) -> None:
    """Wait until Redis answers again."""

    def answers() -> bool:
        try:
            return bool(suite.redis.ping())
        except RedisError:
            return False

    wait_until(answers, 30, what="Redis to answer", every_s=0.05)


def wait_for_line(suite: Suite, name: str, line: str, *, since: int = 0) -> None:
    """Wait until a process has logged a line after so many characters."""
    wait_until(lambda: line in suite.log(name)[since:], 30, what=f"{name} to say: {line}", every_s=0.05)


def test_a_frozen_redis_delays_and_loses_nothing(suite: Suite) -> None:
    """Nothing answers for 8 s: an exit and an open added at its return are done, each once; everybody says why."""
    server = suite.pid("redis")
    before = {name: len(suite.log(name)) for name in (APPLY, BRAIN, COUNTER)}
    os.kill(server, signal.SIGSTOP)
    frozen_s = time.monotonic()
    try:
        for name, length in before.items():
            wait_for_line(suite, name, "TimeoutError: Timeout reading from socket; trying again", since=length)
        wait_until(lambda: time.monotonic() >= frozen_s + FROZEN_S, FROZEN_S, what="the freeze to last", every_s=0.1)
    finally:
        os.kill(server, signal.SIGCONT)
    opened, left = suite.open("SUIUSDT"), suite.exit(HELD, Side.SELL, Action.PARTIAL_25)
    for story in follow_all(suite, [opened, left]):
        assert_executed(suite, story, story.result.quantity)


def test_a_crashed_redis_comes_back_with_all_it_had(suite: Suite) -> None:
    """Killed, away for a moment, started on the same port from its append-only file."""
    since, brain_since = len(suite.log(APPLY)), len(suite.log(BRAIN))
    suite.stop("redis", signal.SIGKILL)
    wait_for_line(suite, APPLY, "Connection refused", since=since)
    suite.start("redis")
    wait_for_redis(suite)
    # Its pause may be longer than an open waits for its permit.
    wait_for_line(suite, BRAIN, "permits: going on after", since=brain_since)
    for story in follow_all(suite, [suite.open("LINKUSDT"), suite.exit(HELD, Side.SELL, Action.PARTIAL_25)]):
        assert_executed(suite, story, story.result.quantity)
    assert "Comparing sent.log with Redis" in suite.log(APPLY)


def test_a_crashed_exchange_keeps_the_positions(suite: Suite) -> None:
    """Killed and started from its state file: the brain knows the account again, and exits work."""
    since = len(suite.log(BRAIN))
    suite.stop(PAPER, signal.SIGKILL)
    wait_for_line(suite, BRAIN, "no complete answer about the account: GET /fapi/v2/positionRisk", since=since)
    suite.start(PAPER)
    wait_for_line(suite, BRAIN, "account known: ", since=since)
    quarter(suite, HELD)
    assert suite.ledgers() == suite.positions()


@pytest.mark.parametrize("name", [APPLY, BRAIN, COUNTER, "universe-service", "candle-feed", "marketstate"])
def test_whoever_is_killed_while_plans_flow_is_missed_by_no_plan(suite: Suite, name: str) -> None:
    """Plans before, during and after a kill -9: each ends once and is counted once, the exit is done."""
    symbols = ("SOLUSDT", "BNBUSDT", "DOTUSDT", "AVAXUSDT")
    suite.settle(HELD)
    before = [suite.plan(symbol=symbol, decision=Decision.SKIP, reason_codes="before") for symbol in symbols]
    left = suite.exit(HELD, Side.SELL, Action.PARTIAL_25)
    suite.stop(name, signal.SIGKILL)
    during = [suite.plan(symbol=symbol, decision=Decision.SKIP, reason_codes="during") for symbol in symbols]
    suite.start(name)
    after = [suite.plan(symbol=symbol, decision=Decision.SKIP, reason_codes="after") for symbol in symbols]
    story = suite.follow(left)
    assert_executed(suite, story, story.result.quantity)
    words = [story.result.error for story in follow_all(suite, before + during + after)]
    assert words == ["before"] * 4 + ["during"] * 4 + ["after"] * 4


def test_a_full_disk_sends_no_order(suite: Suite) -> None:
    """The line in sent.log cannot be written: order_not_placed, retryable; with room again the next plan is done."""
    suite.settle(OTHER)
    pid = suite.pid(APPLY)
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (LONG_LINE, limits[1]))
    try:
        stories = follow_all(suite, [suite.exit(OTHER, Side.SELL, Action.PARTIAL_25), suite.open("TRXUSDT")])
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    for story in stories:
        assert story.reasons == [Reason.ALLOWED]
        assert_ended(story, Reason.ORDER_NOT_PLACED, Decision.ERROR, retryable=True)
        assert f"Plan {story.added.plan_id} ({story.added.symbol}): no order was sent: " in suite.log(APPLY)
    assert "sent.log: File too large" in suite.log(APPLY)
    quarter(suite, OTHER)


@pytest.mark.parametrize("name", [BRAIN, APPLY])
def test_a_second_start_in_the_same_place_is_refused(suite: Suite, name: str, tmp_path: Path) -> None:
    """One line names the lock file, and the first goes on."""
    log = tmp_path / "log"
    second = suite.run_another(name, log, **{_metrics_port(name): "0"})
    assert second.wait(30) == 1
    (error,) = [line for line in log.read_text().splitlines() if "[ERROR]" in line]
    assert error.endswith("/lock: this service runs already")


@pytest.mark.parametrize(("name", "lease"), [(BRAIN, position.LEASE_KEY), (APPLY, claim.LEASE_KEY)])
def test_a_second_start_elsewhere_waits_and_takes_no_plan(suite: Suite, name: str, lease: str, tmp_path: Path) -> None:
    """It says whose lease it waits for; a plan meanwhile is done once, by the first."""
    suite.settle(OTHER)
    log = tmp_path / "log"
    second = suite.run_another(name, log, STATE_DIRECTORY=str(tmp_path / "state"), **{_metrics_port(name): "0"})
    try:
        holder = suite.redis.get(lease)
        assert isinstance(holder, bytes)
        waits = f"lease {lease} held by {holder.decode()}; trying again"
        wait_until(lambda: waits in log.read_text(), 30, what="the second to wait")
        quarter(suite, OTHER)
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(1)
    finally:
        second.terminate()
        assert second.wait(10) == 0
    assert suite.redis.get(lease) == holder


def test_an_open_is_denied_while_the_account_does_not_answer(suite: Suite) -> None:
    """A frozen exchange: no order goes out on what was known before it froze."""
    suite.pause(PAPER)
    try:
        wait_until(lambda: suite.redis.time()[0] * 1000 - suite.account().ts_ms > 3_500, 15, what="old snapshot")
        added = suite.open("ARBUSDT", qty=100)
        wait_until(lambda: suite.results(added), 30, what="the result")
    finally:
        suite.resume(PAPER)
    assert_denied(suite.follow(added), Reason.STALE_EXCHANGE_STATE, retryable=True)


def test_the_books_balance_after_all_that(suite: Suite) -> None:
    """One result an entry, one count a result, one order a plan; the ledger is the exchange's position."""
    assert_books(suite)
    assert suite.has_ended() == {}


def _metrics_port(name: str) -> str:
    return {BRAIN: "P33_METRICS_PORT", APPLY: "APPLY_METRICS_PORT"}[name]
