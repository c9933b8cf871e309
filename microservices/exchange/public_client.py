"""Calls that need no key. Paths of the pages are under
https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/.
"""

import msgspec

from microservices.exchange.answers import decode
from microservices.exchange.backoff import SharedBackoff
from microservices.exchange.errors import BadAnswer
from microservices.exchange.exchange_time import ExchangeTime
from microservices.exchange.models import Kline, PremiumIndex
from microservices.exchange.signing import query_string
from microservices.exchange.transport import TIMEOUT_DEFAULT_S, Transport
from microservices.runtime import Clock

KLINES_LIMIT_MAX = 1_500

_TIME_TIMEOUT_S = 2.0


class _ServerTime(msgspec.Struct, rename="camel"):
    server_time: int


class PublicClient:
    """Market data of one exchange; may be used by several threads.

    Args:
        base_url: scheme, host and port, checked by `check_host`.
        timeout_s: deadline of one request.
        clock: wall and monotonic time.
        backoff: told of throttling and used weight.
    """

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        timeout_s: float = TIMEOUT_DEFAULT_S,
        backoff: SharedBackoff | None = None,
    ) -> None:
        self._transport = Transport(base_url, timeout_s=timeout_s, clock=clock, backoff=backoff)
        self._time_timeout_s = min(timeout_s, _TIME_TIMEOUT_S)
        self._time = ExchangeTime(clock, self._ask_time)
        self.time_requests = 0
        """How often the exchange was asked for its time, a weight of 1 each; sent by any of the threads."""

    @property
    def used_weight(self) -> int | None:
        """Request weight of this IP address in the running minute, as the newest answer said; None before one did."""
        return self._transport.used_weight

    def exchange_time_ms(self) -> int:
        """Tell the exchange's time in epoch ms, by the kept offset; asks it only where there is none or it is old.

        Raises:
            ExchangeError: it was never measured and cannot be now.
        """
        return self._time.now_ms()

    def sync_time(self) -> None:
        """Measure the offset of the exchange's clock now.

        Raises:
            ExchangeError: the exchange did not tell its time.
        """
        self._time.refresh()

    def ping(self) -> None:
        """Reach the exchange (Test-Connectivity; weight 1).

        Raises:
            ExchangeError: it was not reached, or answered something else.
        """
        self._transport.send("GET", "/fapi/v1/ping")

    def server_time_ms(self, *, timeout_s: float | None = None) -> int:
        """Ask for the exchange's time in epoch ms (Check-Server-Time; weight 1).

        Raises:
            ExchangeError: no answer, or not this one.
        """
        path = "/fapi/v1/time"
        body = self._transport.send("GET", path, timeout_s=timeout_s)
        return decode(f"GET {path}", body, _ServerTime).server_time

    def exchange_info(self, *, timeout_s: float | None = None) -> bytes:
        """Fetch the market's description, unparsed (Exchange-Information; weight 1, about 1.7 MB).

        Raises:
            ExchangeError: no answer, an error, or plainly not JSON.
        """
        return self._transport.send("GET", "/fapi/v1/exchangeInfo", timeout_s=timeout_s)

    def klines(
        self,
        symbol: str,
        *,
        limit: int,
        start_ms: int | None = None,
        end_ms: int | None = None,
        timeout_s: float | None = None,
    ) -> list[Kline]:
        """Fetch 1-minute candles, oldest first, the running one included (Kline-Candlestick-Data).

        Args:
            symbol: the instrument.
            limit: how many at most, 1 to 1,500; decides the request's weight.
            start_ms: the first open time, inclusive; without it the newest are sent.
            end_ms: the last open time, inclusive.
            timeout_s: deadline of this request.

        Raises:
            ExchangeError: no answer, or not this one.
        """
        if not 1 <= limit <= KLINES_LIMIT_MAX:
            raise ValueError(f"limit is {limit}, expected 1 to {KLINES_LIMIT_MAX}")
        path = "/fapi/v1/klines"
        parameters = {"symbol": symbol, "interval": "1m", "limit": str(limit)}
        if start_ms is not None:
            parameters["startTime"] = str(start_ms)
        if end_ms is not None:
            parameters["endTime"] = str(end_ms)
        body = self._transport.send("GET", path, query_string(parameters), timeout_s=timeout_s)
        return decode(f"GET {path}", body, list[Kline])

    def premium_index(self, symbol: str | None = None, *, timeout_s: float | None = None) -> list[PremiumIndex]:
        """Fetch the mark price of one symbol, or of all (Mark-Price; weight 1, all symbols 10).

        Raises:
            ExchangeError: no answer, or not this one.
        """
        path = "/fapi/v1/premiumIndex"
        if symbol is None:
            body = self._transport.send("GET", path, timeout_s=timeout_s)
            return decode(f"GET {path}", body, list[PremiumIndex])
        body = self._transport.send("GET", path, query_string({"symbol": symbol}), timeout_s=timeout_s)
        row = decode(f"GET {path}", body, PremiumIndex)
        if row.symbol != symbol:
            raise BadAnswer(f"GET {path}", f"asked for {symbol}, answered for {row.symbol}")
        return [row]

    def _ask_time(self) -> int:
        """Ask, and count it; `ExchangeTime` has one thread at a time do so."""
        self.time_requests += 1
        return self.server_time_ms(timeout_s=self._time_timeout_s)

    def close(self) -> None:
        """Close the kept connections."""
        self._transport.close()
