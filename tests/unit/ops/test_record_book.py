"""The ledger as bytes: newest first, months newest first, every byte of an entry held, foreign bytes left alone."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.record.append import entry
from ops.record.book import added, chain, newest_hash, next_id, recorded, seal_fault
from ops.record.entry import digest
from ops.record.verify import verified
from tests.support.ledger import entries, noon, operation, three_entries, with_entry

EARLIER = b"""```yaml
---
operation_id: OPS-2026-01-27-013
operation_name: P2.8 hardening (LKG: cache)
outcome: SUCCESS
proof_file:
  mtime_utc: 2026-01-27T23:51:02.671602+00:00
notes: |
  operation_id in a note
```
"""


def test_entries_stand_newest_first_in_their_months() -> None:
    """Each in the section of its month, the newest month on top."""
    data = three_entries()
    shape = re.findall(rb"^(## .*|operation_id: .*)$", data, re.MULTILINE)
    assert shape == [
        b"## 2026-11",
        b"operation_id: OPS-2026-11-03-001",
        b"operation_id: OPS-2026-11-02-001",
        b"## 2026-10",
        b"operation_id: OPS-2026-10-30-001",
    ]
    assert verified(data) == (3, "OPS-2026-11-03-001", "")


def test_each_entry_holds_the_one_below_it_across_months() -> None:
    """previous_sha256 is the SHA-256 of the block below from fence to fence; the oldest says none."""
    data = three_entries()
    hashes = [digest(placed.raw) for placed in chain(data)]
    assert [each["previous_sha256"] for each in entries(data)] == [hashes[1], hashes[2], "none"]
    assert f"<!-- newest entry sha256: {hashes[0]} -->".encode() in data


CHANGES = {"flipped": lambda byte: bytes([byte ^ 1]), "newline": lambda _: b"\n", "gone": lambda _: b"", "more": None}


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_any_changed_byte_is_noticed_and_its_entry_named(number: int, how: str) -> None:
    """Every byte of an entry, fences included: other, a line end, gone, or one more beside it."""
    data = three_entries()
    placed = chain(data)[number - 1]
    for at in range(placed.start, placed.end - (how == "gone")):
        change = CHANGES[how]
        new = data[at : at + 1] + b" " if change is None else change(data[at])
        if new == data[at : at + 1]:
            continue
        if how == "more" and at == placed.end - 1:
            continue  # behind the last line: no byte of the entry
        fault = verified(data[:at] + new + data[at + 1 :]).fault
        assert re.match(rf"entry {number} from the top \(line \d+, ", fault), (at, data[at - 9 : at + 9], fault)


def test_the_name_of_the_changed_entry_is_its_id() -> None:
    """Whoever reads it finds the entry."""
    changed = three_entries().replace(b"trouble", b"nothing")
    line = changed[: changed.index(b"OPS-2026-11-02-001")].count(b"\n") - 1
    assert (
        f"entry 2 from the top (line {line}, OPS-2026-11-02-001) is not as it was recorded" in verified(changed).fault
    )


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_entry_that_was_taken_out_is_missed(number: int) -> None:
    """The newest and the oldest as well as one between."""
    data = three_entries()
    placed = chain(data)[number - 1]
    assert f"entry {number} from the top" in verified(data[: placed.start] + data[placed.end :]).fault


def test_an_entry_that_was_put_in_by_hand_is_noticed() -> None:
    """At the top, between, and below the oldest."""
    data = three_entries()
    foreign = entry(operation(), "OPS-2026-11-01-007", noon(2026, 11, 1), "none")
    for number, placed in enumerate(chain(data), 1):
        assert f"entry {number} from the top" in verified(data[: placed.start] + foreign + data[placed.start :]).fault
    assert "entry 4 from the top" in verified(data + foreign).fault
    assert "stands below the oldest" in verified(data + foreign).fault


def test_the_line_that_holds_the_newest_must_be_there_once() -> None:
    """Without it the newest entry could be changed unseen."""
    data = three_entries()
    [seal] = re.findall(rb"<!-- newest.*?-->\n", data)
    assert "newest entry sha256" in verified(data.replace(seal, b"")).fault
    assert "newest entry sha256" in verified(data.replace(seal, seal + seal)).fault
    assert seal_fault(data) == ""
    assert seal_fault(data.replace(seal, b""))


def test_a_new_entry_does_not_cover_up_a_changed_one() -> None:
    """The chain goes on from what was recorded, so that the changed entry is found below it, too."""
    changed = three_entries().replace(b"OPS-2026-10-30-001\n", b"OPS-2026-10-30-002\n", 1)
    assert seal_fault(changed) == "the newest entry is not as it was recorded"
    after = with_entry(changed, (2026, 11, 4), "OPS-2026-11-04-001")
    assert "entry 2 from the top" in verified(after).fault


def test_ids_are_unique_and_rollbacks_resolve() -> None:
    """Each fault alone, named with its entry; ids of an earlier format count."""
    twice = with_entry(three_entries(), (2026, 11, 4), "OPS-2026-11-02-001")
    assert "entry 1 from the top" in verified(twice).fault
    assert "its id stands 2 times" in verified(twice).fault
    for undone, says in (
        ("OPS-2020-01-01-001", "is no other entry"),
        ("OPS-2026-11-04-001", "is no other entry"),
        ("OPS-2026-11-2-1", "not of the form"),
        (None, "without rollback_of"),
    ):
        data = with_entry(three_entries(), (2026, 11, 4), "OPS-2026-11-04-001", outcome="ROLLBACK", rollback_of=undone)
        assert says in verified(data).fault
    resolved = with_entry(EARLIER, (2026, 11, 4), "OPS-2026-11-04-001", rollback_of="OPS-2026-01-27-013")
    assert verified(resolved).fault == ""


def test_the_next_id_is_above_the_highest_of_the_day() -> None:
    """No number comes twice, also where one between is free; other days, longer ids and prefixes do not count."""
    assert next_id("2026-11-28", []) == "OPS-2026-11-28-001"
    assert next_id("2026-11-28", ["OPS-2026-11-28-007", "OPS-2026-11-28-002"]) == "OPS-2026-11-28-008"
    assert next_id("2026-11-28", ["OPS-2026-11-27-009", "XOPS-2026-11-28-010", "OPS-2026-11-28-999a"]) == (
        "OPS-2026-11-28-001"
    )
    assert next_id("2026-11-28", ["OPS-2026-11-28-999"]) == "OPS-2026-11-28-1000"


def test_ids_and_keys_are_matched_whole_and_only_where_they_are_ids() -> None:
    """What a note says is no id; what an entry of an earlier format says is one."""
    data = with_entry(EARLIER, (2026, 11, 4), "OPS-2026-11-04-001", notes="a\noperation_id: OPS-2026-11-04-002")
    assert recorded(data).ids == ["OPS-2026-11-04-001", "OPS-2026-01-27-013"]
    keyed = entry(operation()._replace(idempotency_key="deploy 1"), "OPS-2026-11-04-003", noon(2026, 11, 4), "none")
    assert recorded(added(data, keyed, "2026-11").data).ids_by_key == {"deploy 1": "OPS-2026-11-04-003"}


def test_a_clock_that_went_back_does_not_break_the_chain() -> None:
    """The entry stands on top although its month is over, and that is said."""
    data = three_entries()
    raw = entry(operation(), "OPS-2026-10-31-001", noon(2026, 10, 31), newest_hash(data))
    addition = added(data, raw, "2026-10")
    assert not addition.in_its_month
    assert verified(addition.data) == (4, "OPS-2026-10-31-001", "")


FOREIGN = st.lists(
    st.sampled_from(
        [
            EARLIER,
            EARLIER.replace(b"\n", b"\r\n"),
            b"# Ledger\n",
            b"## 2026-11\n",
            b"## 2026-10  \n",
            b"## 2025-01\r\n",
            b"## 2026-11-03\n",
            b"## notes\n",
            b"```\n",
            b"```text\n## 2026-11\n```\n",
            b"~~~\n",
            b"\xff\xfe\x00\n",
            b"\n",
            b"text without an end",
            b"\xef\xbb\xbf",
            b"- operation_id: 'OPS-2025-01-01-004'\n",
            b"previous_sha256: none\n",
        ]
    ),
    max_size=8,
).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(FOREIGN, st.lists(st.sampled_from([(2026, 10, 5), (2026, 11, 5), (2026, 12, 5)]), min_size=1, max_size=4))
def test_foreign_bytes_stay_as_they_are(foreign: bytes, days: list[tuple[int, int, int]]) -> None:
    """Whatever stands in the file: without our entries, seal and headings it is as before; ours is sound."""
    data = foreign
    for number, day in enumerate(days, 1):
        before = data
        data = with_entry(data, day, f"OPS-2027-01-01-{number:03d}")
        assert [placed.raw for placed in chain(data)[1:]] == [placed.raw for placed in chain(before)]
        rest = iter(data)
        assert all(byte in rest for byte in re.sub(rb"<!-- newest.*?-->\n", b"", before))
    assert verified(data) == (len(days), f"OPS-2027-01-01-{len(days):03d}", "")
    left = re.sub(rb"<!-- newest.*?-->\n", b"", data)
    for placed in chain(data):
        left = left.replace(placed.raw, b"")
    headings = re.compile(rb"^## 2026-1[012]\n", re.MULTILINE)
    assert re.sub(rb"\s", b"", headings.sub(b"", left)).endswith(re.sub(rb"\s", b"", headings.sub(b"", foreign)))
