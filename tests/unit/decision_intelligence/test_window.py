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


def top(names: list[str]) -> dict[str, int]:
    """The fifty most frequent, of equals the first by name."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0].encode()))[:TOP_MAX])


MESSAGES = st.lists(
    st.tuples(
        st.integers(MIDNIGHT - 130, MIDNIGHT + 70),
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


def test_a_quiet_hour_is_zeros() -> None:
    """Not old numbers, and no UNKNOWN where there is none."""
    for window in totals({}, MIDNIGHT).values():
        assert window.decisions == {"EXECUTE": 0, "SKIP": 0, "BLOCKED": 0, "ERROR": 0}
        assert window.reasons == window.symbol_reasons == {}


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
