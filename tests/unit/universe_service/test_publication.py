"""What is published when: every state a service can start in, the shrink guard, and how long instruments stay."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.contracts import universe
from microservices.contracts.control import Mode
from microservices.contracts.universe import Instrument, UniverseDocument, UniverseMeta
from microservices.universe_service.publication import (
    INSTRUMENT_KEPT_S,
    SHRINK_ACCEPTED_AFTER_S,
    Active,
    ShrinkGuard,
    Stored,
    at_start,
    bounded,
    merged_instruments,
)

NOW = 1_800_000_000
PATTERN = re.compile(r"^[A-Z0-9]{3,20}USDT$")


def document(*symbols: str, mode: Mode = Mode.PAPER, asof_epoch: int = NOW - 40) -> UniverseDocument:
    """Make a document."""
    return UniverseDocument(asof_epoch, universe.SOURCE, mode, symbols or ("BTCUSDT", "ETHUSDT"), universe.FILTERS)


META = UniverseMeta(NOW - 40, NOW - 40, 2, 0, mode="paper", dropped=7, last_attempt_epoch=NOW - 39)


def test_where_nothing_is_there_is_no_list() -> None:
    """count=0, stale=1, error=no_list."""
    start = at_start(Stored(None, None, None), Mode.PAPER)
    assert start.active is Active.DELETE
    assert start.meta == UniverseMeta(0, 0, 0, 1, "no_list", "paper")


def test_a_missing_list_comes_back_from_the_last_good_one_and_is_stale() -> None:
    """The last good list becomes active, with its own date, stale until the first success."""
    start = at_start(Stored(None, document(), META), Mode.PAPER)
    assert start.active is Active.COPY_LAST_OK
    assert start.meta == UniverseMeta(NOW - 40, NOW - 40, 2, 1, "bootstrapped_from_last_ok", "paper", 7, NOW - 39)


@pytest.mark.parametrize(
    ("last_ok", "says"),
    [
        (
            "quantum:cfg:universe:last_ok: not JSON",
            "no_list: last_ok was not copied, quantum:cfg:universe:last_ok: not",
        ),
        (document(mode=Mode.MAINNET), "no_list: last_ok is of mode mainnet and was not copied"),
    ],
)
def test_a_last_good_list_that_cannot_be_used_is_not_copied(last_ok: UniverseDocument | str, says: str) -> None:
    """Corrupt or of another mode: stale, and the error says so."""
    start = at_start(Stored(None, last_ok, META), Mode.PAPER)
    assert start.active is Active.DELETE
    assert (start.meta.count, start.meta.stale) == (0, 1)
    assert start.meta.error.startswith(says)


def test_an_old_list_never_looks_fresh() -> None:
    """A list of the same mode stays, stale until the first success."""
    start = at_start(Stored(document(), document(), META), Mode.PAPER)
    assert start.active is Active.KEEP
    assert (start.meta.stale, start.meta.error, start.meta.count) == (1, "awaiting_first_fetch", 2)


@pytest.mark.parametrize("last_ok", [None, document(mode=Mode.TESTNET)])
def test_a_list_of_another_mode_is_deleted(last_ok: UniverseDocument | None) -> None:
    """Then as missing; its instruments go with it, because another exchange's rules are worse than none."""
    start = at_start(Stored(document(mode=Mode.TESTNET), last_ok, META), Mode.PAPER)
    assert (start.active, start.drop_instruments, start.meta.count) == (Active.DELETE, True, 0)


def test_a_list_of_another_mode_gives_way_to_a_last_good_one_of_this_mode() -> None:
    """Deleted, then as missing, includes the copy."""
    start = at_start(Stored(document(mode=Mode.TESTNET), document(), META), Mode.PAPER)
    assert start.active is Active.COPY_LAST_OK


def test_a_list_that_cannot_be_read_is_as_missing() -> None:
    """A corrupt `active` is no list of any mode."""
    assert at_start(Stored("corrupt", document(), META), Mode.PAPER).active is Active.COPY_LAST_OK
    assert at_start(Stored("corrupt", None, META), Mode.PAPER).active is Active.DELETE


def test_a_meta_hash_that_contradicts_the_list_is_mended() -> None:
    """Counts and dates come from the documents themselves."""
    edited = msgspec.structs.replace(META, count=99, asof_epoch=1, last_ok_epoch=1)
    meta = at_start(Stored(document(), document(), edited), Mode.PAPER).meta
    assert (meta.count, meta.asof_epoch, meta.last_ok_epoch) == (2, NOW - 40, NOW - 40)


@given(
    active=st.sampled_from([None, "corrupt", document(), document(mode=Mode.MAINNET)]),
    last_ok=st.sampled_from([None, "corrupt", document("XRPUSDT"), document(mode=Mode.MAINNET)]),
    meta=st.sampled_from([None, META, msgspec.structs.replace(META, mode="mainnet")]),
)
def test_no_start_is_fresh(
    active: UniverseDocument | str | None, last_ok: UniverseDocument | str | None, meta: UniverseMeta | None
) -> None:
    """Whatever is found: stale, with an error, in this mode, and a count only where a list stands."""
    start = at_start(Stored(active, last_ok, meta), Mode.PAPER)
    assert start.meta.stale == 1
    assert start.meta.error
    assert start.meta.mode == "paper"
    assert bool(start.meta.count) is (start.active is not Active.DELETE)


