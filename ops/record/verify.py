"""Go down the chain from the seal to the bottom, and name the first entry that is not as it was recorded."""

import re
from collections import Counter
from typing import NamedTuple

from ops.record.book import chain, entry_id, recorded, seals
from ops.record.entry import BOTTOM, ID_FORM, digest, previous_hash, read_entry

_LOOKS_LIKE_ONE = re.compile(rb"^(?:```yaml\n---|operation_id: )", re.MULTILINE)
_CALLED = re.compile(rb"operation_id: ([^\n]{1,60})")


class Verdict(NamedTuple):
    """What was found: how many entries are sound from the top, of which the newest is named, and the first bad one."""

    sound: int
    newest: str
    fault: str
    """Empty where all of them are sound."""


def verified(data: bytes) -> Verdict:
    """Check that all parse, that each is what the one above it says, that ids are unique and rollbacks resolve."""
    entries, said = chain(data), seals(data)
    newest = entry_id(entries[0].raw) if entries else ""
    if len(said) > 1 or (entries and not said):
        return Verdict(0, newest, f"{len(said)} lines `newest entry sha256` where one is due above the first month")
    fault = _chain_fault(data, (said or [BOTTOM])[0])
    if fault is not None:
        return Verdict(fault[0], newest, fault[1])
    ids = Counter(recorded(data).ids)
    for number, entry in enumerate(entries):
        if why := _content_fault(entry.raw, ids):
            return Verdict(number, newest, f"{_name(data, number, entry.start)}: {why}")
    return Verdict(len(entries), newest, "")


def _chain_fault(data: bytes, expected: str) -> tuple[int, str] | None:
    """Hold every entry against the hash that stands above it, before a word of it is believed."""
    entries, cursor = chain(data), 0
    for number, entry in enumerate(entries):
        if digest(entry.raw) != expected:
            return number, _not_as_recorded(data, number, cursor, expected)
        expected, cursor = previous_hash(entry.raw), entry.end
    return None if expected == BOTTOM else (len(entries), _not_as_recorded(data, len(entries), cursor, expected))


def _content_fault(raw: bytes, ids: Counter[str]) -> str:
    try:
        values = read_entry(raw)
    except ValueError as fault:
        return f"it does not parse: {fault}"
    own, undone = values["operation_id"], values["rollback_of"]
    if ids[str(own)] > 1:
        return f"its id stands {ids[str(own)]} times in the ledger"
    if undone is None:
        return "outcome ROLLBACK without rollback_of" if values["outcome"] == "ROLLBACK" else ""
    if not ID_FORM.fullmatch(str(undone)):
        return f"rollback_of {str(undone)[:60]!a} is not of the form OPS-YYYY-MM-DD-NNN"
    if undone == own or undone not in ids:
        return f"rollback_of {undone} is no other entry of the ledger"
    return ""


def _not_as_recorded(data: bytes, number: int, cursor: int, expected: str) -> str:
    """Name what stands where the entry with this hash was written, also where its first lines are what was changed."""
    if expected == BOTTOM:
        at = chain(data)[number].start
        return f"{_name(data, number, at)} stands below the oldest entry"
    found = _LOOKS_LIKE_ONE.search(data, cursor)
    if found is None:
        return f"entry {number + 1} from the top is missing (sha256 {expected[:16]}…)"
    placed = [entry for entry in chain(data) if entry.start == found.start()]
    seen = f"its sha256 is {digest(placed[0].raw)[:16]}…" if placed else "its first lines or its last were changed"
    return f"{_name(data, number, found.start())} is not as it was recorded: {seen}, expected {expected[:16]}…"


def _name(data: bytes, number: int, at: int) -> str:
    called = _CALLED.search(data, at)
    name = called[1].decode("ascii", "backslashreplace") if called else "without an id"
    return f"entry {number + 1} from the top (line {data.count(bytes([10]), 0, at) + 1}, {name})"
