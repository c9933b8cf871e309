"""The ops governor's task: every value in its place, once, and nothing accepted that would leave it without a bound."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ops import ops_prompt_fill
from ops.record.entry import FIELDS, RISK_CLASSES
from tests.support.daemon import ROOT
from tests.support.ledger import PROMPT_TOOL, three_entries

EXAMPLE = (
    'python ops/ops_prompt_fill.py --operation "Fix Grafana provisioning wrappers" --objective "Unwrap dashboard JSON '
    'and remove UID duplicates under /var/lib/grafana/dashboards/quantum" --risk_class LOW_RISK_CONFIG --blast_radius '
    '"Grafana dashboards only" --rollback_strategy "Restore JSON files from git + restart grafana-server" '
    '--allowed_paths "/etc/grafana/provisioning" "/var/lib/grafana/dashboards/quantum" '
    '--allowed_services "grafana-server"'
)
DECLARED = {
    "--operation": "Look at the feed",
    "--objective": "Find out why it lags",
    "--risk_class": "READ_ONLY",
    "--blast_radius": "nothing",
    "--rollback_strategy": "nothing to undo",
    "--allowed_paths": "/var/log/quantum",
    "--allowed_services": "quantum-candle-feed",
}
SECTIONS = (
    "ROLE",
    "HARD RULES",
    "SCOPE CONTRACT",
    "OPERATION DECLARATION",
    "ALLOWLISTS",
    "EXECUTION FORMAT",
    "MINIMUM VERIFICATION GATES",
    "REPORTING CONTRACT",
)


@pytest.fixture
def fill(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "Fill":
    """Run the tool in this process: one start for many cases."""
    monkeypatch.setattr(ops_prompt_fill, "print_anything", lambda: None)
    monkeypatch.setenv("OPS_LEDGER_FILE", str(tmp_path / "ledger.md"))
    return Fill(capfd)


class Fill:
    """Runs it with the operation `DECLARED`, changed."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *more: str, without: str = "", **changed: str | list[str]) -> tuple[int, str, str]:
        """Give exit code, output and errors."""
        words = list(more)
        for name, value in (DECLARED | {f"--{name}": value for name, value in changed.items()}).items():
            if name != without:
                words += [name, *([value] if isinstance(value, str) else value)]
        try:
            code = ops_prompt_fill.main(words)
        except SystemExit as ended:
            code = int(str(ended.code))
        said = self._capfd.readouterr()
        return code, said.out, said.err


def test_the_example_as_it_is_written(tmp_path: Path) -> None:
    """One command line of the manual: every value of it stands in the filled text, and no place is left."""
    (tmp_path / "python").symlink_to(sys.executable)
    done = subprocess.run(
        ["bash", "-c", EXAMPLE],
        cwd=ROOT,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for value in re.findall('"(.*?)"', EXAMPLE):
        assert value in done.stdout
    assert "- /etc/grafana/provisioning\n- /var/lib/grafana/dashboards/quantum\n" in done.stdout
    assert re.search("<[A-Z_]+>", done.stdout) is None
    assert re.findall(r"^([A-Z][A-Z ]+)$", done.stdout, re.MULTILINE) == list(SECTIONS)


def test_it_runs_from_any_folder_and_from_a_copy(tmp_path: Path) -> None:
    """The template is found beside the script, in a release without a checkout too."""
    shutil.copytree(ROOT / "ops", tmp_path / "release" / "ops", ignore=shutil.ignore_patterns("__pycache__"))
    words = [word for pair in DECLARED.items() for word in pair]
    outputs = {
        subprocess.run(
            [sys.executable, "-I", str(tool), *words], cwd="/", env={}, capture_output=True, text=True, check=True
        ).stdout
        for tool in (PROMPT_TOOL, tmp_path / "release" / "ops" / PROMPT_TOOL.name)
    }
    assert len(outputs) == 1
    assert list(tmp_path.rglob("__pycache__")) == []


@pytest.mark.parametrize("risk_class", RISK_CLASSES)
def test_each_risk_class_says_what_it_allows(fill: Fill, risk_class: str) -> None:
    """With READ_ONLY services may be looked at, not restarted, and the text says so; no other class says that."""
    code, text, _ = fill(risk_class=risk_class)
    assert code == 0
    assert f"- {risk_class}: " in text
    assert ("services may be looked at" in text and "not restarted" in text) is (risk_class == "READ_ONLY")


def test_the_rules_that_bound_the_task_are_there(fill: Fill) -> None:
    """What must never be done, when to stop, what is verified and how it is reported."""
    _, text, _ = fill()
    for words in (
        "Safety > Proof > Minimalism > Speed",
        "trading logic",
        "apply.plan, trade.intent and ai.decision",
        "secrets",
        "firewall",
        "users",
        "one step at a time",
        "Verify after every step",
        "roll back",
        "ask when unsure",
        "[STEP N | UTC]",
        "PASS/FAIL",
        "systemctl is-active",
        "error|fail|panic|fatal",
        "functional check",
        "Next safe actions",
    ):
        assert words in text


PLACES = sorted(set(re.findall("<[A-Z_]+>", (ROOT / "ops" / "ops_prompt_template_v1.txt").read_text())))


@pytest.mark.parametrize("place", PLACES)
def test_a_place_inside_a_value_stays_text(fill: Fill, place: str) -> None:
    """In every field at once: each value stands there as given, none is expanded again."""
    value = f"a {place} b {{0}} $x \\1 %s"
    path = f"/tmp/{place}"
    code, text, _ = fill(
        operation=value,
        objective=value,
        blast_radius=value,
        rollback_strategy=value,
        allowed_paths=[path, path],
        allowed_services=[value],
    )
    assert code == 0
    assert text.count(value) == 5
    assert text.count(f"- {path}\n") == 2


BREAKS = ["a\nb", "a\r", "\x0bb", "a\x0cb", "a\x85b", "a\u2028b", "a\u2029", "\x00", "a\x1b[31mb", "a\udcffb"]


@pytest.mark.parametrize("name", [name for name in DECLARED if name != "--risk_class"])
@pytest.mark.parametrize("value", ["", " ", "\t", *BREAKS], ids=ascii)
def test_an_empty_or_broken_value_is_refused(fill: Fill, name: str, value: str) -> None:
    """Every field: exit 2, one line that names the field, no output."""
    value = f"/{value}" if name == "--allowed_paths" and value.strip() else value
    code, out, err = fill(**{name.removeprefix("--"): value})
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"ops_prompt_fill\.py: {name} [^\n]+\n", err)
    assert err.isprintable() or err[:-1].isprintable()


