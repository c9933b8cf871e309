"""The six timestamps found in the wild, and everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.decision_intelligence.timestamps import epoch_s


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        (b"1771359991", 1771359991),
        (b"1770465332.159207", 1770465332.159207),
        (b"1771359991862", 1771359991.862),
        (b"1771359991862.0", 1771359991.862),
        (b"1771359991862123", 1771359991.862123),
        (b"2026-02-17T21:26:35.884213", 1771363595.884213),
        (b"2026-02-17T21:26:35+00:00", 1771363595),
        (b"2026-02-17T21:26:35Z", 1771363595),
        (b"2026-02-17T22:26:35+01:00", 1771363595),
        (b" 1771359991 ", 1771359991),
        (b"0", 0),
    ],
)
def test_every_shape_in_the_wild_is_read(raw: bytes, seconds: float) -> None:
    """Seconds, milliseconds, microseconds by their size; ISO with a zone or, without one, in UTC."""
    assert epoch_s(raw) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"now",
        b"-5",
        b"NaN",
        b"Infinity",
        b"1e9",
        b"1,771,359,991",
        b"0x10",
        b"\xff",
        "١٧٧١٣٥٩٩٩١".encode(),
        b"177135999186212399999",
        b"1" * 1000,
        b"2026-13-45T99:99:99",
        b"0001-01-01T00:00:00+23:59",
    ],
)
def test_what_is_no_time_is_none_or_long_ago(raw: bytes) -> None:
    """Nothing that is not a moment is taken for one; the edge of the calendar does not raise."""
    seconds = epoch_s(raw)
    assert seconds is None or seconds < 0


@given(st.binary(max_size=80))
def test_no_bytes_raise(raw: bytes) -> None:
    """Any bytes are a finite time or none."""
    seconds = epoch_s(raw)
    assert seconds is None or abs(seconds) < 1e12


@given(st.integers(min_value=100_000_000, max_value=99_999_999_999))
def test_the_three_units_say_the_same_moment(seconds: int) -> None:
    """A producer that writes milliseconds and one that writes microseconds meet in the same minute."""
    assert epoch_s(f"{seconds}".encode()) == seconds
    assert epoch_s(f"{seconds * 1_000}".encode()) == pytest.approx(seconds)
    assert epoch_s(f"{seconds * 1_000_000}".encode()) == pytest.approx(seconds)
