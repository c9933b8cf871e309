"""Whatever a value is, an entry parses as YAML to exactly that value, and no line of it closes the fence."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ops.record.append import entry
from ops.record.entry import FIELDS, HEAD, TAIL, idempotency_key, read_entry
from ops.record.yaml_text import Value, field, read
from tests.support.ledger import noon, operation

TRAPS = [
    "",
    " ",
    "---",
    "...",
    "--- a",
    "a\n---\nb",
    "a\n...\nb",
    "```",
    "a\n```\nb",
    "a\n   ```\n",
    "~~~\na",
    "yes",
    "No",
    "ON",
    "y",
    "null",
    "~",
    "Null",
    "true",
    ".inf",
    "-.INF",
    ".nan",
    "1",
    "0x1F",
    "0o17",
    "017",
    "1_000",
    "1e3",
    "1:30",
    "190:20:30",
    "2026-11-28",
    "2026-11-28T20:00:00Z",
    "=",
    "<<",
    "a: b",
    "a #b",
    "#a",
    "- a",
    "? a",
    "&a",
    "*a",
    "!a",
    "!!python/object:os.system",
    "%TAG",
    "@a",
    "`a`",
    "{a",
    "[a",
    "a]",
    "|",
    ">-",
    "'a",
    '"a"',
    "\\",
    "\\n",
    'a\\"',
    "a\n",
    "a\n\n",
    "\na",
    " a\nb",
    "a \nb",
    "a\n b\n\n  c",
    "a\n\tb",
    "\ta",
    "a\t",
    "a ",
    "a\r\nb",
    "a\rb",
    "\x00",
    "\x07\x1b[31m",
    "\x7f",
    "a\x85b",
    "a\u2028b\u2029c",
    "\ufeffa",
    "a\ufffe\uffff",
    "\ud800",
    "\udfff\ud83d\ude00",
    "\U0001f600",
    "\U0010ffff",
    "\u202eevil",
    "\xa0a\xa0",
    "e\u0301",
    "x" * 10_240,
    "a b\n" * 2_560 + "c",
    "é\u2028" * 5_000,
    "operation_id: OPS-2026-01-01-001",
    "previous_sha256: none",
    "a\nprevious_sha256: none\n```",
    "# idempotency_key: a",
]
ANY_TEXT = st.one_of(
    st.text(st.characters(), max_size=60),
    st.text(st.sampled_from("a-:#`~ \t\n\r\x85\u2028\ufeff\ud800\"'\\{}[]&*!|>%@=.01y"), max_size=40),
    st.sampled_from([trap for trap in TRAPS if len(trap) < 1_000]),
)
TEXT_FIELDS = [name for name in FIELDS if not name.endswith(("_timestamp", "_sha256", "_status", "_file"))]
LIST_FIELDS = ["allowed_paths", "allowed_services"]


def parsed(raw: bytes) -> Any:
    """Read an entry as anybody's program does: what is between the fences, by a YAML parser."""
    block = re.fullmatch(r"```yaml\n(---\n.*?\n)```\n", raw.decode(), re.DOTALL)
    assert block is not None
    return yaml.safe_load(block[1])


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: ascii(trap)[:24])
def test_a_trap_comes_back_as_itself(trap: str) -> None:
    """As a field, in a list, as a key and as a value of a mapping."""
    whole: dict[str, Value] = {"text": trap, "list": [trap, "a", trap], "map": {trap: trap, "size": 7}, "end": None}
    text = "".join(field(name, value) for name, value in whole.items())
    assert yaml.safe_load(text) == whole
    assert read(text) == whole


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries({name: ANY_TEXT for name in TEXT_FIELDS if name not in LIST_FIELDS}),
    st.lists(ANY_TEXT, max_size=4),
    st.dictionaries(ANY_TEXT, ANY_TEXT | st.integers(0, 10**15), max_size=3),
    ANY_TEXT,
)
@example({name: "a\n```\nprevious_sha256: none\n" for name in TEXT_FIELDS if name not in LIST_FIELDS}, [], {}, "yes")
def test_any_text_in_any_field_comes_back(
    texts: dict[str, str], items: list[str], pairs: dict[str, str | int], key: str
) -> None:
    """All fields at once: the parser gives the very values, in the order of the fields; the fence is closed once."""
    given_id = texts.pop("operation_id")
    changed: dict[str, Value] = {**texts, "allowed_paths": items, "services_status": pairs, "proof_file": pairs}
    wanted = operation(**changed)._replace(idempotency_key=key)
    raw = entry(wanted, given_id, noon(2026, 11, 28), "none")
    found = parsed(raw)
    assert tuple(found) == FIELDS
    assert {**found} == {
        **wanted.values,
        "operation_id": given_id,
        "approval_timestamp": "2026-11-28T12:00:00Z",
        "execution_timestamp": "2026-11-28T12:00:00Z",
        "previous_sha256": "none",
    }
    assert read_entry(raw) == found
    assert idempotency_key(raw) == key
    lines = raw.decode().removesuffix("\n").split("\n")
    closing = [line for line in lines if re.match(r" {0,3}(`{3,}|~{3,})", line)]
    assert closing == ["```yaml", "```"]
    assert raw.startswith(HEAD.encode())
    assert raw.endswith(TAIL.encode())


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a:",
        "a:b",
        "A: b",
        "a: b\na: c",
        "a: 'b'",
        'a: "b',
        'a: "\\x41"',
        'a: "\\u12"',
        "a: b: c",
        "a: 1.5",
        "a: |\n    b",
        "a:\n  - 'b'",
        "a: b\n  c",
        "a: []\n  - b",
        "a:\n  b",
    ],
)
def test_what_this_tool_does_not_write_is_not_read(text: str) -> None:
    """A line that was changed by hand is refused or differs from what would be written: it never passes."""
    try:
        values = read(text)
    except ValueError:
        return
    assert "".join(field(name, value) for name, value in values.items()) != text + "\n"


def test_several_clean_lines_are_easy_to_read() -> None:
    """A log stands in the file as it was, line by line."""
    assert field("notes", "one\n\n  two: x\nthree") == "notes: |-\n    one\n\n      two: x\n    three\n"
    assert field("risk_class", "SERVICE_RESTART") == "risk_class: SERVICE_RESTART\n"
