"""Judge an answer of the exchange about the whole account: complete or not, what vanished, what to write. Pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from microservices.contracts import position
from microservices.contracts.fields import plain
from microservices.contracts.position import LedgerRow, SnapshotRow
from microservices.exchange import PositionRow, PositionSide

TRADING_SHARE_NEEDED = Decimal("0.95")
NAMED_AT_MOST = 5
SEVERAL = 2


class SymbolPosition(msgspec.Struct, frozen=True):
    """The exchange's position of one symbol as an answer showed it."""

    position_amt: Decimal
    entry_price: Decimal
    mark_price: Decimal
    unrealized_pnl: Decimal
    leverage: Decimal
    ts_ms: int
    """When that answer was requested, on Redis's clock."""
    confirmed: bool = True
    """False where a newer answer shows it flat and nothing of ours explains that: the next answer decides."""


class AccountView(msgspec.Struct, frozen=True):
    """What is known of the account. `ts_ms` is 0 and nothing is known before the first complete answer."""

    ts_ms: int = 0
    rows: Mapping[str, SymbolPosition] = {}
    one_way: bool | None = None
    """None while the exchange was not asked."""
    sequence: int = 0
    """Grows with everything that becomes known."""
    mark_prices: Mapping[str, Decimal] = {}
    """Of all symbols: the account's answer says 0 for those that are flat."""
    mark_prices_ts_ms: int = 0

    @property
    def open_positions(self) -> int:
        """How many symbols are not flat."""
        return sum(1 for row in self.rows.values() if not row.position_amt.is_zero())

    def mark_price(self, symbol: str) -> tuple[Decimal, int] | None:
        """Give a symbol's mark price and when it was requested; None where it is not known."""
        row = self.rows.get(symbol)
        if row is not None and not row.position_amt.is_zero() and row.mark_price > 0:
            return row.mark_price, row.ts_ms
        price = self.mark_prices.get(symbol)
        return None if price is None else (price, self.mark_prices_ts_ms)

    @property
    def has_unconfirmed(self) -> bool:
        """Whether a vanished position must be looked at again."""
        return any(not row.confirmed for row in self.rows.values())


class Expected(msgspec.Struct, frozen=True):
    """What an answer is measured against."""

    trading: frozenset[str] = frozenset()
    """Instruments that are traded; empty where the universe is not known."""
    required: frozenset[str] = frozenset()
    """Symbols that a complete answer must name."""
    ledger: Mapping[str, LedgerRow] = {}
    """What our own fills add up to; a symbol without a row is not named. Empty without a baseline."""


class Incomplete(msgspec.Struct, frozen=True):
    """An answer that nothing is decided on, and why."""

    why: str
    hedge_rows: bool = False
    suspiciously_empty: bool = False


def judge(
    answer: Sequence[PositionRow], ts_ms: int, before: AccountView, expected: Expected, *, empty_before: bool
) -> AccountView | Incomplete:
    """Judge an answer that parsed whole.

    Args:
        answer: its rows.
        ts_ms: when it was requested, on Redis's clock.
        before: what was known until now.
        expected: what it is measured against.
        empty_before: the answer before this one was `suspiciously_empty`.
    """
    if why := _why_incomplete(answer, expected):
        return why
    rows = {row.symbol: _position(row, ts_ms) for row in answer}
    held = _held(before, expected)
    unexplained = {symbol for symbol in held if _is_gone(rows, symbol) and not _is_explained(symbol, before, expected)}
    is_empty = all(row.position_amt.is_zero() for row in rows.values())
    if is_empty and unexplained and len(held) >= SEVERAL and not empty_before:
        why_empty = f"no position at all, where there were {len(held)}; a second such answer is believed"
        return Incomplete(why_empty, suspiciously_empty=True)
    if not (is_empty and empty_before):
        rows |= _kept_for_now(unexplained, before)
    return msgspec.structs.replace(before, ts_ms=ts_ms, rows=rows, sequence=before.sequence + 1)


