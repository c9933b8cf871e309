"""Results as live systems of this kind wrote them, where this machine has the recordings (../shared/data)."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from microservices.contracts import result
from microservices.decision_intelligence.message import Counted, Reader
from microservices.decision_intelligence.timestamps import epoch_s
from tests.support.recorded import FOLDER as KLINES

FOLDER = KLINES.parent / "reference_streams"
RECORDS = FOLDER / "qt_apply_records_and_measured_distribution.json"
LIVE = FOLDER / "qt_redis_streams_20260217.json"
NOW_S = 1_772_500_000.0
"""Early in March 2026: every recorded time is past."""

pytestmark = pytest.mark.skipif(not RECORDS.exists(), reason=f"no recorded streams in {FOLDER}")


def read(fields: dict[str, Any]) -> Counted:
    """Read fields as they would stand in Redis; what a report shows as a number or boolean is text there."""
    values = [part.encode() for name, value in fields.items() for part in (name, as_text(value))]
    outcome = Reader().read(b"1770132098712-0", values, NOW_S)
    assert isinstance(outcome, Counted), outcome
    return outcome


def as_text(value: object) -> str:
    """Write a value as producers did."""
    return value if isinstance(value, str) else json.dumps(value)


def results() -> list[dict[str, Any]]:
    """All recorded results, entries of the stream and records out of reports."""
    document = json.loads(RECORDS.read_text())
    records = [row["record"] for row in document["records"]]
    entries = [row["fields"] for row in document["stream_entries"]]
    live = json.loads(LIVE.read_text())["streams"][result.STREAM]
    entries += [live["first_entry"]["fields"], live["last_entry"]["fields"]]
    return [fields for fields in (*records, *entries) if "executed" in fields]


def documents(path: Path) -> Iterator[Any]:
    """All JSON documents of a recording."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    lines = text.splitlines() if ".jsonl" in path.name else [text]
    yield from (json.loads(line) for line in lines if line.strip())


def timestamps(value: object) -> Iterator[str]:
    """Everything that a document calls a timestamp."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name in {"timestamp", "record_time_epoch"} and isinstance(member, str | int | float):
                yield str(member)
            yield from timestamps(member)
    elif isinstance(value, list):
        for member in value:
            yield from timestamps(member)


def test_every_recorded_result_counts_by_what_it_says() -> None:
    """Three shapes: a decision at the top; only executed, in two spellings; with a reason or without."""
    found = results()
    assert len(found) >= 16
    outcomes = [read(fields) for fields in found]
    assert Counter(outcome.decision for outcome in outcomes) == {"EXECUTE": 4, "SKIP": 7, "BLOCKED": 6}
    assert {outcome.reason for outcome in outcomes} == {
        *("none", "kill_score_close_ok", "duplicate_plan", "kill_score_warning_risk_increase"),
        *("symbol_not_in_allowlist", "p33_permit_denied", "source_not_allowed"),
    }


def test_the_same_results_count_the_same_inside_details() -> None:
    """The third shape: everything but the plan's id stands in one JSON field."""
    for fields in results():
        inside = {name: value for name, value in fields.items() if name not in {"executed", "timestamp"}}
        wrapped = {"plan_id": "p", "executed": fields["executed"], "details": json.dumps(inside)}
        assert (read(wrapped).decision, read(wrapped).reason) == (read(fields).decision, read(fields).reason)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*")), ids=lambda path: path.name)
def test_every_recorded_timestamp_is_read(path: Path) -> None:
    """Seconds, with a fraction, milliseconds, ISO without a zone, with +00:00, with Z: all of their own year."""
    found = [stamp for document in documents(path) for stamp in timestamps(document) if stamp]
    for stamp in found:
        seconds = epoch_s(stamp.encode())
        assert seconds is not None, stamp
        assert 1_700_000_000 < seconds < NOW_S + 31 * 86_400, stamp
