"""Orders as the exchange takes them: parameters, filters, reduce-only, client ids, margin, resting orders."""

from decimal import Decimal
from typing import Any

import pytest

from microservices.paper_exchange.account import TAKER_FEE, Position
from microservices.paper_exchange.orders import ORDERS_KEPT, ORDERS_SAVED, Order, OrderBook, OrderType, Side, Status
from tests.unit.paper_exchange.kit import Kit

D = Decimal
ORDER = "/fapi/v1/order"


def test_a_market_order_fills_at_the_mark_price() -> None:
    """The full answer says FILLED with the mark price; position, fee and query agree with it."""
    kit = Kit()
    answer = kit.order("BTCUSDT", "BUY", "0.010", newClientOrderId="mine")
    assert (answer["status"], answer["executedQty"], answer["avgPrice"]) == ("FILLED", "0.010", "100000.00000")
    assert (answer["origQty"], answer["cumQuote"], answer["clientOrderId"]) == ("0.010", "1000", "mine")
    assert kit.position("BTCUSDT") == D("0.010")
    assert kit.venue.account.wallet == 10_000 - 1_000 * TAKER_FEE
    queried = kit.json("GET", ORDER, symbol="BTCUSDT", origClientOrderId="mine")
    assert queried == {**{name: answer[name] for name in answer if name != "cumQty"}, "time": kit.now_ms()}
    assert kit.json("GET", ORDER, symbol="BTCUSDT", orderId=answer["orderId"]) == queried


def test_an_acknowledgement_tells_nothing_of_the_fill() -> None:
    """By default the answer is of an order just taken, although it has filled."""
    kit = Kit()
    answer = kit.json("POST", ORDER, symbol="ETHUSDT", side="SELL", type="MARKET", quantity="1")
    assert (answer["status"], answer["executedQty"], answer["avgPrice"]) == ("NEW", "0.000", "0.00000")
    assert kit.position("ETHUSDT") == -1
    assert kit.json("GET", ORDER, symbol="ETHUSDT", orderId=answer["orderId"])["status"] == "FILLED"


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"symbol": None}, -1102, "'symbol'"),
        ({"symbol": "NONEUSDT"}, -1121, "Invalid symbol."),
        ({"symbol": "btcusdt"}, -1121, "Invalid symbol."),
        ({"side": None}, -1102, "'side'"),
        ({"side": "LONG"}, -1117, "Invalid side."),
        ({"type": "STOP_MARKET"}, -1116, "Invalid orderType."),
        ({"quantity": None}, -1102, "'quantity'"),
        ({"quantity": "-1"}, -1100, "legal range is '^([0-9]{1,20})(\\.[0-9]{1,20})?$'"),
        ({"quantity": "1e-3"}, -1100, "Illegal characters"),
        ({"quantity": "0"}, -4003, "Quantity less than or equal to zero."),
        ({"quantity": "0.0005"}, -1111, "Precision is over the maximum defined for this asset."),
        ({"quantity": "120.001"}, -4005, "Quantity greater than max quantity."),
        (
            {"quantity": "0.001", "symbol": "ETHUSDT"},
            -4164,
            "must be no smaller than 20 (unless you choose reduce only)",
        ),
        ({"quantity": "0.000", "reduceOnly": "true"}, -4003, "zero"),
        ({"quantity": "5"}, -2019, "Margin is insufficient."),
        ({"reduceOnly": "true"}, -2022, "ReduceOnly Order is rejected."),
        ({"reduceOnly": "yes"}, -1130, "'reduceOnly'"),
        ({"positionSide": "LONG"}, -4061, "Order's position side does not match user's setting."),
        ({"newOrderRespType": "FULL"}, -1136, "Invalid newOrderRespType."),
        ({"newClientOrderId": "a" * 37}, -4015, "36 chars"),
        ({"newClientOrderId": "a b"}, -4015, "not valid"),
        ({"price": "1"}, -1106, "Parameter 'price' sent when not required."),
        ({"timeInForce": "GTC"}, -1106, "Parameter 'timeinforce' sent when not required."),
        ({"type": "LIMIT", "price": "9"}, -1102, "'timeInForce'"),
        ({"type": "LIMIT", "price": "9", "timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
        ({"type": "LIMIT", "timeInForce": "GTC"}, -1102, "'price'"),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "90000.05"}, -4014, "tick size"),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "90000.123"}, -1111, "Precision"),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "0.05"}, -1013, "PRICE_FILTER"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_code(changes: dict[str, str | None], code: int, text: str) -> None:
    """Each fault of an order has the exchange's code and text, with status 400, and leaves no trace."""
    kit = Kit()
    wanted: dict[str, Any] = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010", **changes}
    answer = kit.json("POST", ORDER, **{name: value for name, value in wanted.items() if value is not None})
    assert answer["code"] == code
    assert text in answer["msg"]
    assert kit.venue.account.positions == {}


