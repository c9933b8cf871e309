"""A batch of messages brought into the shape that commit.lua takes: few calls, each short, each complete in itself."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby, islice
from typing import NamedTuple, TypeAlias

import msgspec

from microservices.contracts import decision, result
from microservices.decision_intelligence.message import Counted, DeadLetter, Read
from microservices.runtime import Row

IDS_PER_CALL = 100
"""A script holds up everybody else's commands; a hundred messages keep it well under 2 ms."""
DEAD_LETTER_MAX_BYTES = 2_048
"""Of an entry's fields; what is longer is cut, so that rubbish cannot fill the Redis that carries the permits."""
DEAD_LETTER_MAX_FIELDS = 32
FIELD_PREFIX = b"field:"

_OTHER_REASON = decision.reason_field(decision.OTHER)
_NO_REASON = decision.reason_field(decision.NO_REASON)
_OTHER_SYMBOL_REASON = decision.symbol_reason_field(decision.OTHER, decision.OTHER)

_KEYS_BEFORE_BUCKETS = 3

Argument = str | bytes | int


class Limits(msgspec.Struct, frozen=True):
    """How many distinct fields one bucket may have."""

    max_reasons: int
    max_symbol_reasons: int


class Call(NamedTuple):
    """One call of commit.lua."""

    keys: list[str]
    args: list[Argument]


_Group: TypeAlias = tuple[Counted, list[bytes]]
"""What messages count as, and their ids."""


class _Chunk(NamedTuple):
    """Groups of messages in the order of their minutes, entries without a body, and dead letters with their reasons."""

    counted: list[_Group]
    bodiless: list[bytes]
    dead: list[tuple[Row, str]]


def commit_calls(rows: Sequence[Row], read: Read, limits: Limits) -> Iterator[Call]:
    """Make the calls that settle a batch, each only when it is asked for.

    Messages that count as the same go together, so that the script acks them with one command and adds them with one
    increment; what is of one minute goes together, so that a call touches few buckets.

    Args:
        rows: entries in the order of their ids, at least one.
        read: tells what an entry counts as.
        limits: of each bucket; the script keeps them, because only it sees what all instances have counted.
    """
    for chunk in _chunks(_sorted_out(rows, read)):
        yield _call(chunk, rows[0][0], rows[-1][0], limits)


def _sorted_out(rows: Sequence[Row], read: Read) -> _Chunk:
    ids_of: dict[Counted, list[bytes]] = {}
    known = ids_of.get
    bodiless, dead = [], []
    for row in rows:
        entry_id, values = row
        if values is None:
            bodiless.append(entry_id)
            continue
        outcome = read(entry_id, values)
        if isinstance(outcome, DeadLetter):
            dead.append((row, outcome.reason))
        elif ids := known(outcome):
            ids.append(entry_id)
        else:
            ids_of[outcome] = [entry_id]
    return _Chunk(sorted(ids_of.items(), key=_minute_then_reason), bodiless, dead)


def _chunks(everything: _Chunk) -> Iterator[_Chunk]:
    """Cut it into calls of at most `IDS_PER_CALL` messages."""
    groups: list[_Group] = []
    room = IDS_PER_CALL
    for outcome, all_ids in everything.counted:
        ids = all_ids
        while len(ids) >= room:
            groups.append((outcome, ids[:room]))
            yield _Chunk(groups, [], [])
            groups, ids, room = [], ids[room:], IDS_PER_CALL
        if ids:
            groups.append((outcome, ids))
            room -= len(ids)
    if groups:
        yield _Chunk(groups, [], [])
    for start in range(0, len(everything.bodiless), IDS_PER_CALL):
        yield _Chunk([], everything.bodiless[start : start + IDS_PER_CALL], [])
    for start in range(0, len(everything.dead), IDS_PER_CALL):
        yield _Chunk([], [], everything.dead[start : start + IDS_PER_CALL])


def _call(chunk: _Chunk, lowest_id: bytes, highest_id: bytes, limits: Limits) -> Call:
    keys = [result.STREAM, decision.STATUS_KEY, decision.DEAD_LETTER_STREAM]
    by_minute = groupby(chunk.counted, lambda group: group[0].minute)
    buckets: list[Argument] = []
    for minute, groups in by_minute:
        keys.append(decision.bucket_key(minute))
        buckets += _bucket(groups)
    args: list[Argument] = [
        *(result.GROUP_DECISION_INTELLIGENCE, lowest_id, highest_id),
        *(decision.BUCKET_TTL_S, decision.DEAD_LETTER_MAXLEN),
        *(limits.max_reasons, _OTHER_REASON, _NO_REASON, limits.max_symbol_reasons, _OTHER_SYMBOL_REASON),
    ]
    args += (len(keys) - _KEYS_BEFORE_BUCKETS, *buckets)
    args += (len(chunk.bodiless), *chunk.bodiless)
    args.append(len(chunk.dead))
    for row, reason in chunk.dead:
        letter = _dead_letter(row, reason)
        args += (row[0], len(letter), *letter)
    return Call(keys, args)


def _bucket(groups: Iterable[_Group]) -> list[Argument]:
    """Name the fields of one bucket, each once, and then the groups by the places of their fields.

    A place is one byte: a hundred messages have at most a hundred reasons, a hundred breakdowns and five decisions.
    """
    place_of: dict[str, int] = {"": 0}
    count = 0
    said: list[Argument] = []
    place = place_of.setdefault
    for outcome, ids in groups:
        count += 1
        decided, reason, breakdown = _fields(outcome.decision, outcome.reason, outcome.symbol)
        places = place(decided, len(place_of)), place(reason, len(place_of)), place(breakdown, len(place_of))
        said.append(bytes((*places, outcome.late, len(ids))))
        said += ids
    del place_of[""]
    return [len(place_of), *place_of, count, *said]


def _minute_then_reason(group: _Group) -> tuple[int, str]:
    return group[0].minute, group[0].reason


@lru_cache(maxsize=4_096)
def _fields(word: str, reason: str, symbol: str) -> tuple[str, str, str]:
    """Name the fields of a bucket that such a message adds to; no breakdown is an empty name."""
    breakdown = decision.symbol_reason_field(symbol, reason) if symbol else ""
    return decision.decision_field(word), decision.reason_field(reason), breakdown


def _dead_letter(row: Row, reason: str) -> list[Argument]:
    """Write an entry down for an operator: why, its id, and its own fields as they came as far as there is room."""
    entry_id, values = row
    letter: list[Argument] = ["reason", reason, "id", entry_id]
    room = DEAD_LETTER_MAX_BYTES
    words = iter(values or ())
    for name, value in islice(zip(words, words, strict=True), DEAD_LETTER_MAX_FIELDS):
        kept_name, kept_value = name[:room], value[: max(0, room - len(name))]
        letter += (FIELD_PREFIX + kept_name, kept_value)
        room -= len(kept_name) + len(kept_value) + len(FIELD_PREFIX)
        if room <= 0:
            break
    return letter
