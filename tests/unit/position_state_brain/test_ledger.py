"""What our own fills add up to, and what a difference to the exchange's position means."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microservices.contracts.fields import Unreadable
from microservices.contracts.plan import Side
from microservices.contracts.position import Baseline, LedgerRow
from microservices.position_state_brain.ledger import (
    Adopt,
    Adoption,
    Agreed,
    Agreement,
    Drift,
    DriftCause,
    Reconciled,
    Settlement,
    Unsettled,
    agreement,
    applied,
    reconcile,
)
from tests.support.brain import NOW_MS, NOW_S, result_of

D = Decimal
RESULT_ID = f"{NOW_MS}-3"
QUIET = Settlement(snapshot_ts_ms=NOW_MS, confirmed=True, has_open_claim=False, has_unread_result=False, flat_answers=1)


def test_a_fill_is_added_and_dated_by_its_result() -> None:
    """The result's id is Redis's own time, on which a snapshot's request is dated too."""
    row = applied(LedgerRow(D("0.1")), result_of(), RESULT_ID, NOW_S)
    assert row == LedgerRow(D("0.11"), "77", "p1", NOW_MS, RESULT_ID, NOW_S)


def test_a_sale_is_subtracted_and_a_missing_row_is_nothing_held() -> None:
    """Shorts keep their sign (I-18)."""
    row = applied(None, result_of(side=Side.SELL), RESULT_ID, NOW_S)
    assert row is not None
    assert row.position_amt == D("-0.01")


@pytest.mark.parametrize("changes", [{"executed": False}, {"quantity": D(0)}, {"executed": True, "quantity": D(0)}])
def test_what_was_not_filled_changes_nothing(changes: dict[str, object]) -> None:
    """An order without a fill is no execution (I-25, I-40): no amount, no cooldown."""
    assert applied(LedgerRow(D(1)), result_of(**changes), RESULT_ID, NOW_S) is None


@pytest.mark.parametrize("last", [RESULT_ID, f"{NOW_MS}-10", f"{NOW_MS + 1}-0"])
def test_a_result_that_the_row_has_already_is_not_added_again(last: str) -> None:
    """Ids compare as numbers: 10 comes after 3. So a lost cursor costs nothing."""
    assert applied(LedgerRow(D(1), last_result_id=last), result_of(), RESULT_ID, NOW_S) is None
    assert applied(LedgerRow(D(1), last_result_id=f"{NOW_MS}-2"), result_of(), RESULT_ID, NOW_S) is not None


def test_a_fill_without_a_side_is_not_guessed() -> None:
    """Nobody knows which way it went."""
    with pytest.raises(Unreadable, match="without a side"):
        applied(None, result_of(side=None), RESULT_ID, NOW_S)


@given(st.lists(st.tuples(st.sampled_from(list(Side)), st.integers(1, 10**15)), max_size=20))
@settings(deadline=None)
def test_the_ledger_is_the_exact_sum_of_the_fills(fills: list[tuple[Side, int]]) -> None:
    """No digit is lost, however many there are."""
    row: LedgerRow | None = None
    for number, (side, quantity) in enumerate(fills):
        fill = result_of(side=side, quantity=D(quantity).scaleb(-15))
        row = applied(row, fill, f"{NOW_MS}-{number}", NOW_S)
    total = sum(quantity if side is Side.BUY else -quantity for side, quantity in fills)
    assert (row.position_amt if row else D(0)) == D(total).scaleb(-15)


