"""The page of the paper exchange: every command in it works as shown, and its tables say what the code says."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from microservices.paper_exchange.builtin_market import builtin_exchange_info
from microservices.paper_exchange.every_fault import AnyChanging, AnyFault, AnyStream, AnyStriking, read_faults
from microservices.paper_exchange.faults import Striking
from microservices.paper_exchange.gateway import ENDPOINTS
from microservices.paper_exchange.recorded_files import read_recordings
from microservices.paper_exchange.settings import Settings
from microservices.paper_exchange.weights import weight_of
from microservices.runtime.settings import allowed_text, shown
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "paper-exchange.md").read_text(encoding="utf-8")
EXPECTED = "#> "
TIMEOUT_S = 60


class Step(NamedTuple):
    """Commands of the page up to what they print; `expected` is empty where nothing is shown."""

    line: int
    commands: str
    expected: str


def fenced(language: str) -> Iterator[tuple[int, str]]:
    """Give each fenced block of a language, with the number of its first line."""
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        yield PAGE.count("\n", 0, found.start(1)) + 1, found[1]


def steps() -> list[Step]:
    """Split the page's shell blocks after each run of expected lines."""
    found = []
    for first_line, block in fenced("sh"):
        line = first_line
        for part in re.findall(rf"(?:(?!{EXPECTED}).*\n)+(?:{EXPECTED}.*\n)*", block):
            lines = part.splitlines(keepends=True)
            commands = [text for text in lines if not text.startswith(EXPECTED)]
            expected = [text.removeprefix(EXPECTED).rstrip("\n") for text in lines[len(commands) :]]
            found.append(Step(line, "".join(commands), "…".join(expected)))
            line += len(lines)
    return found


STEPS = steps()


def script_of(all_steps: list[Step]) -> str:
    """Make one bash script of the steps: after each it says which commands failed, whatever came after them."""
    parts = ["set -E\ntrap 'failed=\"$failed $BASH_COMMAND ($?);\"' ERR\n"]
    parts += [f'failed=\n{step.commands}echo "@@ $failed"\n' for step in all_steps]
    return "".join(parts)


