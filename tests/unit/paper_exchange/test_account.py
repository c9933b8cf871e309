"""The account's book: entry prices, realised profit, fees, margin, and positions as they were."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.paper_exchange.account import LEVERAGE, TAKER_FEE, Account, Position, filled

D = Decimal
amounts = st.decimals("-50", "50", places=3).filter(bool)
prices = st.decimals("0.001", "100000", places=3)


@pytest.mark.parametrize(
    ("before", "fill", "after", "realised"),
    [
        (("0", "0"), ("2", "10"), ("2", "10"), "0"),
        (("2", "10"), ("2", "20"), ("4", "15"), "0"),
        (("4", "15"), ("-1", "25"), ("3", "15"), "10"),
        (("3", "15"), ("-3", "10"), ("0", "0"), "-15"),
        (("-2", "10"), ("-2", "20"), ("-4", "15"), "0"),
        (("-4", "15"), ("1", "25"), ("-3", "15"), "-10"),
        (("2", "10"), ("-5", "12"), ("-3", "12"), "4"),
        (("-2", "10"), ("5", "12"), ("3", "12"), "-4"),
    ],
    ids=["open", "add", "reduce", "close", "short add", "short reduce", "turn short", "turn long"],
)
def test_a_fill_moves_amount_entry_and_profit(
    before: tuple[str, str], fill: tuple[str, str], after: tuple[str, str], realised: str
) -> None:
    """Adding averages, reducing realises and keeps the entry, turning over starts anew."""
    position, profit = filled(Position(D(before[0]), D(before[1]), 1), D(fill[0]), D(fill[1]), 9)
    assert (position, profit) == (Position(D(after[0]), D(after[1]), 9), D(realised))


@given(st.lists(st.tuples(amounts, prices), min_size=1, max_size=12), prices)
def test_equity_is_what_the_trades_made(trades: list[tuple[Decimal, Decimal]], mark: Decimal) -> None:
    """Wallet and unrealised profit together equal the start plus the cash flow of every fill, less the fees."""
    account = Account(D(10_000))
    for amount, price in trades:
        account.fill("X", amount, price, TAKER_FEE, 1)
    held = sum((amount for amount, _ in trades), D(0))
    paid = sum((amount * price for amount, price in trades), D(0))
    fees = sum((abs(amount) * price for amount, price in trades), D(0)) * TAKER_FEE
    assert account.position("X").amount == held
    assert account.margins(lambda _: mark).balance == pytest.approx(10_000 + held * mark - paid - fees, abs=D("0.001"))


def test_margin_is_what_the_leverage_asks_for() -> None:
    """Initial margin is notional over leverage at the mark price; what is left is available, never below 0."""
    account = Account(D(1_000), {"X": Position(D(-10), D(100), 5)})
    margins = account.margins(lambda _: D(110))
    assert (margins.unrealized, margins.initial) == (D(-100), D(1_100) / LEVERAGE)
    assert margins.available == margins.balance - margins.initial
    assert account.margins(lambda _: D(1_000)).available == 0


def test_margin_stops_growth_and_never_a_way_out() -> None:
    """A ruined account can still close; what it cannot do is take on more."""
    account = Account(D(100), {"X": Position(D(1), D(1_000), 5)})
    mark_of = lambda _symbol: D(500)  # noqa: E731 (a stand-in of one line)
    assert not account.covers("X", D("0.001"), mark_of)
    assert account.covers("X", D(-1), mark_of)
    assert account.covers("X", D(-2), mark_of)
    assert not account.covers("X", D(-3), mark_of)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 60))
def test_the_past_can_be_seen_as_it_was(steps: list[int], at: int) -> None:
    """The position at an earlier moment is the one after the last fill up to then."""
    account, held, history = Account(D(10_000)), D(0), [(0, D(0))]
    for number, step in enumerate(steps):
        now = history[-1][0] + step
        account.fill("X" if number % 2 else "Y", D(1), D(10), TAKER_FEE, now)
        held += number % 2
        history.append((now, held))
    expected = next((before[1] for before, after in pairwise(history) if before[0] <= at < after[0]), held)
    assert account.position_at("X", at).amount == expected