@pytest.mark.parametrize(("quantity", "kind"), [("0.15", "MARKET_LOT_SIZE"), ("0.05", "MARKET_LOT_SIZE")])
def test_a_quantity_off_the_step_or_below_the_minimum_fails_the_lot_filter(quantity: str, kind: str) -> None:
    """Within the precision, but no multiple of the market step or too small: -1013."""
    kit = Kit()
    instrument = kit.info.instruments["XRPUSDT"]
    kit.info.instruments["XRPUSDT"] = type(instrument)(
        **{name: getattr(instrument, name) for name in instrument.__struct_fields__ if name != "quantity_decimals"},
        quantity_decimals=3,
    )
    assert kit.order("XRPUSDT", "BUY", quantity) == {"code": -1013, "msg": f"Filter failure: {kind}"}


def test_reduce_only_never_turns_a_position_over() -> None:
    """More than the position is cut to it, the same side is refused, and so is a position that is gone."""
    kit = Kit(positions={"BTCUSDT": Position(D("-0.030"), D(90_000), 1)})
    assert kit.order("BTCUSDT", "SELL", "0.010", reduceOnly="true")["code"] == -2022
    answer = kit.order("BTCUSDT", "BUY", "0.100", reduceOnly="true")
    assert (answer["origQty"], answer["executedQty"], answer["reduceOnly"]) == ("0.030", "0.030", True)
    assert kit.position("BTCUSDT") == 0
    assert kit.order("BTCUSDT", "BUY", "0.010", reduceOnly="true")["code"] == -2022


def test_reduce_only_is_free_of_the_smallest_notional_and_of_margin() -> None:
    """A remainder worth less than the minimum can be closed, and a ruined account can get out."""
    kit = Kit(positions={"ETHUSDT": Position(D("0.001"), D(4_000), 1), "BTCUSDT": Position(D(9), D(1), 1)})
    kit.venue.account.wallet = D(-900_000)
    assert kit.order("ETHUSDT", "SELL", "0.001", reduceOnly="TRUE")["status"] == "FILLED"


def test_client_ids_are_unique_among_open_orders_only() -> None:
    """A finished order's id can be used again, and then names the newer order; a resting one's cannot."""
    kit = Kit()
    first = kit.order("BTCUSDT", "BUY", "0.010", newClientOrderId="same")
    second = kit.order("BTCUSDT", "BUY", "0.010", newClientOrderId="same")
    assert second["orderId"] > first["orderId"]
    found = kit.json("GET", ORDER, symbol="BTCUSDT", origClientOrderId="same")
    assert found["orderId"] == second["orderId"]
    resting = {"type": "LIMIT", "timeInForce": "GTC", "price": "90000", "newClientOrderId": "rest"}
    assert kit.order("BTCUSDT", "BUY", "0.010", **resting)["status"] == "NEW"
    assert kit.order("BTCUSDT", "BUY", "0.010", newClientOrderId="rest")["code"] == -4116
    assert kit.order("ETHUSDT", "BUY", "0.010", newClientOrderId="rest")["status"] == "FILLED"


def test_a_limit_order_rests_until_reached_and_can_be_cancelled() -> None:
    """It fills at its own price once the mark is there; a cancelled or filled one cannot be cancelled."""
    kit = Kit()
    limit = {"type": "LIMIT", "timeInForce": "GTC"}
    kit.order("BTCUSDT", "BUY", "0.010", **limit, price="90000", newClientOrderId="low")
    kit.order("BTCUSDT", "BUY", "0.010", **limit, price="80000", newClientOrderId="lower")
    assert kit.order("BTCUSDT", "BUY", "0.010", **limit, price="101000")["avgPrice"] == "100000.00000"
    kit.venue.match_resting()
    assert kit.position("BTCUSDT") == D("0.010")
    kit.set_price("BTCUSDT", "85000")
    kit.venue.match_resting()
    filled = kit.json("GET", ORDER, symbol="BTCUSDT", origClientOrderId="low")
    assert (filled["status"], filled["avgPrice"]) == ("FILLED", "90000.00000")
    assert kit.json("DELETE", ORDER, symbol="BTCUSDT", origClientOrderId="lower")["status"] == "CANCELED"
    for name in ("low", "lower", "never"):
        assert kit.json("DELETE", ORDER, symbol="BTCUSDT", origClientOrderId=name)["code"] == -2011


