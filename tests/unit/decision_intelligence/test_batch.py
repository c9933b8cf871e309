"""Batches in the shape that the committing script takes."""

from collections.abc import Mapping

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
from microservices.runtime import Entry

LIMITS = Limits(max_reasons=100, max_symbol_reasons=400)
SKIPPED = Counted("SKIP", "duplicate_plan", "BTCUSDT", 30_000_000, late=False)


def by_first_field(_entry_id: str, fields: Mapping[bytes, bytes]) -> Counted | DeadLetter:
    """Read an entry by the word in its one field."""
    word = next(iter(fields.values())).decode()
    return DeadLetter("rubbish") if word == "dead" else msgspec.structs.replace(SKIPPED, decision=word)


def unpacked(call: Call) -> tuple[dict[tuple[Argument, ...], list[str]], list[str], dict[str, list[Argument]]]:
    """Take a call apart as the script does: groups with their ids, ids without a body, dead letters."""
    args, at = call.args, 11
    groups: dict[tuple[Argument, ...], list[str]] = {}
    for _ in range(int(args[10])):
        count = int(args[at + 5])
        head = (call.keys[int(args[at]) - 1], *args[at + 1 : at + 5])
        groups[head] = [str(argument) for argument in args[at + 6 : at + 6 + count]]
        at += 6 + count
    bodiless = [str(argument) for argument in args[at + 1 : at + 1 + int(args[at])]]
    at += 1 + len(bodiless)
    letters = {}
    at += 1
    for _ in range(int(args[at - 1])):
        length = int(args[at + 1])
        letters[str(args[at])] = args[at + 2 : at + 2 + length]
        at += 2 + length
    assert at == len(args)
    return groups, bodiless, letters


def test_a_group_says_once_what_its_messages_share() -> None:
    """Ten times the same message is ten ids and one set of fields."""
    entries = [Entry(f"1-{number}", {b"w": b"SKIP"}) for number in range(10)]
    [call] = commit_calls(entries, by_first_field, LIMITS)
    groups, bodiless, letters = unpacked(call)
    head = (
        decision.bucket_key(30_000_000),
        "decision:SKIP",
        "reason:duplicate_plan",
        "symbol_reason:BTCUSDT:duplicate_plan",
        0,
    )
    assert groups == {head: [entry.id for entry in entries]}
    assert (bodiless, letters) == ([], {})
    assert call.keys[:3] == [result.STREAM, decision.STATUS_KEY, decision.DEAD_LETTER_STREAM]
    assert call.args[:3] == [result.GROUP_DECISION_INTELLIGENCE, "1-0", "1-9"]


WORDS = st.none() | st.sampled_from(["SKIP", "BLOCKED", "ERROR", "dead"])


@given(st.lists(WORDS, max_size=700))
def test_every_entry_stands_in_exactly_one_call_once(words: list[str | None]) -> None:
    """Nothing is forgotten or named twice, and no call names more than a hundred."""
    entries = [
        Entry(f"{number}-0", None if word is None else {b"w": word.encode()}) for number, word in enumerate(words)
    ]
    named: dict[str, str | None] = {}
    for call in commit_calls(entries, by_first_field, LIMITS):
        groups, bodiless, letters = unpacked(call)
        found: dict[str, str | None] = dict.fromkeys(bodiless)
        found |= {name: str(head[1]).removeprefix("decision:") for head, ids in groups.items() for name in ids}
        found |= dict.fromkeys(letters, "dead")
        assert len(found) <= IDS_PER_CALL
        assert not named.keys() & found.keys()
        assert call.args[1:3] == [entries[0].id, entries[-1].id]
        named |= found
    assert named == {entry.id: word for entry, word in zip(entries, words, strict=True)}


def test_a_message_without_a_symbol_has_no_breakdown() -> None:
    """An empty field name tells the script so."""
    [call] = commit_calls([Entry("1-0", {b"w": b"x"})], lambda *_: msgspec.structs.replace(SKIPPED, symbol=""), LIMITS)
    [head] = unpacked(call)[0]
    assert head[3] == ""


def test_messages_of_two_minutes_go_to_two_buckets() -> None:
    """Also within one call."""
    minutes = {"1-0": 30_000_000, "1-1": 30_000_001, "1-2": 30_000_000}
    entries = [Entry(name, {b"w": b"x"}) for name in minutes]
    [call] = commit_calls(entries, lambda name, _: msgspec.structs.replace(SKIPPED, minute=minutes[name]), LIMITS)
    assert {head[0]: ids for head, ids in unpacked(call)[0].items()} == {
        decision.bucket_key(30_000_000): ["1-0", "1-2"],
        decision.bucket_key(30_000_001): ["1-1"],
    }


@given(st.dictionaries(st.binary(max_size=3_000), st.binary(max_size=3_000), min_size=1, max_size=50))
def test_a_dead_letter_is_bounded_and_says_why(fields: dict[bytes, bytes]) -> None:
    """The reason, the original id, and the fields as they came as far as there is room."""
    [call] = commit_calls([Entry("7-3", fields)], lambda *_: DeadLetter("decision_not_text"), LIMITS)
    letter = unpacked(call)[2]["7-3"]
    assert letter[:4] == ["reason", "decision_not_text", "id", "7-3"]
    rest = [part for part in letter[4:] if isinstance(part, bytes)]
    kept = dict(zip(rest[::2], rest[1::2], strict=True))
    whole = {FIELD_PREFIX + name: value for name, value in fields.items()}
    assert sum(len(name) + len(value) for name, value in kept.items()) <= DEAD_LETTER_MAX_BYTES + 3 * len(FIELD_PREFIX)
    if sum(len(name) + len(value) for name, value in whole.items()) < DEAD_LETTER_MAX_BYTES and len(fields) <= 32:
        assert kept == whole
