"""The whole suite on a Redis with the access list: each service as its own user, operator and strategy as theirs.

What a service needs in rare paths is tried as well: a death between order and result, a drift, an adoption.
"""

import signal
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import NoPermissionError

from microservices.contracts import account, control, plan, position, result
from microservices.contracts.control import KillSwitch
from microservices.contracts.plan import Action, Side
from microservices.contracts.reason import Reason
from microservices.runtime import connect
from tests.support.access import ADMIN
from tests.support.ops import ops
from tests.support.redis_place import GuardedRedis
from tests.support.story import assert_denied, assert_executed
from tests.support.suite import Suite
from tests.support.waiting import wait_until

APPLY, BRAIN = "apply-layer", "position-state-brain"
SYMBOL, DRIFTED = "XRPUSDT", "ADAUSDT"
READING = (
    "proof_universe.sh",
    "proof_order_id.sh",
    "permit_audit.sh --gates p33",
    "proof_p33_universe_source.sh --no-unit --metrics-port 0 --wait 20",
    "proof_p35_decision_intelligence.sh --no-unit --metrics-port 0 --interval 2 --wait 20",
    "why.sh XRPUSDT",
)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite whose Redis lets nobody do more than the list says."""
    settings = {BRAIN: {"P33_COOLDOWN_SEC": "0", "P33_POLL_SEC": "1"}}
    with Suite(tmp_path_factory.mktemp("suite"), settings, GuardedRedis) as running:
        yield running


def place(suite: Suite) -> GuardedRedis:
    assert isinstance(suite.place, GuardedRedis)
    return suite.place


def run(suite: Suite, script: str, *, user: str = "reader", **more: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the operator's, logged in as this user."""
    guarded, words = place(suite), script.split()
    login = {"REDIS_USERNAME": user, "REDIS_PASSWORD_FILE": str(guarded.password_file(user))}
    return ops(words[0], *words[1:], port=guarded.port, **login, **more)


def denied(suite: Suite) -> list[str]:
    """Ask Redis what it has refused to the services, as `user: what`."""
    with connect(place(suite).settings(ADMIN), "test") as admin:
        rows: Any = admin.acl_log()
    ours = [row for row in rows if row["username"] in set(place(suite).passwords) - {"reader", "operator", "strategy"}]
    return [f"{row['username']}: {row['object']} ({row['context']})" for row in ours]


def test_an_open_and_an_exit_go_all_the_way(suite: Suite) -> None:
    """Permitted, ordered once, filled, and counted, each step by a user who may do no other."""
    opened = suite.follow(suite.open(SYMBOL))
    assert_executed(suite, opened, opened.result.quantity)
    suite.settle(SYMBOL)
    closed = suite.follow(suite.exit(SYMBOL, Side.SELL, Action.PARTIAL_25))
    assert_executed(suite, closed, closed.result.quantity)
    assert denied(suite) == []


def test_an_order_outlives_the_apply_layers_death(suite: Suite) -> None:
    """The claim is given back, the order asked for, and its result written, under the list too."""
    suite.settle(SYMBOL)
    suite.fault({"fault": "latency", "seconds": 3, "method": "POST", "times": 1})
    added = suite.exit(SYMBOL, Side.SELL, Action.PARTIAL_25)
    wait_until(lambda: suite.posts(added), 25, what="the order to be sent")
    suite.stop(APPLY, signal.SIGKILL)
    suite.start(APPLY)
    story = suite.follow(added)
    assert_executed(suite, story, story.result.quantity)
    assert denied(suite) == []


def test_a_drift_is_held_and_adopted(suite: Suite) -> None:
    """The brain writes its own hold; the operator asks; the brain adopts, and takes its hold away."""
    quantity = suite.quantity(DRIFTED, Decimal(100))
    assert suite.paper.order(DRIFTED, "BUY", str(quantity)).status == 200
    hold = control.hold_key(DRIFTED)
    wait_until(lambda: suite.redis.exists(hold), 25, what="the brain to hold the symbol")
    done = run(suite, f"reconcile_position.sh --symbol {DRIFTED} --adopt-exchange --yes", user="operator")
    assert done.returncode == 0, done.stdout + done.stderr
    assert suite.ledger(DRIFTED) == quantity
    wait_until(lambda: not suite.redis.exists(hold), 25, what="the hold to end")
    assert denied(suite) == []


@pytest.mark.parametrize("script", READING)
def test_proofs_and_audit_hold_for_who_only_reads(suite: Suite, script: str) -> None:
    """As `reader`, by script and by redis-cli."""
    done = run(suite, script)
    assert done.returncode == 0, done.stdout + done.stderr
    bare = subprocess.run(
        ["redis-cli", "--user", "reader", "-p", str(place(suite).port), "GET", control.KILL_SWITCH_KEY],
        env={"PATH": "/usr/bin:/bin", "REDISCLI_AUTH": place(suite).passwords["reader"]},
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert bare.stdout == "off\n"


def test_the_kill_switch_is_the_operators(suite: Suite) -> None:
    """Set by the operator, and obeyed; refused in one line to whoever may only read."""
    assert run(suite, "kill_switch.sh exits-only", user="operator").returncode == 0
    assert_denied(suite.follow(suite.open("LINKUSDT")), Reason.KILL_SWITCH)
    refused = run(suite, "kill_switch.sh off --yes", user="reader")
    assert (refused.returncode, "NOPERM" in refused.stderr, len(refused.stderr.splitlines())) == (1, True, 1)
    assert suite.redis.get(control.KILL_SWITCH_KEY) == KillSwitch.NO_NEW_RISK.value.encode()
    assert run(suite, "kill_switch.sh off --yes", user="operator").returncode == 0


def test_the_binding_is_the_operators(suite: Suite) -> None:
    """set_account.sh asks the exchange and compares, with all that it needs on the way."""
    keys = {
        "BINANCE_API_KEY": suite.paper.key,
        "BINANCE_API_SECRET": suite.paper.secret,
        "BINANCE_FUTURES_BASE_URL": suite.paper.base_url,
    }
    done = run(suite, "set_account.sh --mode paper", user="operator", **keys)
    assert (done.returncode, "nothing changed" in done.stdout) == (0, True), done.stderr


def test_a_strategy_adds_plans_and_nothing_else(suite: Suite, tmp_path: Path) -> None:
    """The demonstration's bot works as `strategy`; the same login can neither permit nor open the kill switch."""
    before = suite.redis.xlen(result.STREAM)
    bot = suite.run_another("demo-plans", tmp_path / "log")
    try:
        wait_until(lambda: _planned_by(suite, b"demo_plans"), 40, what="the bot's first plan", every_s=0.2)
    finally:
        bot.terminate()
        bot.wait(10)
    wait_until(lambda: suite.redis.xlen(result.STREAM) > before, 25, what="its result")
    for command in (("SET", control.KILL_SWITCH_KEY, "off"), ("DEL", plan.STREAM), ("HSET", account.KEY, "mode", "x")):
        with pytest.raises(NoPermissionError):
            suite.strategy.execute_command(*command)  # type: ignore[no-untyped-call] # redis-py leaves it open


def test_nothing_that_is_needed_was_refused(suite: Suite) -> None:
    """In all that was done here Redis has refused no service anything."""
    assert denied(suite) == []
    assert position.decode_status(suite.redis.hgetall(position.STATUS_KEY)) is not None


def _planned_by(suite: Suite, source: bytes) -> int:
    rows: Any = suite.redis.xrange(plan.STREAM)
    return sum(fields.get(b"source") == source for _, fields in rows)
