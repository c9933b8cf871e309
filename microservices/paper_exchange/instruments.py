"""The symbols on offer: their filters as numbers, and the exchangeInfo answer they come from.

Filters: https://developers.binance.com/docs/derivatives/usds-margined-futures/common-definition#filters
"""

import gzip
import zlib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

DEFAULT_WEIGHT_PER_MIN = 2400
DEFAULT_ORDERS_PER_10S = 300
DEFAULT_ORDERS_PER_MIN = 1200
_UNLIMITED = Decimal(10) ** 15


class BadMarketFile(ValueError):
    """A file given as market data cannot be used; the text is one line that names it."""


class Instrument(msgspec.Struct, frozen=True):
    """What orders and prices of a symbol have to fit; quantities in the base asset, prices in the quote asset."""

    symbol: str
    tick: Decimal
    price_decimals: int
    quantity_decimals: int
    market_step: Decimal
    market_min: Decimal
    market_max: Decimal
    limit_step: Decimal
    limit_min: Decimal
    limit_max: Decimal
    min_notional: Decimal
    min_price: Decimal
    max_price: Decimal


class Limits(msgspec.Struct, frozen=True):
    """What the answer's `rateLimits` allow."""

    weight_per_min: int = DEFAULT_WEIGHT_PER_MIN
    orders_per_10s: int = DEFAULT_ORDERS_PER_10S
    orders_per_min: int = DEFAULT_ORDERS_PER_MIN


class ExchangeInfo:
    """An exchangeInfo answer: the rows as they were recorded, and the instruments read from them."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = {name: value for name, value in document.items() if name not in ("serverTime", "symbols")}
        self._rows: dict[str, dict[str, Any]] = {row["symbol"]: dict(row) for row in document["symbols"]}
        self.limits = _limits(document.get("rateLimits") or [])
        self._known = dict(self._rows)
        self.instruments: dict[str, Instrument] = {}
        for symbol, row in self._rows.items():
            instrument = _instrument(row)
            if instrument is not None:
                self.instruments[symbol] = instrument
        self._tail = self._encode()

    def body(self, now_ms: int) -> bytes:
        """Answer the whole document as of now."""
        return b'{"serverTime":%d,%s' % (now_ms, self._tail)

    def symbols(self) -> list[str]:
        """Name every symbol listed, in the answer's order, whatever its status."""
        return list(self._rows)

    def assets(self) -> list[str]:
        """Name the margin assets, USDT among them."""
        names = [str(row.get("asset")) for row in self._document.get("assets") or [] if isinstance(row, dict)]
        return names if "USDT" in names else ["USDT", *names]

    def listed(self, symbol: str) -> bool:
        """Tell whether the symbol is in the answer and has filters that an order can be held to."""
        return symbol in self._rows and symbol in self.instruments

    def status(self, symbol: str) -> str:
        """Give the trading status of a listed symbol."""
        return str(self._rows[symbol].get("status", ""))

    def trades(self, symbol: str) -> bool:
        """Tell whether the symbol is listed and trading."""
        return symbol in self._rows and self.status(symbol) == "TRADING"

    def set_status(self, symbol: str, status: str) -> None:
        """Change a symbol's status, and list it again where it had been taken off."""
        self.change({symbol: {"status": status}})

    def remove(self, symbol: str) -> None:
        """Take a symbol off the answer; its instrument stays known, so that a position left over can be shown."""
        self.change({symbol: None})

    def change(self, changes: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Change members of known symbols' rows, and list them; None takes one off the answer."""
        for symbol, members in changes.items():
            if members is None:
                self._rows.pop(symbol, None)
            else:
                self._known[symbol] = self._rows[symbol] = {**self._known[symbol], **members}
        self._tail = self._encode()

    def _encode(self) -> bytes:
        return msgspec.json.encode({**self._document, "symbols": list(self._rows.values())})[1:]


def load_exchange_info(path: Path) -> ExchangeInfo:
    """Read a recorded answer of `GET /fapi/v1/exchangeInfo`, plain or gzip.

    Raises:
        BadMarketFile: unreadable, not JSON, not an answer of USDⓈ-M Futures, or without one usable symbol.
    """
    try:
        document = msgspec.json.decode(read_plain(path))
    except msgspec.DecodeError as error:
        raise BadMarketFile(f"{path}: not JSON: {error}") from None
    rows = document.get("symbols") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "symbol" in row for row in rows):
        raise BadMarketFile(f"{path}: not an exchangeInfo answer: no list of symbols")
    info = ExchangeInfo(document)
    if not info.instruments:
        raise BadMarketFile(f"{path}: no symbol with the filters of USDⓈ-M Futures")
    return info


def read_plain(path: Path) -> bytes:
    """Read a file whole, uncompressed where its name ends in .gz.

    Raises:
        BadMarketFile: it cannot be read or is no gzip.
    """
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise BadMarketFile(f"{path}: {error}") from None


def decimals_of(number: str) -> int:
    """Count the decimals a number is written with: 2 for `0.10`."""
    return len(number.partition(".")[2])


def _instrument(row: Mapping[str, Any]) -> Instrument | None:
    """Read a row's filters; None where one that orders need is missing or no number."""
    try:
        filters = {entry["filterType"]: entry for entry in row["filters"]}
        price, lot, notional = filters["PRICE_FILTER"], filters["LOT_SIZE"], filters["MIN_NOTIONAL"]
        market = filters.get("MARKET_LOT_SIZE", lot)
        tick = Decimal(price["tickSize"])
        instrument = Instrument(
            symbol=row["symbol"],
            tick=tick,
            price_decimals=decimals_of(price["tickSize"]),
            quantity_decimals=int(row["quantityPrecision"]),
            market_step=Decimal(market["stepSize"]),
            market_min=Decimal(market["minQty"]),
            market_max=Decimal(market["maxQty"]) or _UNLIMITED,
            limit_step=Decimal(lot["stepSize"]),
            limit_min=Decimal(lot["minQty"]),
            limit_max=Decimal(lot["maxQty"]) or _UNLIMITED,
            min_notional=Decimal(notional["notional"]),
            min_price=Decimal(price["minPrice"]),
            max_price=Decimal(price["maxPrice"]) or _UNLIMITED,
        )
    except (KeyError, TypeError, ValueError, InvalidOperation):
        return None
    positive = (tick, instrument.market_step, instrument.limit_step)
    return instrument if all(number.is_finite() and number > 0 for number in positive) else None


def _limits(rows: list[Any]) -> Limits:
    found = {
        (row.get("rateLimitType"), row.get("interval"), row.get("intervalNum")): row.get("limit")
        for row in rows
        if isinstance(row, dict)
    }
    weight = found.get(("REQUEST_WEIGHT", "MINUTE", 1))
    fast, slow = found.get(("ORDERS", "SECOND", 10)), found.get(("ORDERS", "MINUTE", 1))
    return Limits(
        weight if isinstance(weight, int) else DEFAULT_WEIGHT_PER_MIN,
        fast if isinstance(fast, int) else DEFAULT_ORDERS_PER_10S,
        slow if isinstance(slow, int) else DEFAULT_ORDERS_PER_MIN,
    )
