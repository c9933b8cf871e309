"""ops/reconcile_position.sh: shows first, refuses where it must, and has the real brain adopt."""

import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from microservices.contracts import claim, control, hashes, permit, position
from microservices.contracts.claim import ClaimState, OpenClaim
from microservices.contracts.control import Mode
from microservices.contracts.plan import Action
from microservices.contracts.position import AccountRow, BrainStatus
from tests.support.daemon import ROOT, Daemon
from tests.support.ops import ops
from tests.support.paper import PaperExchange
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

SCRIPT = "reconcile_position.sh"
SYMBOL = "BTCUSDT"
ADOPT_ALL = ("--all", "--adopt-exchange", "--yes")
ADOPT_ONE = ("--symbol", SYMBOL, "--adopt-exchange", "--yes")


@pytest.fixture(scope="module")
def paper() -> Iterator[PaperExchange]:
    """A paper exchange, as a process, with a position."""
    with PaperExchange() as exchange:
        assert exchange.order(SYMBOL, "BUY", "0.01").status == 200
        yield exchange


@pytest.fixture
def brain(redis_server: RedisServer, redis_client: Redis, paper: PaperExchange, tmp_path: Path) -> Iterator[Daemon]:
    """The real brain, which has adopted the account."""
    own = {"REDIS_PORT": str(redis_server.port), "STATE_DIRECTORY": str(tmp_path), "P33_METRICS_PORT": "0"}
    own |= {"P33_POLL_SEC": "1", "HOME": str(tmp_path)}
    with Daemon("position_state_brain", environment=own | paper.environment()) as daemon:
        wait_until(lambda: redis_client.exists(position.BASELINE_KEY), 20, what="the account to be adopted")
        yield daemon
        daemon.end()


def put_ledger(redis: Redis, amount: str) -> None:
    """Set the ledger aside from the exchange's position."""
    fields: dict[Any, Any] = {"position_amt": amount}
    redis.hset(position.ledger_key(SYMBOL), mapping=fields)


def ledger(redis: Redis) -> Decimal | None:
    """What our own fills are said to add up to."""
    row = position.decode_ledger(redis.hgetall(position.ledger_key(SYMBOL)), SYMBOL)
    return None if row is None else row.position_amt


def test_a_drift_is_shown_and_then_adopted_by_the_brain(
    redis_server: RedisServer, redis_client: Redis, brain: Daemon
) -> None:
    """Showing changes nothing; adopting ends the drift, consumes the request, and leaves an audit line."""
    put_ledger(redis_client, "0.5")
    shown = ops(SCRIPT, "--symbol", SYMBOL, port=redis_server.port)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"❌ '{SYMBOL}': ledger 0.5, exchange 0.01" in shown.stdout
    assert ledger(redis_client) == Decimal("0.5")
    done = ops(SCRIPT, *ADOPT_ONE, port=redis_server.port)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + brain.log()
    assert f"✅ adopted {SYMBOL}: '{SYMBOL}' 0.5 to 0.01" in done.stdout
    assert "audit: 20" in done.stdout
    assert ledger(redis_client) == Decimal("0.01")
    assert not redis_client.exists(control.adopt_key(SYMBOL))


def test_the_whole_account_is_adopted_anew(redis_server: RedisServer, redis_client: Redis, brain: Daemon) -> None:
    """The baseline says who asked."""
    put_ledger(redis_client, "0.5")
    done = ops(SCRIPT, *ADOPT_ALL, port=redis_server.port)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + brain.log()
    assert "✅ adopted the whole account" in done.stdout
    assert ledger(redis_client) == Decimal("0.01")
    assert b"@" in (redis_client.hget(position.BASELINE_KEY, "by") or b"")


def test_an_open_claim_refuses(redis_server: RedisServer, redis_client: Redis, brain: Daemon) -> None:
    """Exit 2: an order may be on its way; a claim on another symbol stops only the whole account."""
    put_ledger(redis_client, "0.5")
    for of, refused in ((SYMBOL, (ADOPT_ONE, ADOPT_ALL)), ("ETHUSDT", (ADOPT_ALL,))):
        row = claim.encode_open(OpenClaim(of, Action.OPEN, ClaimState.SENT))
        redis_client.hset(claim.OPEN_KEY, "p1", row.decode())
        for arguments in refused:
            done = ops(SCRIPT, *arguments, port=redis_server.port)
            assert done.returncode == 2
            assert "the claim of plan 'p1'" in done.stderr
    assert brain.is_running
    assert ledger(redis_client) == Decimal("0.5")
    assert not redis_client.exists(control.adopt_key(SYMBOL), control.ADOPT_ALL_KEY)


