"""The exchange itself, without HTTP: its clock, market, account and faults, and how a call is admitted and answered."""

import logging
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec

from microservices.paper_exchange.account import Account, Position
from microservices.paper_exchange.answers import hedge_rows, position_risk_row
from microservices.paper_exchange.candles import MINUTE_MS
from microservices.paper_exchange.changing_faults import HedgeMode, PositionLag, SkewClock
from microservices.paper_exchange.errors import ApiError, api_error, missing
from microservices.paper_exchange.faults import FaultBox, Taken
from microservices.paper_exchange.instruments import ExchangeInfo
from microservices.paper_exchange.market import Market
from microservices.paper_exchange.orders import OrderBook
from microservices.paper_exchange.signature import Credentials, check_timestamp
from microservices.paper_exchange.state_file import State, save_state
from microservices.paper_exchange.trading import CLOSED, Trading
from microservices.paper_exchange.weights import OrderLimit, WeightLimit, weight_of
from microservices.runtime import Clock

logger = logging.getLogger(__name__)

Later = Callable[[float, Callable[[], None]], None]
"""Have something done so many seconds later."""


class Call(msgspec.Struct, frozen=True):
    """A request as it arrived. `parameters` are those of query and body together; the query's win."""

    method: str
    path: str
    query: str
    body: str
    key: str | None
    parameters: Mapping[str, str]
    faults: Taken = Taken()


