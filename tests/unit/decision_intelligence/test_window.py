"""Rolling windows against a model that counts message by message."""

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.contracts import decision
from microservices.contracts.decision import COUNTED_DECISIONS, TOP_MAX, Window
from microservices.decision_intelligence.window import totals

MIDNIGHT = 1_800_057_600 // 60
"""2027-01-16 00:00 UTC."""

Message = tuple[int, str, str, str]
"""Minute, decision, reason, symbol."""


def buckets_of(messages: list[Message]) -> dict[int, dict[bytes, bytes]]:
    """Count messages as the committing script does."""
    buckets: dict[int, Counter[str]] = defaultdict(Counter)
    for minute, word, reason, symbol in messages:
        bucket = buckets[minute]
        bucket[decision.decision_field(word)] += 1
        bucket[decision.reason_field(reason)] += 1
        if symbol:
            bucket[decision.symbol_reason_field(symbol, reason)] += 1
    return {
        minute: {field.encode(): str(count).encode() for field, count in bucket.items()}
        for minute, bucket in buckets.items()
    }


def top(names: list[str], most: int = TOP_MAX) -> dict[str, int]:
    """The most frequent, of equals the first by name."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0].encode()))[:most])


MESSAGES = st.lists(
    st.tuples(
        st.integers(MIDNIGHT - 200, MIDNIGHT + 70),
        st.sampled_from([*COUNTED_DECISIONS, "UNKNOWN"]),
        st.sampled_from(["none", "__other__", *(f"reason_{number}" for number in range(60))]),
        st.sampled_from(["", "BTCUSDT", "币安人生USDT"]),
    ),
    max_size=120,
)


@given(MESSAGES, st.integers(MIDNIGHT - 70, MIDNIGHT + 70))
def test_every_window_is_what_a_count_of_its_messages_says(messages: list[Message], minute: int) -> None:
    """The current minute and those before it, across midnight, with gaps, late messages and some from the future."""
    found = totals(buckets_of(messages), minute)
    for window in Window:
        inside = [message for message in messages if minute - window.minutes < message[0] <= minute]
        words = Counter(word for _, word, _, _ in inside)
        assert found[window].decisions == dict.fromkeys(COUNTED_DECISIONS, 0) | words
        assert found[window].reasons == top([reason for _, _, reason, _ in inside if reason != "none"])
        pairs = [f"{symbol}:{reason}" for _, _, reason, symbol in inside if symbol and reason != "none"]
        assert found[window].symbol_reasons == top(pairs)
        assert found[window].by_symbol == {
            symbol: top([reason for _, _, reason, named in inside if named == symbol and reason != "none"], 10)
            for symbol in {pair.partition(":")[0] for pair in pairs}
        }
        assert found[window].trend == trend(messages, minute, window)


def trend(messages: list[Message], minute: int, window: Window) -> dict[str, int]:
    """The window less the one before it, message by message: decisions, and the top reasons of both."""
    change: Counter[str] = Counter()
    reasons: dict[int, list[str]] = {1: [], -1: []}
    for message in messages:
        back = minute - message[0]
        sign = 1 if 0 <= back < window.minutes else -1 if window.minutes <= back < 2 * window.minutes else 0
        if sign:
            change.update({decision.decision_field(message[1]): sign, decision.reason_field(message[2]): sign})
            reasons[sign] += [message[2]] * (message[2] != "none")
    fields = {decision.decision_field(word) for word in COUNTED_DECISIONS}
    fields |= {field for field in change if field.startswith("decision:")}
    fields |= {decision.reason_field(reason) for named in reasons.values() for reason in top(named)}
    return {field: change[field] for field in fields}


def test_a_quiet_hour_is_zeros() -> None:
    """Not old numbers, and no UNKNOWN where there is none."""
    for window in totals({}, MIDNIGHT).values():
        assert window.decisions == {"EXECUTE": 0, "SKIP": 0, "BLOCKED": 0, "ERROR": 0}
        assert window.reasons == window.symbol_reasons == {}
        assert window.by_symbol == {}
        assert window.trend == {"decision:EXECUTE": 0, "decision:SKIP": 0, "decision:BLOCKED": 0, "decision:ERROR": 0}


def test_what_is_gone_has_a_falling_trend() -> None:
    """A reason of the window before that this one no longer has is named, and UNKNOWN with it."""
    buckets = buckets_of([(MIDNIGHT - 1, "UNKNOWN", "kill_switch", "BTCUSDT"), (MIDNIGHT, "SKIP", "no_position", "")])
    change = totals(buckets, MIDNIGHT)[Window.M1].trend
    assert change["reason:kill_switch"] == change["decision:UNKNOWN"] == -1
    assert change["reason:no_position"] == change["decision:SKIP"] == 1


def test_symbols_are_bounded() -> None:
    """Of the most frequent symbols the most frequent reasons; the rest is in no window."""
    messages = [(MIDNIGHT, "SKIP", f"reason_{number % 12}", f"S{number // 12}") for number in range(12 * 410)]
    by_symbol = totals(buckets_of(messages), MIDNIGHT)[Window.H1].by_symbol
    assert len(by_symbol) == 400
    assert {len(reasons) for reasons in by_symbol.values()} == {10}


@pytest.mark.parametrize("window", list(Window))
def test_a_message_leaves_a_window_after_its_minutes(window: Window) -> None:
    """It is there in its last minute and gone in the next."""
    buckets = buckets_of([(MIDNIGHT - 1, "SKIP", "duplicate_plan", "")])
    last = MIDNIGHT - 1 + window.minutes - 1
    assert totals(buckets, last)[window].decisions["SKIP"] == 1
    assert totals(buckets, last + 1)[window].decisions["SKIP"] == 0
    assert totals(buckets, last + 1)[window].reasons == {}


def test_what_is_no_count_adds_nothing() -> None:
    """A bucket that somebody wrote into by hand does not stop the windows."""
    bucket = {b"decision:SKIP": b"2", b"decision:EXECUTE": b"many", b"reason:x": b"-1", b"note": b"1", b"\xff": b"1"}
    window = totals({MIDNIGHT: bucket}, MIDNIGHT)[Window.M1]
    assert window.decisions == {"EXECUTE": 0, "SKIP": 2, "BLOCKED": 0, "ERROR": 0}
    assert window.reasons == {}
