"""Every shape of apply.result found in the wild, and any bytes whatsoever."""

import json
import re
from collections.abc import Mapping
from itertools import chain

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from microservices.contracts import decision, result
from microservices.contracts.control import Mode
from microservices.contracts.plan import Decision
from microservices.decision_intelligence.message import Counted, DeadLetter, Reader

NOW_S = 1_771_363_600.0
ENTRY_ID = f"{int(NOW_S * 1000)}-0".encode()
MINUTE = int(NOW_S // 60)
DAY_S = 86_400


def read(**fields: str | bytes) -> Counted | DeadLetter:
    """Read one entry with these fields, by a reader that has seen nothing before."""
    return read_as(ENTRY_ID, fields)


def read_as(entry_id: bytes, fields: Mapping[str, str | bytes]) -> Counted | DeadLetter:
    """Read one entry of this id."""
    raw = {name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in fields.items()}
    return Reader().read(entry_id, flat(raw), NOW_S)


def flat(fields: Mapping[bytes, bytes]) -> list[bytes]:
    """Names and values in turn, as Redis answers an entry."""
    return list(chain.from_iterable(fields.items()))


def counted(**fields: str | bytes) -> Counted:
    """Read an entry that must count."""
    return counted_as(ENTRY_ID, fields)


def counted_as(entry_id: bytes, fields: Mapping[str, str | bytes]) -> Counted:
    """Read an entry of this id that must count."""
    outcome = read_as(entry_id, fields)
    assert isinstance(outcome, Counted), outcome
    return outcome


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("EXECUTE", "EXECUTE"),
        ("executed", "EXECUTE"),
        ("Exec", "EXECUTE"),
        ("SKIP", "SKIP"),
        ("skipped", "SKIP"),
        ("BLOCK", "BLOCKED"),
        ("blocked", "BLOCKED"),
        ("DENIED", "BLOCKED"),
        ("ERROR", "ERROR"),
        ("fail", "ERROR"),
        ("FAILED", "ERROR"),
        ("HOLD", "UNKNOWN"),
        ("BLOCKED_BY_POLICY_FILTER", "UNKNOWN"),
    ],
)
def test_a_decision_is_read_by_its_word(word: str, meant: str) -> None:
    """At the top or inside details; any other word is unknown, also where executed would have said something."""
    assert counted(decision=word, executed="true").decision == meant
    assert counted(details=json.dumps({"decision": word}), executed="true").decision == meant


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({"executed": "true"}, "EXECUTE"),
        ({"executed": "True"}, "EXECUTE"),
        ({"executed": "False", "error": "duplicate_plan"}, "BLOCKED"),
        ({"executed": "false", "details": '{"reason": "kill_score"}'}, "BLOCKED"),
        ({"executed": "false"}, "SKIP"),
        ({"executed": "false", "error": "None"}, "SKIP"),
        ({"executed": "perhaps"}, "UNKNOWN"),
        ({"plan_id": "ee78c8b1166d30ac"}, "UNKNOWN"),
        ({"decision": "", "executed": "true"}, "EXECUTE"),
        ({"details": '{"decision": null}', "executed": "true"}, "EXECUTE"),
        ({"details": "not JSON", "executed": "true"}, "EXECUTE"),
    ],
)
def test_without_a_decision_executed_decides(fields: dict[str, str], meant: str) -> None:
    """The older shape: true is an execution, false with a reason a block, false without one a skip."""
    assert counted(**fields).decision == meant


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"error": "a", "details": '{"error": "b", "reason": "d"}', "reason": "c"}, "a"),
        ({"error": "", "details": '{"error": "b", "reason": "d"}', "reason": "c"}, "b"),
        ({"details": '{"error": "", "reason": "d"}', "reason": "c"}, "c"),
        ({"details": '{"error": null, "reason": "d"}', "reason": " "}, "d"),
        ({"details": '{"error": {"code": -2019, "msg": "Margin is insufficient."}}'}, "exchange_error_2019"),
        ({"details": '{"error": false}', "reason": ":"}, "none"),
        ({"details": '{"error": 7}'}, "7"),
        ({"error": "symbol_not_in_allowlist:WAVESUSDT"}, "symbol_not_in_allowlist"),
        ({}, "none"),
    ],
)
def test_the_first_reason_that_says_anything_counts(fields: dict[str, str], code: str) -> None:
    """error, details.error, reason, details.reason; else none."""
    assert counted(decision="BLOCKED", **fields).reason == code


