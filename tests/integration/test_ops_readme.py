"""Every command in the operator's manual is run, and what is printed there is what it prints."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from redis import Redis

from microservices.contracts import decision, permit, plan, position, result
from microservices.contracts.fields import WrittenFields
from tests.support.clock import FakeClock
from tests.support.counting import run_dry, service
from tests.support.daemon import ROOT
from tests.support.exchange_info import answer, entry
from tests.support.http_server import HttpServer, Request
from tests.support.http_server import answer as http_answer
from tests.support.ledger import three_entries
from tests.support.manual import Command, commands_of
from tests.support.ops import put_tool
from tests.support.redis_server import RedisServer
from tests.support.universe_world import World

README = ROOT / "ops" / "README.md"


def commands() -> list[Command]:
    """The manual's commands."""
    return commands_of(README)


@pytest.fixture
def environment(redis_server: RedisServer, redis_client: Redis, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A suite at work as far as the manual's commands see it, and an ssh that leads back to this machine."""
    now_s = time.time()
    with HttpServer() as server:
        server.say(answer([entry(symbol) for symbol in ("BTCUSDT", "ETHUSDT", "XRPUSDT", "OPUSDT")]))
        world = World(redis_client, server)
        world.clock.step(now_s - world.clock.now())
        world.started().refresh()
        answer_as_exchange(server)
        fill(redis_client, now_s)
        put_tool(tmp_path, "ssh", f'REDIS_PORT={redis_server.port} exec bash -c "${{@: -1}}"')
        put_tool(tmp_path, "python", f'exec {sys.executable} "$@"')
        (tmp_path / "ledger.md").write_bytes(three_entries())
        put_tool(tmp_path, "redis-cli", f'exec {shutil.which("redis-cli")} -p {redis_server.port} "$@"')
        yield {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "REDIS_PORT": str(redis_server.port),
            "BINANCE_FUTURES_BASE_URL": server.url,
            "UNIVERSE_MODE": "paper",
            "OPS_LEDGER_FILE": str(tmp_path / "ledger.md"),
        }


def answer_as_exchange(server: HttpServer) -> None:
    """Let it name an account besides the instruments that it lists."""
    listing = server.handler
    balance: WrittenFields = {"accountAlias": "SgsR", "asset": "USDT", "balance": "1", "availableBalance": "1"}

    def handler(request: Request, connection: socket.socket) -> None:
        signed = {"/fapi/v2/balance": [balance], "/fapi/v1/time": {"serverTime": round(time.time() * 1000)}}
        if request.path in signed:
            connection.sendall(http_answer(msgspec.json.encode(signed[request.path])))
        else:
            listing(request, connection)

    server.handler = handler


def fill(redis: Redis, now_s: float) -> None:
    """Write a denied plan, an order's result, a permit with its event, and the brain's heartbeat."""
    fill_denied(redis, now_s)
    order: WrittenFields = {"plan_id": "demo-7", "symbol": "BTCUSDT", "executed": "true", "order_id": "8205830455"}
    redis.xadd(
        result.STREAM, order | {"side": "BUY", "quantity": "0.002", "price": "101500.1", "timestamp": "1769991686"}
    )
    document = {
        "v": 1,
        "gate": "p33",
        "plan_id": "demo-8",
        "plan_digest": "0" * 64,
        "symbol": "BTCUSDT",
        "mode": "paper",
        "allow": True,
        "safe_qty": "0.002",
        "side": "SELL",
        "reason": "allowed",
        "context": {},
        "created_at": now_s,
        "expires_at_ms": int((now_s + 60) * 1000),
    }
    redis.set(permit.key(permit.Gate.P33, "demo-8"), msgspec.json.encode(document), ex=60)
    event: WrittenFields = {
        "gate": "p33",
        "plan_id": "demo-8",
        "symbol": "BTCUSDT",
        "allow": "true",
        "reason": "allowed",
    }
    redis.xadd(permit.EVENTS, event)
    redis.hset(position.STATUS_KEY, "last_ts", int(now_s))


def fill_denied(redis: Redis, now_s: float) -> None:
    """Write a plan that the brain has denied, and let it be counted."""
    planned: WrittenFields = {"plan_id": "demo-9", "symbol": "ETHUSDT", "decision": "EXECUTE", "action": "OPEN"}
    planned |= {"side": "BUY", "qty": "0.05", "reduceOnly": "false", "source": "demo", "timestamp": int(now_s)}
    entry_id = redis.xadd(plan.STREAM, planned)
    figures = {"mark_price": "2501.5", "mark_age_ms": 310, "snapshot_age_ms": 1204, "last_exec_age_ms": 6100}
    event: WrittenFields = {"gate": "p33", "plan_id": "demo-9", "plan_entry_id": entry_id, "symbol": "ETHUSDT"}
    event |= {
        "allow": "false",
        "safe_qty": "0",
        "reason": "cooldown_in_flight",
        "context": msgspec.json.encode(figures),
    }
    redis.xadd(permit.EVENTS, event | {"issued_at_ms": int(time.time() * 1000) + 1})
    ended: WrittenFields = {"plan_id": "demo-9", "plan_entry_id": entry_id, "symbol": "ETHUSDT", "decision": "BLOCKED"}
    ended |= {"executed": "false", "error": "cooldown_in_flight", "gate": "p33", "retryable": "true", "wait_ms": "3"}
    redis.xadd(result.STREAM, ended | {"mode": "paper", "timestamp": int(now_s)})
    clock = FakeClock(now=now_s)
    counting = service(redis, clock)
    run_dry(redis, clock, counting)
    counting.snapshot()
    redis.hset(decision.STATUS_KEY, "snapshot_ts", int(now_s))


def without_figures(text: str) -> str:
    """Leave out what differs from one run, and one machine, to the next."""
    return re.sub(r"\d+", "0", re.sub(r"\S+@\S+", "who@where", text))


def test_the_manual_has_commands() -> None:
    """The reading of the manual itself works."""
    found = commands()
    assert len(found) > 15
    assert sum(bool(command.output) for command in found) == 6


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.line[:60])
def test_a_command_of_the_manual_does_what_the_manual_says(command: Command, environment: dict[str, str]) -> None:
    """It ends with the code that is said, and prints what is shown."""
    done = subprocess.run(
        ["bash", "-c", command.line], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == command.code, done.stdout + done.stderr
    assert done.stdout + done.stderr
    if command.output:
        assert without_figures(done.stdout) == without_figures(command.output)


def test_every_script_of_the_library_has_its_section() -> None:
    """A script that is not in the manual does not exist for an operator."""
    text = README.read_text()
    users = [script.name for script in (ROOT / "ops").glob("*.sh") if "lib/common.sh" in script.read_text()]
    assert sorted(users) == sorted(re.findall(r"^## (\w+\.sh):", text, re.MULTILINE))