@pytest.mark.parametrize("name", DECLARED)
def test_every_declaration_is_required(fill: Fill, name: str) -> None:
    """Without one of the seven there is no task."""
    code, out, err = fill(without=name)
    assert (code, out) == (2, "")
    assert err == f"ops_prompt_fill.py: {name}: required\n"


BAD_PATHS = ["/", "//", "/.", "/./", "/*", "/**", "/..", "/etc/..", "/etc/../etc", "..", "../x", "/a/..b"]
RELATIVE = ["docs", "./docs", "docs/OPS_CHANGELOG.md"]


@pytest.mark.parametrize("ledger", [[], ["--ledger", "--changes_summary", "x"]], ids=["prompt", "ledger"])
@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_that_bounds_nothing_is_refused(fill: Fill, path: str, ledger: list[str]) -> None:
    """Also as the last of several, and in both modes."""
    code, out, err = fill(*ledger, allowed_paths=["/etc/quantum", path])
    assert (code, out) == (2, "")
    assert re.fullmatch(r"ops_prompt_fill\.py: --allowed_paths .+\n", err)


@pytest.mark.parametrize("path", [*RELATIVE, "~/x"])
def test_a_relative_path_is_only_for_the_ledger(fill: Fill, path: str) -> None:
    """In a task nobody knows relative to what; in the ledger it is the repository."""
    assert fill(allowed_paths=path)[0] == 2
    assert fill("--ledger", "--changes_summary", "x", allowed_paths=path)[0] == (2 if path == "~/x" else 0)


def test_other_usage_errors(fill: Fill) -> None:
    """Exit 2, one line."""
    for words in (["--nonsense"], ["--notes", "x"], ["--ledger"], ["--ledger", "--changes_summary", " "]):
        code, out, err = fill(*words)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
    assert fill(risk_class="HARMLESS")[0] == 2
    assert fill("--ledger", "--changes_summary", "x", "--operation_id", "7")[0] == 2


def test_a_ledger_entry_instead(fill: Fill, tmp_path: Path) -> None:
    """A fenced block with the entry's fields, the next free id and the hash of what it would stand above."""
    (tmp_path / "ledger.md").write_bytes(three_entries())
    words = [
        "--ledger",
        "--changes_summary",
        "one\ntwo",
        "--notes",
        "```",
        "--approved_by",
        "ben",
        "--outcome",
        "PARTIAL",
    ]
    code, out, err = fill(*words, operation="<OBJECTIVE>", allowed_paths=["docs", "/etc"])
    assert (code, err) == (0, "")
    block = re.fullmatch(r"```yaml\n(---\n.*?\n)```\n", out, re.DOTALL)
    assert block is not None
    entry = yaml.safe_load(block[1])
    assert tuple(entry) == FIELDS
    assert (entry["operation_name"], entry["changes_summary"], entry["notes"]) == ("<OBJECTIVE>", "one\ntwo", "```")
    assert (entry["approved_by"], entry["outcome"], entry["allowed_paths"]) == ("ben", "PARTIAL", ["docs", "/etc"])
    assert re.fullmatch(r"OPS-\d{4}-\d{2}-\d{2}-001", entry["operation_id"])
    assert len(entry["previous_sha256"]) == 64
    assert (tmp_path / "ledger.md").read_bytes() == three_entries()
    given_id = fill("--ledger", "--changes_summary", "x", "--operation_id", "OPS-2026-01-02-003")[1]
    assert "\noperation_id: OPS-2026-01-02-003\n" in given_id


def test_a_rollback_that_names_nothing_is_printed_with_a_warning(fill: Fill) -> None:
    """The old entry can only be named where it is recorded."""
    code, out, err = fill("--ledger", "--changes_summary", "x", "--outcome", "ROLLBACK")
    assert (code, "\noutcome: ROLLBACK\n" in out) == (0, True)
    assert err.startswith("WARNING: ERROR: outcome=ROLLBACK requires --rollback_of parameter (")


def test_help_names_every_option(fill: Fill) -> None:
    """Nothing is hidden."""
    code, out, _ = fill("-h")
    assert code == 0
    assert all(name in out for name in [*DECLARED, *(f"--{name}" for name in ops_prompt_fill.LEDGER_ONLY)])