@pytest.mark.parametrize(
    ("exchange", "ours", "expected"),
    [
        ("0.5", "0.5", Agreement.SAME),
        ("0", "0", Agreement.SAME),
        ("0.5", "0.495", Agreement.WITHIN_TOLERANCE),
        ("0.5", "0.4949", Agreement.OTHER_SIZE),
        ("0.005", "0.004", Agreement.WITHIN_TOLERANCE),
        ("-0.5", "0.5", Agreement.OTHER_SIDE),
        ("0.001", "0", Agreement.OTHER_SIDE),
        ("0", "-0.001", Agreement.OTHER_SIDE),
        ("-0.5", "-0.497", Agreement.WITHIN_TOLERANCE),
    ],
)
def test_ledger_and_position_agree_in_sign_and_nearly_in_size(exchange: str, ours: str, expected: Agreement) -> None:
    """One percent of the position, a step at least; flat is a side of its own."""
    assert agreement(D(exchange), D(ours), D("0.001"), D(1)) is expected


def test_without_a_step_only_the_percentage_counts() -> None:
    """What is not known cannot tolerate anything."""
    assert agreement(D("0.005"), D("0.004"), None, D(1)) is Agreement.OTHER_SIZE


@pytest.mark.parametrize(
    ("exchange", "ours", "expected"),
    [
        ("0.5", "0.5", Agreed()),
        ("0.5", "0.499", Adopt(Adoption.WITHIN_TOLERANCE)),
        ("0.5", "0", Drift(DriftCause.EXTERNAL_POSITION)),
        ("0.5", "-0.5", Drift(DriftCause.SIDE_MISMATCH)),
        ("0.2", "0.5", Drift(DriftCause.EXCHANGE_BELOW_LEDGER)),
        ("-0.2", "-0.5", Drift(DriftCause.EXCHANGE_BELOW_LEDGER)),
        ("0.5", "0.2", Drift(DriftCause.EXCHANGE_ABOVE_LEDGER)),
        ("0", "0.5", Unsettled("flat in one answer")),
    ],
)
def test_a_settled_difference_has_a_name(exchange: str, ours: str, expected: Reconciled) -> None:
    """External position, other side, reduced or increased by others, or a position closed by hand."""
    assert reconcile(D(exchange), LedgerRow(D(ours)), QUIET, D("0.001"), D(1)) == expected


def test_a_position_flat_in_two_answers_ends_in_the_ledger() -> None:
    """Closed by hand or liquidated: the exchange is right, once it said so twice."""
    twice = msgspec.structs.replace(QUIET, flat_answers=2)
    assert reconcile(D(0), LedgerRow(D("0.5")), twice, D("0.001"), D(1)) == Adopt(Adoption.FLAT_TWICE)


@pytest.mark.parametrize(
    "change",
    [{"has_open_claim": True}, {"has_unread_result": True}, {"confirmed": False}, {"snapshot_ts_ms": NOW_MS - 1_001}],
)
def test_while_a_fill_may_be_on_its_way_nothing_is_compared(change: dict[str, object]) -> None:
    """An adoption in that moment would count a fill twice."""
    row = LedgerRow(D("0.5"), last_exec_ts_ms=NOW_MS - 3_000)
    settlement = msgspec.structs.replace(QUIET, **change)
    assert isinstance(reconcile(D("0.2"), row, settlement, D("0.001"), D(1)), Unsettled)
    assert isinstance(reconcile(D("0.2"), row, QUIET, D("0.001"), D(1)), Drift)


@pytest.mark.parametrize(
    ("planned_ms", "ended_s", "adopted_ms", "expected"),
    [
        (99_000, 100, 103_000, True),
        (99_000, 100, 102_999, False),
        (99_000, 100, 0, False),
        (99_000, 103, 103_000, False),
        (102_999, 100, 103_000, True),
        (103_000, 100, 103_000, False),
    ],
)
def test_a_fill_is_in_an_account_that_was_adopted_well_after_it(
    planned_ms: int, ended_s: int, adopted_ms: int, *, expected: bool
) -> None:
    """It ended within the second that its timestamp names, an account may be two seconds late, a plan comes first."""
    adopted = Baseline(0, "test", adopted_ms, 1, "0-0")
    assert adopted.includes(f"{planned_ms}-0", ended_s) is expected
