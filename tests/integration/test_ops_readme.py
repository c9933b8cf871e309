"""Every command of the operator's manual is run against the paper suite, and prints what the manual shows."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from microservices.contracts import account, control, permit
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Side
from ops.generate_docs import SERVICES
from tests.support.daemon import ROOT
from tests.support.ledger import three_entries
from tests.support.manual import Command, commands_of
from tests.support.ops import put_tool
from tests.support.suite import Suite
from tests.support.waiting import wait_until

MANUAL = ROOT / "ops" / "README.md"
PAGES = ROOT / "ops" / "manual"
ROLLOUT = ROOT / "ops" / "ROLLOUT_UNIVERSE_SERVICE.md"
HEADINGS = [
    "Purpose",
    "Files",
    "Keys",
    "Configuration",
    "Deployment",
    "Usage",
    "Failure modes",
    "Integration example",
]
TIMEOUT_S = 120
ATTEMPTS = 10
WORTH_USDT = Decimal(150)
"""Between BTCUSDT's minimum and what the apply layer allows."""
NUMBERS = itertools.count(100)


def pages() -> list[Path]:
    """Give the manual's pages, the index first."""
    return [MANUAL, ROLLOUT, *sorted(PAGES.glob("*.md"))]


def commands() -> list[tuple[str, Command]]:
    """Give the commands of all pages with the page's name, each text once."""
    once: dict[str, tuple[str, Command]] = {}
    for page in pages():
        for command in commands_of(page):
            once.setdefault(command.line, (page.name, command))
    return list(once.values())


@pytest.fixture
def command(request: pytest.FixtureRequest) -> Command:
    """One of them, as it is given to a test."""
    given: Command = request.param
    return given


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """The paper suite at work; a busy machine may take its time over a permit."""
    with Suite(tmp_path_factory.mktemp("suite"), {"apply-layer": {"APPLY_PERMIT_WAIT_MS": "15000"}}) as running:
        running.redis.set(control.KILL_SWITCH_KEY, "off")
        yield running


@pytest.fixture(scope="module")
def executed(suite: Suite) -> str:
    """Place an order, and give its plan's id, the manual's demo-7; on a busy machine a snapshot may come too late."""
    ends = []
    for number in range(7, 7 + ATTEMPTS):
        story = suite.follow(suite.open("BTCUSDT", Side.BUY, usdt=WORTH_USDT, plan_id=f"demo-{number}"))
        if story.result.executed:
            return story.added.plan_id
        ends.append(story.result.error)
    raise AssertionError(f"no plan was executed: {ends}")


@pytest.fixture(scope="module")
def denied(suite: Suite) -> str:
    """Have a plan denied, and give its id, the manual's demo-9: it is worth less than the exchange takes."""
    return suite.follow(suite.open("ETHUSDT", Side.BUY, qty="0.001", plan_id="demo-1009")).added.plan_id


@pytest.fixture
def environment(suite: Suite, tmp_path: Path, command: Command) -> dict[str, str]:
    """An operator's shell beside the suite: its own redis-cli and key pair, and an ssh that leads back here.

    The kill switch is off, the Redis is not bound to its account, and for an audit one deny stands as a permit.
    """
    layout = suite.layout
    suite.redis.set(control.KILL_SWITCH_KEY, "off")
    suite.redis.delete(account.KEY)
    if "permit_audit" in command.line:
        suite.redis.delete("of no permit", *suite.redis.keys(permit.key(Gate.P33, "*")))
        denied = suite.exit("ETHUSDT", Side.SELL, plan_id=f"demo-{next(NUMBERS)}")
        wait_until(lambda: suite.permit(denied), 20, what="a deny")
    port = layout.redis_port
    put_tool(tmp_path, "ssh", f'REDIS_PORT={port} exec bash -c "${{@: -1}}"')
    put_tool(tmp_path, "python", f'exec {sys.executable} "$@"')
    (tmp_path / "ledger.md").write_bytes(three_entries())
    put_tool(tmp_path, "redis-cli", f'exec {shutil.which("redis-cli")} -p {port} "$@"')
    return layout.proofs_environment | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "BINANCE_FUTURES_BASE_URL": layout.paper_url,
        "BINANCE_API_KEY": layout.api_key,
        "BINANCE_API_SECRET": layout.api_secret,
        "PAPER_API_KEY": "any",
        "PAPER_API_SECRET": "any",
        "UNIVERSE_MODE": "paper",
        "TRADING_MODE": "paper",
        "STATE_DIRECTORY": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "OPS_LEDGER_FILE": str(tmp_path / "ledger.md"),
    }


def pattern(output: str) -> str:
    """Make what the manual shows into a pattern: `…` is anything, also several lines; figures are any figures."""
    return ".*".join(re.escape(without_figures(part)) for part in output.split("…"))


def without_figures(text: str) -> str:
    """Leave out what differs from one run, and one machine, to the next."""
    return re.sub(r"\d+", "0", re.sub(r"\S+@\S+", "who@where", text))


def test_the_manual_has_commands() -> None:
    """The reading of the manual itself works."""
    found = commands()
    assert len(found) > 60
    assert sum(bool(command.output) for _, command in found) >= 10


@pytest.mark.parametrize(
    "command",
    [pytest.param(command, id=f"{page}: {command.line[:60]}") for page, command in commands()],
    indirect=True,
)
def test_a_command_of_the_manual_does_what_the_manual_says(
    command: Command, environment: dict[str, str], executed: str, denied: str
) -> None:
    """It ends with the code that is said, and prints what is shown."""
    text = command.line.replace("demo-7", executed).replace("demo-9", denied)
    done = subprocess.run(
        ["bash", "-c", text], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == command.code, done.stdout + done.stderr
    assert done.stdout + done.stderr
    assert not done.stdout.startswith(("ERR", "WRONGTYPE", "NOAUTH"))
    if command.output:
        assert re.fullmatch(pattern(command.output), without_figures(done.stdout), re.DOTALL), done.stdout


def test_every_script_of_the_library_has_its_section() -> None:
    """A script that is not in the manual does not exist for an operator."""
    text = MANUAL.read_text()
    users = [script.name for script in (ROOT / "ops").glob("*.sh") if "lib/common.sh" in script.read_text()]
    users += [script.name for kind in ("test_*.py", "ops_*.py") for script in (ROOT / "ops").glob(kind)]
    assert sorted(users) == sorted(re.findall(r"^## ([\w.]+\.(?:sh|py)):", text, re.MULTILINE))
    for name in users:
        assert f"](#{name.replace('.', '')}-" in text, f"{name} is not in the index"


def test_every_service_has_its_page_with_the_same_sections() -> None:
    """Whoever knows one page knows all; the index leads to each, by the unit's name."""
    index = MANUAL.read_text()
    for package, unit in SERVICES.items():
        name = unit.removeprefix("quantum-")
        page = PAGES / f"{name}.md"
        assert re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) == HEADINGS, page
        assert f"(manual/{name}.md)" in index
        assert f"microservices/{package}/" in page.read_text()
        assert unit in page.read_text()


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_file_or_a_page_that_is_named_is_there(page: Path) -> None:
    """No page leads to what was moved."""
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (page.parent / link).exists(), link
    for name in re.findall(r"`((?:docs|ops|tests|microservices|ai_engine)/[\w./-]*\w)`", text):
        assert (ROOT / name).exists(), name
