"""Signed calls, as the exchange sees them."""

import json
import logging
import traceback
from collections.abc import Iterator
from decimal import Decimal

import pytest

from microservices.exchange import (
    BadAnswer,
    ExchangeError,
    OrderRequest,
    Rejected,
    Side,
    SignedClient,
    Unreachable,
    codes,
)
from microservices.exchange.signing import signature
from microservices.runtime import Secret, SystemClock
from tests.support.http_server import HttpServer, Request, answer

KEY = "the-api-key"
SECRET = "the-api-secret"
SERVER_MS = 1_800_000_000_000
ORDER = {
    "orderId": 7, "clientOrderId": "q1", "symbol": "BTCUSDT", "status": "FILLED", "side": "SELL", "reduceOnly": True,
    "origQty": "0.010", "executedQty": "0.010", "avgPrice": "50000.1", "updateTime": 1, "futureField": {},
}  # fmt: skip
EXIT = OrderRequest(symbol="BTCUSDT", side=Side.SELL, quantity=Decimal("0.010"), reduce_only=True, client_order_id="q1")


class Exchange(HttpServer):
    """Tells the time, and anything else as the test says."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.body: object = {}
        self.status = 200
        self.time_ms = SERVER_MS

    @property
    def asked(self) -> list[Request]:
        """The requests but those for the time."""
        return [request for request in self.requests if request.path != "/fapi/v1/time"]

    def _answer(self, request: Request, connection: object) -> None:
        said: object = self.body
        status = self.status
        if request.path == "/fapi/v1/time":
            said, status = {"serverTime": self.time_ms}, 200
        connection.sendall(answer(json.dumps(said).encode(), status))  # type: ignore[attr-defined] # a socket


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    """An exchange of the test's own."""
    with Exchange() as running:
        yield running


@pytest.fixture
def client(exchange: Exchange) -> SignedClient:
    """A client with key and secret."""
    return SignedClient(exchange.url, Secret(KEY), Secret(SECRET), clock=SystemClock(), timeout_s=2)


def test_an_order_is_sent_whole_in_the_query_and_signed(exchange: Exchange, client: SignedClient) -> None:
    """I-31: every parameter is in the query, under the signature, and the body is empty."""
    exchange.body = ORDER
    order = client.new_order(EXIT, SERVER_MS + 5)
    (request,) = exchange.asked
    assert (request.method, request.path, request.body) == ("POST", "/fapi/v1/order", b"")
    assert request.headers["x-mbx-apikey"] == KEY
    query = request.target.partition("?")[2]
    signed, _, mac = query.rpartition("&signature=")
    assert mac == signature(SECRET, signed)
    assert request.query == {
        "symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.01", "reduceOnly": "true",
        "newClientOrderId": "q1", "newOrderRespType": "RESULT", "recvWindow": "2000",
        "timestamp": str(SERVER_MS + 5), "signature": mac,
    }  # fmt: skip
    assert (order.order_id, order.executed_qty) == (7, Decimal("0.010"))
    assert len(exchange.requests) == 1, "an order asks nothing else of the exchange on its way"


def test_reads_are_timed_by_the_exchange(exchange: Exchange, client: SignedClient) -> None:
    """A query carries the exchange's time, measured once, whatever the local clock says."""
    exchange.body = ORDER
    client.query_order("BTCUSDT", "q1")
    client.query_order("BTCUSDT", "q1")
    first = exchange.asked[0]
    assert (first.method, first.query["origClientOrderId"], first.query["recvWindow"]) == ("GET", "q1", "5000")
    assert 0 <= int(first.query["timestamp"]) - SERVER_MS < 1_000
    assert len(exchange.requests) == 3
    client.cancel_order("BTCUSDT", "q1")
    assert exchange.asked[-1].method == "DELETE"


