"""The large simulated market: its symbols, what happens to them and when, and what clients see of it."""

from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from microservices.paper_exchange.assembly import Exchange, build_exchange
from microservices.paper_exchange.builtin_market import (
    BASE_PRICES,
    INVENTED_PRICES,
    MAX_SYMBOLS,
    builtin_exchange_info,
)
from microservices.paper_exchange.changed_path import ChangedPath, DoneByHand, Halt
from microservices.paper_exchange.instruments import ExchangeInfo
from microservices.paper_exchange.orders import NewOrder, Order, OrderType, Side, Status
from microservices.paper_exchange.schedule import DAY, PERIOD, Schedule
from microservices.paper_exchange.settings import Settings
from microservices.paper_exchange.simulated_path import SimulatedPath
from microservices.runtime import Secret, SettingError
from tests.support.clock import FakeClock

SYMBOLS = [str(row["symbol"]) for row in builtin_exchange_info(MAX_SYMBOLS)["symbols"]]
EVENTFUL = SYMBOLS[30:]
NOW = 30_000_000
GOING = next(symbol for symbol in EVENTFUL if Schedule(1, symbol).comes_and_goes)


def settings(**given: Any) -> Settings:
    """Those of a market of its own."""
    return Settings(paper_api_key=Secret("k"), paper_api_secret=Secret("s"), **given)


def exchange(clock: FakeClock, symbols: int) -> Exchange:
    """A large market."""
    return build_exchange(settings(paper_symbols=symbols), clock)


def test_700_symbols_can_be_traded() -> None:
    """No name comes twice, every row has usable filters, and its price lies well within them."""
    info = ExchangeInfo(builtin_exchange_info(MAX_SYMBOLS))
    assert len(set(SYMBOLS)) == len(info.instruments) == MAX_SYMBOLS
    assert sum(not symbol.isascii() for symbol in SYMBOLS) >= 3
    for symbol, instrument in info.instruments.items():
        price = BASE_PRICES[symbol] if symbol in BASE_PRICES else INVENTED_PRICES[symbol]
        assert instrument.min_price * 1000 <= price <= instrument.max_price / 10
        assert instrument.market_min * price < 500 < instrument.market_max * price


@pytest.mark.parametrize("count", [1, 7, 30, 34, 700])
def test_a_smaller_market_is_the_beginning_of_a_larger_one(count: int) -> None:
    """So that adding symbols changes none."""
    assert [row["symbol"] for row in builtin_exchange_info(count)["symbols"]] == SYMBOLS[:count]


def test_schedules_are_a_function_of_seed_symbol_and_minute() -> None:
    """Asked in any order they say the same, and another seed says something else."""
    minutes = range(NOW, NOW + 3 * PERIOD, 97)
    forwards = Schedule(1, GOING)
    told = [forwards.listing(minute) for minute in minutes]
    backwards = Schedule(1, GOING)
    assert [backwards.listing(minute) for minute in reversed(minutes)] == told[::-1]
    others = [Schedule(seed, symbol).comes_and_goes for seed in (1, 2) for symbol in EVENTFUL]
    assert others[: len(EVENTFUL)] != others[len(EVENTFUL) :]


def test_a_day_brings_crashes_halts_listings_and_delistings() -> None:
    """As often as the module says, within wide bounds, in a market of 700."""
    seen: Counter[str] = Counter()
    for symbol in EVENTFUL:
        schedule = Schedule(1, symbol)
        push = schedule.push(np.arange(NOW, NOW + DAY))
        seen["crash"] += bool(push.min() < np.log(0.91))
        halts = set(schedule.halts(NOW, NOW + DAY - 1))
        seen["halt"] += len(halts)
        for before, after in pairwise(range(NOW, NOW + DAY + 1, 15)):
            names = tuple(item.status if item else "" for item in (schedule.listing(before), schedule.listing(after)))
            seen[f"{names[0]}>{names[1]}"] += names[0] != names[1]
    assert 5 <= seen["crash"] <= 60
    assert 3 <= seen["halt"] <= 50
    assert 3 <= seen["PENDING_TRADING>TRADING"] <= 40
    assert 3 <= seen["TRADING>SETTLING"] <= 40
    assert 3 <= seen["SETTLING>"] <= 40
    assert 3 <= seen[">PENDING_TRADING"] <= 40


