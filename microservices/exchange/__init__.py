"""Binance USDⓈ-M Futures: public and signed calls, streams, errors as types, and the back-off all services share."""

from microservices.exchange import codes
from microservices.exchange.backoff import (
    LIMIT_PAUSE_MAX_S,
    WEIGHT_LIMIT_PER_MIN,
    BackoffLevel,
    BackoffUnreadable,
    SharedBackoff,
)
from microservices.exchange.errors import (
    BadAnswer,
    ExchangeError,
    Rejected,
    ServerFault,
    Throttled,
    Unreachable,
)
from microservices.exchange.hosts import (
    base_url,
    check_host,
    check_websocket_host,
    market_stream_url,
    websocket_url,
)
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
from microservices.exchange.streams import (
    CONNECTION_LIVES_S,
    STREAMS_MAX,
    KlineEvent,
    combined_url,
    kline_stream,
    read_kline,
)

__all__ = [
    "CONNECTION_LIVES_S",
    "LIMIT_PAUSE_MAX_S",
    "ORDER_RECV_WINDOW_MS",
    "STREAMS_MAX",
    "WEIGHT_LIMIT_PER_MIN",
    "Account",
    "BackoffLevel",
    "BackoffUnreadable",
    "BadAnswer",
    "Balance",
    "ExchangeError",
    "Kline",
    "KlineEvent",
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
    "combined_url",
    "kline_stream",
    "market_stream_url",
    "read_kline",
    "websocket_url",
]
