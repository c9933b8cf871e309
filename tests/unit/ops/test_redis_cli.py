"""What redis-cli says is read for what it is: every byte, every error, and nothing that is not JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.lib.redis_cli import Answer, CannotTell, Fault, pairs, parsed, redis_time_s, text


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ('"OK"', b"OK"),
        ("null", None),
        ("-1", -1),
        ("[]", []),
        ('["a",[1,null],["b",[]]]', [b"a", [1, None], [b"b", []]]),
        ('"x\udcff\\n"', b"x\xff\n"),
        ('error:"WRONGTYPE no"', Fault("WRONGTYPE no")),
        ('["a",error:"WRONGTYPE \\"no\\"",2]', [b"a", Fault('WRONGTYPE "no"'), 2]),
        ('"error:no"', b"error:no"),
    ],
)
def test_an_answer_is_read_as_its_kind(line: str, answer: Answer) -> None:
    """Strings are bytes, errors are faults wherever they stand, and a string that looks like one is none."""
    assert parsed(line) == answer


@pytest.mark.parametrize("line", ["", "OK", "[", '["a"', '"a" "b"', "{}", "1.5", "error:x", "[" * 100_000])
def test_what_is_no_answer_cannot_tell(line: str) -> None:
    """A cut line or a message of redis-cli's own is not taken for an answer."""
    with pytest.raises(CannotTell):
        parsed(line)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=8))
def test_json_reads_back_as_it_was(value: object) -> None:
    """Whatever Redis holds arrives as it stands."""

    def as_answer(part: object) -> object:
        if isinstance(part, list):
            return [as_answer(each) for each in part]
        return part.encode() if isinstance(part, str) else part

    assert parsed(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) == as_answer(value)


def test_a_flat_list_is_a_hash() -> None:
    """Names and values in turn, as HGETALL answers; bytes that are no text are shown escaped."""
    assert pairs([b"a", b"1", b"b", b"\xff"]) == {"a": "1", "b": "\\xff"}
    odd: list[Answer] = [[b"a"], b"a", None, Fault("WRONGTYPE")]
    for answer in odd:
        with pytest.raises(CannotTell):
            pairs(answer)


def test_redis_s_time_is_two_numbers() -> None:
    """Seconds and microseconds; anything else is no time."""
    assert redis_time_s([b"1800000000", b"250000"]) == 1_800_000_000.25
    odd: list[Answer] = [[b"1"], [b"x", b"1"], None, b"1"]
    for answer in odd:
        with pytest.raises(CannotTell):
            redis_time_s(answer)
    assert text(5) == "5"
