"""Signed endpoints that trade: an order placed, asked for, cancelled."""

from decimal import Decimal

from microservices.paper_exchange.answers import order_answer, queried_order_answer
from microservices.paper_exchange.errors import UNKNOWN_EXECUTION_TEXT, ApiError, api_error
from microservices.paper_exchange.faults import AcceptLate, ExpirePartial, HideOrder
from microservices.paper_exchange.orders import NewOrder, read_new_order
from microservices.paper_exchange.trading import Special
from microservices.paper_exchange.venue import Answer, Call, Venue, answer_json


def new_order(venue: Venue, call: Call) -> Answer:
    """Take an order.

    Raises:
        ApiError: what `read_new_order` and `Trading.place` refuse, -4061 for a position side that does not fit, or
            -1015 for one too many.
    """
    venue.symbol_of(call)
    request = read_new_order(call.parameters)
    hedge = venue.hedge is not None and not venue.hedge.rows_only
    if (request.position_side == "BOTH") == hedge:
        raise api_error(-4061)
    headers = venue.order_counts.charge(venue.now_ms())
    late = call.faults.first(AcceptLate)
    if late is not None:
        venue.later(late.seconds, lambda: _place_late(venue, request))
        raise ApiError(-1000, UNKNOWN_EXECUTION_TEXT, status=503, headers=headers)
    share, hidden = call.faults.first(ExpirePartial), call.faults.first(HideOrder)
    special = Special(
        filled_share=None if share is None else Decimal(str(share.share)),
        hidden_ms=0 if hidden is None else round(hidden.seconds * 1000),
    )
    order = venue.trading.place(request, venue.now_ms(), special)
    venue.save()
    instrument = venue.info.instruments[order.symbol]
    return answer_json(order_answer(order, instrument, acknowledged_only=not request.full_answer), headers)


def query_order(venue: Venue, call: Call) -> Answer:
    """Answer what became of an order.

    Raises:
        ApiError: -1102, -1121, or -2013 where there is none.
    """
    symbol = venue.symbol_of(call) or ""
    order = venue.orders.find(call.parameters, venue.now_ms(), error=-2013)
    return answer_json(queried_order_answer(order, venue.info.instruments[symbol]))


def cancel_order(venue: Venue, call: Call) -> Answer:
    """Cancel a resting order.

    Raises:
        ApiError: -1102, -1121, or -2011 where none rests.
    """
    symbol = venue.symbol_of(call) or ""
    now_ms = venue.now_ms()
    order = venue.trading.cancel(venue.orders.find(call.parameters, now_ms, error=-2011), now_ms)
    venue.save()
    return answer_json(order_answer(order, venue.info.instruments[symbol]))


def _place_late(venue: Venue, request: NewOrder) -> None:
    try:
        venue.trading.place(request, venue.now_ms())
    except ApiError:
        return  # refused after all: nobody is left to be told, and queries go on answering -2013
    venue.save()
