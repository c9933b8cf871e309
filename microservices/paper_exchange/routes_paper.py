"""What only a paper exchange has: faults are posted here, and it tells what it was asked."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from math import log1p
from typing import Any

import msgspec

from microservices.paper_exchange.candle_fault_kinds import (
    CorrectCandles,
    RepeatCandle,
    SkipCandles,
    StopCandles,
    Where,
)
from microservices.paper_exchange.candle_faults import CandleFaults
from microservices.paper_exchange.candles import MINUTE_MS
from microservices.paper_exchange.changing_faults import (
    Clear,
    DropConnections,
    ForcedClose,
    HedgeMode,
    MovePrice,
    PositionLag,
    SkewClock,
    SymbolStatus,
)
from microservices.paper_exchange.every_fault import AnyFault, AnyStream, read_faults
from microservices.paper_exchange.faults import Striking
from microservices.paper_exchange.filters import floor_to_step
from microservices.paper_exchange.journal import Journal
from microservices.paper_exchange.stream_hub import StreamHub
from microservices.paper_exchange.venue import Answer, Venue, answer_json

ANSWERED_AFTER_S = 0.05
"""Enough for the answer to a posted fault to be on its way."""


def post_faults(venue: Venue, hub: StreamHub, body: bytes) -> Answer:
    """Take one fault or a list of them: all or, where one cannot be read or done, none."""
    try:
        faults = read_faults(body)
        for fault in faults:
            _check(venue, fault)
    except (msgspec.DecodeError, ValueError) as error:
        return Answer(msgspec.json.encode({"error": str(error)}), status=400)
    for fault in faults:
        _begin(venue, hub, fault)
    return get_faults(venue, hub)


def get_faults(venue: Venue, hub: StreamHub) -> Answer:
    """List the faults that are on."""
    lasting = [fault for fault in (venue.skew, venue.lag) if fault.seconds] + ([venue.hedge] if venue.hedge else [])
    streams = hub.trouble.active(venue.monotonic())
    return answer_json({"striking": venue.faults.active(), "lasting": [*lasting, *streams]})


def delete_faults(venue: Venue, hub: StreamHub) -> Answer:
    """End all faults."""
    _begin(venue, hub, Clear())
    return get_faults(venue, hub)


def get_requests(journal: Journal, query: Mapping[str, str]) -> Answer:
    """List what was asked: `after` a number, of one `method`, under a `path`."""
    after = query.get("after", "0")
    if not (after.isascii() and after.isdecimal()):
        return Answer(b'{"error":"after is a request\'s number"}', status=400)
    return answer_json(journal.select(after=int(after), method=query.get("method", ""), path=query.get("path", "")))


def _check(venue: Venue, fault: AnyFault) -> None:
    """Refuse a fault that names a symbol the exchange does not have, or closes a position that is not there.

    Raises:
        ValueError: one sentence.
    """
    symbol = getattr(fault, "symbol", None)
    known = venue.info.listed if not isinstance(fault, SymbolStatus) else venue.info.instruments.__contains__
    if symbol is not None and not known(symbol):
        raise ValueError(f"symbol {symbol!r} is not listed")
    if isinstance(fault, ForcedClose) and not venue.account.position(fault.symbol).amount:
        raise ValueError(f"symbol {symbol!r} has no position to close")


def _begin(venue: Venue, hub: StreamHub, fault: AnyFault) -> None:
    if isinstance(fault, Striking):
        venue.faults.add(fault)
    elif isinstance(fault, AnyStream):
        hub.begin(fault)
    elif isinstance(fault, CorrectCandles):
        _correct_candles(venue, hub, fault)
    else:
        _CHANGES[type(fault)](venue, fault)
    if isinstance(fault, Clear):
        hub.trouble.clear()
    if isinstance(fault, Clear | SkewClock):
        hub.clock_stepped()


def _clear(venue: Venue, _fault: Clear) -> None:
    venue.faults.clear()
    venue.end_lasting_faults()


def _skew(venue: Venue, fault: SkewClock) -> None:
    venue.skew = fault


def _lag(venue: Venue, fault: PositionLag) -> None:
    venue.lag = fault


def _hedge(venue: Venue, fault: HedgeMode) -> None:
    venue.set_hedge(fault)


def _force_close(venue: Venue, fault: ForcedClose) -> None:
    now_ms = venue.now_ms()
    step = venue.info.instruments[fault.symbol].market_step
    held = abs(venue.account.position(fault.symbol).amount)
    quantity = floor_to_step(held * Decimal(str(fault.share)), step) if fault.share < 1 else held
    name = f"autoclose-{now_ms}" if fault.by == "liquidation" else "adl_autoclose"
    if quantity > 0 and venue.trading.force_close(fault.symbol, quantity, name, now_ms):
        venue.save()


def _drop_connections(venue: Venue, _fault: DropConnections) -> None:
    venue.later(ANSWERED_AFTER_S, venue.drop_connections)


def _stop_candles(venue: Venue, fault: StopCandles) -> None:
    for told in _told_wrong(venue, fault.where):
        told.stop(fault.symbol, venue.now_ms() // MINUTE_MS - 1)


def _skip_candles(venue: Venue, fault: SkipCandles) -> None:
    end = venue.now_ms() // MINUTE_MS - fault.ago
    for told in _told_wrong(venue, fault.where):
        told.skip(fault.symbol, range(end - fault.count, end))


def _repeat_candle(venue: Venue, fault: RepeatCandle) -> None:
    for told in _told_wrong(venue, fault.where):
        told.repeat(fault.symbol)


def _told_wrong(venue: Venue, where: Where) -> list[CandleFaults]:
    places = {"klines": venue.market.faults, "stream": venue.market.stream_faults}
    return [faults for place, faults in places.items() if where in (place, "both")]


def _correct_candles(venue: Venue, hub: StreamHub, fault: CorrectCandles) -> None:
    end = venue.now_ms() // MINUTE_MS - fault.ago
    for symbol in _symbols(venue, fault.symbol):
        for minute in range(end - fault.count, end):
            candle = venue.market.corrected(symbol, minute, fault.share)
            if candle is not None and fault.where != "stream":
                venue.market.correct(symbol, candle)
            if candle is not None and fault.where != "klines":
                hub.tell_again(symbol, candle)


def _move_price(venue: Venue, fault: MovePrice) -> None:
    first = venue.now_ms() // MINUTE_MS + 1
    for symbol in _symbols(venue, fault.symbol):
        venue.market.move(symbol, first, fault.minutes, log1p(fault.share))


def _symbols(venue: Venue, symbol: str | None) -> list[str]:
    return list(venue.info.instruments) if symbol is None else [symbol]


def _symbol_status(venue: Venue, fault: SymbolStatus) -> None:
    venue.set_status(fault.symbol, fault.status)


_CHANGES: dict[type, Callable[[Venue, Any], None]] = {
    Clear: _clear,
    SkewClock: _skew,
    PositionLag: _lag,
    HedgeMode: _hedge,
    ForcedClose: _force_close,
    StopCandles: _stop_candles,
    SkipCandles: _skip_candles,
    RepeatCandle: _repeat_candle,
    DropConnections: _drop_connections,
    MovePrice: _move_price,
    SymbolStatus: _symbol_status,
}
