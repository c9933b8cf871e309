"""The page of the permits: its commands work beside a real brain, and what it shows is what the code says."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from redis import Redis

from microservices.contracts import position
from microservices.contracts.universe_reader import Allowlist, Tier
from microservices.position_state_brain import allowlist
from microservices.position_state_brain.ledger import DriftCause
from tests.support.brain_world import World
from tests.support.daemon import ROOT
from tests.support.ops import put_tool
from tests.support.pages import commands
from tests.support.redis_server import RedisServer

PAGE = ROOT / "docs" / "permits.md"
TEXT = PAGE.read_text()
SHOWN = {
    "redis-cli GET quantum:permit:p33:my-plan-1": '"reason":"not_in_allowlist"',
    "redis-cli HGETALL quantum:position:verdict:my-plan-1": "not_in_allowlist",
    "redis-cli XREVRANGE quantum:stream:permit.events + - COUNT 5": "my-plan-1",
    "redis-cli HGETALL quantum:position:status": "allowlist_source\nuniverse",
    "redis-cli HGETALL quantum:position:account": "complete\ntrue",
    "redis-cli GET quantum:position:lease": ":",
    "ops/permit_audit.sh --gates p33": "last decision: deny DOGEUSDT not_in_allowlist",
    "redis-cli --scan --pattern 'quantum:reconcile:hold:*'": "quantum:reconcile:hold:ETHUSDT",
    "redis-cli SET quantum:reconcile:hold:BTCUSDT 'all: looking into it'": "OK",
    "redis-cli GET quantum:reconcile:hold:BTCUSDT": "all: looking into it",
    "redis-cli DEL quantum:reconcile:hold:BTCUSDT": "1",
    "ops/reconcile_position.sh --symbol BTCUSDT": "ledger 0, exchange 0",
}
"""What each command prints beside a brain that has denied a plan and holds a symbol."""


def test_every_command_does_what_the_page_says(
    redis_server: RedisServer, redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the page's order, on one Redis, while a brain has a denied plan and a drift behind it."""
    world = World(redis_client, tmp_path / "state", monkeypatch).begin()
    world.exchange.positions["ETHUSDT"] = "0.5"
    world.snapshot()
    world.open("my-plan-1", symbol="DOGEUSDT")
    assert world.answer() == [("my-plan-1", "not_in_allowlist")]
    world.brain.heartbeat()
    for key in (position.LEASE_KEY, position.ACCOUNT_KEY):
        redis_client.persist(key)  # nobody renews them while the commands run, however long these take
    put_tool(tmp_path, "redis-cli", f'exec {shutil.which("redis-cli")} -p {redis_server.port} "$@"')
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_PORT": str(redis_server.port)}
    environment["HOME"] = str(tmp_path)
    shown = set()
    for command in commands(PAGE):
        done = subprocess.run(
            ["bash", "-c", command.line], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == command.code, command.line + done.stdout + done.stderr
        assert SHOWN.get(command.line, "P33_DRY_RUN=true") in done.stdout, command.line
        shown.add(command.line)
    assert set(SHOWN) < shown


def test_every_hold_of_the_brain_is_explained() -> None:
    """Each cause is a row of the table, and each row a cause."""
    assert re.findall(r"^\| `brain:(\w+)` \|", TEXT, re.MULTILINE) == [cause.value for cause in DriftCause]


def test_the_lists_lines_are_those_of_the_log() -> None:
    """Letter for letter, all four tiers."""
    symbols = frozenset(f"S{number}USDT" for number in range(566))
    said = [
        *allowlist.lines(Allowlist(Tier.UNIVERSE, symbols, 1769920585), 1769920625),
        *allowlist.lines(Allowlist(Tier.LAST_OK, symbols, 1769920500), 1769920625),
        *allowlist.lines(Allowlist(Tier.ENV, frozenset({"BTCUSDT"})), 1769920625),
        *allowlist.lines(Allowlist(Tier.NONE), 1769920625),
    ]
    assert "```\n" + "\n".join(said) + "\n```\n" in TEXT


def test_the_status_line_is_the_brains(redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures aside."""
    world = World(redis_client, tmp_path, monkeypatch).begin()
    shape = re.sub(r"[\d.]+", "0", world.brain.status_line())
    assert shape in {re.sub(r"[\d.]+", "0", line) for line in TEXT.splitlines()}
