"""The pages for operating the system: every command runs as it stands, every file and rule that is named is there."""

import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml
from redis import Redis

from ops.ops_prompt_fill import DECLARATIONS, LISTS
from ops.record.book import HEADLINE
from ops.record.entry import RISK_CLASSES
from ops.record.verify import verified
from tests.support.daemon import ROOT
from tests.support.pages import Command, Machine, commands, fill, stay_at_work
from tests.support.redis_server import RedisServer

GOVERNOR = ROOT / "docs" / "OPS_GOVERNOR.md"
TEMPLATE = ROOT / "docs" / "OPS_RUNBOOK_TEMPLATE.md"
CHANGELOG = ROOT / "docs" / "OPS_CHANGELOG.md"
RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
INDEX = ROOT / "docs" / "runbooks" / "README.md"
PAGES = [GOVERNOR, TEMPLATE, *RUNBOOKS]
ALERTS = (
    "universe-stale",
    "allowlist-source",
    "market-state-old",
    "feed-lagging",
    "p33-denies-rising",
    "snapshot-stale",
    "permit-latency",
    "apply-results-absent",
    "p35-lag",
    "dead-letters",
    "watchdog-restarts",
    "redis-memory",
    "mixed-builds",
    "orders-unresolved",
    "orders-held-up",
    "untraded-positions",
    "ledger-drift",
    "kill-switch",
    "service-down",
    "loop-failing",
    "redis-down",
    "results-lost",
)
PARTS = ("What it means.", "What is at risk.", "How to look.", "How to mend.", "When to escalate.")


ALL = [command for page in PAGES for command in commands(page)]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine for all pages, with a Redis of its own, on which each command finds what the ones above it left."""
    with RedisServer() as server:
        with server.client() as redis:
            fill(redis)
        yield Machine(tmp_path_factory.mktemp("machine"), server)


@pytest.fixture(scope="module")
def printed(machine: Machine) -> list[CompletedProcess[str]]:
    """What came of each command, after all of them were run once, in their order."""
    with machine.redis.client() as redis:
        return [run_at_work(machine, redis, command.line) for command in ALL]


def run_at_work(machine: Machine, redis: Redis, line: str) -> CompletedProcess[str]:
    """Run a command; before a script that looks at heartbeats, the services are seen to live."""
    if "ops/" in line:
        stay_at_work(redis)
    return machine.run(line)


@pytest.mark.parametrize("number", range(len(ALL)), ids=[f"{each.page}-{each.line[:40]}" for each in ALL])
def test_a_command_of_a_page_does_what_the_page_says(printed: list[CompletedProcess[str]], number: int) -> None:
    """It ends with the code that is said; a command that reads Redis has something to show, on a machine at work."""
    command, done = ALL[number], printed[number]
    assert done.returncode == command.code, done.stdout + done.stderr
    assert re.search(r"^(\(error\) )?(ERR|WRONGTYPE|NOPERM|NOGROUP)\b", done.stdout, re.MULTILINE) is None
    assert "WARNING" not in done.stderr
    if command.line.startswith("redis-cli") and "SLOWLOG" not in command.line:
        assert done.stdout.strip()


def test_every_page_has_commands() -> None:
    """The reading of the pages itself works."""
    assert {command.page for command in ALL} == {page.name for page in PAGES}


@pytest.mark.usefixtures("printed")
def test_the_governors_page_leaves_entries_in_all_three_places(machine: Machine) -> None:
    """The changelog with a rollback that resolves, a YAML file of the month, and an annotated tag."""
    ledger = (machine.root / "docs" / "OPS_CHANGELOG.md").read_bytes()
    assert verified(ledger)[::2] == (3, "")
    [monthly] = (machine.root / "ops" / "ledger").glob("????-??.yaml")
    [document] = yaml.safe_load_all(monthly.read_text())
    assert document["operation_name"] == "Raise the log level"
    tag = machine.run("git cat-file -p ops-2026-11-28-001").stdout
    assert "```yaml\n---\noperation_id: OPS-2026-11-28-001\n" in tag


def test_the_changelog_is_sound() -> None:
    """What is kept in the repository begins with its head and is as it was recorded."""
    assert CHANGELOG.read_bytes().startswith(HEADLINE)
    assert verified(CHANGELOG.read_bytes()).fault == ""


def test_the_rules_stand_in_the_governors_page() -> None:
    """Priority, the seven declarations, the classes, the gates, the record, the report, the signoff."""
    text = GOVERNOR.read_text()
    assert "Safety > Proof > Minimalism > Speed" in text
    rows = re.findall(r"^\| ([a-z ]+) \|", text.split("## The seven declarations")[1].split("##")[0], re.MULTILINE)
    assert [row.replace(" ", "_") for row in rows if row != "declaration"] == [*DECLARATIONS, *LISTS]
    assert all(f"| `{risk_class}` |" in text for risk_class in RISK_CLASSES)
    for words in ("optional", "recommended", "**required**", "error|fail|panic|fatal", "[STEP 2 | ", "PASS/FAIL"):
        assert words in text
    for section in ("Summary", "Changes", "Evidence", "Risk", "Next safe actions"):
        assert f"**{section}**" in text


def test_the_template_has_its_sections_in_order() -> None:
    """From 0, the declaration, to 6, signoff and ledger."""
    sections = re.findall(r"^## (\d)\. (.*)$", TEMPLATE.read_text(), re.MULTILINE)
    assert [int(number) for number, _ in sections] == list(range(7))
    assert (sections[0][1], sections[6][1]) == ("Declaration", "Signoff and ledger")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    """Files of the repository; those of scripts that a page names must exist."""
    for path in re.findall(r"`((?:docs|ops|microservices)/[\w./-]+\.(?:md|py|sh|txt))\b", page.read_text()):
        assert (ROOT / path).exists() or path == "ops/rollback.sh", path


def test_the_reading_of_pages_works(tmp_path: Path) -> None:
    """Continued lines are one command, said codes are read, a person's commands are left out."""
    page = tmp_path / "page.md"
    page.write_text("```sh\na \\\n  b\nc   # exit 3\nd   # interactive\n```\n```text\ne\n```\n")
    assert commands(page) == [Command("page.md", "a b", 0), Command("page.md", "c   # exit 3", 3)]


def test_every_alert_has_its_page() -> None:
    """The index names each once, in its order, and no page is left that it does not name."""
    assert re.findall(r"\]\(([\w-]+)\.md\) \|", INDEX.read_text()) == list(ALERTS)
    assert {page.stem for page in RUNBOOKS} == {*ALERTS, "README"}


@pytest.mark.parametrize("alert", ALERTS)
def test_a_page_answers_the_five_questions(alert: str) -> None:
    """Meaning, risk, looking, mending, escalating, in this order; its links lead to pages that are there."""
    text = (INDEX.parent / f"{alert}.md").read_text()
    assert re.findall(r"^\*\*([A-Z][a-z ]+\.)\*\*", text, re.MULTILINE) == list(PARTS)
    assert all((INDEX.parent / link).exists() for link in re.findall(r"\]\(([^)]+)\)", text))


def test_a_reason_that_a_page_names_is_one() -> None:
    """The table of denies speaks of codes that there are."""
    reasons = (ROOT / "docs" / "reasons.md").read_text()
    rows = re.findall(r"^\| (`.*?) \|", (INDEX.parent / "p33-denies-rising.md").read_text(), re.MULTILINE)
    named = [code for row in rows for code in re.findall(r"`([a-z_]+)(?:…)?`", row)]
    assert len(named) > 10
    assert [code for code in named if f"`{code}" not in reasons] == []
