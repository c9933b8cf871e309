"""The built-in market: 30 perpetuals in the shape of a recorded exchangeInfo answer, and where their prices live.

Filters are close to those of the real contracts; prices are round figures of a plausible size, of no day in particular.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from microservices.paper_exchange.instruments import decimals_of
from microservices.paper_exchange.simulated_symbols import simulated_rows

# symbol: price in USDT, tick, step (also the smallest quantity), largest market order, smallest notional in USDT
_ROWS = """
BTCUSDT      70000     0.10       0.001  120       100
ETHUSDT      3300      0.01       0.001  2000      20
BNBUSDT      880       0.010      0.01   2000      5
SOLUSDT      140       0.0100     0.01   5000      5
XRPUSDT      2.1       0.0001     0.1    1000000   5
ADAUSDT      0.45      0.00010    1      300000    5
DOGEUSDT     0.15      0.000010   1      30000000  5
TRXUSDT      0.28      0.00001    1      800000    5
LINKUSDT     13        0.001      0.01   20000     20
AVAXUSDT     14        0.0010     1      5000      5
DOTUSDT      2.3       0.001      0.1    50000     5
LTCUSDT      85        0.01       0.001  5000      20
BCHUSDT      540       0.01       0.001  850       20
XLMUSDT      0.25      0.00001    1      1000000   5
ATOMUSDT     2.5       0.001      0.01   20000     5
ETCUSDT      14        0.001      0.01   10000     20
FILUSDT      1.6       0.001      0.1    27000     5
NEARUSDT     1.9       0.0010     1      38000     5
APTUSDT      2.8       0.00100    0.1    25000     5
ARBUSDT      0.21      0.000100   0.1    500000    5
SUIUSDT      1.5       0.000100   0.1    250000    5
INJUSDT      5.4       0.001000   0.1    4500      5
AAVEUSDT     170       0.010      0.1    600       5
UNIUSDT      6.2       0.0010     1      10000     5
ENAUSDT      0.26      0.0001000  1      600000    5
SEIUSDT      0.13      0.0000100  1      1200000   5
TIAUSDT      0.6       0.0001000  1      50000     5
WLDUSDT      0.63      0.0001000  1      40000     5
1000PEPEUSDT 0.0046    0.0000001  1      30000000  5
1000SHIBUSDT 0.0085    0.000001   1      20000000  5
"""

_BUILTIN = [line for line in _ROWS.split("\n") if line]
BUILTIN_SYMBOLS = len(_BUILTIN)
MAX_SYMBOLS = 700

BASE_PRICES: Mapping[str, Decimal] = MappingProxyType(
    {row.split()[0]: Decimal(row.split()[1]) for row in _BUILTIN},
)
"""Around what price a built-in symbol's simulated path moves."""

INVENTED_PRICES: Mapping[str, Decimal] = MappingProxyType(
    {row.split()[0]: Decimal(row.split()[1]) for row in simulated_rows(MAX_SYMBOLS - BUILTIN_SYMBOLS)},
)
"""The same of the symbols beyond those."""


def builtin_exchange_info(symbols: int = BUILTIN_SYMBOLS) -> dict[str, Any]:
    """Build the exchangeInfo document of so many symbols, the built-in ones first, without its server time."""
    rows = [*_BUILTIN, *simulated_rows(max(symbols - BUILTIN_SYMBOLS, 0))][:symbols]
    return {
        "timezone": "UTC",
        "futuresType": "U_MARGINED",
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        ],
        "exchangeFilters": [],
        "assets": [
            {"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"},
            {"asset": "BNB", "marginAvailable": True, "autoAssetExchange": "-10"},
            {"asset": "USDC", "marginAvailable": True, "autoAssetExchange": "-10000"},
        ],
        "symbols": [_symbol(row.split()) for row in rows],
    }


def _symbol(columns: list[str]) -> dict[str, Any]:
    symbol, price, tick, step, largest, notional = columns
    lot = {"stepSize": step, "minQty": step}
    return {
        "symbol": symbol,
        "pair": symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": symbol.removesuffix("USDT"),
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": decimals_of(tick),
        "quantityPrecision": decimals_of(step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": str(Decimal(price) * 100),
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", **lot, "maxQty": str(Decimal(largest) * 10)},
            {"filterType": "MARKET_LOT_SIZE", **lot, "maxQty": largest},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": notional},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.0500",
                "multiplierDown": "0.9500",
                "multiplierDecimal": "4",
            },
        ],
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC"],
    }
