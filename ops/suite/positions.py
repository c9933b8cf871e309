"""The exchange's positions against our own ledger, as a person wants to be told."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from microservices.contracts.position import SETTLE_MS, AccountRow, LedgerRow, SnapshotRow


class Agreement(StrEnum):
    """How a symbol's position and ledger compare."""

    AGREES = "agrees"
    NOT_SEEN = "fill not seen yet"
    DIFFERS = "DIFFERS"
    UNKNOWN = "POSITION UNKNOWN"


@dataclass(frozen=True)
class PositionLine:
    """One symbol's position at the exchange, None where it is not known, against our own ledger."""

    symbol: str
    exchange: Decimal | None
    ledger: Decimal
    mark_price: Decimal | None
    agreement: Agreement

    @property
    def is_flat(self) -> bool:
        """Whether there is nothing to show: both say zero."""
        return self.exchange == self.ledger == 0


def compare(
    symbol: str, account: AccountRow | None, snapshot: SnapshotRow | None, ledger: LedgerRow | None
) -> PositionLine:
    """Compare one symbol; with an account row an absent snapshot is flat, without one nothing is known."""
    ours = Decimal(0) if ledger is None else ledger.position_amt
    if account is None:
        return PositionLine(symbol, None, ours, None, Agreement.UNKNOWN)
    theirs = Decimal(0) if snapshot is None else snapshot.position_amt
    mark_price = None if snapshot is None else snapshot.mark_price
    if theirs == ours:
        return PositionLine(symbol, theirs, ours, mark_price, Agreement.AGREES)
    is_settled = ledger is None or account.ts_ms >= ledger.last_exec_ts_ms + SETTLE_MS
    return PositionLine(symbol, theirs, ours, mark_price, Agreement.DIFFERS if is_settled else Agreement.NOT_SEEN)


def summary(lines: Iterable[PositionLine]) -> str:
    """Say in a few words how many are open and how they compare."""
    shown = list(lines)
    counts = {agreement: sum(line.agreement is agreement for line in shown) for agreement in Agreement}
    if len(shown) == counts[Agreement.AGREES]:
        return f"{len(shown)} open, ledger agrees"
    worth_telling = [f"{count} {agreement}" for agreement, count in counts.items() if count]
    return f"{len(shown)} open: {', '.join(worth_telling)}"
