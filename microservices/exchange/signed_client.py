"""Calls that need a key. Paths of the pages are under
https://developers.binance.com/docs/derivatives/usds-margined-futures/.
"""

from typing import TypeVar

import msgspec

from microservices.exchange import codes
from microservices.exchange.answers import decode
from microservices.exchange.backoff import SharedBackoff
from microservices.exchange.errors import BadAnswer, Rejected
from microservices.exchange.models import Account, Balance, Order, OrderRequest, PositionRow
from microservices.exchange.public_client import PublicClient
from microservices.exchange.signing import signed_query
from microservices.exchange.transport import TIMEOUT_DEFAULT_S
from microservices.runtime import Clock, Secret

ORDER_RECV_WINDOW_MS = 2_000
READ_RECV_WINDOW_MS = 5_000

T = TypeVar("T")


class _PositionMode(msgspec.Struct, rename="camel"):
    dual_side_position: bool


class SignedClient(PublicClient):
    """Account, positions and orders of one key; may be used by several threads.

    The timestamps are the exchange's time by the kept offset, which a refused timestamp makes it measure anew; no call
    is repeated by itself.

    Args:
        base_url: scheme, host and port, checked by `check_host`.
        key: the API key.
        secret: its secret; never leaves this process.
        timeout_s: deadline of one request, unless the call brings its own.
        clock: wall and monotonic time.
        backoff: told of throttling and used weight.
    """

    def __init__(
        self,
        base_url: str,
        key: Secret,
        secret: Secret,
        *,
        clock: Clock,
        timeout_s: float = TIMEOUT_DEFAULT_S,
        backoff: SharedBackoff | None = None,
    ) -> None:
        super().__init__(base_url, clock=clock, timeout_s=timeout_s, backoff=backoff)
        self._key = key
        self._secret = secret

    def position_risk(self, *, timeout_s: float | None = None) -> list[PositionRow]:
        """Fetch all positions, flat ones included (trade/rest-api/Position-Information-V2; weight 5).

        Raises:
            ExchangeError: no answer, or not this one.
        """
        return self._read("/fapi/v2/positionRisk", list[PositionRow], timeout_s=timeout_s)

    def hedge_mode(self) -> bool:
        """Tell whether the account holds LONG and SHORT beside each other (account/rest-api/Get-Current-Position-Mode).

        Raises:
            ExchangeError: no answer, or not this one.
        """
        return self._read("/fapi/v1/positionSide/dual", _PositionMode).dual_side_position

    def balance(self) -> list[Balance]:
        """Fetch the balance of every asset (account/rest-api/Futures-Account-Balance-V2; weight 5).

        Raises:
            ExchangeError: no answer, or not this one.
        """
        return self._read("/fapi/v2/balance", list[Balance])

    def account(self) -> Account:
        """Fetch the account's totals (account/rest-api/Account-Information-V2; weight 5).

        Raises:
            ExchangeError: no answer, or not this one.
        """
        return self._read("/fapi/v2/account", Account)

    def account_alias(self) -> str:
        """Tell which account the key belongs to: the one `accountAlias` that every balance carries.

        Raises:
            ExchangeError: no answer; or BadAnswer where there is no alias, or more than one.
        """
        aliases = {row.account_alias for row in self.balance()}
        if len(aliases) != 1 or aliases == {""}:
            raise BadAnswer("GET /fapi/v2/balance", f"{len(aliases)} account aliases, expected exactly one")
        return aliases.pop()

    def new_order(self, order: OrderRequest, sent_at_ms: int, *, timeout_s: float | None = None) -> Order:
        """Send a market order, once (trade/rest-api/New-Order).

        Args:
            order: what to do.
            sent_at_ms: the `timestamp` that is sent, exchange time; the exchange refuses the order once it is more
                than `ORDER_RECV_WINDOW_MS` past it, so a delayed order cannot surprise anybody.
            timeout_s: deadline.

        Raises:
            ExchangeError: where `not_executed` is false the order may exist: ask for it by its client order id.
        """
        query = self._sign(order.parameters(), sent_at_ms, ORDER_RECV_WINDOW_MS)
        body = self._send("POST", "/fapi/v1/order", query, timeout_s)
        return _same_order("POST /fapi/v1/order", body, order.symbol, order.client_order_id)

    def query_order(self, symbol: str, client_order_id: str, *, timeout_s: float | None = None) -> Order:
        """Ask for an order by its client order id (trade/rest-api/Query-Order; weight 1).

        Raises:
            Rejected: with code `NO_SUCH_ORDER` where the exchange does not know it, at this moment.
            ExchangeError: no answer, or not this one.
        """
        return self._order_by_id("GET", symbol, client_order_id, timeout_s)

    def cancel_order(self, symbol: str, client_order_id: str, *, timeout_s: float | None = None) -> Order:
        """Cancel an order by its client order id (trade/rest-api/Cancel-Order; weight 1).

        Raises:
            Rejected: with code -2011 where there is none that can be cancelled.
            ExchangeError: where `not_executed` is false it may be cancelled.
        """
        return self._order_by_id("DELETE", symbol, client_order_id, timeout_s)

    def _order_by_id(self, method: str, symbol: str, client_order_id: str, timeout_s: float | None) -> Order:
        parameters = {"symbol": symbol, "origClientOrderId": client_order_id}
        query = self._sign(parameters, self.exchange_time_ms(), READ_RECV_WINDOW_MS)
        body = self._send(method, "/fapi/v1/order", query, timeout_s)
        return _same_order(f"{method} /fapi/v1/order", body, symbol, client_order_id)

    def _read(self, path: str, kind: type[T], *, timeout_s: float | None = None) -> T:
        query = self._sign({}, self.exchange_time_ms(), READ_RECV_WINDOW_MS)
        return decode(f"GET {path}", self._send("GET", path, query, timeout_s), kind)

    def _sign(self, parameters: dict[str, str], timestamp_ms: int, recv_window_ms: int) -> str:
        return signed_query(parameters, self._secret.reveal(), timestamp_ms=timestamp_ms, recv_window_ms=recv_window_ms)

    def _send(self, method: str, path: str, query: str, timeout_s: float | None) -> bytes:
        try:
            return self._transport.send(method, path, query, api_key=self._key.reveal(), timeout_s=timeout_s)
        except Rejected as error:
            if error.code in codes.STALE_TIMESTAMP:
                self._time.distrust()
            raise


def _same_order(request: str, body: bytes, symbol: str, client_order_id: str) -> Order:
    order = decode(request, body, Order)
    if (order.symbol, order.client_order_id) != (symbol, client_order_id):
        raise BadAnswer(request, f"answered for {order.symbol[:20]} {order.client_order_id[:40]}, another order")
    return order
