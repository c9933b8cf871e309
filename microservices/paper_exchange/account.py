"""The account: one USDT wallet, one-way positions, and what a fill does to them.

Cross margin at one leverage for all symbols. No funding is paid, and nobody is liquidated but on demand.
"""

from collections import deque
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

LEVERAGE = 20
TAKER_FEE = Decimal("0.0005")
MAKER_FEE = Decimal("0.0002")
"""Commission of a regular user: https://developers.binance.com/docs/derivatives/usds-margined-futures/account/rest-api/User-Commission-Rate"""

MAINTENANCE_RATE = Decimal("0.025")
_CHANGES_KEPT = 1_000
_MONEY = Decimal("0.00000001")
_ENTRY = Decimal("0.000000000001")
_ZERO = Decimal(0)

MarkOf = Callable[[str], Decimal]


class Position(msgspec.Struct, frozen=True):
    """A symbol's position: signed amount in the base asset, average entry price, time of its last change."""

    amount: Decimal = _ZERO
    entry: Decimal = _ZERO
    updated_ms: int = 0


class Margins(msgspec.Struct, frozen=True):
    """The account in USDT at the current mark prices."""

    wallet: Decimal
    unrealized: Decimal
    initial: Decimal
    maintenance: Decimal

    @property
    def balance(self) -> Decimal:
        """Give the margin balance: wallet and unrealised profit."""
        return self.wallet + self.unrealized

    @property
    def available(self) -> Decimal:
        """Give what can still be used as initial margin, never below 0."""
        return max(self.balance - self.initial, _ZERO)


class Account:
    """Wallet and positions; every symbol ever traded keeps its row.

    Args:
        wallet: USDT at the start.
        positions: what a state file brought.
    """

    def __init__(self, wallet: Decimal, positions: dict[str, Position] | None = None) -> None:
        self.wallet = wallet
        self.positions = dict(positions or {})
        self.updated_ms = 0
        self._changes: deque[tuple[int, str, Position]] = deque(maxlen=_CHANGES_KEPT)

    def position(self, symbol: str) -> Position:
        """Give a symbol's position, flat where there never was one."""
        return self.positions.get(symbol, Position())

    def position_at(self, symbol: str, at_ms: int) -> Position:
        """Give a symbol's position as it stood at an earlier moment, as far as the last changes reach back."""
        position = self.position(symbol)
        for changed_ms, name, before in reversed(self._changes):
            if changed_ms <= at_ms:
                break
            if name == symbol:
                position = before
        return position

    def fill(self, symbol: str, amount: Decimal, price: Decimal, fee_rate: Decimal, now_ms: int) -> Decimal:
        """Book a fill and give the profit it realised, before its commission.

        Args:
            symbol: whose position changes.
            amount: signed; positive buys.
            price: per unit, in USDT.
            fee_rate: commission as a share of the notional.
            now_ms: the exchange's time.
        """
        before = self.position(symbol)
        after, realised = filled(before, amount, price, now_ms)
        self._changes.append((now_ms, symbol, before))
        self.positions[symbol] = after
        self.wallet = money(self.wallet + realised - abs(amount) * price * fee_rate)
        self.updated_ms = now_ms
        return realised

    def margins(self, mark_of: MarkOf) -> Margins:
        """Value the account at the mark prices."""
        unrealized = initial = maintenance = _ZERO
        for symbol, position in self.positions.items():
            if position.amount:
                mark = mark_of(symbol)
                notional = abs(position.amount) * mark
                unrealized += position.amount * (mark - position.entry)
                initial += notional / LEVERAGE
                maintenance += notional * MAINTENANCE_RATE
        return Margins(self.wallet, money(unrealized), money(initial), money(maintenance))

    def covers(self, symbol: str, amount: Decimal, mark_of: MarkOf) -> bool:
        """Tell whether the margin suffices for an order: one that takes risk off always passes."""
        held = self.position(symbol).amount
        growth = abs(held + amount) - abs(held)
        if growth <= 0:
            return True
        return growth * mark_of(symbol) / LEVERAGE <= self.margins(mark_of).available


def filled(before: Position, amount: Decimal, price: Decimal, now_ms: int) -> tuple[Position, Decimal]:
    """Give the position after a fill and the profit realised by the part of it that closed something.

    The entry price is the average weighted by amount; closing leaves it; turning over begins at the fill's price.
    """
    held = before.amount
    after = held + amount
    if held * amount >= 0:
        entry = (held * before.entry + amount * price) / after if after else _ZERO
        return Position(after, entry.quantize(_ENTRY, ROUND_HALF_EVEN), now_ms), _ZERO
    closed = min(abs(amount), abs(held))
    realised = closed * (price - before.entry) * (1 if held > 0 else -1)
    turned = after * held < 0
    entry = price if turned else before.entry if after else _ZERO
    return Position(after, entry, now_ms), money(realised)


def money(amount: Decimal) -> Decimal:
    """Round to the eight decimals that USDT amounts are kept with."""
    return amount.quantize(_MONEY, ROUND_HALF_EVEN)
