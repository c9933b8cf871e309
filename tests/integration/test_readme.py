"""The README keeps its word: every command runs, every path is there, its tables are what the project is."""

import os
import re
import shutil
import subprocess
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from redis import Redis

from tests.support.ops import put_tool
from tests.support.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOT_RUN = "# interactive"


def commands() -> list[str]:
    """Every command of the `sh` blocks, without those that are marked as a person's."""
    blocks = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    return [line for line in lines if NOT_RUN not in line]


def table_after(heading: str) -> list[list[str]]:
    """The rows of the first table behind a heading, cells without backticks."""
    section = TEXT.split(f"\n## {heading}\n", 1)[1]
    rows = re.findall(r"^\|(.+)\|$", section.split("\n## ")[0], re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows[2:]]


def bare(requirement: str) -> str:
    """The name of a requirement."""
    return re.split(r"[\[>=<]", requirement)[0]


@pytest.mark.parametrize("command", [line for line in commands() if line.startswith("make")])
def test_a_make_command_is_one_of_the_makefile(command: str) -> None:
    """What it would do is known to make; what it does is proven by the tests of each."""
    planned = subprocess.run(
        ["bash", "-c", command.replace("make", "make -n", 1)], cwd=ROOT, capture_output=True, text=True
    )
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.strip()


@pytest.mark.parametrize("command", [line for line in commands() if not line.startswith("make")])
def test_a_command_runs_as_it_stands(
    command: str, redis_server: RedisServer, redis_client: Redis, tmp_path: Path
) -> None:
    """Exit 0, on an empty Redis at the default address (here the test's own)."""
    put_tool(tmp_path, "redis-cli", f'exec {shutil.which("redis-cli")} -p {redis_server.port} "$@"')
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STATE_DIRECTORY": str(tmp_path)}
    environment |= {"BINANCE_API_KEY": "key", "BINANCE_API_SECRET": "secret"}
    ended = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 0, ended.stderr
    assert "ERR" not in ended.stdout


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:docs|ops|tests|microservices|ai_engine)/[\w./-]*)`", TEXT)))
)
def test_a_path_that_is_named_is_there(path: str) -> None:
    """No page refers to a file that was moved."""
    assert (ROOT / path).exists()


def test_the_table_of_services_is_the_services() -> None:
    """Every package with a main has its row, with the unit that starts it and its port."""
    units = {target.split(".")[1]: unit for unit, target in PYPROJECT["project"]["scripts"].items()}
    rows = {row[0].strip("`"): (row[1].strip("`"), int(row[2])) for row in table_after("Services")}
    assert {package: unit for package, (unit, _) in rows.items()} == units
    for package, (_, port) in rows.items():
        fields = import_module(f"microservices.{package}.settings").Settings.__struct_fields__
        defaults = import_module(f"microservices.{package}.settings").Settings.__struct_defaults__
        ports = dict(zip(fields[-len(defaults) :], defaults, strict=True))
        default = next(value for name, value in ports.items() if name.endswith("metrics_port") or name == "paper_port")
        assert default in (port, 0)


def test_the_table_of_dependencies_is_the_projects() -> None:
    """Every dependency has its line with a reason; no line is left of one that went."""
    extras = PYPROJECT["project"]["optional-dependencies"]
    wanted = {
        bare(requirement) for group in [PYPROJECT["project"]["dependencies"], *extras.values()] for requirement in group
    }
    named = {name.strip() for row in table_after("Dependencies") for name in re.sub(r"\(.*?\)", "", row[0]).split(",")}
    assert named == {
        name for name in wanted if name != "quantum-trader" and not name.endswith("-stubs") and "types-" not in name
    }
