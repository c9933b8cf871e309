"""Orders: what a client asks for, what became of it, and how to find it again."""

import re
import secrets
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

import msgspec

from microservices.paper_exchange.errors import ApiError, api_error, invalid, missing
from microservices.paper_exchange.filters import decimal_parameter

ORDERS_KEPT = 10_000
"""How many finished orders can be asked for; the exchange keeps 90 days of them."""

ORDERS_SAVED = 1_000
"""How many of the newest orders the state file has, so that a client can still ask what became of them."""

FIRST_ORDER_ID = 8_000_001
_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]+", re.ASCII)
_CLIENT_ID_MAX = 36

_Word = TypeVar("_Word", bound=StrEnum)


class Side(StrEnum):
    """Which way an order trades."""

    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    """The kinds of order that are taken."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"


class Status(StrEnum):
    """What became of an order."""

    NEW = "NEW"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"


class NewOrder(msgspec.Struct, frozen=True):
    """A request to trade, read and found well-formed; not yet held to the symbol's filters."""

    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal
    reduce_only: bool
    client_order_id: str
    full_answer: bool
    position_side: str

    @property
    def amount(self) -> Decimal:
        """Give the quantity signed: positive buys."""
        return self.quantity if self.side is Side.BUY else -self.quantity


class Order(msgspec.Struct):
    """An order the exchange has taken; `quantity` is what is left of the request after a reduce-only cut."""

    order_id: int
    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal
    reduce_only: bool
    created_ms: int
    updated_ms: int
    status: Status = Status.NEW
    executed: Decimal = Decimal(0)
    quote: Decimal = Decimal(0)
    time_in_force: str = "GTC"
    hidden_until_ms: int = 0

    @property
    def average(self) -> Decimal:
        """Give the average fill price, 0 without a fill."""
        return self.quote / self.executed if self.executed else Decimal(0)


class OrderBook:
    """The account's orders by id and by client order id, and which of them are open.

    Args:
        orders: what a state file brought, oldest first.
        next_id: the id of the next order.
    """

    def __init__(self, orders: Iterable[Order] = (), next_id: int = FIRST_ORDER_ID) -> None:
        self.next_id = next_id
        self._orders: dict[int, Order] = {}
        self._by_client_id: dict[tuple[str, str], int] = {}
        for order in orders:
            self.add(order)

    def take_id(self) -> int:
        """Give a new order's id."""
        self.next_id += 1
        return self.next_id - 1

    def add(self, order: Order) -> None:
        """Keep an order; its client order id now names this one. The oldest finished orders are forgotten."""
        self._orders[order.order_id] = order
        self._by_client_id[order.symbol, order.client_order_id] = order.order_id
        if len(self._orders) > ORDERS_KEPT:
            self._forget(next(order for order in self._orders.values() if order.status is not Status.NEW))

    def open_orders(self) -> list[Order]:
        """List the orders that still rest."""
        return [order for order in self._orders.values() if order.status is Status.NEW]

    def saved(self) -> list[Order]:
        """List the orders worth saving, oldest first: those that rest, and the newest others."""
        orders = list(self._orders.values())
        older = [order for order in orders[:-ORDERS_SAVED] if order.status is Status.NEW]
        return older + orders[-ORDERS_SAVED:]

    def refuse_duplicate(self, symbol: str, client_order_id: str) -> None:
        """Keep client order ids unique among open orders, and only among these, as the exchange does.

        Raises:
            ApiError: -4116.
        """
        order = self._orders.get(self._by_client_id.get((symbol, client_order_id), 0))
        if order is not None and order.status is Status.NEW:
            raise api_error(-4116)

    def find(self, parameters: Mapping[str, str], now_ms: int, *, error: int) -> Order:
        """Find the order that `orderId`, or else `origClientOrderId`, names.

        Args:
            parameters: of the request, with `symbol`.
            now_ms: an order hidden until later is not found.
            error: the code raised where there is none: -2013 for a query, -2011 for a cancel.

        Raises:
            ApiError: that code, or -1102 where neither id was sent.
        """
        symbol = parameters.get("symbol", "")
        if parameters.get("orderId"):
            text = parameters["orderId"]
            number = int(text) if text.isascii() and text.isdecimal() else 0
        elif parameters.get("origClientOrderId"):
            number = self._by_client_id.get((symbol, parameters["origClientOrderId"]), 0)
        else:
            raise ApiError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        order = self._orders.get(number)
        if order is None or order.symbol != symbol or now_ms < order.hidden_until_ms:
            raise api_error(error)
        return order

    def _forget(self, order: Order) -> None:
        del self._orders[order.order_id]
        key = (order.symbol, order.client_order_id)
        if self._by_client_id.get(key) == order.order_id:
            del self._by_client_id[key]


def read_new_order(parameters: Mapping[str, str]) -> NewOrder:
    """Read the parameters of `POST /fapi/v1/order`.

    Raises:
        ApiError: the code of the first parameter that is missing, malformed or not taken.
    """
    kind = _one_of(OrderType, parameters.get("type"), "type", -1116)
    side = _one_of(Side, parameters.get("side"), "side", -1117)
    market = kind is OrderType.MARKET
    for name in ("timeInForce", "price") if market else ():
        if parameters.get(name):
            raise ApiError(-1106, f"Parameter '{name.lower()}' sent when not required.")
    if not market and parameters.get("timeInForce") != "GTC":
        raise api_error(-1115) if parameters.get("timeInForce") else missing("timeInForce")
    response = parameters.get("newOrderRespType", "ACK")
    if response not in ("ACK", "RESULT"):
        raise api_error(-1136)
    return NewOrder(
        symbol=parameters["symbol"],
        side=side,
        type=kind,
        quantity=decimal_parameter("quantity", parameters.get("quantity")),
        price=Decimal(0) if market else decimal_parameter("price", parameters.get("price")),
        reduce_only=_flag(parameters, "reduceOnly"),
        client_order_id=_client_order_id(parameters.get("newClientOrderId")),
        full_answer=response == "RESULT",
        position_side=parameters.get("positionSide", "BOTH"),
    )


def _one_of(kind: type[_Word], text: str | None, name: str, code: int) -> _Word:
    if not text:
        raise missing(name)
    try:
        return kind(text)
    except ValueError:
        raise api_error(code) from None


def _flag(parameters: Mapping[str, str], name: str) -> bool:
    text = parameters.get(name, "false").lower()
    if text not in ("true", "false"):
        raise invalid(name)
    return text == "true"


def _client_order_id(text: str | None) -> str:
    if not text:
        return "paper_" + secrets.token_hex(8)
    if len(text) > _CLIENT_ID_MAX:
        raise ApiError(-4015, "Client order id length should not be more than 36 chars")
    if not _CLIENT_ID.fullmatch(text):
        raise api_error(-4015)
    return text
