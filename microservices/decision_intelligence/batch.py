"""A batch of messages brought into the shape that commit.lua takes: few calls, each short, each complete in itself."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from microservices.contracts import decision, result
from microservices.decision_intelligence.message import Counted, DeadLetter
from microservices.runtime import Entry

IDS_PER_CALL = 100
"""A script holds up everybody else's commands; a hundred messages keep it well under 2 ms."""
DEAD_LETTER_MAX_BYTES = 2_048
"""Of an entry's fields; what is longer is cut, so that rubbish cannot fill the Redis that carries the permits."""
DEAD_LETTER_MAX_FIELDS = 32
FIELD_PREFIX = b"field:"

_OTHER_REASON = decision.reason_field(decision.OTHER)
_NO_REASON = decision.reason_field(decision.NO_REASON)
_OTHER_SYMBOL_REASON = decision.symbol_reason_field(decision.OTHER, decision.OTHER)

Argument = str | bytes | int
Read = Callable[[str, Mapping[bytes, bytes]], Counted | DeadLetter]


class Limits(msgspec.Struct, frozen=True):
    """How many distinct fields one bucket may have."""

    max_reasons: int
    max_symbol_reasons: int


class Call(NamedTuple):
    """One call of commit.lua."""

    keys: list[str]
    args: list[Argument]


class _Chunk(NamedTuple):
    counted: dict[Counted, list[str]]
    bodiless: list[str]
    dead: list[tuple[Entry, str]]


def commit_calls(entries: Sequence[Entry], read: Read, limits: Limits) -> Iterator[Call]:
    """Make the calls that settle a batch.

    Args:
        entries: in the order of their ids.
        read: tells what an entry counts as.
        limits: of each bucket; the script keeps them, because only it sees what all instances have counted.
    """
    for start in range(0, len(entries), IDS_PER_CALL):
        part = entries[start : start + IDS_PER_CALL]
        yield _call(_sorted_out(part, read), part[0].id, part[-1].id, limits)


def _sorted_out(entries: Sequence[Entry], read: Read) -> _Chunk:
    chunk = _Chunk({}, [], [])
    counted = chunk.counted
    for entry in entries:
        entry_id, fields = entry
        if fields is None:
            chunk.bodiless.append(entry_id)
            continue
        outcome = read(entry_id, fields)
        if isinstance(outcome, DeadLetter):
            chunk.dead.append((entry, outcome.reason))
        elif outcome in counted:
            counted[outcome].append(entry_id)
        else:
            counted[outcome] = [entry_id]
    return chunk


def _call(chunk: _Chunk, lowest_id: str, highest_id: str, limits: Limits) -> Call:
    keys = [result.STREAM, decision.STATUS_KEY, decision.DEAD_LETTER_STREAM]
    bucket_index: dict[int, int] = {}
    args: list[Argument] = [
        *(result.GROUP_DECISION_INTELLIGENCE, lowest_id, highest_id),
        *(decision.BUCKET_TTL_S, decision.DEAD_LETTER_MAXLEN),
        *(limits.max_reasons, _OTHER_REASON, _NO_REASON, limits.max_symbol_reasons, _OTHER_SYMBOL_REASON),
        len(chunk.counted),
    ]
    for (word, reason, symbol, minute, late), ids in chunk.counted.items():
        if minute not in bucket_index:
            keys.append(decision.bucket_key(minute))
            bucket_index[minute] = len(keys)
        breakdown = decision.symbol_reason_field(symbol, reason) if symbol else ""
        args += (bucket_index[minute], decision.decision_field(word), decision.reason_field(reason), breakdown)
        args += (int(late), len(ids), *ids)
    args += (len(chunk.bodiless), *chunk.bodiless)
    args.append(len(chunk.dead))
    for entry, reason in chunk.dead:
        letter = _dead_letter(entry, reason)
        args += (entry.id, len(letter), *letter)
    return Call(keys, args)


def _dead_letter(entry: Entry, reason: str) -> list[Argument]:
    """Write an entry down for an operator: why, its id, and its own fields as they came as far as there is room."""
    letter: list[Argument] = ["reason", reason, "id", entry.id]
    room = DEAD_LETTER_MAX_BYTES
    for name, value in islice((entry.fields or {}).items(), DEAD_LETTER_MAX_FIELDS):
        kept_name, kept_value = name[:room], value[: max(0, room - len(name))]
        letter += (FIELD_PREFIX + kept_name, kept_value)
        room -= len(kept_name) + len(kept_value) + len(FIELD_PREFIX)
        if room <= 0:
            break
    return letter