def names(count: int) -> tuple[str, ...]:
    """Make so many symbols."""
    return tuple(f"{1000 + number}USDT" for number in range(count))


def test_half_of_the_last_good_list_is_enough() -> None:
    """The ratio itself is let through; one less is not, and the sentence names both counts and the way out."""
    guard = ShrinkGuard(0.5, PATTERN)
    assert guard.refusal(names(50), document(*names(100)), 0) == ""
    said = guard.refusal(names(49), document(*names(100)), 0)
    assert "49 symbols are fewer than 0.5 of the last good list's 100" in said
    assert "UNIVERSE_MIN_RATIO=0" in said


def test_without_a_last_good_list_any_list_is_the_first() -> None:
    """Nothing to compare with."""
    assert ShrinkGuard(0.5, PATTERN).refusal(names(1), None, 0) == ""


def test_a_ratio_of_zero_switches_the_guard_off() -> None:
    """The operator's way to accept a shrunken list at once."""
    assert ShrinkGuard(0, PATTERN).refusal(names(1), document(*names(100)), 0) == ""


def test_a_reduced_list_that_stays_the_same_for_fifteen_minutes_is_accepted() -> None:
    """A real mass delisting does not block for ever."""
    guard = ShrinkGuard(0.5, PATTERN)
    before = document(*names(100))
    assert guard.refusal(names(10), before, 1000.0)
    assert guard.refusal(names(10), before, 1000.0 + SHRINK_ACCEPTED_AFTER_S - 1)
    assert guard.refusal(names(10), before, 1000.0 + SHRINK_ACCEPTED_AFTER_S) == ""
    assert guard.has_waited
    guard.published()
    assert not guard.has_waited


def test_a_reduced_list_that_changes_begins_to_wait_anew() -> None:
    """A list that shrinks further is not a list that stays the same."""
    guard = ShrinkGuard(0.5, PATTERN)
    before = document(*names(100))
    assert guard.refusal(names(10), before, 0)
    assert guard.refusal(names(9), before, SHRINK_ACCEPTED_AFTER_S - 1)
    assert guard.refusal(names(9), before, SHRINK_ACCEPTED_AFTER_S + 1)


def test_a_whole_list_in_between_ends_the_wait() -> None:
    """What flaps between whole and reduced is never believed."""
    guard = ShrinkGuard(0.5, PATTERN)
    before = document(*names(100))
    assert guard.refusal(names(10), before, 0)
    assert guard.refusal(names(100), before, 60) == ""
    assert guard.refusal(names(10), before, SHRINK_ACCEPTED_AFTER_S)


def test_a_narrowed_pattern_is_not_a_mass_delisting() -> None:
    """The guard compares lists made under the same settings: of the old one only what fits the new pattern."""
    guard = ShrinkGuard(0.5, re.compile("BTCUSDT|ETHUSDT"))
    before = document("BTCUSDT", "ETHUSDT", *names(100))
    assert guard.refusal(("BTCUSDT", "ETHUSDT"), before, 0) == ""
    assert guard.refusal((), before, 0)


RULES = Instrument("TRADING", NOW, "0.1", "0.001", "0.001", "1000", "5", 0, 4133404800)


def stored_rules(seen_epoch: int) -> bytes:
    """Make a row as it stands in Redis."""
    return universe.encode_instrument(msgspec.structs.replace(RULES, seen_epoch=seen_epoch))


def test_an_instrument_that_is_gone_stays_seven_days_with_the_day_it_was_seen() -> None:
    """A position in a delisted symbol can still be closed; a reader sees that the rules are not of today."""
    gone = {b"LUNAUSDT": stored_rules(NOW - INSTRUMENT_KEPT_S), b"OLDUSDT": stored_rules(NOW - INSTRUMENT_KEPT_S - 1)}
    merged, left = merged_instruments(gone, {"BTCUSDT": RULES}, NOW)
    assert set(merged) == {b"BTCUSDT", b"LUNAUSDT"}
    assert universe.decode_instrument(merged[b"LUNAUSDT"], "LUNAUSDT").seen_epoch == NOW - INSTRUMENT_KEPT_S
    assert left == ("OLDUSDT",)


def test_an_instrument_that_is_back_has_the_new_rules() -> None:
    """The answer wins over what is stored, readable or not."""
    stored = {b"BTCUSDT": b"rubbish", b"ETHUSDT": stored_rules(NOW - 60)}
    merged, left = merged_instruments(stored, {"BTCUSDT": RULES, "ETHUSDT": RULES}, NOW)
    assert {universe.decode_instrument(raw, "x").seen_epoch for raw in merged.values()} == {NOW}
    assert left == ()


def test_a_row_that_nobody_can_read_leaves_and_is_named() -> None:
    """It could close no position, and its age is unknown."""
    merged, left = merged_instruments({b"\xff": b"rubbish"}, {"BTCUSDT": RULES}, NOW)
    assert set(merged) == {b"BTCUSDT"}
    assert "\\xff" in left[0]


def test_an_error_is_one_line_of_bounded_length() -> None:
    """Whatever an exchange says, the hash holds one line."""
    assert bounded("no_list", "", "HTTP 503\n  try  later") == "no_list: HTTP 503 try later"
    assert len(bounded("x" * 9999)) == 500
