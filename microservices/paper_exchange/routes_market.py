"""Public endpoints: ping, time, exchangeInfo, klines, premiumIndex."""

from microservices.paper_exchange.answers import premium_index_row
from microservices.paper_exchange.errors import api_error, invalid, missing
from microservices.paper_exchange.venue import Answer, Call, Venue, answer_json

DEFAULT_KLINES = 500
MAX_KLINES = 1500
INTERVAL = "1m"
_MAX_DIGITS = 15


def ping(_venue: Venue, _call: Call) -> Answer:
    """Answer that somebody is there."""
    return Answer(b"{}")


def time(venue: Venue, _call: Call) -> Answer:
    """Answer the exchange's time."""
    return Answer(b'{"serverTime":%d}' % venue.now_ms())


def exchange_info(venue: Venue, _call: Call) -> Answer:
    """Answer the symbols and their filters."""
    return Answer(venue.info.body(venue.now_ms()))


def klines(venue: Venue, call: Call) -> Answer:
    """Answer 1-minute candles; other intervals are not kept here.

    Raises:
        ApiError: -1102, -1121, -1120, -1130 or -1023.
    """
    symbol = venue.symbol_of(call) or ""
    interval = call.parameters.get("interval")
    if not interval:
        raise missing("interval")
    if interval != INTERVAL:
        raise api_error(-1120)
    start_ms, end_ms = _whole(call, "startTime"), _whole(call, "endTime")
    if start_ms is not None and end_ms is not None and start_ms > end_ms:
        raise api_error(-1023)
    limit = _whole(call, "limit")
    if limit is None:
        limit = DEFAULT_KLINES
    if not 1 <= limit <= MAX_KLINES:
        raise invalid("limit")
    return Answer(venue.market.klines(symbol, venue.now_ms(), limit=limit, start_ms=start_ms, end_ms=end_ms))


def premium_index(venue: Venue, call: Call) -> Answer:
    """Answer mark prices: of one symbol, or of all that trade."""
    now_ms = venue.now_ms()
    symbol = venue.symbol_of(call, required=False)
    if symbol is not None:
        return answer_json(premium_index_row(symbol, venue.mark(symbol), now_ms))
    trading = (name for name in venue.info.instruments if venue.info.trades(name))
    return answer_json([premium_index_row(name, venue.mark(name), now_ms) for name in trading])


def _whole(call: Call, name: str) -> int | None:
    text = call.parameters.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise invalid(name)
    return int(text)