@pytest.mark.parametrize("said", ["", "no\n", "y\n"])
def test_whoever_does_not_say_yes_changes_nothing(
    redis_server: RedisServer, redis_client: Redis, brain: Daemon, said: str
) -> None:
    """It asks, and the end of the input is a no."""
    put_ledger(redis_client, "0.5")
    done = subprocess.run(
        ["bash", str(ROOT / "ops" / SCRIPT), *ADOPT_ONE[:-1]],
        env={"PATH": "/usr/bin:/bin", "REDIS_PORT": str(redis_server.port)},
        input=said, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (done.returncode, brain.is_running) == (2, True)
    assert "not confirmed" in done.stderr
    assert ledger(redis_client) == Decimal("0.5")


def test_without_a_living_brain_it_refuses(redis_server: RedisServer, redis_client: Redis) -> None:
    """Exit 2, no request is left behind for a brain that starts later; showing works."""
    put_ledger(redis_client, "0.5")
    for arguments in (ADOPT_ONE, ADOPT_ALL):
        done = ops(SCRIPT, *arguments, port=redis_server.port)
        assert done.returncode == 2
        assert "the brain is not alive" in done.stderr
        assert f"❌ '{SYMBOL}': ledger 0.5, exchange unknown" in done.stdout
    assert not redis_client.exists(control.adopt_key(SYMBOL), control.ADOPT_ALL_KEY)
    assert not redis_client.exists(permit.EVENTS)


def test_a_brain_of_the_future_is_not_believed_to_live(redis_server: RedisServer, redis_client: Redis) -> None:
    """A heartbeat that a wrong clock wrote is no sign of life, whoever holds the lease."""
    redis_client.set(position.LEASE_KEY, "x")
    status = BrainStatus(int(time.time()) + 600, Mode.PAPER, "test", "universe", 1, 900)
    redis_client.hset(position.STATUS_KEY, mapping=hashes.encode(status))
    done = ops(SCRIPT, *ADOPT_ONE, port=redis_server.port)
    assert done.returncode == 2
    assert "s in the future" in done.stderr
    assert not redis_client.exists(control.adopt_key(SYMBOL))


@pytest.mark.parametrize("complete", [None, False, True])
def test_only_beside_a_complete_answer_an_absent_snapshot_is_flat(
    redis_server: RedisServer, redis_client: Redis, *, complete: bool | None
) -> None:
    """Without one the exchange's side is unknown, also where our own is 0, and is counted as that."""
    put_ledger(redis_client, "0")
    if complete is not None:
        row = AccountRow(int(time.time() * 1000), Mode.PAPER, "a", complete, True, 0)
        redis_client.hset(position.ACCOUNT_KEY, mapping=hashes.encode(row))
    said = ops(SCRIPT, "--all", port=redis_server.port).stdout
    assert ("exchange 0" in said, "❌" in said) == ((True, False) if complete else (False, True))
    assert said.splitlines()[-1] == "1 symbols, 0 differ" + ("" if complete else ", 1 cannot be compared")
    assert ("not complete" in said) is (complete is False)


@pytest.mark.parametrize("broken", ["half", "list"])
def test_a_baseline_that_cannot_be_read_is_named_and_replaced(
    redis_server: RedisServer, redis_client: Redis, brain: Daemon, broken: str
) -> None:
    """A symbol is not adopted without one; the whole account is, and has a baseline again."""
    if broken == "list":
        redis_client.delete(position.BASELINE_KEY)
        redis_client.rpush(position.BASELINE_KEY, "x")
    else:
        redis_client.hdel(position.BASELINE_KEY, "positions")
    refused = ops(SCRIPT, *ADOPT_ONE, port=redis_server.port)
    assert refused.returncode == 2
    assert f"refused: {position.BASELINE_KEY}" in refused.stderr
    done = ops(SCRIPT, *ADOPT_ALL, port=redis_server.port)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + brain.log()
    assert position.decode_baseline(redis_client.hgetall(position.BASELINE_KEY)) is not None


def test_rows_that_cannot_be_read_are_shown_as_that(redis_server: RedisServer, redis_client: Redis) -> None:
    """A wrong type, rubbish, and a key with an escape: each on one line."""
    redis_client.set(position.ledger_key("AUSDT"), "x")
    redis_client.hset(position.ledger_key("BUSDT"), "position_amt", "NaN")
    redis_client.hset(position.ledger_key("\x1b[2J$(id)\n"), "position_amt", "1")
    done = ops(SCRIPT, "--all", port=redis_server.port)
    assert (done.returncode, done.stderr) == (0, "")
    assert "❌ 'AUSDT': WRONGTYPE" in done.stdout
    assert "❌ 'BUSDT': " in done.stdout
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 5


@pytest.mark.parametrize(
    "wrong",
    [[], ["--all", "--symbol", "X"], ["--symbol"], ["--symbol", "all"], ["--symbol", "A B"], ["--symbol", "A\n"],
     ["--all", "--yes"], ["--bogus"], ["--json"], ["--remote"], ["--symbol", "$(id)"]],
)  # fmt: skip
def test_usage(wrong: list[str]) -> None:
    """-h is exit 0; what it does not know is exit 1 with the usage on standard error."""
    helped = ops(SCRIPT, "-h", port=free_port())
    assert (helped.returncode, helped.stderr) == (0, "")
    done = ops(SCRIPT, *wrong, port=free_port())
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Usage: ops/{SCRIPT}" in done.stderr


def test_without_redis_it_cannot_tell() -> None:
    """Exit 1 with one line."""
    done = ops(SCRIPT, "--all", port=free_port())
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
