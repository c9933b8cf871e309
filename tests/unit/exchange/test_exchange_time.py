"""The exchange's clock is told right, whatever the local one does."""

import pytest

from microservices.exchange import Unreachable
from microservices.exchange.exchange_time import REFRESH_S, RETRY_S, ExchangeTime
from tests.support.clock import FakeClock


class FakeExchange:
    """An exchange whose clock is ahead of ours, and whose answers take their time."""

    def __init__(self, clock: FakeClock, ahead_s: float, trips_s: list[float]) -> None:
        self.clock = clock
        self.zero_s = clock.now() - clock.monotonic() + ahead_s
        self.trips_s = trips_s
        self.asked = 0
        self.away = False

    def true_ms(self) -> int:
        """The exchange's true time."""
        return int((self.clock.monotonic() + self.zero_s) * 1000)

    def ask(self) -> int:
        """Answer after half of the trip, arrive after the other half."""
        self.asked += 1
        if self.away:
            raise Unreachable("GET /fapi/v1/time", "away", sent=False)
        trip_s = self.trips_s.pop(0) if self.trips_s else 0.0
        self.clock.advance(trip_s / 2)
        told = self.true_ms()
        self.clock.advance(trip_s / 2)
        return told


def test_offset_is_measured_at_the_middle_of_the_request() -> None:
    """A symmetric delay does not shift the time, and a step of the local clock does not either."""
    clock = FakeClock()
    exchange = FakeExchange(clock, ahead_s=7.5, trips_s=[0.4])
    time = ExchangeTime(clock, exchange.ask)
    assert time.now_ms() == pytest.approx(exchange.true_ms(), abs=1)
    clock.step(-3600)
    clock.advance(10)
    assert time.now_ms() == pytest.approx(exchange.true_ms(), abs=1)
    assert exchange.asked == 1


def test_a_slow_answer_is_asked_again_and_the_fastest_counts() -> None:
    """A round trip over a second is not trusted while a faster one can be had, and it ends after three."""
    clock = FakeClock()
    exchange = FakeExchange(clock, ahead_s=-3.0, trips_s=[5.0, 1.5, 3.0, 0.1])
    time = ExchangeTime(clock, exchange.ask)
    assert time.now_ms() == pytest.approx(exchange.true_ms(), abs=1)
    assert exchange.asked == 3


def test_an_old_offset_is_measured_again_and_kept_where_that_fails() -> None:
    """After ten minutes it is asked again; an exchange that does not answer leaves the old offset, for a while."""
    clock = FakeClock()
    exchange = FakeExchange(clock, ahead_s=1.0, trips_s=[])
    time = ExchangeTime(clock, exchange.ask)
    time.now_ms()
    exchange.away = True
    clock.advance(REFRESH_S)
    assert time.now_ms() == pytest.approx(exchange.true_ms(), abs=1)
    time.now_ms()
    assert exchange.asked == 2
    exchange.away = False
    clock.advance(RETRY_S)
    time.now_ms()
    assert exchange.asked == 3


def test_a_distrusted_offset_is_not_used() -> None:
    """After a refused timestamp no time is told until it was measured anew."""
    clock = FakeClock()
    exchange = FakeExchange(clock, ahead_s=1.0, trips_s=[])
    time = ExchangeTime(clock, exchange.ask)
    time.now_ms()
    time.distrust()
    exchange.away = True
    with pytest.raises(Unreachable):
        time.now_ms()
    exchange.away = False
    exchange.zero_s += 30
    assert time.now_ms() == pytest.approx(exchange.true_ms(), abs=1)


def test_no_time_without_the_exchange() -> None:
    """Where it was never measured there is none."""
    clock = FakeClock()
    exchange = FakeExchange(clock, ahead_s=0, trips_s=[])
    exchange.away = True
    with pytest.raises(Unreachable):
        ExchangeTime(clock, exchange.ask).now_ms()