def rows_to_write(before: AccountView, now: AccountView) -> dict[str, SnapshotRow]:
    """Name the rows that Redis must hold: those that are not flat, and those that have become flat."""
    return {
        symbol: snapshot_row(symbol, row)
        for symbol, row in now.rows.items()
        if not row.position_amt.is_zero() or not _amount(before, symbol).is_zero()
    }


def snapshot_row(symbol: str, row: SymbolPosition) -> SnapshotRow:
    """Write one row as its contract says."""
    return SnapshotRow(
        symbol=symbol,
        position_amt=row.position_amt,
        side=position.side_of(row.position_amt),
        entry_price=row.entry_price,
        mark_price=row.mark_price,
        unrealized_pnl=row.unrealized_pnl,
        leverage=plain(row.leverage),
        ts_epoch=row.ts_ms // 1000,
        ts_ms=row.ts_ms,
    )


def _why_incomplete(answer: Sequence[PositionRow], expected: Expected) -> Incomplete | None:
    if any(row.position_side is not PositionSide.BOTH for row in answer):
        return Incomplete("LONG and SHORT rows: the account is in hedge mode", hedge_rows=True)
    named = {row.symbol for row in answer}
    if not named:
        return Incomplete("no row at all")
    if len(named) != len(answer):
        return Incomplete(f"{len(answer) - len(named)} symbols are named twice")
    if missing := expected.required - named:
        return Incomplete(f"no row for {_shown(missing)}, which we hold or are about to trade")
    covered = len(named & expected.trading)
    if covered < TRADING_SHARE_NEEDED * len(expected.trading):
        return Incomplete(f"rows for only {covered} of {len(expected.trading)} instruments that are traded")
    return None


def _held(before: AccountView, expected: Expected) -> set[str]:
    """Name what was held: by the answer before, or where there was none by our own fills."""
    if before.ts_ms:
        return {symbol for symbol, row in before.rows.items() if not row.position_amt.is_zero()}
    return {symbol for symbol, row in expected.ledger.items() if not row.position_amt.is_zero()}


def _is_gone(rows: Mapping[str, SymbolPosition], symbol: str) -> bool:
    row = rows.get(symbol)
    return row is None or row.position_amt.is_zero()


def _is_explained(symbol: str, before: AccountView, expected: Expected) -> bool:
    """Tell whether a position may be believed gone: our own fills closed it, or it is missing a second time.

    That our ledger is flat alone explains nothing: so it is beside a position of somebody else's, too.
    """
    ours, old = expected.ledger.get(symbol), before.rows.get(symbol)
    if old is None:
        return False
    is_closed_by_us = (
        ours is not None and ours.position_amt.is_zero() and ours.last_exec_ts_ms + position.SETTLE_MS > old.ts_ms
    )
    return is_closed_by_us or not old.confirmed


def _kept_for_now(symbols: set[str], before: AccountView) -> dict[str, SymbolPosition]:
    """Keep the old rows, with their old time, until the next answer decides."""
    return {
        symbol: msgspec.structs.replace(before.rows[symbol], confirmed=False)
        for symbol in symbols
        if symbol in before.rows
    }


def _position(row: PositionRow, ts_ms: int) -> SymbolPosition:
    return SymbolPosition(
        position_amt=row.position_amt,
        entry_price=row.entry_price,
        mark_price=row.mark_price,
        unrealized_pnl=row.unrealized_profit,
        leverage=row.leverage,
        ts_ms=ts_ms,
    )


def _amount(view: AccountView, symbol: str) -> Decimal:
    row = view.rows.get(symbol)
    return Decimal(0) if row is None else row.position_amt


def _shown(symbols: frozenset[str] | set[str]) -> str:
    named = sorted(symbols)
    more = f" and {len(named) - NAMED_AT_MOST} more" if len(named) > NAMED_AT_MOST else ""
    return ", ".join(named[:NAMED_AT_MOST]) + more
