"""Which candles to ask for next, in which order, and what each request weighs. Pure: open times in, requests out.

A minute is named by the open time of its candle, in epoch ms.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from microservices.contracts.candles import INTERVAL_MS

# What every symbol needs before any symbol gets more: the market-state window.
FRESH_CANDLES = 300

# The exchange finishes a candle's last trades shortly after its close; before this it is not asked for.
SETTLE_MS = 1_000

# A symbol whose candles come by stream is not asked for the newest one before: the stream has it sooner, as a rule.
STREAM_GRACE_MS = 5_000

# Weight of GET /fapi/v1/klines by its limit, as (limit up to, weight):
# https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Kline-Candlestick-Data
WEIGHTS = ((99, 1), (499, 2), (1_000, 5), (1_500, 10))

# The limit with the most candles for its weight: 499 for 2, where 1,500 cost 10.
CHUNK_CANDLES = 499
LIGHT_CANDLES = 99


class Window(NamedTuple):
    """The open times that are wanted, both ends included."""

    first_ms: int
    last_ms: int


class Request(NamedTuple):
    """One request for the candles of a symbol, both ends included."""

    symbol: str
    first_ms: int
    last_ms: int

    @property
    def limit(self) -> int:
        """How many candles there are from the first to the last."""
        return (self.last_ms - self.first_ms) // INTERVAL_MS + 1

    @property
    def weight(self) -> int:
        """What it costs."""
        return weight_of(self.limit)


def weight_of(limit: int) -> int:
    """Return the request weight of a klines request.

    Raises:
        ValueError: the exchange gives at most 1,500 candles at once.
    """
    for most, weight in WEIGHTS:
        if 1 <= limit <= most:
            return weight
    raise ValueError(f"limit is {limit}, expected 1 to {WEIGHTS[-1][0]}")


def newest_settled_ms(now_ms: int, settle_ms: int = SETTLE_MS) -> int:
    """Return the open time of the newest candle that closed `settle_ms` or more before the exchange's time `now_ms`."""
    return (now_ms - settle_ms) // INTERVAL_MS * INTERVAL_MS - INTERVAL_MS


def next_settled_at_ms(now_ms: int, settle_ms: int = SETTLE_MS) -> int:
    """Return the exchange's time at which the next candle will have closed `settle_ms` before."""
    return newest_settled_ms(now_ms, settle_ms) + 2 * INTERVAL_MS + settle_ms


def wanted(now_ms: int, keep: int, settle_ms: int = SETTLE_MS) -> Window:
    """Return the newest `keep` open times that closed `settle_ms` or more before the exchange's time `now_ms`."""
    newest_ms = newest_settled_ms(now_ms, settle_ms)
    return Window(newest_ms - (keep - 1) * INTERVAL_MS, newest_ms)


def verification(symbol: str, window: Window) -> Request:
    """Return the request that reads a symbol's newest candles again, as many as the lightest request has."""
    return Request(symbol, max(window.first_ms, window.last_ms - (LIGHT_CANDLES - 1) * INTERVAL_MS), window.last_ms)


def plan(missing: Mapping[str, Sequence[int]], window: Window) -> list[Request]:
    """Order the requests that fetch what is missing.

    What belongs to the newest 300 candles of any symbol comes before anything deeper of any symbol; within that, cheap
    requests come first, so that symbols which lack one candle do not wait for those which lack all.

    Args:
        missing: per symbol the missing open times, ascending, all within the window.
        window: what is wanted.
    """
    fresh_from_ms = window.last_ms - (FRESH_CANDLES - 1) * INTERVAL_MS
    fresh: list[Request] = []
    deep: list[Request] = []
    for symbol, minutes in missing.items():
        fresh += _chunks(symbol, [minute for minute in minutes if minute >= fresh_from_ms], window)
        deep += _chunks(symbol, [minute for minute in minutes if minute < fresh_from_ms], window)
    return sorted(fresh, key=_cheapest_first) + sorted(deep, key=_newest_first)


def is_deep(request: Request, window: Window) -> bool:
    """Tell whether a request is for history beyond the newest 300 candles."""
    return request.last_ms < window.last_ms - (FRESH_CANDLES - 1) * INTERVAL_MS


def _chunks(symbol: str, minutes: Sequence[int], window: Window) -> list[Request]:
    """Cover the minutes, newest first, by as few requests as they fit in."""
    requests = []
    end = len(minutes) - 1
    while end >= 0:
        last_ms = minutes[end]
        start = end
        while start > 0 and last_ms - minutes[start - 1] < CHUNK_CANDLES * INTERVAL_MS:
            start -= 1
        requests.append(_with_the_one_before(Request(symbol, minutes[start], last_ms), window))
        end = start - 1
    return requests


def _with_the_one_before(request: Request, window: Window) -> Request:
    """Ask a small request for one candle more where it costs nothing: a candle that was corrected is replaced."""
    if request.limit < LIGHT_CANDLES and request.first_ms > window.first_ms:
        return request._replace(first_ms=request.first_ms - INTERVAL_MS)
    return request


def _cheapest_first(request: Request) -> tuple[int, str, int]:
    return request.weight, request.symbol, -request.last_ms


def _newest_first(request: Request) -> tuple[int, str]:
    return -request.last_ms, request.symbol
