"""Answers about the account: complete or not, what vanished, and what is written of them."""

from decimal import Decimal

import msgspec
import pytest

from microservices.contracts.position import LedgerRow
from microservices.contracts.position import PositionSide as Side
from microservices.exchange import PositionRow, PositionSide
from microservices.position_state_brain.snapshot import (
    AccountView,
    Expected,
    Incomplete,
    SymbolPosition,
    judge,
    rows_to_write,
)
from tests.support.brain import NOW_MS, held, position_row

D = Decimal
LATER_MS = NOW_MS + 5_000
CLOSED = LedgerRow(D(0), last_exec_ts_ms=NOW_MS + 1)
"""By a fill of ours behind the answer before."""


def answer(**amounts: str) -> list[PositionRow]:
    """An answer with these positions."""
    return [position_row(symbol, amount) for symbol, amount in amounts.items()]


def known(**amounts: str) -> AccountView:
    """A view of the account from the answer before."""
    rows = {symbol: held(amount, ts_ms=NOW_MS) for symbol, amount in amounts.items()}
    return AccountView(ts_ms=NOW_MS, rows=rows, one_way=True, sequence=1)


def complete(view: AccountView | Incomplete) -> AccountView:
    """The view, which must be one."""
    assert isinstance(view, AccountView), view
    return view


def why_not(rows: list[PositionRow], expected: Expected | None = None, before: AccountView | None = None) -> str:
    """Why an answer is not complete."""
    judged = judge(rows, LATER_MS, before or AccountView(), expected or Expected(), empty_before=False)
    assert isinstance(judged, Incomplete), judged
    return judged.why


def test_a_complete_answer_is_dated_by_its_request() -> None:
    """Whatever time passed until it came."""
    view = complete(judge(answer(A="0.5", B="0"), LATER_MS, known(A="0.4"), Expected(), empty_before=False))
    assert (view.ts_ms, view.sequence, view.open_positions) == (LATER_MS, 2, 1)
    assert (view.rows["A"].position_amt, view.rows["A"].ts_ms) == (D("0.5"), LATER_MS)


def test_what_is_no_complete_answer() -> None:
    """Each is named, and nothing of it is believed."""
    assert why_not([]) == "no row at all"
    assert why_not(answer(A="0") + answer(A="0")) == "1 symbols are named twice"
    missing = Expected(required=frozenset({"A", "C", "D"}))
    assert why_not(answer(A="0"), missing) == "no row for C, D, which we hold or are about to trade"
    many = Expected(required=frozenset("BCDEFGH"))
    assert why_not(answer(A="0"), many).startswith("no row for B, C, D, E, F and 2 more")


def test_rows_of_hedge_mode_are_told_apart() -> None:
    """LONG and SHORT beside each other are not understood, flat or not."""
    rows = [position_row("A", "1", position_side=PositionSide.LONG)]
    judged = judge(rows, LATER_MS, AccountView(), Expected(), empty_before=False)
    assert isinstance(judged, Incomplete)
    assert judged.hedge_rows


@pytest.mark.parametrize(("named", "is_complete"), [(95, True), (94, False)])
def test_most_of_what_is_traded_must_be_named(named: int, *, is_complete: bool) -> None:
    """95 of 100 instruments; a symbol that is missing is unknown, the others count."""
    expected = Expected(trading=frozenset(f"S{number}" for number in range(100)))
    rows = [position_row(f"S{number}") for number in range(named)] + [position_row("OTHER")]
    judged = judge(rows, LATER_MS, AccountView(), expected, empty_before=False)
    assert isinstance(judged, AccountView) is is_complete
    if isinstance(judged, AccountView):
        assert "S99" not in judged.rows


def test_what_our_own_fill_explains_is_believed_at_once() -> None:
    """45 positions closed by us in one poll are 45 flat positions."""
    before = known(**{f"S{number}": "1" for number in range(45)}, STAYS="1")
    rows = [position_row(f"S{number}") for number in range(45)] + answer(STAYS="1")
    ours = Expected(ledger={f"S{number}": CLOSED for number in range(45)} | {"STAYS": LedgerRow(D(1))})
    view = complete(judge(rows, LATER_MS, before, ours, empty_before=False))
    assert view.open_positions == 1
    assert not view.has_unconfirmed


def test_all_positions_closed_by_us_at_once_are_believed_too() -> None:
    """An empty account is suspicious only where nothing of ours explains it."""
    ours = Expected(ledger={"A": CLOSED, "B": CLOSED})
    view = complete(judge(answer(A="0", B="0"), LATER_MS, known(A="1", B="-1"), ours, empty_before=False))
    assert view.open_positions == 0


