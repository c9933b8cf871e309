"""Binance USDⓈ-M Futures: public and signed calls, errors as types, and the back-off all services share."""

from microservices.exchange import codes
from microservices.exchange.backoff import WEIGHT_LIMIT_PER_MIN, BackoffLevel, BackoffUnreadable, SharedBackoff
from microservices.exchange.errors import (
    BadAnswer,
    ExchangeError,
    Rejected,
    ServerFault,
    Throttled,
    Unreachable,
)
from microservices.exchange.hosts import base_url, check_host, check_websocket_host, websocket_url
from microservices.exchange.models import (
    Account,
    Balance,
    Kline,
    Order,
    OrderRequest,
    PositionRow,
    PositionSide,
    PremiumIndex,
    Side,
)
from microservices.exchange.public_client import PublicClient
from microservices.exchange.signed_client import ORDER_RECV_WINDOW_MS, SignedClient

__all__ = [
    "ORDER_RECV_WINDOW_MS",
    "WEIGHT_LIMIT_PER_MIN",
    "Account",
    "BackoffLevel",
    "BackoffUnreadable",
    "BadAnswer",
    "Balance",
    "ExchangeError",
    "Kline",
    "Order",
    "OrderRequest",
    "PositionRow",
    "PositionSide",
    "PremiumIndex",
    "PublicClient",
    "Rejected",
    "ServerFault",
    "SharedBackoff",
    "Side",
    "SignedClient",
    "Throttled",
    "Unreachable",
    "base_url",
    "check_host",
    "check_websocket_host",
    "codes",
    "websocket_url",
]