@pytest.mark.parametrize("code", [-1021, -5028])
def test_a_refused_timestamp_measures_the_clock_anew(exchange: Exchange, client: SignedClient, code: int) -> None:
    """After −1021 or −5028 the next timestamp comes from a new measurement; nothing is repeated by itself."""
    assert abs(client.exchange_time_ms() - SERVER_MS) < 1_000
    exchange.status, exchange.body = 400, {"code": code, "msg": "Timestamp outside of the recvWindow."}
    exchange.time_ms = SERVER_MS + 90_000
    with pytest.raises(Rejected) as refusal:
        client.new_order(EXIT, SERVER_MS)
    assert refusal.value.not_executed
    assert len(exchange.asked) == 1
    assert abs(client.exchange_time_ms() - exchange.time_ms) < 1_000


def test_another_orders_answer_is_refused(exchange: Exchange, client: SignedClient) -> None:
    """An answer about another order or symbol is a bad answer, and the outcome stays open."""
    for wrong in ({"clientOrderId": "q2"}, {"symbol": "ETHUSDT"}):
        exchange.body = {**ORDER, **wrong}
        with pytest.raises(BadAnswer) as failure:
            client.new_order(EXIT, SERVER_MS)
        assert not failure.value.not_executed


def test_an_unknown_order_is_a_code(exchange: Exchange, client: SignedClient) -> None:
    """−2013 comes as its named code."""
    exchange.status, exchange.body = 400, {"code": -2013, "msg": "Order does not exist."}
    with pytest.raises(Rejected) as refusal:
        client.query_order("BTCUSDT", "q1")
    assert refusal.value.code == codes.NO_SUCH_ORDER


def test_account_reads(exchange: Exchange, client: SignedClient) -> None:
    """Positions, mode, totals and the one alias are read; none or two aliases are refused."""
    exchange.body = []
    assert client.position_risk() == []
    exchange.body = {"dualSidePosition": True}
    assert client.hedge_mode() is True
    exchange.body = {
        "canTrade": True, "totalWalletBalance": "1", "totalUnrealizedProfit": "-1", "totalMarginBalance": "0",
        "availableBalance": "0",
    }  # fmt: skip
    assert client.account().total_unrealized_profit == -1
    row = {"accountAlias": "SgsR", "asset": "USDT", "balance": "1", "availableBalance": "1"}
    exchange.body = [row, {**row, "asset": "BNB"}]
    assert client.account_alias() == "SgsR"
    for rows in ([], [row, {**row, "accountAlias": "other"}], [{**row, "accountAlias": ""}]):
        exchange.body = rows
        with pytest.raises(BadAnswer, match="alias"):
            client.account_alias()
    assert [request.path for request in exchange.asked[:4]] == [
        "/fapi/v2/positionRisk", "/fapi/v1/positionSide/dual", "/fapi/v2/account", "/fapi/v2/balance",
    ]  # fmt: skip


def test_no_secret_leaves_by_an_error_or_a_log(
    exchange: Exchange, client: SignedClient, caplog: pytest.LogCaptureFixture
) -> None:
    """I-38: neither key nor secret nor signature stands in an error, its causes, its traceback, a repr or a log."""
    caplog.set_level(logging.DEBUG)
    client.exchange_time_ms()
    failures = []
    exchange.status, exchange.body = 400, {"code": -1022, "msg": "Signature for this request is not valid."}
    failures.append(_failure(client))
    exchange.send(b"", then_close=True)
    failures.append(_failure(client))
    exchange.send(b"HTTP/1.1 200 OK\r\nbroken header\r\nContent-Length: 20\r\n\r\n{}", then_close=True)
    failures.append(_failure(client))
    exchange.__exit__()
    failures.append(_failure(client))
    assert isinstance(failures[3], Unreachable)
    signatures = [request.query["signature"] for request in exchange.asked]
    written = caplog.text + repr(client) + str(vars(client))
    for failure in failures:
        assert failure.__cause__ is None
        assert failure.__context__ is None
        written += "".join(traceback.format_exception(failure)) + str(vars(failure))
    for hidden in (KEY, SECRET, "signature=", *signatures):
        assert hidden not in written


def _failure(client: SignedClient) -> ExchangeError:
    with pytest.raises(ExchangeError) as failure:
        client.new_order(EXIT, SERVER_MS)
    return failure.value
