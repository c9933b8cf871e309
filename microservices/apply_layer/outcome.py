"""What became of an order: from the exchange's answer, or its silence, to an ending, or to the need to ask."""

import msgspec

from microservices.apply_layer.endings import Ending, ended
from microservices.contracts.plan import Decision
from microservices.contracts.reason import Reason, exchange_error
from microservices.exchange import ORDER_RECV_WINDOW_MS, ExchangeError, Order, Rejected, ServerFault, Throttled, codes

# https://developers.binance.com/docs/derivatives/usds-margined-futures/error-code
MARKET_ORDER_REJECT = -4131
CLIENT_ORDER_ID_DUPLICATED = -4116

RETRYABLE_CODES = frozenset(
    {
        codes.DISCONNECTED,
        codes.TOO_MANY_REQUESTS,
        codes.SERVER_BUSY,
        codes.TOO_MANY_ORDERS,
        codes.INVALID_TIMESTAMP,
        codes.UNABLE_TO_FILL,
        codes.ME_RECV_WINDOW,
        MARKET_ORDER_REJECT,
    }
)
"""Refusals that pass by themselves: limits, load, clocks, an empty book."""

ABSENCE_FINAL_AFTER_MS = ORDER_RECV_WINDOW_MS + 10_000
"""Before that a query that finds nothing proves nothing: the order may still be on its way inside the exchange."""
ABSENCES_APART_MS = 2_000
NAMESAKE_AGE_MS = 60_000
"""An order last changed so much before ours was sent is not ours; kept clocks are wrong by far less."""


class Unknown(msgspec.Struct, frozen=True):
    """It is not known what became of the order: it must be asked for."""

    why: str


def of_order(order: Order) -> Ending | Unknown:
    """Judge an order as the exchange shows it: what was filled counts, whatever its status says.

    An order that can still fill, or whose status is new to us, is not judged yet: its quantity may grow.
    """
    if not order.is_final:
        return Unknown(f"status {order.status} with {order.executed_qty} filled")
    if order.executed_qty > 0:
        return Ending(
            decision=Decision.EXECUTE,
            order_id=str(order.order_id),
            quantity=order.executed_qty,
            price=order.avg_price,
        )
    return msgspec.structs.replace(ended(Reason.ORDER_REJECTED), order_id=str(order.order_id), retryable=True)


def of_error(error: ExchangeError) -> Ending | Unknown:
    """Judge a POST that brought no order: refused for certain, or unknown."""
    code = error.code if isinstance(error, Rejected | ServerFault | Throttled) else None
    if not error.not_executed or code == CLIENT_ORDER_ID_DUPLICATED:
        return Unknown(error.why)
    if code is not None:
        return Ending(
            decision=Decision.ERROR,
            error=exchange_error(code),
            retryable=code in RETRYABLE_CODES or isinstance(error, Throttled),
        )
    if isinstance(error, Rejected):
        return ended(Reason.ORDER_REJECTED)
    return ended(Reason.ORDER_NOT_PLACED)


class Inquiry:
    """Judges the answers of asking for one order by its client order id.

    Args:
        sent_at_ms: the order's own timestamp, exchange time.
    """

    def __init__(self, sent_at_ms: int) -> None:
        self._sent_at_ms = sent_at_ms
        self._absent_at_ms: int | None = None

    def found(self, order: Order, asked_at_ms: int) -> Ending | Unknown:
        """Take an order that was found; it also ends a row of absences.

        Client order ids are unique among open orders only: one of long before is another order of the same name, and
        ours is absent.
        """
        if order.update_time < self._sent_at_ms - NAMESAKE_AGE_MS:
            return self.absent(asked_at_ms)
        self._absent_at_ms = None
        return of_order(order)

    def absent(self, asked_at_ms: int) -> Ending | Unknown:
        """Take the answer that there is no such order.

        It is final only when it was given twice, 2 s apart, to questions that were both asked later than the order's
        receive window and 10 s more: by then the exchange would have refused an order that came late.

        Args:
            asked_at_ms: when the question was sent, exchange time.
        """
        if asked_at_ms <= self._sent_at_ms + ABSENCE_FINAL_AFTER_MS:
            return Unknown("not there yet")
        if self._absent_at_ms is None:
            self._absent_at_ms = asked_at_ms
        if asked_at_ms - self._absent_at_ms < ABSENCES_APART_MS:
            return Unknown("not there, once")
        return ended(Reason.ORDER_NOT_PLACED)

    def decisive_at_ms(self) -> int:
        """Tell from when on, exchange time, another absence would bring the decision nearer: no need to ask later."""
        if self._absent_at_ms is None:
            return self._sent_at_ms + ABSENCE_FINAL_AFTER_MS + 1
        return self._absent_at_ms + ABSENCES_APART_MS
