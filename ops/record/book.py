"""The ledger as a file: where entries stand in it, what is recorded, where the next one goes. Bytes in, bytes out.

Entries stand newest first in sections `## YYYY-MM`, months newest first. Each names the SHA-256 of the entry below it,
and one line, the seal, that of the newest: so every entry is held by something above it. All other bytes (text, entries
of an earlier format) are somebody else's and stay as they are.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from ops.record.entry import BOTTOM, ID_FORM, digest, idempotency_key
from ops.record.yaml_text import read_scalar

HEADLINE = b"""# Operations changelog

What was done to the system, newest first. Written by `ops/ops_ledger_append.py`, checked by its `--verify`; an entry is
never edited, a rollback is a new one. `docs/OPS_GOVERNOR.md` says when an entry is due.
"""
_ENTRY = re.compile(rb"^```yaml\n---\noperation_id: .*?^```$\n?", re.MULTILINE | re.DOTALL)
_OURS = re.compile(rb"^previous_sha256: ", re.MULTILINE)
_SEAL = re.compile(rb"^<!-- newest entry sha256: ([0-9a-f]{64}) -->\n", re.MULTILINE)
_ANY_ID = re.compile(rb"^(?:  )?(?:- )?operation_id:[ \t]*(.+?)[ \t\r]*$", re.MULTILINE)
_FENCED = re.compile(rb"^ {0,3}(`{3,}|~{3,})[^\n]*\n.*?^ {0,3}\1[`~]*[ \t\r]*$", re.MULTILINE | re.DOTALL)
_MONTH = re.compile(rb"^## ([0-9]{4}-[0-9]{2})[ \t\r]*(?:\n|\Z)", re.MULTILINE)


class Placed(NamedTuple):
    """One entry of the chain: its bytes, and where they begin and end in the file."""

    raw: bytes
    start: int
    end: int


class Recorded(NamedTuple):
    """What the ledger knows of the entries in it, those of an earlier format included."""

    ids: list[str]
    ids_by_key: dict[str, str]


class Addition(NamedTuple):
    """The ledger with one entry more."""

    data: bytes
    in_its_month: bool
    """False where newer months stood above: the entry then stands on top, as the chain needs it."""


def chain(data: bytes) -> list[Placed]:
    """Find the entries that hold each other, newest first; those of an earlier format have no hash and are none."""
    return [Placed(found[0], found.start(), found.end()) for found in _ENTRY.finditer(data) if _OURS.search(found[0])]


def seals(data: bytes) -> list[str]:
    """Give the newest entry's hash as the seal says it; one, in a sound ledger that has entries."""
    return [found[1].decode() for found in _SEAL.finditer(data)]


def newest_hash(data: bytes) -> str:
    """Give what the next entry must name as the one below it.

    It is what the seal says: where the newest entry was changed since, the next one must not cover that up.
    """
    entries = chain(data)
    return (seals(data) or [digest(entries[0].raw) if entries else BOTTOM])[0]


def seal_fault(data: bytes) -> str:
    """Say what is wrong with the newest entry or the seal; empty where nothing is."""
    entries, said = chain(data), seals(data)
    if len(said) != min(len(entries), 1):
        return f"{len(entries)} entries and {len(said)} lines `newest entry sha256`"
    if entries and digest(entries[0].raw) != said[0]:
        return "the newest entry is not as it was recorded"
    return ""


def recorded(data: bytes) -> Recorded:
    """Collect every id, and the ids that were recorded under a key."""
    ids: list[str] = []
    by_key: dict[str, str] = {}
    for entry in chain(data):
        own = entry_id(entry.raw)
        ids.append(own)
        by_key.setdefault(idempotency_key(entry.raw), own)
    for _, text in _between(data):
        ids += [_as_text(found[1]) for found in _ANY_ID.finditer(text)]
    by_key.pop("", None)
    return Recorded(ids, by_key)


def entry_id(raw: bytes) -> str:
    """Read an entry's id, also that of one which was changed: it is the first, and no value has such a line."""
    found = _ANY_ID.search(raw)
    return _as_text(found[1]) if found else "without an id"


def next_id(day: str, ids: list[str]) -> str:
    """Give the next free id of a UTC day (YYYY-MM-DD): one above the highest, so that no number is used twice."""
    of_day = [each for each in ids if ID_FORM.fullmatch(each) and each.startswith(f"OPS-{day}-")]
    return f"OPS-{day}-{max((int(each[15:]) for each in of_day), default=0) + 1:03d}"


def added(data: bytes, raw: bytes, month: str) -> Addition:
    """Put an entry above all others, in the section of its month, and seal it. Every other byte stays."""
    data = data or HEADLINE
    at, text, in_its_month = _place(data, raw, month)
    data = data[:at] + text + data[at:]
    seal = f"<!-- newest entry sha256: {digest(raw)} -->\n".encode()
    if _SEAL.search(data):
        return Addition(_SEAL.sub(seal, data, count=1), in_its_month)
    first = next(_months(data))[1] if in_its_month else chain(data)[0].start
    return Addition(data[:first] + seal + b"\n" + data[first:], in_its_month)


def _place(data: bytes, raw: bytes, month: str) -> tuple[int, bytes, bool]:
    """Say where to put what, and whether that is in the section of the month."""
    entries = chain(data)
    top = entries[0].start if entries else len(data)
    for name, start, end in _months(data):
        if name == month and end <= top:
            before = b"\n" if data[:end].endswith(b"\n") else b"\n\n"
            return end, before + raw + (b"" if data[end:].startswith(b"\n") or end == len(data) else b"\n"), True
        if name < month and start <= top:
            return start, _section(month, raw) + b"\n", True
    if entries:
        return top, raw + b"\n", False
    return len(data), (b"\n" if data.endswith(b"\n") else b"\n\n") + _section(month, raw), True


def _section(month: str, raw: bytes) -> bytes:
    return f"## {month}\n\n".encode() + raw


def _months(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Give the headings of months outside of fenced blocks: month, where the line begins and where it ends."""
    for offset, text in _between(data):
        fenced = [found.span() for found in _FENCED.finditer(text)]
        for found in _MONTH.finditer(text):
            if not any(start < found.start() < end for start, end in fenced):
                yield found[1].decode(), offset + found.start(), offset + found.end()


def _between(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Give what is not of the chain, piece by piece, with its place."""
    at = 0
    for entry in chain(data):
        yield at, data[at : entry.start]
        at = entry.end
    yield at, data[at:]


def _as_text(raw: bytes) -> str:
    text = raw.decode("utf-8", "backslashreplace")
    try:
        return str(read_scalar(text))
    except ValueError:
        return text.strip("'\"")
