"""Klines and mark prices: ranges, the running candle, and candles told wrong."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.paper_exchange.builtin_market import BASE_PRICES, builtin_exchange_info
from microservices.paper_exchange.candle_faults import CandleFaults
from microservices.paper_exchange.candles import MINUTE_MS
from microservices.paper_exchange.instruments import ExchangeInfo
from microservices.paper_exchange.kline_event import kline_event
from microservices.paper_exchange.klines import BLOCK_MINUTES, wire_row, wire_rows
from microservices.paper_exchange.market import Market
from microservices.paper_exchange.simulated_path import SimulatedPath

INFO = ExchangeInfo(builtin_exchange_info())
BTC = SimulatedPath(1, INFO.instruments["BTCUSDT"], float(BASE_PRICES["BTCUSDT"]))
NOW = 30_000_000
NOW_MS = NOW * MINUTE_MS + 20_000


def market() -> Market:
    """A market of one simulated symbol."""
    return Market({"BTCUSDT": BTC})


def klines(of: Market, limit: int = 500, start_ms: int | None = None, end_ms: int | None = None) -> Any:
    """Ask and decode."""
    return msgspec.json.decode(of.klines("BTCUSDT", NOW_MS, limit=limit, start_ms=start_ms, end_ms=end_ms))


def minutes(rows: Any) -> list[int]:
    """The minutes of rows, counted from now."""
    return [row[0] // MINUTE_MS - NOW for row in rows]


@given(
    st.integers(1, 1500),
    st.none() | st.integers(-2_000 * MINUTE_MS, 10 * MINUTE_MS),
    st.none() | st.integers(-2_000 * MINUTE_MS, 10 * MINUTE_MS),
)
def test_a_range_holds_the_minutes_that_the_exchange_would_give(limit: int, start: int | None, end: int | None) -> None:
    """From the start on, or else the newest up to the end; none opens outside the two, or later than now."""
    start_ms, end_ms = (None if at is None else NOW_MS + at for at in (start, end))
    rows = klines(market(), limit, start_ms, end_ms)
    allowed = [
        minute
        for minute in range(-4_000, 1)
        if (start_ms is None or (NOW + minute) * MINUTE_MS >= start_ms)
        and (end_ms is None or (NOW + minute) * MINUTE_MS <= end_ms)
    ]
    assert minutes(rows) == (allowed[-limit:] if start is None else allowed[:limit])


def test_rows_have_the_columns_of_the_exchange() -> None:
    """Twelve columns: times and the count as numbers, amounts as text with the symbol's decimals."""
    row = klines(market(), 2)[0]
    assert [type(cell) for cell in row] == [int, str, str, str, str, str, int, str, int, str, str, str]
    assert row[6] == row[0] + MINUTE_MS - 1
    assert all(cell.partition(".")[2].isdecimal() and len(cell.partition(".")[2]) == 2 for cell in row[1:5])
    assert Decimal(row[3]) <= Decimal(row[1]) <= Decimal(row[2])


def test_history_is_what_the_mark_price_was() -> None:
    """The mark price at the end of each minute is the close that klines give for it, for hours on end."""
    one = market()
    for row in klines(one, 1500)[:-1]:
        assert one.mark("BTCUSDT", row[0] + MINUTE_MS - 1) == pytest.approx(Decimal(row[4]), abs=Decimal("0.11"))
        assert one.mark("BTCUSDT", row[0]) == Decimal(row[1])


def test_the_running_candle_comes_last_and_closes_at_the_mark() -> None:
    """Klines end with the minute that is under way, as it stands now."""
    one = market()
    rows = klines(one, 3)
    assert minutes(rows) == [-2, -1, 0]
    assert Decimal(rows[-1][4]) == one.mark("BTCUSDT", NOW_MS)
    assert rows[-1][1] == rows[-2][4]


def test_a_closed_candle_is_the_same_at_every_later_time() -> None:
    """What was told of a minute once is told again, by a new process with other blocks in memory too."""
    early = klines(market(), 100)
    late = Market({"BTCUSDT": BTC}).klines("BTCUSDT", NOW_MS + 5 * MINUTE_MS, limit=105, start_ms=None, end_ms=None)
    assert msgspec.json.decode(late)[:99] == early[:-1]


def test_slices_of_blocks_are_the_rows_themselves() -> None:
    """Rows put together from blocks equal rows written from one piece."""
    count = 3 * BLOCK_MINUTES + 7
    whole = [msgspec.json.decode(row) for row in wire_rows(BTC.candles(NOW - count, count))]
    assert klines(market(), count, end_ms=(NOW - 1) * MINUTE_MS) == whole


def test_stopped_candles_end_while_prices_go_on() -> None:
    """After a stop the newest row stays the last that had closed, whatever is asked."""
    one = market()
    one.faults.stop("BTCUSDT", NOW - 5)
    assert minutes(klines(one, 3)) == [-7, -6, -5]
    assert klines(one, 3, start_ms=(NOW - 2) * MINUTE_MS) == []
    assert one.mark("BTCUSDT", NOW_MS) != one.mark("BTCUSDT", NOW_MS + 20_000)


def test_missing_candles_leave_a_gap_and_repeated_ones_come_twice() -> None:
    """The gap is where it was made; the newest closed row is doubled; clearing puts both right."""
    one = market()
    one.faults.skip(None, range(NOW - 4, NOW - 2))
    one.faults.repeat("BTCUSDT")
    assert minutes(klines(one, 7)) == [-6, -5, -2, -1, -1, 0]
    one.faults.clear()
    assert minutes(klines(one, 7)) == [-6, -5, -4, -3, -2, -1, 0]


@given(st.sets(st.integers(0, 40)), st.integers(0, 40), st.integers(0, 40))
def test_runs_are_what_is_left_between_gaps(missing: set[int], first: int, last: int) -> None:
    """Every minute that is not missing is in exactly one run, in order, and no run is empty."""
    faults = CandleFaults()
    for minute in missing:
        faults.skip("A", range(minute, minute + 1))
    runs = list(faults.runs("A", first, last))
    assert [minute for begin, end in runs for minute in range(begin, end + 1)] == [
        minute for minute in range(first, last + 1) if minute not in missing
    ]
    assert all(begin <= end for begin, end in runs)
    assert all(one[1] + 1 < other[0] for one, other in pairwise(runs))


@given(st.integers(NOW - 100_000, NOW), st.integers(0, MINUTE_MS), st.booleans())
def test_an_event_of_the_stream_has_the_values_of_the_row(minute: int, elapsed_ms: int, closed: bool) -> None:
    """Whole or running, each member is the row's column, as text where the exchange has text."""
    candle = BTC.candles(minute, 1).row(minute)
    shown = candle if closed else candle.so_far(elapsed_ms)
    event = msgspec.json.decode(kline_event("BTCUSDT", shown, event_ms=7, closed=closed))
    assert [event["k"][name] for name in "tohlcvTqnVQB"] == msgspec.json.decode(wire_row(shown))
    assert (event["e"], event["E"], event["s"], event["k"]["x"]) == ("kline", 7, "BTCUSDT", closed)
    assert list(event["k"]) == [*"tTsifLochlvnxqVQB"]
    assert (event["k"]["f"] == -1) == (event["k"]["n"] == 0)
    if closed:
        assert wire_row(candle) == wire_rows(BTC.candles(minute, 1))[0]
