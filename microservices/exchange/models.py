"""What the exchange answers and what it is asked, as types.

Fields that are named here must be there, of their type and finite; whatever else an answer carries is ignored, because
Binance adds fields without notice. Paths of the pages are under
https://developers.binance.com/docs/derivatives/usds-margined-futures/.
"""

import re
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import msgspec

# Beyond these an amount is no amount, and writing it out plainly would take its exponent in digits.
_EXPONENT_LIMIT = 30

# https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/New-Order
_CLIENT_ORDER_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}", re.ASCII)

PlainNumber = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,20}(\.[0-9]{1,20})?\Z")]


class Side(StrEnum):
    """Direction of an order."""

    BUY = "BUY"
    SELL = "SELL"


class PositionSide(StrEnum):
    """BOTH in one-way mode, LONG and SHORT in hedge mode."""

    BOTH = "BOTH"
    LONG = "LONG"
    SHORT = "SHORT"


# account/rest-api and common-definition: statuses after which an order does not change any more.
FINAL_STATUSES = frozenset({"FILLED", "CANCELED", "REJECTED", "EXPIRED", "EXPIRED_IN_MATCH"})


class _Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all answers: every Decimal is finite and of a size that money has."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Decimal) and not _sane(value):
                raise ValueError(f"{name} is {str(value)[:40]}, expected a finite amount")


class PositionRow(_Answer, frozen=True, kw_only=True):
    """A row of `GET /fapi/v2/positionRisk` (trade/rest-api/Position-Information-V2); one a symbol in one-way mode."""

    symbol: str
    position_amt: Decimal
    entry_price: Decimal
    mark_price: Decimal
    unrealized_profit: Decimal = msgspec.field(name="unRealizedProfit")
    leverage: Decimal
    position_side: PositionSide
    update_time: int


class Balance(_Answer, frozen=True, kw_only=True):
    """A row of `GET /fapi/v2/balance` (account/rest-api/Futures-Account-Balance-V2); one an asset."""

    account_alias: str
    asset: str
    balance: Decimal
    available_balance: Decimal


class Account(_Answer, frozen=True, kw_only=True):
    """The totals of `GET /fapi/v2/account` (account/rest-api/Account-Information-V2)."""

    can_trade: bool
    total_wallet_balance: Decimal
    total_unrealized_profit: Decimal
    total_margin_balance: Decimal
    available_balance: Decimal


class PremiumIndex(_Answer, frozen=True, kw_only=True):
    """A row of `GET /fapi/v1/premiumIndex` (market-data/rest-api/Mark-Price)."""

    symbol: str
    mark_price: Decimal
    time: int


class Order(_Answer, frozen=True, kw_only=True):
    """The answer of `POST`, `GET` and `DELETE /fapi/v1/order` (trade/rest-api/New-Order, Query-Order).

    `status` stays text: a status Binance adds must not hide a fill. What was done is `executed_qty`, whatever the
    status says; an EXPIRED market order may have filled in part.
    """

    order_id: int
    client_order_id: str
    symbol: str
    status: str
    side: Side
    reduce_only: bool
    orig_qty: Decimal
    executed_qty: Decimal
    avg_price: Decimal
    update_time: int

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("orig_qty", "executed_qty", "avg_price"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is negative")

    @property
    def is_final(self) -> bool:
        """Whether the order cannot fill any further; an unknown status is not final."""
        return self.status in FINAL_STATUSES


class Kline(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row of `GET /fapi/v1/klines` (market-data/rest-api/Kline-Candlestick-Data): its first seven columns."""

    open_ms: int
    open: PlainNumber
    high: PlainNumber
    low: PlainNumber
    close: PlainNumber
    volume: PlainNumber
    close_ms: int


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A market order.

    Args:
        symbol: the instrument.
        side: BUY or SELL.
        quantity: above 0, a multiple of the instrument's market step.
        reduce_only: whether it may only make a position smaller.
        client_order_id: by which it is asked for; unique among open orders only.
    """

    symbol: str
    side: Side
    quantity: Decimal
    reduce_only: bool
    client_order_id: str

    def __post_init__(self) -> None:
        if not self.symbol:
            raise ValueError("symbol is empty")
        if not _sane(self.quantity) or self.quantity <= 0:
            raise ValueError(f"quantity is {str(self.quantity)[:40]}, expected an amount above 0")
        if not _CLIENT_ORDER_ID.fullmatch(self.client_order_id):
            raise ValueError(f"client order id {self.client_order_id[:60]!r} does not match {_CLIENT_ORDER_ID.pattern}")

    def parameters(self) -> dict[str, str]:
        """Return the parameters of `POST /fapi/v1/order`; the quantity is written without an exponent."""
        return {
            "symbol": self.symbol,
            "side": self.side.value,
            "type": "MARKET",
            "quantity": _plain(self.quantity),
            "reduceOnly": "true" if self.reduce_only else "false",
            "newClientOrderId": self.client_order_id,
            "newOrderRespType": "RESULT",
        }


def _sane(value: Decimal) -> bool:
    return value.is_finite() and abs(value.adjusted()) <= _EXPONENT_LIMIT


def _plain(value: Decimal) -> str:
    digits = format(value, "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