def test_a_symbol_that_goes_is_announced_and_comes_again() -> None:
    """Pending for an hour, trading with the delivery date a day ahead, settling, gone; its candles fit all of it."""
    schedule = Schedule(1, GOING)
    order = ["PENDING_TRADING", "TRADING", "SETTLING", None]
    told = [schedule.listing(minute) for minute in range(NOW, NOW + 9 * PERIOD // 4)]
    names = ["TRADING" if item and item.status == "PRE_SETTLE" else item and item.status for item in told]
    turns = [after for before, after in pairwise(names) if before != after]
    start = order.index(turns[0])
    assert turns == [order[(start + i) % 4] for i in range(len(turns))]
    assert set(turns) == set(order)
    for minute, item in enumerate(told, NOW):
        if item is not None and item.status == "TRADING":
            assert item.first is not None
            assert item.first <= minute
            assert item.delivery_ms is not None
            assert item.delivery_ms > minute * 60_000
        if item is not None and item.status == "SETTLING":
            assert item.last is not None
            assert item.last < minute


class Set:
    """Happenings as a test says."""

    def __init__(self, halts: list[Halt], pushed_from: int, log_share: float) -> None:
        self._halts, self._from, self._share = halts, pushed_from, log_share

    def push(self, minutes: Any) -> Any:
        """A step in price at one minute."""
        return np.where(minutes >= self._from, self._share, 0.0)

    def halts(self, first: int, last: int) -> list[Halt]:
        """Those that reach into the minutes."""
        return [halt for halt in self._halts if halt.first <= last and (halt.last is None or halt.last >= first)]


def path() -> SimulatedPath:
    """The price of a built-in symbol."""
    info = ExchangeInfo(builtin_exchange_info())
    return SimulatedPath(1, info.instruments["BTCUSDT"], float(BASE_PRICES["BTCUSDT"]))


def test_a_push_moves_the_price_from_its_minute_on_and_leaves_candles_whole() -> None:
    """Before it all is as it was; the minute in which it happens opens at the old price; extremes hold all four."""
    plain, changed = path().candles(NOW, 20), ChangedPath(path(), Set([], NOW + 10, -0.3)).candles(NOW, 20)
    assert (changed.closes[:9] == plain.closes[:9]).all()
    assert changed.opens[9] == plain.opens[9]
    assert changed.closes[9] / plain.closes[9] == pytest.approx(np.exp(-0.3), rel=1e-5)
    assert changed.opens[10] == changed.closes[9]
    assert (changed.highs >= np.maximum(changed.opens, changed.closes)).all()
    assert (changed.lows <= np.minimum(changed.opens, changed.closes)).all()
    assert (changed.closes % changed.tick == 0).all()


@pytest.mark.parametrize("first", [NOW, NOW + 5, NOW + 8])
def test_nothing_is_traded_in_a_halt_whatever_piece_is_asked_for(first: int) -> None:
    """The price stands where it stood before, the volume is 0, and after it the path goes on."""
    halted = ChangedPath(path(), Set([Halt(NOW + 5, NOW + 9)], NOW, 0.0)).candles(first, NOW + 15 - first)
    plain = path().candles(NOW, 15)
    for minute in range(first, NOW + 15):
        candle = halted.row(minute)
        if NOW + 5 <= minute <= NOW + 9:
            assert {candle.opened, candle.high, candle.low, candle.close} == {int(plain.closes[4])}
            assert candle.volume == 0
        else:
            assert candle == plain.row(minute)


def test_halts_by_hand_begin_and_end_once() -> None:
    """A second halt in a halt is none, and one that is over before it began never was."""
    hand = DoneByHand()
    hand.halt(10)
    hand.halt(12)
    assert list(hand.halts(15, 15)) == [Halt(10, None)]
    hand.resume(20)
    hand.resume(25)
    hand.halt(30)
    hand.resume(30)
    hand.halt(20)
    hand.resume(20)
    assert list(hand.halts(0, 99)) == [Halt(10, 19)]
    assert list(hand.halts(20, 99)) == []


def listed(of: Exchange) -> dict[str, Any]:
    """The rows of exchangeInfo, by symbol."""
    rows = msgspec.json.decode(of.venue.info.body(of.venue.now_ms()))["symbols"]
    return {row["symbol"]: row for row in rows}


def test_clients_see_symbols_come_and_go() -> None:
    """Over more than a period of a going symbol, list, candles and prices agree at every step."""
    clock = FakeClock()
    market = exchange(clock, SYMBOLS.index(GOING) + 1)
    venue, seen = market.venue, set()
    for _ in range(PERIOD // 20):
        clock.advance(25 * 60)
        market.calendar.keep()
        row = listed(market).get(GOING)
        assert venue.info.listed(GOING) == (row is not None)
        status = row["status"] if row else None
        seen.add(status)
        rows = msgspec.json.decode(venue.market.klines(GOING, venue.now_ms(), limit=3, start_ms=None, end_ms=None))
        minute = venue.now_ms() // 60_000
        if status == "TRADING":
            assert row is not None
            assert rows[-1][0] == minute * 60_000
            assert rows[0][0] >= row["onboardDate"]
        if status == "PENDING_TRADING":
            assert rows == []
        if status == "SETTLING":
            assert row is not None
            assert rows[-1][0] == row["deliveryDate"] - 60_000
    assert seen >= {"TRADING", "PENDING_TRADING", "SETTLING", None}
    assert all(symbol in listed(market) for symbol in SYMBOLS[:30])


def until(market: Exchange, clock: FakeClock, status: str | None) -> None:
    """Let time pass until the going symbol has this status."""
    for _ in range(PERIOD):
        found = listed(market).get(GOING)
        if (found["status"] if found else None) == status:
            return
        clock.advance(10 * 60)
        market.calendar.keep()
    raise AssertionError(status)


def test_what_is_open_in_a_delisted_symbol_is_settled() -> None:
    """The position is closed by an order of the exchange's own, and a resting order expires."""
    clock = FakeClock()
    market = exchange(clock, SYMBOLS.index(GOING) + 1)
    venue = market.venue
    until(market, clock, "TRADING")
    step = venue.info.instruments[GOING].market_step
    mark = venue.mark(GOING)
    quantity = (100 / mark) // step * step + step
    bought = place(market, quantity=quantity)
    resting = place(market, quantity=quantity, price=mark / 2 // venue.info.instruments[GOING].tick)
    assert (bought.status, resting.status) == (Status.FILLED, Status.NEW)
    until(market, clock, "SETTLING")
    assert venue.account.position(GOING).amount == 0
    assert resting.status is Status.EXPIRED
    assert venue.orders.saved()[-1].client_order_id.startswith("settlement_autoclose-")


def place(market: Exchange, *, quantity: Decimal, price: Decimal | None = None) -> Order:
    """Buy at the market, or at so many ticks."""
    order = NewOrder(
        symbol=GOING,
        side=Side.BUY,
        type=OrderType.MARKET if price is None else OrderType.LIMIT,
        quantity=quantity,
        price=Decimal(0) if price is None else price * market.venue.info.instruments[GOING].tick,
        reduce_only=False,
        client_order_id=f"order-{price}",
        full_answer=True,
        position_side="BOTH",
    )
    return market.venue.trading.place(order, market.venue.now_ms())


def test_two_markets_at_once_are_refused() -> None:
    """A number of symbols beside a recorded list contradicts it."""
    with pytest.raises(SettingError, match="PAPER_SYMBOLS"):
        settings(paper_symbols=40, paper_exchange_info=Path("x.json"))
