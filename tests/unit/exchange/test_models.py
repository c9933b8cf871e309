"""Answers are read strictly where money hangs on them, and patiently where Binance adds fields."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.exchange import (
    BadAnswer,
    Balance,
    Kline,
    Order,
    OrderRequest,
    PositionRow,
    PositionSide,
    Side,
)
from microservices.exchange.answers import decode

# A recorded row of /fapi/v2/positionRisk, one of /fapi/v2/balance, an answer of /fapi/v1/order, a row of klines.
POSITION: dict[str, Any] = {
    "symbol": "BTCUSDT", "positionAmt": "-0.001", "entryPrice": "50000.0", "markPrice": "51000.0",
    "unRealizedProfit": "1.00000000", "liquidationPrice": "45000.0", "leverage": "20", "maxNotionalValue": "2.0E7",
    "marginType": "cross", "isolatedMargin": "0.00000000", "isAutoAddMargin": "false", "positionSide": "BOTH",
    "notional": "51.0", "isolatedWallet": "0", "updateTime": 1625474304765, "breakEvenPrice": "0.0",
}  # fmt: skip
BALANCE: dict[str, Any] = {
    "accountAlias": "SgsR", "asset": "USDT", "balance": "122.12345678", "crossWalletBalance": "122.12345678",
    "crossUnPnl": "0.00000000", "availableBalance": "122.12345678", "marginAvailable": True,
}  # fmt: skip
ORDER: dict[str, Any] = {
    "orderId": 12345678, "symbol": "BTCUSDT", "status": "EXPIRED", "clientOrderId": "q1", "price": "0",
    "avgPrice": "50000.10", "origQty": "0.010", "executedQty": "0.004", "cumQuote": "200.0004",
    "timeInForce": "GTC", "type": "MARKET", "reduceOnly": True, "closePosition": False, "side": "SELL",
    "positionSide": "BOTH", "updateTime": 1625474304765,
}  # fmt: skip
KLINE: list[Any] = [
    1499040000000, "0.01634790", "0.80000000", "0.01575800", "0.01577100", "148976.11427815", 1499040059999,
    "2434.19055334", 308, "1756.87402397", "28.46694368", "0", "a column of tomorrow",
]  # fmt: skip


def read(kind: Any, document: Any) -> Any:
    """Decode a document as an answer."""
    return decode("GET /x", json.dumps(document).encode(), kind)


def test_position_row_keeps_its_sign() -> None:
    """I-18: a short stays negative, exactly."""
    row = read(PositionRow, POSITION)
    assert row.position_amt == Decimal("-0.001")
    assert (row.mark_price, row.leverage, row.position_side) == (Decimal("51000.0"), Decimal(20), PositionSide.BOTH)


def test_order_tells_the_fill_whatever_the_status() -> None:
    """An EXPIRED market order that filled in part says so."""
    order = read(Order, ORDER)
    assert order.executed_qty == Decimal("0.004")
    assert order.is_final
    assert not read(Order, {**ORDER, "status": "PARTIALLY_FILLED"}).is_final
    assert not read(Order, {**ORDER, "status": "SOMETHING_NEW"}).is_final


def test_kline_takes_the_first_seven_columns() -> None:
    """Prices stay text, and a column added at the end changes nothing."""
    kline = read(Kline, KLINE)
    assert (kline.open_ms, kline.close, kline.close_ms) == (1499040000000, "0.01577100", 1499040059999)


@pytest.mark.parametrize(
    ("kind", "document"),
    [(PositionRow, POSITION), (Balance, BALANCE), (Order, ORDER)],
    ids=["position", "balance", "order"],
)
def test_every_named_field_is_needed(kind: Any, document: dict[str, Any]) -> None:
    """Leaving out any field that the type names is a bad answer; leaving out any other is none."""
    named = set(kind.__struct_encode_fields__)
    for name in document:
        shorter = {other: value for other, value in document.items() if other != name}
        if name in named:
            with pytest.raises(BadAnswer, match=name):
                read(kind, shorter)
        else:
            assert read(kind, shorter) == read(kind, document)


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "sNaN", "1E+400", "1E-400", "", "one", None, True, []]
)
@pytest.mark.parametrize(
    ("kind", "document", "name"),
    [(PositionRow, POSITION, "positionAmt"), (Balance, BALANCE, "balance"), (Order, ORDER, "executedQty")],
)
def test_amounts_are_finite(kind: Any, document: dict[str, Any], name: str, value: Any) -> None:
    """I-35: a value that is no amount never becomes one."""
    with pytest.raises(BadAnswer):
        read(kind, {**document, name: value})


@pytest.mark.parametrize("name", ["executedQty", "origQty", "avgPrice"])
def test_an_order_is_not_negative(name: str) -> None:
    """A negative fill is a bad answer, not a fill on the other side."""
    with pytest.raises(BadAnswer, match="negative"):
        read(Order, {**ORDER, name: "-1"})


@pytest.mark.parametrize("value", ["-1", "NaN", "1e5", "", " 1", "1\n", "१", 1.5, None])
@pytest.mark.parametrize("column", [1, 2, 3, 4, 5])
def test_kline_numbers_are_plain(column: int, value: Any) -> None:
    """A candle's price or volume is a plain decimal text or the answer is bad."""
    row = [*KLINE]
    row[column] = value
    with pytest.raises(BadAnswer):
        read(Kline, row)


def test_a_short_kline_is_refused() -> None:
    """A row without its close time is a bad answer."""
    with pytest.raises(BadAnswer):
        read(Kline, KLINE[:6])


@given(st.decimals(min_value=Decimal("1e-15"), max_value=Decimal("1e15"), allow_nan=False, allow_infinity=False))
def test_quantity_is_sent_plain(quantity: Decimal) -> None:
    """I-45: whatever form a quantity has, it is sent as plain digits of the same value."""
    sent = OrderRequest(
        symbol="BTCUSDT", side=Side.SELL, quantity=quantity, reduce_only=True, client_order_id="q1"
    ).parameters()
    assert Decimal(sent["quantity"]) == quantity
    assert set(sent["quantity"]) <= set("0123456789.")
    assert (sent["reduceOnly"], sent["type"], sent["side"]) == ("true", "MARKET", "SELL")


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantity": Decimal(0)},
        {"quantity": Decimal(-1)},
        {"quantity": Decimal("NaN")},
        {"quantity": Decimal("Infinity")},
        {"quantity": Decimal("1E+50")},
        {"client_order_id": ""},
        {"client_order_id": "q" * 37},
        {"client_order_id": "q 1"},
        {"client_order_id": "q1\n"},
        {"symbol": ""},
    ],
)
def test_an_impossible_order_cannot_be_made(wrong: dict[str, Any]) -> None:
    """An order that the exchange could only misread is refused before it exists."""
    right = {
        "symbol": "BTCUSDT",
        "side": Side.BUY,
        "quantity": Decimal(1),
        "reduce_only": False,
        "client_order_id": "q1",
    }
    with pytest.raises(ValueError, match=r"quantity|client order id|symbol"):
        OrderRequest(**{**right, **wrong})
