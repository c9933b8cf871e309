"""Taking orders: what is allowed, what it fills at, and what it does to the account."""

from decimal import Decimal

import msgspec

from microservices.paper_exchange.account import MAKER_FEE, TAKER_FEE, Account
from microservices.paper_exchange.errors import api_error
from microservices.paper_exchange.filters import check_notional, check_price, check_quantity, floor_to_step
from microservices.paper_exchange.instruments import ExchangeInfo
from microservices.paper_exchange.market import Market
from microservices.paper_exchange.orders import NewOrder, Order, OrderBook, OrderType, Side, Status

CLOSED = frozenset({"SETTLING", "CLOSE", "CLOSED", "DELIVERING", "DELIVERED"})
"""Statuses in which nothing trades any more; in the others but TRADING a position can only be reduced."""


class Special(msgspec.Struct, frozen=True):
    """How a fault makes an order end otherwise than it would."""

    filled_share: Decimal | None = None  # the order ends EXPIRED with this share filled
    hidden_ms: int = 0  # queries do not find it for so long


class Trading:
    """Matches orders against the mark price: a market order fills whole and at once, a limit order when it is reached.

    Args:
        info: symbols, their status and filters.
        market: the mark prices.
        account: what fills are booked to.
        orders: what becomes of them is kept here.
    """

    def __init__(self, info: ExchangeInfo, market: Market, account: Account, orders: OrderBook) -> None:
        self._info = info
        self._market = market
        self._account = account
        self._orders = orders

    def place(self, request: NewOrder, now_ms: int, special: Special | None = None) -> Order:
        """Take an order, or refuse it as the exchange would.

        A reduce-only order for more than the position is cut to the position, and says so in its quantity
        (`origQty`); without a position on the other side it is refused. The documentation is silent on the cut; it was
        observed on the live exchange: https://github.com/nautechsystems/nautilus_trader/issues/3983

        Raises:
            ApiError: -4140, -4141, -1111, -1013, -4003, -4005, -4014, -4116, -2022, -4164 or -2019.
        """
        special = special or Special()
        mark = self._market.mark(request.symbol, now_ms)
        self._check_status(request)
        self._check_numbers(request, mark)
        self._orders.refuse_duplicate(request.symbol, request.client_order_id)
        quantity = self._allowed_quantity(request, now_ms)
        order = Order(
            order_id=self._orders.take_id(),
            client_order_id=request.client_order_id,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            quantity=quantity,
            price=request.price,
            reduce_only=request.reduce_only,
            created_ms=now_ms,
            updated_ms=now_ms,
            hidden_until_ms=now_ms + special.hidden_ms if special.hidden_ms else 0,
        )
        if order.type is OrderType.MARKET or _reached(order, mark):
            self._execute(order, mark, TAKER_FEE, now_ms, special.filled_share)
        self._orders.add(order)
        return order

    def match_resting(self, now_ms: int) -> bool:
        """Fill the limit orders that the mark price has reached, and tell whether there were any."""
        reached = [
            order for order in self._orders.open_orders() if _reached(order, self._market.mark(order.symbol, now_ms))
        ]
        for order in reached:
            if order.reduce_only:
                order.quantity = min(order.quantity, self._closable(order.symbol, order.side))
            if order.quantity > 0:
                self._execute(order, order.price, MAKER_FEE, now_ms)
            else:
                order.status, order.updated_ms = Status.EXPIRED, now_ms
        return bool(reached)

    def cancel(self, order: Order, now_ms: int) -> Order:
        """Cancel a resting order.

        Raises:
            ApiError: -2011 where it is not open any more.
        """
        if order.status is not Status.NEW:
            raise api_error(-2011)
        order.status, order.updated_ms = Status.CANCELED, now_ms
        return order

    def force_close(self, symbol: str, quantity: Decimal, client_order_id: str, now_ms: int) -> Order | None:
        """Close up to `quantity` of a position at the mark price, as liquidation and auto-deleveraging do.

        The order that shows for it is the exchange's own: LIMIT, IOC, with a client order id that says what it was.
        None where the symbol has no position.
        """
        held = self._account.position(symbol).amount
        if not held:
            return None
        mark = self._market.mark(symbol, now_ms)
        order = Order(
            order_id=self._orders.take_id(),
            client_order_id=client_order_id,
            symbol=symbol,
            side=Side.SELL if held > 0 else Side.BUY,
            type=OrderType.LIMIT,
            quantity=min(quantity, abs(held)),
            price=mark,
            reduce_only=False,
            created_ms=now_ms,
            updated_ms=now_ms,
            time_in_force="IOC",
        )
        self._execute(order, mark, TAKER_FEE, now_ms)
        self._orders.add(order)
        return order

    def settle(self, symbol: str, now_ms: int) -> bool:
        """End what is open in a symbol that is delisted, and tell whether there was anything.

        Resting orders expire; a position is closed at the mark price by an order of the exchange's own:
        https://developers.binance.com/docs/derivatives/usds-margined-futures/user-data-streams/Event-Order-Update
        """
        resting = [order for order in self._orders.open_orders() if order.symbol == symbol]
        for order in resting:
            order.status, order.updated_ms = Status.EXPIRED, now_ms
        held = abs(self._account.position(symbol).amount)
        closed = self.force_close(symbol, held, f"settlement_autoclose-{now_ms}", now_ms)
        return bool(resting) or closed is not None

    def _check_status(self, request: NewOrder) -> None:
        status = self._info.status(request.symbol)
        if status in CLOSED:
            raise api_error(-4141)
        if status != "TRADING" and not request.reduce_only:
            raise api_error(-4140)

    def _check_numbers(self, request: NewOrder, mark: Decimal) -> None:
        instrument = self._info.instruments[request.symbol]
        market = request.type is OrderType.MARKET
        check_quantity(instrument, request.quantity, market=market)
        if not market:
            check_price(instrument, request.price)
        if not request.reduce_only:
            check_notional(instrument, request.quantity, mark if market else request.price)

    def _allowed_quantity(self, request: NewOrder, now_ms: int) -> Decimal:
        if request.reduce_only:
            closable = self._closable(request.symbol, request.side)
            if closable <= 0:
                raise api_error(-2022)
            return min(request.quantity, closable)
        if not self._account.covers(request.symbol, request.amount, lambda name: self._market.mark(name, now_ms)):
            raise api_error(-2019)
        return request.quantity

    def _closable(self, symbol: str, side: Side) -> Decimal:
        """Give how much of the position an order of this side would close; 0 where it would add to it."""
        held = self._account.position(symbol).amount
        return max(-held if side is Side.BUY else held, Decimal(0))

    def _execute(
        self, order: Order, price: Decimal, fee_rate: Decimal, now_ms: int, share: Decimal | None = None
    ) -> None:
        """Fill an order, whole or the share that is asked for, cut to the lot's step; the rest expires."""
        quantity = order.quantity
        if share is not None:
            quantity = floor_to_step(quantity * share, self._info.instruments[order.symbol].market_step)
        if quantity > 0:
            self._account.fill(order.symbol, quantity if order.side is Side.BUY else -quantity, price, fee_rate, now_ms)
        order.executed = quantity
        order.quote = quantity * price
        order.status = Status.FILLED if share is None else Status.EXPIRED
        order.updated_ms = now_ms


def _reached(order: Order, mark: Decimal) -> bool:
    return mark <= order.price if order.side is Side.BUY else mark >= order.price