@pytest.mark.parametrize(
    ("timestamp", "minute", "late"),
    [
        (f"{NOW_S - 3600:.0f}", MINUTE - 60, False),
        (f"{NOW_S + 59:.0f}", int((NOW_S + 59) // 60), False),
        (f"{NOW_S + 61:.0f}", MINUTE, False),
        (f"{NOW_S - 2 * DAY_S + 60:.0f}", MINUTE - 2 * 1440 + 1, False),
        (f"{NOW_S - 2 * DAY_S - 1:.0f}", MINUTE, True),
        ("0", MINUTE, True),
        ("yesterday", MINUTE, False),
        ("", MINUTE, False),
        ("2026-02-17T21:26:35.884213", 1771363595 // 60, False),
    ],
)
def test_the_minute_is_the_timestamps_or_else_the_ids(timestamp: str, minute: int, late: bool) -> None:
    """Unusable, from the future or too old: the minute of the stream id; what is too old is also late."""
    outcome = counted(decision="SKIP", timestamp=timestamp)
    assert (outcome.minute, outcome.late) == (minute, late)


def test_an_id_beyond_the_calendar_counts_now() -> None:
    """Somebody may add entries under ids of his own; every one of them has a bucket that can be named."""
    skip = {"decision": "SKIP"}
    assert counted_as(f"{2**64 - 1}-{2**64 - 1}".encode(), skip).minute == MINUTE
    assert counted_as(b"1-0", skip).minute == 0
    assert decision.bucket_key(counted_as(b"253402300799999-0", skip).minute).endswith("999912312359")


@pytest.mark.parametrize(
    ("symbol", "meant"),
    [("btcusdt", "BTCUSDT"), ("币安人生USDT", "币安人生USDT"), ("A:B", "A_B"), ("", ""), ("x" * 99, "X" * 40)],
)
def test_a_symbol_is_bounded_and_holds_no_separator(symbol: str, meant: str) -> None:
    """The breakdown's field is split at its colons by others."""
    assert counted(decision="SKIP", symbol=symbol).symbol == meant
    assert counted(decision="SKIP", details=json.dumps({"symbol": symbol})).symbol == meant


def test_without_the_breakdown_no_symbol_is_looked_at() -> None:
    """ENABLE_SYMBOL_BREAKDOWN=false: the symbol is not needed, so that it may be anything."""
    outcome = Reader(by_symbol=False).read(ENTRY_ID, [b"decision", b"SKIP", b"symbol", b"\xff"], NOW_S)
    assert outcome == Counted("SKIP", "none", "", MINUTE, late=False)


@pytest.mark.parametrize("field", ["decision", "error", "reason", "details", "symbol", "executed"])
def test_bytes_that_are_no_text_are_a_dead_letter_where_text_is_needed(field: str) -> None:
    """The reason names the field."""
    assert read(**{field: b"\xff\xfe"}) == DeadLetter(f"{field}_not_text")


def test_bytes_that_nobody_needs_do_no_harm() -> None:
    """Another field may hold anything, and what stands behind the first reason is not looked at."""
    fields: dict[str, str | bytes] = {"source": b"\xff", "decision": "SKIP", "error": "a", "reason": b"\xff"}
    assert counted(**fields, symbol="BTCUSDT", details=b"\xff", executed=b"\xff").reason == "a"


def test_an_entry_without_fields_is_a_dead_letter_also_after_others() -> None:
    """What was learnt from an entry that says nothing is not taken for one that holds nothing."""
    reader = Reader()
    assert isinstance(reader.read(ENTRY_ID, [b"plan_id", b"p"], NOW_S), Counted)
    assert reader.read(ENTRY_ID, [], NOW_S) == DeadLetter("no_fields")


def test_our_own_results_are_read_as_they_were_meant() -> None:
    """What the apply layer writes by its contract."""
    ended = result.Result(
        plan_id="p",
        plan_entry_id="1-0",
        symbol="BTCUSDT",
        decision=Decision.BLOCKED,
        executed=False,
        error="permit_timeout",
        mode=Mode.PAPER,
        timestamp=int(NOW_S),
    )
    assert counted(**result.encode(ended)) == Counted("BLOCKED", "permit_timeout", "BTCUSDT", MINUTE, late=False)


NAMES = ["decision", "executed", "error", "reason", "details", "symbol", "timestamp", "plan_id", ""]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)
VALUES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")),
    st.sampled_from([b"EXECUTE", b"skip", b"true", b"False", b"duplicate_plan", b"1771363595", b"BTCUSDT", b"{", b"["]),
    JSON.map(lambda value: json.dumps(value).encode()),
)
ENTRIES = st.dictionaries(st.sampled_from(NAMES).map(str.encode) | st.binary(max_size=5), VALUES, max_size=8)


@given(ENTRIES, st.integers(0, 2**64 - 1))
@example({b"details": b"{" + b'"a":{' * 50_000}, 1)
@example({b"details": b'{"symbol":"\\ud800"}'}, 1)
@example({b"details": b'{"decision":1e999}'}, 1)
def test_any_entry_ends_as_a_count_or_a_dead_letter(fields: dict[bytes, bytes], milliseconds: int) -> None:
    """Never an exception, never a field that a bucket cannot bear."""
    outcome = Reader().read(f"{milliseconds}-0".encode(), flat(fields), NOW_S)
    if isinstance(outcome, DeadLetter):
        assert re.fullmatch(r"no_fields|[a-z]+_not_text", outcome.reason)
        return
    assert outcome.decision in (*decision.COUNTED_DECISIONS, decision.UNKNOWN)
    assert re.fullmatch(r"[a-z0-9_.-]{1,64}", outcome.reason)
    assert re.fullmatch(r"\w{0,40}", outcome.symbol)
    outcome.symbol.encode()
    assert re.fullmatch(r"quantum:p35:bucket:[0-9]{12}", decision.bucket_key(outcome.minute))


@given(st.lists(ENTRIES, max_size=6))
def test_a_reader_that_remembers_reads_as_one_that_does_not(entries: list[dict[bytes, bytes]]) -> None:
    """What was read before never changes what an entry means."""
    remembering = Reader()
    for fields in [*entries, *entries]:
        assert remembering.read(ENTRY_ID, flat(fields), NOW_S) == Reader().read(ENTRY_ID, flat(fields), NOW_S)


def test_fields_are_found_wherever_they_stand() -> None:
    """In any order, beside any others, one after another in the same reader; of a name given twice the last counts."""
    reader = Reader()
    skip = [b"decision", b"SKIP", b"error", b"a", b"timestamp", b"%d" % (NOW_S - 600)]
    other_way_round = [b"timestamp", b"%d" % (NOW_S - 600), b"x", b"decision", b"error", b"a", b"decision", b"SKIP"]
    twice = [b"error", b"b", *skip, b"error", b"c"]
    for _ in range(2):
        for values, reason in ((skip, "a"), (other_way_round, "a"), (twice, "c"), ([b"decision", b"SKIP"], "none")):
            outcome = reader.read(ENTRY_ID, values, NOW_S)
            minute = MINUTE if reason == "none" else MINUTE - 10
            assert outcome == Counted("SKIP", reason, "", minute, late=False)


def test_what_is_remembered_is_bounded() -> None:
    """A million different messages do not fill the memory of a service that lives for months."""
    reader = Reader()
    for number in range(10_000):
        values = [b"error", b"reason_%d" % number, b"timestamp", b"%d" % (1_771_000_000 + number), b"%d" % number, b""]
        assert isinstance(reader.read(ENTRY_ID, values, NOW_S), Counted)
    assert len(reader._meanings) <= 4_096
    assert len(reader._times) <= 4_096
    assert len(reader._layouts._known) <= 64
