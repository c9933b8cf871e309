"""What faults do to prices and candles: moves, halts, delistings and corrections, in answers and on the stream."""

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.paper_exchange.kit import Kit
from tests.unit.paper_exchange.test_stream_hub import BTC, Listener, listener, tick


@pytest.fixture
def kit() -> Kit:
    """A venue at the beginning of a minute."""
    return Kit()


def rows(kit: Kit, limit: int = 20, symbol: str = "BTCUSDT") -> list[list[Any]]:
    """The newest candles, the running one last."""
    found: list[list[Any]] = kit.json("GET", "/fapi/v1/klines", symbol=symbol, interval="1m", limit=limit)
    return found


def told(of: Listener) -> list[tuple[int, str]]:
    """Minute and close of each closed candle of the stream."""
    return [(event["k"]["t"] // 60_000, event["k"]["c"]) for event in of.got if event["k"]["x"]]


def test_a_price_moves_over_minutes_and_stays(kit: Kit) -> None:
    """From the next minute on; what has closed before is as it was, and clearing faults does not undo it."""
    before = rows(kit)
    kit.fault(fault="move_price", symbol="BTCUSDT", share=-0.2, minutes=4)
    assert rows(kit) == before
    tick(kit, 7 * 60)
    kit.fault(fault="clear")
    closes = [Decimal(row[4]) for row in rows(kit, 8)]
    assert closes[0] == 100_000
    assert closes == sorted(closes, reverse=True)
    assert float(closes[-1]) == pytest.approx(80_000)
    assert float(kit.venue.mark("BTCUSDT")) == pytest.approx(80_000)
    assert [Decimal(row[4]) for row in rows(kit, 2, "ETHUSDT")] == [4_000, 4_000]


def test_a_halt_stops_trading_until_the_status_is_trading_again(kit: Kit) -> None:
    """Its candles go on without volume, running ones are not told; on the exchange's list the status says why."""
    one, minute = listener(kit, BTC), kit.minute()
    kit.fault(fault="symbol_status", symbol="BTCUSDT", status="PRE_SETTLE")
    kit.fault(fault="move_price", symbol="BTCUSDT", share=0.5, minutes=1)
    tick(kit, 120)
    kit.fault(fault="symbol_status", symbol="BTCUSDT", status="TRADING")
    tick(kit, 120)
    found = {row[0] // 60_000 - minute: (row[4], float(row[5])) for row in rows(kit, 5)}
    assert found[0][1] > 0
    assert [found[1], found[2]] == [("100000.00", 0.0)] * 2
    assert found[3][1] > 0
    assert float(found[3][0]) == pytest.approx(150_000)
    assert [at - minute for at, _ in told(one)] == [0, 1, 2, 3]
    running = {event["k"]["t"] // 60_000 - minute for event in one.got if not event["k"]["x"]}
    assert running.isdisjoint({1, 2})


@pytest.mark.parametrize("status", ["SETTLING", "CLOSE", None])
def test_a_delisted_symbol_has_no_more_candles_until_it_is_listed_again(kit: Kit, status: str | None) -> None:
    """The running candle is its last, in the answers and on the stream; off the list it is unknown."""
    one, minute = listener(kit, BTC), kit.minute()
    kit.fault(fault="symbol_status", symbol="BTCUSDT", status=status)
    tick(kit, 300)
    if status is None:
        assert kit.json("GET", "/fapi/v1/klines", symbol="BTCUSDT", interval="1m")["code"] == -1121
        assert told(one) == []
    else:
        assert rows(kit)[-1][0] // 60_000 == minute
        assert [at for at, _ in told(one)] == [minute]
    kit.fault(fault="symbol_status", symbol="BTCUSDT", status="TRADING")
    one.got.clear()
    tick(kit, 60)
    assert [at for at, _ in told(one)] == [minute + 5]
    assert rows(kit)[-1][0] // 60_000 == minute + 6


@pytest.mark.parametrize(("where", "answered", "streamed"), [("both", 1, 1), ("klines", 1, 0), ("stream", 0, 1)])
def test_a_correction_changes_closed_candles(kit: Kit, where: str, answered: int, streamed: int) -> None:
    """Answers have the new values from then on, the stream tells them once more; for good, after clearing too."""
    one = listener(kit, BTC)
    tick(kit, 180)
    before, sent = rows(kit, 6), told(one)
    one.got.clear()
    kit.fault(fault="correct_candles", symbol="BTCUSDT", count=2, ago=1, share=0.01, where=where)
    kit.fault(fault="clear")
    changed = [new for old, new in zip(before, rows(kit, 6), strict=True) if new != old]
    assert len(changed) == 2 * answered
    assert all(float(row[4]) == pytest.approx(101_000) == float(row[2]) for row in changed)
    again = told(one)
    assert len(again) == 2 * streamed
    assert all(at in dict(sent) and close == "101000.00" for at, close in again)
    if answered and streamed:
        assert again == [(row[0] // 60_000, row[4]) for row in changed]


def test_a_correction_twice_adds_up_and_one_too_small_is_a_tick(kit: Kit) -> None:
    """So that no correction is one in name alone."""
    for _ in range(2):
        kit.fault(fault="correct_candles", symbol="BTCUSDT", share=1e-9)
    assert rows(kit, 2)[0][4] == "100000.02"
    assert rows(kit, 2)[0][2] == "100000.02"