def run(all_steps: list[Step], scratch: Path) -> list[tuple[str, str]]:
    """Run steps in one shell, in whose process group nothing is left; give what each printed and what failed in it."""
    environment = {
        # The interpreter of this run, for where the repository has no .venv of its own.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PAPER_PORT": str(free_port()),
        "TMPDIR": str(scratch),
        "NO_PROXY": "127.0.0.1",
    }
    with tempfile.TemporaryFile("w+") as log:
        shell = subprocess.Popen(
            ["bash", "-c", script_of(all_steps)],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.wait(TIMEOUT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):  # all of it has ended, as it should
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait(10)
        log.seek(0)
        found = re.findall(r"(.*?)@@(.*?)\n", log.read(), re.DOTALL)
    return [(text, failed.strip()) for text, failed in found]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """What came of each step, after the whole page was run once, in its order."""
    missing = [tool for tool in ("bash", "curl", "openssl") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"the page's commands need {', '.join(missing)}")
    scratch = tmp_path_factory.mktemp("page")
    results = run(STEPS, scratch)
    assert list(scratch.iterdir()) == [], "the page leaves something behind"
    return results


def test_a_command_that_fails_in_the_midst_is_noticed(tmp_path: Path) -> None:
    """The status of every command counts, in functions too, not only that of the last."""
    inner = Step(1, "inner() {\n  false\n  echo done\n}\ninner\n", "done")
    results = run([Step(1, "false\ntrue\n", ""), inner, Step(1, "false || echo fine\n", "fine")], tmp_path)
    assert results == [("", "false (1);"), ("done\n", "false (1);"), ("fine\n", "")]


@pytest.mark.parametrize("number", range(len(STEPS)), ids=[f"line-{step.line}" for step in STEPS])
def test_a_command_of_the_page_does_what_it_shows(printed: list[tuple[str, str]], number: int) -> None:
    """Run in the page's order, each command ends with 0 and prints what stands below it."""
    assert len(printed) == len(STEPS), printed[-1:]
    output, failed = printed[number]
    pattern = ".*?".join(re.escape(piece) for piece in STEPS[number].expected.split("…"))
    assert not failed, f"{failed}\n{output}"
    assert re.search(pattern, output, re.DOTALL), output


def test_every_block_of_commands_shows_what_it_prints() -> None:
    """No block can pass by printing nothing: each has at least one line to compare."""
    blocks = list(fenced("sh"))
    assert len(blocks) >= 10
    assert [line for line, block in blocks if f"\n{EXPECTED}" not in block] == []
    assert "".join(step.commands for step in STEPS).splitlines() == [
        line for _, block in blocks for line in block.splitlines() if not line.startswith(EXPECTED)
    ]


def table(header: str) -> list[list[str]]:
    """Give the cells of the table whose header line begins so."""
    lines = PAGE[PAGE.index(f"\n| {header}") + 1 :].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert {len(row) for row in rows} == {lines[0].count("|") - 1}
    return rows


def test_the_settings_table_is_the_settings_type() -> None:
    """Every variable but Redis's, with its default and what is allowed, and no other."""
    hints = typing.get_type_hints(Settings, include_extras=True)
    expected = {}
    for field in msgspec.structs.fields(Settings):
        if not field.name.startswith("redis_"):
            default = "required" if field.required else f"`{shown(field.default)}`" if shown(field.default) else "empty"
            expected[f"`{field.name.upper()}`"] = [default, allowed_text(hints[field.name])]
    rows = table("variable |")
    assert {row[0]: row[1:3] for row in rows} == expected
    assert len(rows) == len(expected)


def test_the_endpoint_table_is_the_gateways() -> None:
    """Every endpoint once, and the weight of those that have one weight."""
    rows = table("endpoint |")
    assert [row[0] for row in rows] == [f"`{method} {path}`" for method, path in ENDPOINTS]
    plain = {row[0]: int(row[1]) for row in rows if row[1].isdecimal()}
    assert plain == {f"`{m} {path}`": weight_of(m, path, {}) for m, path in ENDPOINTS if f"`{m} {path}`" in plain}
    assert len(plain) == len(rows) - 2


def names_of(kind: Any) -> list[str]:
    """Give the names of the faults in a union of types."""
    return [str(member.__struct_config__.tag) for member in typing.get_args(kind)]


def fault_rows(header: str) -> list[tuple[AnyFault, dict[str, Any], list[str]]]:
    """Give each row of a table of faults: the fault its JSON is, the JSON, and the other cells."""
    rows = table(header)
    return [
        (read_faults(row[0].strip("`").encode())[0], msgspec.json.decode(row[0].strip("`")), row[1:]) for row in rows
    ]


STRIKING_TABLE, CHANGING_TABLE = "JSON | must be given | strikes |", "JSON | must be given | what happens |"
STREAM_TABLE = "JSON | must be given | what happens to streams |"


@pytest.mark.parametrize(
    ("header", "kind"), [(STRIKING_TABLE, AnyStriking), (CHANGING_TABLE, AnyChanging), (STREAM_TABLE, AnyStream)]
)
def test_the_fault_tables_name_every_fault(header: str, kind: Any) -> None:
    """Each table names exactly the faults of its kind, once and in the order of faults.py; together they are all."""
    assert [document["fault"] for _, document, _ in fault_rows(header)] == names_of(kind)
    assert {*names_of(AnyStriking), *names_of(AnyChanging), *names_of(AnyStream)} == set(names_of(AnyFault))


def _as_json(value: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(value))


@pytest.mark.parametrize("header", [STRIKING_TABLE, CHANGING_TABLE, STREAM_TABLE])
def test_a_faults_json_has_all_its_members_and_their_defaults(header: str) -> None:
    """What must be given is named; every other member of its own is shown with its default, and none is missing."""
    common = {field.name for field in msgspec.structs.fields(Striking)}
    for fault, document, cells in fault_rows(header):
        own = [
            field
            for field in msgspec.structs.fields(fault)
            if not (isinstance(fault, Striking) and field.name in common)
        ]
        assert list(document) == ["fault", *(field.name for field in own)]
        assert cells[0] == " ".join(f"`{field.name}`" for field in own if field.required)
        defaults = {field.name: _as_json(field.default) for field in own if not field.required}
        assert defaults == {name: value for name, value in document.items() if name in defaults}


def test_the_fault_table_says_which_requests_are_struck() -> None:
    """The third column is the method and path that a fault has where none is given."""
    for fault, _, cells in fault_rows(STRIKING_TABLE):
        assert isinstance(fault, Striking)
        method, path = fault.default_method, fault.default_path
        assert cells[1] == ("any" if (method, path) == (None, "/fapi") else f"`{method} {path}`")


def test_the_table_of_aims_is_what_every_striking_fault_has() -> None:
    """Every member that chooses requests, and no other."""
    members = [f"`{field.name}`" for field in msgspec.structs.fields(Striking)]
    assert [row[0] for row in table("member |")] == members


EXAMPLES = re.findall(r"`([^`\n]+\.(?:csv|json))`\n\n```(?:csv|json)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_every_example_of_a_recording_has_a_file_name() -> None:
    """None of the page's CSV and JSON blocks escapes the test below."""
    assert len(EXAMPLES) == len([*fenced("csv"), *fenced("json")]) == len({name for name, _ in EXAMPLES})
    assert len(EXAMPLES) >= 8


@pytest.mark.parametrize(("name", "content"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_an_example_of_a_recording_is_read(tmp_path: Path, name: str, content: str) -> None:
    """Each shape, saved under the name shown, gives BTCUSDT's candle of the page."""
    (tmp_path / name).write_text(content)
    recordings, skipped = read_recordings(tmp_path, [row["symbol"] for row in builtin_exchange_info()["symbols"]])
    assert skipped == []
    assert recordings["BTCUSDT"].prices[0].tolist() == [95505.4, 95505.5, 95502.7, 95502.7]
    assert recordings["BTCUSDT"].volume[0] == 16.536
