"""Which rows of the exchange's answer are closed candles that may be stored. Pure."""

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from microservices.candle_feed.planning import Request
from microservices.contracts.candles import INTERVAL_MS, Candle
from microservices.exchange import Kline


class Fault(StrEnum):
    """Why a row is not stored."""

    NOT_CLOSED = "not_closed"
    OUTSIDE = "outside_what_was_asked"
    MISALIGNED = "misaligned"
    WRONG_LENGTH = "wrong_length"
    PRICE_NOT_POSITIVE = "price_not_positive"
    HIGH_LOW = "high_low_inconsistent"


class Examined(NamedTuple):
    """What an answer held: candles by ascending open time, one each, and how many rows were refused for what."""

    candles: list[Candle]
    faults: dict[Fault, int]


def examine(rows: Iterable[Kline], request: Request, now_ms: int) -> Examined:
    """Take the closed, plausible candles out of an answer; of two with the same open time the later row counts.

    Args:
        rows: the answer.
        request: what was asked.
        now_ms: the exchange's time when it was asked: a candle that closed later may lack trades.
    """
    kept: dict[int, Candle] = {}
    faults: dict[Fault, int] = {}
    for row in rows:
        outside = not request.first_ms <= row.open_ms <= request.last_ms
        fault = fault_of(row, now_ms) or (Fault.OUTSIDE if outside else None)
        if fault is None:
            kept[row.open_ms] = candle_of(row)
        else:
            faults[fault] = faults.get(fault, 0) + 1
    return Examined([kept[open_ms] for open_ms in sorted(kept)], faults)


def candle_of(row: Kline) -> Candle:
    """Make the candle that is stored."""
    return Candle(row.open_ms, row.open, row.high, row.low, row.close, row.volume)


def fault_of(row: Kline, now_ms: int) -> Fault | None:
    """Tell what is wrong with a row, whoever asked for it; None where nothing is."""
    if row.open_ms % INTERVAL_MS:
        return Fault.MISALIGNED
    if row.close_ms - row.open_ms != INTERVAL_MS - 1:
        return Fault.WRONG_LENGTH
    if row.close_ms >= now_ms:
        return Fault.NOT_CLOSED
    return _price_fault(row)


def _price_fault(row: Kline) -> Fault | None:
    opened, high, low, close = Decimal(row.open), Decimal(row.high), Decimal(row.low), Decimal(row.close)
    if low <= 0:
        return Fault.PRICE_NOT_POSITIVE
    if high < max(opened, close) or low > min(opened, close):
        return Fault.HIGH_LOW
    return None