class Answer(msgspec.Struct, frozen=True):
    """What goes back: the body, JSON already, and what is special about it."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = {}


class Venue:
    """The state of the paper exchange.

    Args:
        clock: the true time; the exchange's own may be skewed from it.
        info: symbols and limits.
        market: prices.
        account: wallet and positions.
        orders: the account's orders.
        credentials: the key pair it knows.
        alias: the account's name.
        anchor_minute: where recorded candles were placed; saved, so that a restart places them there again.
        weight_per_min: None for what the info says, 0 for no limit.
        state_file: where the account is saved; None saves nothing.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        info: ExchangeInfo,
        market: Market,
        account: Account,
        orders: OrderBook,
        credentials: Credentials,
        alias: str,
        anchor_minute: int = 0,
        weight_per_min: int | None = None,
        state_file: Path | None = None,
    ) -> None:
        self._clock = clock
        self.info = info
        self.market = market
        self.account = account
        self.orders = orders
        self.trading = Trading(info, market, account, orders)
        self.credentials = credentials
        self.alias = alias
        self.faults = FaultBox()
        self.later: Later = _never
        self.drop_connections: Callable[[], None] = _nothing_open
        limits = info.limits
        self.weights = WeightLimit(limits.weight_per_min if weight_per_min is None else weight_per_min)
        self.order_counts = OrderLimit(limits.orders_per_10s, limits.orders_per_min)
        self._anchor_minute = anchor_minute
        self._state_file = state_file
        self._unsaved = ""
        self._untouched_rows: dict[str, bytes] = {}
        self.end_lasting_faults()

    def now_ms(self) -> int:
        """Give the exchange's time."""
        return int(self._clock.now() * 1000) + round(self.skew.seconds * 1000)

    def monotonic(self) -> float:
        """Give this machine's own seconds, which no fault moves."""
        return self._clock.monotonic()

    def mark(self, symbol: str) -> Decimal:
        """Give a symbol's mark price now."""
        return self.market.mark(symbol, self.now_ms())

    def admit(self, call: Call, *, signed: bool) -> None:
        """Count a call's weight and, where it must be signed, check who makes it and when it was made.

        Raises:
            ApiError: 429, 418, or the code of what is wrong with key, signature or timestamp.
        """
        now_ms = self.now_ms()
        self.weights.charge(weight_of(call.method, call.path, call.parameters), now_ms)
        if signed:
            self.credentials.check(call.key, call.query, call.body, call.parameters)
            check_timestamp(call.parameters, now_ms)

    def symbol_of(self, call: Call, *, required: bool = True) -> str | None:
        """Give the symbol a call names.

        Raises:
            ApiError: -1102 where it is required and not there, -1121 where it is not listed.
        """
        symbol = call.parameters.get("symbol")
        if not symbol:
            if required:
                raise missing("symbol")
            return None
        if not self.info.listed(symbol):
            raise api_error(-1121)
        return symbol

    def positions_shown(self) -> dict[str, Position]:
        """Give the positions of all symbols ever traded, as they are or, where they lag, as they were."""
        if not self.lag.seconds:
            return self.account.positions
        at_ms = self.now_ms() - round(self.lag.seconds * 1000)
        return {symbol: self.account.position_at(symbol, at_ms) for symbol in self.account.positions}

    def position_rows(self, symbols: list[str]) -> list[bytes]:
        """Make positionRisk's rows of these symbols; a row of a symbol never traded is made once and kept."""
        shown = self.positions_shown()
        rows = []
        for symbol in symbols:
            position = shown.get(symbol)
            if position is not None and position.updated_ms:
                rows += self._encoded(symbol, position)
            else:
                if symbol not in self._untouched_rows:
                    self._untouched_rows[symbol] = b",".join(self._encoded(symbol, Position()))
                rows.append(self._untouched_rows[symbol])
        return rows

    def symbols_with_rows(self) -> list[str]:
        """Name the symbols that positionRisk has a row of: all listed, and any that still has a position."""
        listed = [symbol for symbol in self.info.symbols() if symbol in self.info.instruments]
        held = [symbol for symbol, position in self.account.positions.items() if position.amount]
        return listed + [symbol for symbol in held if symbol not in listed]

    def set_hedge(self, hedge: HedgeMode | None) -> None:
        """Begin or end showing the account as one in hedge mode."""
        self.hedge = hedge
        self._untouched_rows.clear()

    def end_lasting_faults(self) -> None:
        """Let the clock, the positions, the account's mode and the candles be as they are."""
        self.skew = SkewClock(seconds=0)
        self.lag = PositionLag(seconds=0)
        self.set_hedge(None)
        self.market.faults.clear()
        self.market.stream_faults.clear()

    def match_resting(self) -> None:
        """Fill the limit orders that the price has reached."""
        if self.trading.match_resting(self.now_ms()):
            self.save()

    def settle(self, symbol: str) -> None:
        """End what is open in a symbol that is delisted."""
        if self.trading.settle(symbol, self.now_ms()):
            self.save()

    def set_status(self, symbol: str, status: str | None) -> None:
        """Change a symbol's status, and what that does to its candles from the next minute on.

        TRADING: they go on. A closed status, or None, which takes it off the list: there are none any more. Any other
        status: the price stands and nothing is traded.
        """
        minute = self.now_ms() // MINUTE_MS
        if status is None:
            self.info.remove(symbol)
        else:
            self.info.set_status(symbol, status)
        if status is None or status in CLOSED:
            self.market.bound(symbol, None, minute)
            return
        self.market.bound(symbol, None, None)
        if status == "TRADING":
            self.market.resume(symbol, minute + 1)
        else:
            self.market.halt(symbol, minute + 1)

    def save(self) -> None:
        """Save the account; a file that cannot be written is an error in the log, not a refused order."""
        if self._state_file is None:
            return
        state = State(
            alias=self.alias,
            anchor_minute=self._anchor_minute,
            wallet=self.account.wallet,
            next_order_id=self.orders.next_id,
            positions=self.account.positions,
            orders=self.orders.saved(),
        )
        try:
            save_state(self._state_file, state)
        except OSError as error:
            if str(error) != self._unsaved:
                logger.error("state not saved: %s: %s", self._state_file, error.strerror)  # noqa: TRY400 (one line)
            self._unsaved = str(error)
        else:
            self._unsaved = ""

    def _encoded(self, symbol: str, position: Position) -> list[bytes]:
        mark = self.mark(symbol) if position.updated_ms else Decimal(0)
        row = position_risk_row(self.info.instruments[symbol], position, mark)
        return [msgspec.json.encode(shown) for shown in ([row] if self.hedge is None else hedge_rows(row))]


def read_call(method: str, target: str, body: str, key: str | None, faults: FaultBox) -> Call:
    """Read a request's target (path and query, as sent) and form body, and take the faults that strike it.

    Raises:
        ApiError: -1101 where a parameter is sent twice in one place.
    """
    path, _, query = target.partition("?")
    parameters = _parsed(body) | _parsed(query)
    return Call(method, path, query, body, key, parameters, faults.take(method, path, parameters))


def answer_json(document: object, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer a document."""
    return Answer(msgspec.json.encode(document), headers=headers or {})


def refusal(error: ApiError) -> Answer:
    """Answer a refusal."""
    return Answer(msgspec.json.encode({"code": error.code, "msg": error.msg}), error.status, error.headers)


def _parsed(encoded: str) -> dict[str, str]:
    pairs = parse_qsl(encoded, keep_blank_values=True)
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise ApiError(-1101, "Duplicate values for a parameter detected.")
    return parameters


def _nothing_open() -> None:
    """Drop no connection: nobody listens."""


def _never(_seconds: float, _what: Callable[[], None]) -> None:
    raise RuntimeError("nothing runs that could do it later")