@pytest.mark.parametrize(("executed_ms", "is_believed"), [(0, False), (NOW_MS - 2_000, False), (NOW_MS - 1_999, True)])
def test_a_flat_ledger_does_not_explain_that_another_position_vanished(executed_ms: int, *, is_believed: bool) -> None:
    """One that we never opened, or that was there for two seconds after our last fill, must be missing twice."""
    ours = Expected(ledger={"A": LedgerRow(D(0), last_exec_ts_ms=executed_ms)})
    view = complete(judge(answer(A="0", B="1"), LATER_MS, known(A="0.5", B="1"), ours, empty_before=False))
    assert view.has_unconfirmed is not is_believed


@pytest.mark.parametrize("gone", [{"A": "0", "B": "1"}, {"B": "1"}], ids=["flat", "not named"])
def test_a_position_that_vanishes_must_be_missing_twice(gone: dict[str, str]) -> None:
    """First it is kept with its old time and nothing is decided on it; then it is gone."""
    before = known(A="0.5", B="1")
    expected = Expected(ledger={"A": LedgerRow(D("0.5")), "B": LedgerRow(D(1))})
    first = complete(judge(answer(**gone), LATER_MS, before, expected, empty_before=False))
    kept = first.rows["A"]
    assert (kept.position_amt, kept.ts_ms, kept.confirmed) == (D("0.5"), NOW_MS, False)
    assert first.has_unconfirmed
    second = complete(judge(answer(**gone), LATER_MS + 1_000, first, expected, empty_before=False))
    assert not second.has_unconfirmed
    assert second.open_positions == 1


def test_a_position_that_comes_back_was_never_gone() -> None:
    """One odd answer changes nothing."""
    first = complete(judge(answer(A="0", B="1"), LATER_MS, known(A="0.5", B="1"), Expected(), empty_before=False))
    second = complete(judge(answer(A="0.5", B="1"), LATER_MS + 1_000, first, Expected(), empty_before=False))
    assert (second.rows["A"].position_amt, second.rows["A"].confirmed) == (D("0.5"), True)


def test_an_account_without_any_position_where_there_were_several_needs_a_second_answer() -> None:
    """An empty answer must not wipe what we know (I-44); when it comes twice, it is true."""
    before, rows = known(A="1", B="-1"), answer(A="0", B="0")
    expected = Expected(ledger={"A": LedgerRow(D(1)), "B": LedgerRow(D(-1))})
    first = judge(rows, LATER_MS, before, expected, empty_before=False)
    assert isinstance(first, Incomplete)
    assert first.suspiciously_empty
    second = complete(judge(rows, LATER_MS + 1_000, before, expected, empty_before=True))
    assert second.open_positions == 0
    assert not second.has_unconfirmed


def test_after_a_restart_the_ledger_says_what_there_was() -> None:
    """The first answer of a process has none before it."""
    expected = Expected(ledger={"A": LedgerRow(D(1)), "B": LedgerRow(D(-1)), "C": LedgerRow(D(0))})
    first = judge(answer(A="0", B="0"), LATER_MS, AccountView(), expected, empty_before=False)
    assert isinstance(first, Incomplete)
    assert "where there were 2" in first.why
    view = complete(judge(answer(A="1", B="0"), LATER_MS, AccountView(), expected, empty_before=False))
    assert view.rows["B"].position_amt == 0


def test_an_empty_answer_followed_by_another_that_is_not_vouches_for_nothing() -> None:
    """Only a second empty account is believed as a whole; otherwise each symbol is judged by itself."""
    before = known(A="1", B="-1")
    view = complete(judge(answer(A="1", B="0"), LATER_MS, before, Expected(), empty_before=True))
    assert not view.rows["B"].confirmed


def test_what_is_written_is_what_is_not_flat_or_has_become_flat() -> None:
    """With a fresh account row an absent key is flat: 600 flat symbols cost nothing."""
    before = known(WAS="1", FLAT="0", HELD="2")
    now = complete(
        judge(
            answer(WAS="0", FLAT="0", HELD="2", NEW="-1"),
            LATER_MS,
            before,
            Expected(ledger={"WAS": CLOSED}),
            empty_before=False,
        )
    )
    rows = rows_to_write(before, now)
    assert {symbol: row.side for symbol, row in rows.items()} == {
        "WAS": Side.FLAT,
        "HELD": Side.LONG,
        "NEW": Side.SHORT,
    }
    assert (rows["NEW"].position_amt, rows["NEW"].leverage, rows["NEW"].ts_epoch) == (D(-1), "20", LATER_MS // 1000)


def test_the_mark_price_of_a_held_symbol_is_the_accounts_own() -> None:
    """A flat symbol's row says 0; its price comes from the prices of all symbols, with their own age."""
    flat = held("0", mark_price=D(0))
    view = AccountView(rows={"A": held("1"), "B": flat}, mark_prices={"A": D(1), "B": D(2)}, mark_prices_ts_ms=7)
    assert view.mark_price("A") == (D(60_000), NOW_MS - 1_000)
    assert view.mark_price("B") == (D(2), 7)
    assert view.mark_price("C") is None
    assert msgspec.structs.replace(view, mark_prices={}).mark_price("B") is None
    assert isinstance(flat, SymbolPosition)
