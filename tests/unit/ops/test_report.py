"""What data may do to a report: nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.lib.report import DEGRADED, Verdict, cannot_tell, epoch, framed, shown, utc


@given(st.text())
def test_data_stays_on_its_line(value: str) -> None:
    """No line break, no escape sequence, no length without end, whatever a key or a value contains."""
    said = shown(value)
    assert said.isprintable()
    assert len(said) < 200


@pytest.mark.parametrize("words", ["✅ PROOF FOUND", "❌ STATUS: MISSING", "⚠️  STATUS: STALE"])
def test_data_cannot_say_what_a_verdict_says(words: str) -> None:
    """A plan id that holds a verdict's words is not found by whoever looks for the verdict."""
    assert words not in shown(words)
    assert words[2:] in shown(words)


@given(st.text())
def test_data_stays_in_its_document(value: str) -> None:
    """One JSON document on one line, and the value in it is whole."""
    document = Verdict(DEGRADED, "STALE", facts={"value": value}, problems=[value]).as_json()
    assert "\n" not in document
    assert json.loads(document)["value"] == value


def test_colours_only_where_wanted() -> None:
    """A line's mark decides its colour; without colours there is no escape sequence."""
    verdict = Verdict(0, "FRESH", ["plain", "✅ good", "❌ bad", "⚠️  so so"])
    assert "\033" not in verdict.as_text(colour=False)
    assert verdict.as_text(colour=True).count("\033[0m") == 3


@pytest.mark.parametrize(
    ("value", "seconds"), [("5", 5), ("5.5", 5.5), ("", None), ("x", None), ("nan", None), (None, None)]
)
def test_a_time_is_a_finite_number(value: object, seconds: float | None) -> None:
    """Anything else is no time."""
    assert epoch(value) == seconds


def test_a_time_no_calendar_has_is_a_number() -> None:
    """A forged date is shown, not fallen over."""
    assert utc(1_769_991_686) == "2026-02-02 00:21:26 UTC"
    assert utc(1e300) == "1e+300"


def test_a_frame_fits_its_title() -> None:
    """Three lines of one length."""
    assert len({len(line) for line in framed("Title")}) == 1
    assert cannot_tell("x\ny").problems == ["x\\ny"]
