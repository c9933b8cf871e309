"""A venue without HTTP, on a clock that a test moves, with prices that a test sets."""

import hashlib
import hmac
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import numpy as np

from microservices.paper_exchange.account import Account, Position
from microservices.paper_exchange.builtin_market import builtin_exchange_info
from microservices.paper_exchange.candles import MINUTE_MS, Candles
from microservices.paper_exchange.gateway import respond
from microservices.paper_exchange.instruments import ExchangeInfo, Instrument
from microservices.paper_exchange.market import Market
from microservices.paper_exchange.orders import OrderBook
from microservices.paper_exchange.routes_paper import post_faults
from microservices.paper_exchange.signature import Credentials
from microservices.paper_exchange.stream_hub import StreamHub
from microservices.paper_exchange.venue import Answer, Venue, read_call
from tests.support.clock import FakeClock

KEY, SECRET = "the-key", "the-secret"
PRICES = {"BTCUSDT": Decimal(100_000), "ETHUSDT": Decimal(4_000), "XRPUSDT": Decimal(2)}


class SetPath:
    """A price that stands where a test puts it."""

    def __init__(self, instrument: Instrument, price: Decimal) -> None:
        self._instrument = instrument
        self.price = price

    def first_minute(self) -> int:
        """Give a minute long past."""
        return 0

    def candles(self, first: int, count: int) -> Candles:
        """Give flat candles."""
        decimals = self._instrument.price_decimals
        units = np.full(count, int(self.price.scaleb(decimals)), np.int64)
        return Candles(
            first=first,
            decimals=decimals,
            tick=1,
            volume_decimals=3,
            opens=units,
            highs=units,
            lows=units,
            closes=units,
            volume=np.ones(count),
        )


class Kit:
    """A venue of three symbols and its clock.

    Args:
        state_file: where the account is saved.
        positions: what the account begins with.
        weight_per_min: the request weight limit.
    """

    def __init__(
        self,
        *,
        state_file: Path | None = None,
        positions: dict[str, Position] | None = None,
        weight_per_min: int | None = 0,
    ) -> None:
        self.clock = FakeClock()
        document = builtin_exchange_info()
        document["symbols"] = [row for row in document["symbols"] if row["symbol"] in PRICES]
        self.info = ExchangeInfo(document)
        self.paths = {name: SetPath(self.info.instruments[name], price) for name, price in PRICES.items()}
        self.market = Market(self.paths)
        self.venue = Venue(
            clock=self.clock,
            info=self.info,
            market=self.market,
            account=Account(Decimal(10_000), positions),
            orders=OrderBook(),
            credentials=Credentials(KEY, SECRET),
            alias="ALIAS",
            weight_per_min=weight_per_min,
            state_file=state_file,
        )
        self.hub = StreamHub(self.venue, 1000)
        self.later: list[tuple[float, Any]] = []
        self.venue.later = lambda seconds, what: self.later.append((seconds, what))

    def set_price(self, symbol: str, price: str) -> None:
        """Move a symbol's price, from the next block of candles on: time moves with it."""
        self.paths[symbol].price = Decimal(price)
        self.clock.advance(4 * 3600)

    def answer(self, method: str, path: str, **parameters: object) -> Answer:
        """Send a signed request as a client would."""
        query = urlencode({"timestamp": self.now_ms(), **parameters})
        signature = hmac.new(SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()
        return self.raw(method, f"{path}?{query}&signature={signature}")

    def raw(self, method: str, target: str, body: str = "", key: str | None = KEY) -> Answer:
        """Send a request as it is."""
        return respond(self.venue, read_call(method, target, body, key, self.venue.faults))

    def json(self, method: str, path: str, **parameters: object) -> Any:
        """Send a signed request and decode the answer."""
        return msgspec.json.decode(self.answer(method, path, **parameters).body)

    def order(self, symbol: str, side: str, quantity: str, **parameters: object) -> Any:
        """Place a market order with the full answer."""
        wanted = {"type": "MARKET", "newOrderRespType": "RESULT", **parameters}
        return self.json("POST", "/fapi/v1/order", symbol=symbol, side=side, quantity=quantity, **wanted)

    def position(self, symbol: str) -> Decimal:
        """Give the signed amount held, as positionRisk shows it."""
        rows = self.json("GET", "/fapi/v2/positionRisk", symbol=symbol)
        return sum((Decimal(row["positionAmt"]) for row in rows), Decimal(0))

    def fault(self, **fault: object) -> None:
        """Post a fault."""
        body = msgspec.json.encode(fault)
        answer = post_faults(self.venue, self.hub, body)
        assert answer.status == 200, answer.body

    def now_ms(self) -> int:
        """Give the true time."""
        return int(self.clock.now() * 1000)

    def minute(self) -> int:
        """Give the running minute."""
        return self.now_ms() // MINUTE_MS
