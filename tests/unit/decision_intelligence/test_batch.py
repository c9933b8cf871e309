"""Batches in the shape that the committing script takes."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from microservices.contracts import decision, result
from microservices.decision_intelligence.batch import (
    DEAD_LETTER_MAX_BYTES,
    FIELD_PREFIX,
    IDS_PER_CALL,
    Argument,
    Call,
    Limits,
    commit_calls,
)
from microservices.decision_intelligence.message import Counted, DeadLetter
from microservices.runtime import Row

LIMITS = Limits(max_reasons=100, max_symbol_reasons=400)
SKIPPED = Counted("SKIP", "duplicate_plan", "BTCUSDT", 30_000_000, late=False)


def by_first_field(_entry_id: bytes, values: list[bytes]) -> Counted | DeadLetter:
    """Read an entry by the word in its one field."""
    word = values[1].decode()
    return DeadLetter("rubbish") if word == "dead" else msgspec.structs.replace(SKIPPED, decision=word)


class Unpacked(NamedTuple):
    """A call taken apart as the script does."""

    groups: dict[tuple[Argument, ...], list[bytes]]
    """Ids by bucket, decision, reason and breakdown field, and late."""
    bodiless: list[bytes]
    letters: dict[bytes, list[Argument]]


class Words:
    """The arguments of a call, taken one after another."""

    def __init__(self, words: Sequence[Argument]) -> None:
        self._words = list(words)
        self._at = 0

    def number(self) -> int:
        """The next, a number."""
        [word] = self.some(1)
        return int(word)

    def some(self, count: int) -> list[Argument]:
        """The next so many."""
        assert self._at + count <= len(self._words)
        self._at += count
        return self._words[self._at - count : self._at]

    def ids(self) -> list[bytes]:
        """A number, and so many ids."""
        found = self.some(self.number())
        assert all(isinstance(each, bytes) for each in found)
        return [each for each in found if isinstance(each, bytes)]

    def are_all_taken(self) -> bool:
        """Nothing is left."""
        return self._at == len(self._words)


def unpacked(call: Call) -> Unpacked:
    """Take a call apart: groups with their ids, ids without a body, dead letters."""
    words = Words(call.args[10:])
    found = Unpacked({}, [], {})
    for bucket in range(words.number()):
        fields = words.some(words.number())
        assert len(set(fields)) == len(fields)
        for _ in range(words.number()):
            [head] = words.some(1)
            assert isinstance(head, bytes)
            *places, late, count = head
            named = ["" if place == 0 else fields[place - 1] for place in places]
            ids = words.some(count)
            found.groups[(call.keys[3 + bucket], *named, late)] = [each for each in ids if isinstance(each, bytes)]
            assert len(places) == 3
    found.bodiless.extend(words.ids())
    for _ in range(words.number()):
        [entry_id] = words.some(1)
        assert isinstance(entry_id, bytes)
        found.letters[entry_id] = words.some(words.number())
    assert words.are_all_taken()
    return found


def test_a_group_says_once_what_its_messages_share() -> None:
    """Ten times the same message is ten ids and one set of fields."""
    rows: list[Row] = [(b"1-%d" % number, [b"w", b"SKIP"]) for number in range(10)]
    [call] = commit_calls(rows, by_first_field, LIMITS)
    groups, bodiless, letters = unpacked(call)
    head = (
        decision.bucket_key(30_000_000),
        "decision:SKIP",
        "reason:duplicate_plan",
        "symbol_reason:BTCUSDT:duplicate_plan",
        0,
    )
    assert groups == {head: [entry_id for entry_id, _ in rows]}
    assert (bodiless, letters) == ([], {})
    assert call.keys[:3] == [result.STREAM, decision.STATUS_KEY, decision.DEAD_LETTER_STREAM]
    assert call.args[:3] == [result.GROUP_DECISION_INTELLIGENCE, b"1-0", b"1-9"]


WORDS = st.none() | st.sampled_from(["SKIP", "BLOCKED", "ERROR", "dead"])


@given(st.lists(WORDS, max_size=700))
def test_every_entry_stands_in_exactly_one_call_once(words: list[str | None]) -> None:
    """Nothing is forgotten or named twice, and no call names more than a hundred."""
    rows: list[Row] = [
        (b"%d-0" % number, None if word is None else [b"w", word.encode()]) for number, word in enumerate(words)
    ]
    named: dict[bytes, str | None] = {}
    for call in commit_calls(rows, by_first_field, LIMITS):
        groups, bodiless, letters = unpacked(call)
        found: dict[bytes, str | None] = dict.fromkeys(bodiless)
        found |= {name: str(head[1]).removeprefix("decision:") for head, ids in groups.items() for name in ids}
        found |= dict.fromkeys(letters, "dead")
        assert len(found) <= IDS_PER_CALL
        assert not named.keys() & found.keys()
        assert call.args[1:3] == [rows[0][0], rows[-1][0]]
        named |= found
    assert named == {entry_id: word for (entry_id, _), word in zip(rows, words, strict=True)}


def test_the_most_different_messages_fit_into_one_call() -> None:
    """Each of a hundred with a decision, a reason and a symbol of its own: every place still fits into its byte."""
    outcomes = {
        b"%d-0" % number: Counted(f"D{number % 5}", f"reason_{number}", f"S{number}", 30_000_000, late=number % 2 == 0)
        for number in range(IDS_PER_CALL)
    }
    rows: list[Row] = [(entry_id, [b"w", b"x"]) for entry_id in outcomes]
    [call] = commit_calls(rows, lambda entry_id, _: outcomes[entry_id], LIMITS)
    found = {ids[0]: head[1:] for head, ids in unpacked(call).groups.items()}
    assert found == {
        entry_id: (
            f"decision:{each.decision}",
            f"reason:{each.reason}",
            f"symbol_reason:{each.symbol}:{each.reason}",
            int(each.late),
        )
        for entry_id, each in outcomes.items()
    }


def test_a_message_without_a_symbol_has_no_breakdown() -> None:
    """An empty field name tells the script so."""
    [call] = commit_calls([(b"1-0", [b"w", b"x"])], lambda *_: msgspec.structs.replace(SKIPPED, symbol=""), LIMITS)
    [head] = unpacked(call).groups
    assert head[3] == ""


def test_messages_of_two_minutes_go_to_two_buckets() -> None:
    """Also within one call."""
    minutes = {b"1-0": 30_000_000, b"1-1": 30_000_001, b"1-2": 30_000_000}
    rows: list[Row] = [(name, [b"w", b"x"]) for name in minutes]
    [call] = commit_calls(rows, lambda name, _: msgspec.structs.replace(SKIPPED, minute=minutes[name]), LIMITS)
    assert {head[0]: ids for head, ids in unpacked(call).groups.items()} == {
        decision.bucket_key(30_000_000): [b"1-0", b"1-2"],
        decision.bucket_key(30_000_001): [b"1-1"],
    }


@given(st.dictionaries(st.binary(max_size=3_000), st.binary(max_size=3_000), min_size=1, max_size=50))
def test_a_dead_letter_is_bounded_and_says_why(fields: dict[bytes, bytes]) -> None:
    """The reason, the original id, and the fields as they came as far as there is room."""
    [call] = commit_calls(
        [(b"7-3", list(chain.from_iterable(fields.items())))], lambda *_: DeadLetter("decision_not_text"), LIMITS
    )
    letter = unpacked(call).letters[b"7-3"]
    assert letter[:4] == ["reason", "decision_not_text", "id", b"7-3"]
    rest = [part for part in letter[4:] if isinstance(part, bytes)]
    kept = dict(zip(rest[::2], rest[1::2], strict=True))
    whole = {FIELD_PREFIX + name: value for name, value in fields.items()}
    assert sum(len(name) + len(value) for name, value in kept.items()) <= DEAD_LETTER_MAX_BYTES + 3 * len(FIELD_PREFIX)
    if sum(len(name) + len(value) for name, value in whole.items()) < DEAD_LETTER_MAX_BYTES and len(fields) <= 32:
        assert kept == whole
