"""Only closed, plausible candles of what was asked come through."""

from typing import Any

import pytest

from microservices.candle_feed.planning import Request
from microservices.candle_feed.validation import Fault, examine, fault_of
from microservices.contracts.candles import INTERVAL_MS
from microservices.exchange import Kline

OPEN = 30_000_000 * INTERVAL_MS
REQUEST = Request("BTCUSDT", OPEN - 9 * INTERVAL_MS, OPEN)
NOW = OPEN + INTERVAL_MS


def row(**changes: Any) -> Kline:
    """A good row, but for the changes; its close follows its open."""
    open_ms = changes.get("open_ms", OPEN)
    good: dict[str, Any] = {
        "open_ms": open_ms, "open": "10", "high": "12.5", "low": "9.5", "close": "11", "volume": "0",
        "close_ms": open_ms + INTERVAL_MS - 1,
    }  # fmt: skip
    return Kline(**{**good, **changes})


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, None),
        ({"open": "10", "high": "10", "low": "10", "close": "10"}, None),
        ({"open_ms": OPEN - 9 * INTERVAL_MS}, None),
        ({"open_ms": OPEN + INTERVAL_MS}, Fault.NOT_CLOSED),
        ({"open_ms": OPEN - 10 * INTERVAL_MS}, Fault.OUTSIDE),
        ({"open_ms": OPEN - 1}, Fault.MISALIGNED),
        ({"close_ms": OPEN + INTERVAL_MS}, Fault.WRONG_LENGTH),
        ({"close_ms": OPEN + 5 * INTERVAL_MS - 1}, Fault.WRONG_LENGTH),
        ({"low": "0"}, Fault.PRICE_NOT_POSITIVE),
        ({"open": "0", "high": "0", "low": "0", "close": "0"}, Fault.PRICE_NOT_POSITIVE),
        ({"high": "10.9"}, Fault.HIGH_LOW),
        ({"high": "9.9"}, Fault.HIGH_LOW),
        ({"low": "10.1"}, Fault.HIGH_LOW),
        ({"low": "11.5", "open": "12"}, Fault.HIGH_LOW),
        ({"open": "0.000000000000000001", "low": "0.000000000000000002"}, Fault.HIGH_LOW),
    ],
)
def test_faults(changes: dict[str, Any], fault: Fault | None) -> None:
    """Every kind of bad row is named."""
    examined = examine([row(**changes)], REQUEST, NOW)
    assert examined.faults == ({} if fault is None else {fault: 1})
    assert len(examined.candles) == (fault is None)


def test_a_candle_counts_as_closed_only_by_the_exchanges_time() -> None:
    """A candle whose last millisecond is now is not closed; one millisecond later it is."""
    close_ms = OPEN + INTERVAL_MS - 1
    assert fault_of(row(), close_ms) is Fault.NOT_CLOSED
    assert fault_of(row(), close_ms + 1) is None


def test_answers_are_sorted_and_one_per_minute() -> None:
    """Rows in any order and repeated ones become one candle a minute; the later row of a minute counts."""
    before = OPEN - INTERVAL_MS
    examined = examine([row(), row(open_ms=before), row(close="10.5"), row(low="0")], REQUEST, NOW)
    assert [(candle.open_ms, candle.close) for candle in examined.candles] == [(before, "11"), (OPEN, "10.5")]
    assert examined.faults == {Fault.PRICE_NOT_POSITIVE: 1}


def test_an_empty_answer() -> None:
    """Nothing in, nothing out."""
    assert examine([], REQUEST, NOW) == ([], {})
