"""The page of decision intelligence: every command and example in it works on a Redis where results are counted."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from microservices.contracts import decision
from ops.generators.registry import measured
from tests.support.clock import FakeClock
from tests.support.counting import add, run_dry, service
from tests.support.daemon import ROOT
from tests.support.manual import Command, blocks_of, commands_of
from tests.support.ops import put_tool
from tests.support.redis_server import RedisServer

PAGE = ROOT / "docs" / "decision-intelligence.md"


@pytest.fixture
def environment(redis_server: RedisServer, redis_client: Redis, tmp_path: Path) -> dict[str, str]:
    """Results of which some cannot be counted, counted and shown; redis-cli leads there."""
    clock = FakeClock(now=time.time())
    results = [{"plan_id": f"p-{number}", "symbol": "BTCUSDT", "decision": "SKIP", "error": "x"} for number in range(9)]
    add(redis_client, [*results, {"decision": b"\xff"}])
    instance = service(redis_client, clock)
    run_dry(redis_client, clock, instance)
    instance.snapshot()
    put_tool(tmp_path, "redis-cli", f'exec {shutil.which("redis-cli")} -p {redis_server.port} "$@"')
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_PORT": str(redis_server.port)}


@pytest.mark.parametrize("command", commands_of(PAGE), ids=lambda command: command.line[:60])
def test_a_command_of_the_page_does_what_the_page_says(command: Command, environment: dict[str, str]) -> None:
    """It ends with the code that is said; what asks says something."""
    if command.line.startswith("ops/why.sh mine-1") or "symbol:top:1h ETHUSDT" in command.line:
        for earlier in ("XADD", "--once"):
            run(
                next(each for each in commands_of(PAGE) if earlier in each.line and "ops" not in each.line), environment
            )
    done = run(command, environment)
    assert done.returncode == command.code, done.stdout + done.stderr
    if command.line.startswith("redis-cli"):
        assert done.stdout.strip(), command.line
        assert not done.stdout.startswith(("ERR ", "WRONGTYPE"))


def run(command: Command, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the page as somebody who pastes it."""
    return subprocess.run(
        ["bash", "-c", command.line],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
    )


def test_the_page_has_commands() -> None:
    """The reading of the page itself works."""
    assert len(commands_of(PAGE)) > 15


def test_the_example_in_python_prints_reasons_with_their_trend(environment: dict[str, str]) -> None:
    """As it stands, by the interpreter of this run."""
    [example] = blocks_of(PAGE, "python")
    done = subprocess.run([sys.executable, "-c", example], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["x", "9", "+9"]


def test_the_page_names_every_key_status_field_and_metric() -> None:
    """What is added to them is added to the page."""
    text = PAGE.read_text()
    keys = re.findall(r"quantum:p35:[a-z_]+(?::[a-z]+)?", " ".join(decision.window_keys(decision.Window.H1)))
    for name in (*keys, decision.BUCKET_PREFIX, decision.STATUS_KEY, decision.DEAD_LETTER_STREAM, "quantum:p35:index:"):
        assert name in text, name
    own_books = {"entries_base", "stream_added", "stream_last_id", "settled_through"}
    for field in set(decision.P35Status.__struct_fields__) - own_books:
        assert f"`{field}`" in text, field
    metrics = measured("decision_intelligence")
    assert len(metrics) > 5
    for metric in metrics:
        assert metric.name in text, metric.name