def test_a_resting_reduce_only_order_is_cut_or_expires_when_it_is_reached() -> None:
    """What is left of the position bounds it at its fill too."""
    kit = Kit(positions={"BTCUSDT": Position(D("0.030"), D(90_000), 1)})
    limit = {"type": "LIMIT", "timeInForce": "GTC", "price": "110000", "reduceOnly": "true"}
    kit.order("BTCUSDT", "SELL", "0.030", **limit, newClientOrderId="a")
    kit.order("BTCUSDT", "SELL", "0.030", **limit, newClientOrderId="b")
    kit.order("BTCUSDT", "SELL", "0.020", reduceOnly="true")
    kit.set_price("BTCUSDT", "120000")
    kit.venue.match_resting()
    ended = [kit.json("GET", ORDER, symbol="BTCUSDT", origClientOrderId=name) for name in "ab"]
    assert [(order["status"], order["executedQty"]) for order in ended] == [("FILLED", "0.010"), ("EXPIRED", "0.000")]
    assert kit.position("BTCUSDT") == 0


def test_an_order_that_is_not_there_is_not_found() -> None:
    """-2013 for an unknown id, another symbol's id and a number that is none; -1102 without any id."""
    kit = Kit()
    order = kit.order("BTCUSDT", "BUY", "0.010", newClientOrderId="mine")
    absent: list[dict[str, object]] = [
        {"symbol": "BTCUSDT", "origClientOrderId": "other"},
        {"symbol": "ETHUSDT", "origClientOrderId": "mine"},
        {"symbol": "ETHUSDT", "orderId": order["orderId"]},
        {"symbol": "BTCUSDT", "orderId": "x"},
    ]
    for parameters in absent:
        assert kit.json("GET", ORDER, **parameters) == {"code": -2013, "msg": "Order does not exist."}
    assert kit.json("GET", ORDER, symbol="BTCUSDT")["code"] == -1102


@pytest.mark.parametrize(("status", "opening", "closing"), [("SETTLING", -4141, -4141), ("PRE_SETTLE", -4140, None)])
def test_a_symbol_that_stops_trading_takes_no_opens(status: str, opening: int, closing: int | None) -> None:
    """Before it is settled a position can still be reduced, afterwards nothing trades."""
    kit = Kit(positions={"BTCUSDT": Position(D("0.030"), D(90_000), 1)})
    kit.info.set_status("BTCUSDT", status)
    assert kit.order("BTCUSDT", "BUY", "0.010")["code"] == opening
    assert kit.order("BTCUSDT", "SELL", "0.010", reduceOnly="true").get("code") == closing


def test_parameters_may_come_in_query_and_body_and_the_query_wins() -> None:
    """As the exchange reads them; one sent twice in the same place is refused."""
    kit = Kit()
    body = f"symbol=BTCUSDT&timestamp={kit.now_ms()}"
    answer = kit.raw("GET", "/fapi/v1/premiumIndex?symbol=ETHUSDT", body)
    assert b'"symbol":"ETHUSDT"' in answer.body
    with pytest.raises(Exception, match="Duplicate values"):
        kit.raw("GET", "/fapi/v1/premiumIndex?symbol=ETHUSDT&symbol=BTCUSDT")


def order_of(number: int, status: Status) -> Order:
    """An order with little in it."""
    return Order(
        order_id=number,
        client_order_id=f"c{number}",
        symbol="X",
        side=Side.BUY,
        type=OrderType.LIMIT,
        quantity=D(1),
        price=D(1),
        reduce_only=False,
        created_ms=0,
        updated_ms=0,
        status=status,
    )


def test_the_book_forgets_the_oldest_finished_orders_and_never_a_resting_one() -> None:
    """Memory is bounded; what can still fill stays, in memory and in what is saved."""
    book = OrderBook()
    book.add(order_of(1, Status.NEW))
    for number in range(2, ORDERS_KEPT + 3):
        book.add(order_of(number, Status.FILLED))
    assert [order.order_id for order in book.open_orders()] == [1]
    newest = ORDERS_KEPT + 2
    assert book.find({"symbol": "X", "orderId": str(newest)}, 0, error=-2013).order_id == newest
    with pytest.raises(Exception, match="does not exist"):
        book.find({"symbol": "X", "origClientOrderId": "c2"}, 0, error=-2013)
    saved = [order.order_id for order in book.saved()]
    assert saved == [1, *range(ORDERS_KEPT + 3 - ORDERS_SAVED, ORDERS_KEPT + 3)]
