"""The page of the apply layer: every command in it prints what it shows, and its tables say what the code says."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client import REGISTRY
from redis import Redis

from microservices.apply_layer import metrics
from microservices.apply_layer.endings import ended
from microservices.apply_layer.outcome import RETRYABLE_CODES
from microservices.contracts import claim
from microservices.contracts.reason import Reason, exchange_error
from tests.support.apply_crasher import STEPS
from tests.support.apply_paper import ORDER_PATH, SOL, Desk
from tests.support.apply_process import process
from tests.support.daemon import ROOT
from tests.support.ops import put_tool
from tests.support.paper import PaperExchange
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

PAGE = (ROOT / "docs" / "apply-layer.md").read_text(encoding="utf-8")
PLAN_ID = "my-exit-1"


class Block(NamedTuple):
    """Commands of the page, the exit code of the last, and what they print."""

    line: int
    commands: str
    code: int
    expected: str


def blocks() -> list[Block]:
    """Read the page's blocks of commands, each with the block behind it."""
    found = []
    for match in re.finditer(r"^```sh\n(.*?)^```\n```\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        said = re.search(r"# exit (\d+)$", match[1].rstrip())
        found.append(Block(PAGE.count("\n", 0, match.start()) + 1, match[1], int(said[1]) if said else 0, match[2]))
    return found


BLOCKS = blocks()


@pytest.fixture
def environment(
    redis_server: RedisServer, redis_client: Redis, paper: PaperExchange, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """An executor at work with one order that nobody answers for, as the page says."""
    state = tmp_path / "home" / ".local" / "state" / "quantum-apply-layer"
    state.parent.mkdir(parents=True)
    desk = Desk(redis_client, paper, state)
    desk.hold(SOL, "1")
    put_tool(tmp_path, "redis-cli", f'exec {shutil.which("redis-cli")} -p {redis_server.port} "$@"')
    with process(redis_server, desk):
        paper.fault({"fault": "swallow_reply", "times": 1}, {"fault": "drop", "method": "GET", "path": ORDER_PATH})
        desk.exit(plan_id=PLAN_ID)
        wait_until(lambda: redis_client.hget(claim.STATUS_KEY, "unresolved") == b"1", 30, what="the heartbeat")
        yield paper.environment() | {
            "PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "REDIS_PORT": str(redis_server.port),
            "HOME": str(tmp_path / "home"),
        }


@pytest.mark.parametrize("block", BLOCKS, ids=[f"line-{block.line}" for block in BLOCKS])
def test_the_commands_of_the_page_print_what_it_shows(block: Block, environment: dict[str, str]) -> None:
    """As an operator would run them, one after the other."""
    done = subprocess.run(
        ["bash", "-e", "-c", block.commands], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    printed = done.stdout + done.stderr
    assert done.returncode == block.code, printed
    assert re.fullmatch(".*?".join(map(re.escape, block.expected.split("…"))), printed, re.DOTALL), printed


def test_no_command_of_the_page_is_left_out() -> None:
    """Each block of commands has the block of what it prints right behind it."""
    assert len(BLOCKS) == PAGE.count("```sh\n") >= 4


def rows(header: str) -> list[list[str]]:
    """Give the cells of the table whose header begins so."""
    lines = PAGE[PAGE.index(f"\n| {header}") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_table_of_codes_says_what_a_result_says() -> None:
    """Decision and retryable of every code, and none of the executor's own is left out."""
    told = {row[0].strip("`"): (row[1], row[2] == "yes") for row in rows("code | decision")}
    assert told.pop("(empty)") == ("EXECUTE", False)
    ends = {reason.value: ended(reason) for reason in Reason if reason.value in told}
    came = {"plan_skip": "SKIP", "plan_blocked": "BLOCKED", "plan_error": "ERROR"}  # they keep their own decision
    said = {code: (came.get(code, end.decision.value), end.retryable) for code, end in ends.items()}
    assert told == said
    folder = ROOT / "microservices" / "apply_layer"
    used = {name for file in folder.glob("*.py") for name in re.findall(r"\bReason\.([A-Z_]+)\b", file.read_text())}
    refused = set(re.findall(r"'refused', '([a-z_]+)'", (folder / "consume.lua").read_text()))
    assert {Reason[name].value for name in used} | refused <= told.keys()


def test_the_table_of_the_exchanges_codes_is_the_set_of_those_that_pass() -> None:
    """Each of the retryable ones, and no other."""
    named = [name.strip("`") for row in rows("code | why") for name in row[0].split()]
    assert sorted(named) == sorted(map(exchange_error, RETRYABLE_CODES))


def test_the_table_of_metrics_names_every_metric() -> None:
    """As they are served."""
    served = {metric.name for metric in REGISTRY.collect() if metric.name.startswith("apply_")}
    told = {re.sub(r"_total$", "", row[0].strip("`").partition("{")[0]) for row in rows("metric |")}
    assert told == served
    assert metrics.FILLED in PAGE


def test_the_steps_name_the_scripts_that_are_steps() -> None:
    """The scripts that a plan goes through are in the table of steps."""
    scripts = {step for step in STEPS["order"] if step.endswith(".lua")}
    assert scripts == {name for row in rows("# | what is done") for name in re.findall(r"\w+\.lua", row[2])}
