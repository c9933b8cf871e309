"""The brain as a service: its start and what refuses it, its lease and heartbeat, a dry run, and the real process."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from microservices.contracts import account, control, hashes, permit, plan, position, universe
from microservices.contracts.permit import Gate
from microservices.exchange import Rejected, Unreachable
from microservices.position_state_brain.service import build
from microservices.runtime import Away, Context, LeaseHeld, Refused
from tests.support.brain import BASELINE, INSTRUMENT, SYMBOL
from tests.support.brain_world import ACCOUNT, World
from tests.support.metrics import registered, scraped
from tests.support.paper import PaperExchange
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
MODULE = [sys.executable, "-m", "microservices.position_state_brain.main"]
AGES = ("p33_snapshot_age_seconds", "p33_allowlist_age_seconds")
BOUND = {"mode": "paper", "host": "127.0.0.1", "account": ACCOUNT}


@pytest.fixture
def world(redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A brain that has not started."""
    return World(redis_client, tmp_path, monkeypatch)


def test_the_start_says_what_it_is(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The lines that operators search for, and the list in force."""
    caplog.set_level(logging.INFO)
    world.publish_universe()
    build(Context(world.settings, world.redis, world.clock, None, "test"))  # type: ignore[arg-type] # no loop runs
    world.brain.prepare()
    lines = [record.message for record in caplog.records]
    assert "Binance paper client initialized" in lines
    assert "P3.3 Position State Brain starting (event-driven mode)" in lines
    assert any(line.startswith("P3.3 allowlist source=universe stale=0 count=2 asof_epoch=") for line in lines)


def test_a_start_without_a_list_says_that_nothing_will_be_permitted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Loudly, and goes on: the universe may come."""
    world.brain.prepare()
    assert "FAIL-CLOSED: No valid allowlist loaded - service will deny all permits" in caplog.text


def test_on_paper_an_unbound_redis_becomes_this_accounts(world: World) -> None:
    """Mode, host and the alias that the exchange names."""
    world.brain.prepare()
    bound = account.decode(world.redis.hgetall(account.KEY))
    assert bound == account.AccountBinding(world.settings.trading_mode, "127.0.0.1", ACCOUNT)


@pytest.mark.parametrize("other", [{"account": "Another"}, {"mode": "testnet"}, {"host": "fapi.binance.com"}])
def test_a_redis_of_another_account_refuses_the_start(world: World, other: dict[str, str]) -> None:
    """One line that names the difference: a position of one account must never be permitted by another's."""
    world.redis.hset(account.KEY, mapping=dict((BOUND | other).items()))
    with pytest.raises(Refused, match="belongs to another account") as refused:
        world.brain.prepare()
    assert next(iter(other.values())) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_exchange_that_does_not_say_whose_key_this_is_is_waited_for(world: World) -> None:
    """Away, or refusing the key: the start is tried again, and works once it answers."""
    for error in (
        Unreachable("GET /fapi/v2/balance", "connection failed", sent=False),
        Rejected("GET /fapi/v2/balance", 401, -2015, "Invalid API-key"),
    ):
        world.exchange.alias_error = error
        with pytest.raises(type(error)):
            world.brain.prepare()
    world.exchange.alias_error = None
    world.brain.prepare()


def test_a_start_during_a_ban_asks_nothing(world: World) -> None:
    """A restart must not make a ban longer (I-24)."""
    world.redis.hset(control.BACKOFF_KEY, "banned_until_ms", world.now_ms() + 60_000)
    world.exchange.alias_error = AssertionError()  # type: ignore[assignment] # nobody may ask
    with pytest.raises(Away, match="back-off"):
        world.brain.prepare()


def test_there_is_one_brain_at_a_time(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On this host by the lock file, on another by the lease, which is waited for."""
    world.brain.prepare()
    with pytest.raises(Refused, match="already"):
        world.another_brain().prepare()
    elsewhere = World(world.redis, tmp_path / "elsewhere", monkeypatch)
    with pytest.raises(LeaseHeld):
        elsewhere.brain.prepare()
    world.brain.close()
    elsewhere.brain.prepare()


def test_the_heartbeat_says_what_is_in_force(world: World) -> None:
    """And keeps the lease; before the first snapshot it comes often and says that there is none."""
    world.publish_universe()
    world.brain.prepare()
    assert world.brain.heartbeat() < 1
    status = position.decode_status(world.redis.hgetall(position.STATUS_KEY))
    assert status is not None
    assert (status.allowlist_source, status.allowlist_count, status.snapshot_age_ms) == ("universe", 2, -1)
    assert "no snapshot" in world.brain.status_line()
    world.snapshot()
    world.redis.pexpire(position.LEASE_KEY, 500)
    assert world.brain.heartbeat() <= 5
    assert world.redis.pttl(position.LEASE_KEY) > 5_000
    status = position.decode_status(world.redis.hgetall(position.STATUS_KEY))
    assert status is not None
    assert (status.mode, status.build, status.last_ts) == ("paper", "test", int(world.clock.now()))
    assert 0 <= status.snapshot_age_ms < 10_000
    assert world.brain.status_line().startswith("allowlist universe (2), snapshot ")


def test_ages_grow_in_the_metrics_while_redis_is_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alarm on the age of snapshot or list must not sleep through it."""

    def away() -> bool:
        raise RedisConnectionError

    world.begin()
    world.brain.heartbeat()
    before = [registered(name) for name in AGES]
    world.clock.advance(10_000.0)
    monkeypatch.setattr(world.brain._instance, "renew", away)
    with pytest.raises(RedisConnectionError):
        world.brain.heartbeat()
    assert all(registered(name) > age + 9_000 for name, age in zip(AGES, before, strict=True))


def test_a_redis_that_lost_everything_is_taken_up_again(world: World) -> None:
    """The lease is taken anew with the next heartbeat; until the operator's switch is back, nothing is opened."""
    world.begin()
    world.redis.flushall()
    world.brain.heartbeat()
    world.publish_universe()
    world.snapshot()
    assert not world.has_baseline()  # the executor may yet write again what it knows
    world.snapshot()
    assert world.has_baseline()
    world.brain.ledger.tick()
    world.open("p1")
    assert world.answer() == [("p1", "kill_switch")]
    world.redis.set("quantum:kill_switch", "off")
    world.open("p2")
    assert world.answer() == [("p2", "allowed")]


def test_what_stands_in_redis_after_the_lease_was_lost_is_seen(world: World) -> None:
    """I-21: another brain, or a rollback, left a mark without a permit: it must not close its symbol for ever."""
    world.begin()
    world.redis.delete(position.LEASE_KEY)
    mark: dict[Any, Any] = {"plan_id": "gone", "plan_entry_id": "1-0", "action": "FULL_CLOSE_PROPOSED"}
    world.redis.hset(position.inflight_key(SYMBOL), mapping=mark)
    world.brain.heartbeat()
    for _ in range(3):
        world.clock.advance(2.0)
        world.brain.ledger.tick()
    assert world.mark() is None


def test_a_lease_that_another_holds_is_not_taken(world: World) -> None:
    """The heartbeat waits like a start does."""
    world.begin()
    world.redis.set(position.LEASE_KEY, "another:instance", ex=10)
    with pytest.raises(LeaseHeld):
        world.brain.heartbeat()


def test_a_dry_run_evaluates_and_writes_no_permit_mark_or_ledger(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In a group of its own; snapshots are written, for whoever compares."""
    caplog.set_level(logging.INFO)
    world = World(redis_client, tmp_path, monkeypatch, p33_dry_run=True)
    redis_client.hset(position.BASELINE_KEY, mapping=hashes.encode(BASELINE))
    world.begin()
    world.ended("1-1")
    world.open("p1")
    world.add({"plan_id": "p33:bad"})
    world.brain.permits.tick()
    assert f"{SYMBOL}: allow OPEN p1, 0.01" in caplog.text
    keys = {bytes(key).decode() for key in redis_client.scan_iter()}
    assert position.ACCOUNT_KEY in keys
    assert not keys & {permit.EVENTS, position.LEDGER_CURSOR_KEY, position.ledger_key(SYMBOL)}
    assert not [key for key in keys if ":permit:" in key or ":inflight:" in key or ":verdict:" in key]
    assert redis_client.xpending(plan.STREAM, plan.GROUP_BRAIN_DRY_RUN)["pending"] == 0
    assert "ledger" not in {loop.name for loop in world.brain.loops()}
    assert "dry run" in world.brain.status_line()


@pytest.fixture
def paper() -> Iterator[PaperExchange]:
    """A paper exchange, as a process."""
    with PaperExchange() as exchange:
        yield exchange


def environment(redis_server: RedisServer, paper: PaperExchange, state: Path, **changes: str) -> dict[str, str]:
    """What the process is told."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    own = {"REDIS_PORT": str(redis_server.port), "STATE_DIRECTORY": str(state), "P33_METRICS_PORT": "0"}
    return {**kept, **own, **paper.environment(), "P33_ALLOWLIST": "BTCUSDT", **changes}


def add_open(redis: Redis, plan_id: str) -> None:
    """Add an OPEN on the paper exchange's BTCUSDT."""
    fields = {
        "plan_id": plan_id, "symbol": "BTCUSDT", "side": "BUY", "decision": "EXECUTE", "action": "OPEN",
        "reduceOnly": "false", "qty": "0.01", "timestamp": f"{time.time():.3f}",
    }  # fmt: skip
    redis.xadd(plan.STREAM, dict(fields.items()))


def is_permitted(redis: Redis, numbers: Iterator[int]) -> bool:
    """Tell whether one more OPEN is permitted: on a busy machine the first mark prices may come too late for it."""
    key = permit.key(Gate.P33, plan_id := f"p{next(numbers)}")
    add_open(redis, plan_id)
    return permit.decode(wait_until(lambda: redis.get(key), 15, what=plan_id), plan_id).allow


def test_the_process_permits_serves_metrics_and_ends_within_two_seconds(
    redis_server: RedisServer, redis_client: Redis, paper: PaperExchange, tmp_path: Path
) -> None:
    """From an empty paper Redis: an exchange, a list and an instrument are all it needs."""
    port = free_port()
    rules = universe.encode_instrument(msgspec.structs.replace(INSTRUMENT, seen_epoch=int(time.time()))).decode()
    redis_client.hset(universe.INSTRUMENTS_KEY, "BTCUSDT", rules)
    redis_client.set("quantum:kill_switch", "off")
    settings = environment(redis_server, paper, tmp_path, P33_METRICS_PORT=str(port))
    log = tmp_path / "log"
    with log.open("wb") as stderr, subprocess.Popen(MODULE, env=settings, cwd=ROOT, stderr=stderr) as process:
        try:
            wait_until(lambda: redis_client.exists(position.BASELINE_KEY), 30, what="the account to be adopted")
            wait_until(partial(is_permitted, redis_client, count()), 30, what="a permit")
            # The permit is in Redis before the brain counts it, so the metric may come a moment later.
            counted = 'p33_permit_allow_total{symbol="BTCUSDT"} 1.0'
            wait_until(lambda: counted in scraped(port), 15, what="the permit to be counted")
            assert "p33_permit_latency_seconds_bucket" in scraped(port)
        finally:
            ended_at = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
    assert time.monotonic() - ended_at < 8  # two on a quiet machine
    text = log.read_text()
    assert f"[INFO] Metrics server started on port {port}" in text
    assert "[INFO] P3.3 allowlist source=env stale=env count=1 asof_epoch=static age_s=0" in text
    assert "Traceback" not in text
    assert not redis_client.exists(position.LEASE_KEY)


def test_a_brain_that_is_killed_is_replaced_at_once(
    redis_server: RedisServer, redis_client: Redis, paper: PaperExchange, tmp_path: Path
) -> None:
    """The lock file's holder takes the dead one's lease over, and answers the plan that came in between."""
    settings = environment(redis_server, paper, tmp_path)
    for plan_id in ("p1", "p2"):
        add_open(redis_client, plan_id)
        with subprocess.Popen(MODULE, env=settings, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
            try:
                wait_until(partial(redis_client.exists, permit.key(Gate.P33, plan_id)), 30, what=plan_id)
                lease = redis_client.get(position.LEASE_KEY)
                assert isinstance(lease, bytes)
            finally:
                process.kill()
                process.wait(10)
        redis_client.set(position.LEASE_KEY, lease)  # for ever: who waits for its end would wait in vain
    document = permit.decode(redis_client.get(permit.key(Gate.P33, "p2")), "p2")
    assert document.reason == "kill_switch"


def test_once_takes_a_snapshot_and_ends(
    redis_server: RedisServer, redis_client: Redis, paper: PaperExchange, tmp_path: Path
) -> None:
    """0 where every loop did its work; 1 and one line where the account is not known."""
    settings = environment(redis_server, paper, tmp_path)
    done = subprocess.run([*MODULE, "--once"], env=settings, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert redis_client.hget(position.ACCOUNT_KEY, "complete") == b"true"
    paper.fault({"fault": "html", "path": "/fapi/v2/positionRisk"})
    failed = subprocess.run([*MODULE, "--once"], env=settings, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert failed.returncode == 1
    assert "no complete answer about the account" in failed.stderr


def test_the_file_itself_shows_its_settings_without_secrets(paper: PaperExchange, tmp_path: Path) -> None:
    """`--check-config` prints what is in force; a wrong value ends with 78 and one line."""
    command = [sys.executable, "microservices/position_state_brain/main.py", "--check-config"]
    settings = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **paper.environment()}
    shown = subprocess.run(command, env=settings, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert shown.returncode == 0
    assert "P33_POLL_SEC=5" in shown.stdout
    assert paper.secret not in shown.stdout
    wrong = settings | {"P33_POLL_SEC": "30"}
    refused = subprocess.run(command, env=wrong, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert refused.returncode == 78
    assert refused.stderr.count("\n") == 1
    assert "P33_POLL_SEC" in refused.stderr
    assert json.dumps(paper.key) not in refused.stderr
