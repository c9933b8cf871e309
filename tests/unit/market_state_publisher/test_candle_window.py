"""Which candles may be published from, and the reason where they may not."""

import numpy as np
import pytest

from microservices.contracts import candles
from microservices.contracts.candles import Candle
from microservices.market_state_publisher.candle_window import Skipped, SkipReason, Window, judge

NOW = 1_800_000_002.0
LAST_OPEN_MS = 1_799_999_940_000
NEEDED = 5


def members(closes: list[str], last_open_ms: int = LAST_OPEN_MS) -> list[bytes]:
    """Write consecutive candles that end at the given open time."""
    first = last_open_ms - (len(closes) - 1) * candles.INTERVAL_MS
    return [
        candles.encode(Candle(first + index * candles.INTERVAL_MS, close, close, close, close, "1"))
        for index, close in enumerate(closes)
    ]


def judged(raw: list[bytes], now: float = NOW) -> Window | Skipped:
    """Judge with the test's limits."""
    return judge(raw, now, needed=NEEDED, max_age_s=180)


def reason(raw: list[bytes], now: float = NOW) -> SkipReason:
    """Judge candles that must be skipped."""
    skipped = judged(raw, now)
    assert isinstance(skipped, Skipped)
    assert skipped.detail
    return skipped.reason


def test_good_candles_are_a_window_of_their_closes() -> None:
    """All consecutive closes are given, with the time the newest closed."""
    window = judged(members(["1", "2.5", "3", "4", "5", "6"]))
    assert isinstance(window, Window)
    assert window.closes.tolist() == [1, 2.5, 3, 4, 5, 6]
    assert window.close_epoch == 1_800_000_000


def test_no_candles_are_missing() -> None:
    """A symbol nobody feeds."""
    assert reason([]) is SkipReason.MISSING


def test_fewer_candles_than_needed_are_short() -> None:
    """One less than needed is short, as many as needed are not."""
    assert reason(members(["1"] * 4)) is SkipReason.SHORT
    assert isinstance(judged(members(["1"] * 5)), Window)


@pytest.mark.parametrize(("age_s", "stale"), [(0, False), (180, False), (180.5, True), (86400, True)])
def test_candles_beyond_the_age_are_stale(age_s: float, stale: bool) -> None:
    """The age counts from the newest candle's close."""
    outcome = judged(members(["1"] * 5), 1_800_000_000 + age_s)
    assert (isinstance(outcome, Skipped) and outcome.reason is SkipReason.STALE) is stale


@pytest.mark.parametrize(("ahead_s", "unclosed"), [(0.9, False), (1.1, True), (58, True)])
def test_a_candle_that_closes_in_the_future_is_unclosed(ahead_s: float, unclosed: bool) -> None:
    """An open candle is no candle; a second's difference between two clocks is not one."""
    outcome = judged(members(["1"] * 5), 1_800_000_000 - ahead_s)
    assert (isinstance(outcome, Skipped) and outcome.reason is SkipReason.UNCLOSED) is unclosed


def test_a_gap_in_what_is_needed_is_gapped_and_an_older_one_is_not() -> None:
    """Only the run since the last gap counts, and the buffer is that run."""
    raw = members([str(n) for n in range(1, 9)])
    del raw[5]
    assert reason(raw) is SkipReason.GAPPED
    raw = members([str(n) for n in range(1, 9)])
    del raw[1]
    window = judged(raw)
    assert isinstance(window, Window)
    assert window.closes.tolist() == [3, 4, 5, 6, 7, 8]
    assert window.gap_count == 1


@pytest.mark.parametrize("rubbish", [b"", b"{}", b"\xff", b'{"t":1,"c":"x"}', b'{"t":"1","c":"1"}'])
def test_a_candle_that_cannot_be_read_is_faulty(rubbish: bytes) -> None:
    """One unreadable member spoils the symbol: nothing is patched over."""
    raw = members(["1"] * 6)
    raw[2] = rubbish
    assert reason(raw) is SkipReason.FAULTY


def test_two_candles_of_one_minute_are_faulty() -> None:
    """Which of the two is right nobody knows."""
    raw = members(["1"] * 6)
    raw.insert(3, raw[3].replace(b'"c":"1"', b'"c":"2"'))
    assert reason(raw) is SkipReason.FAULTY


def test_a_price_of_zero_is_faulty() -> None:
    """No market has it; one that is older than needed does not matter for what is counted."""
    assert reason(members(["1", "0", "1", "1", "1", "1"])) is SkipReason.FAULTY


def test_closes_are_the_decimal_text_s_floats() -> None:
    """The smallest and the largest prices of the exchange keep their digits."""
    window = judged(members(["0.0000001", "0.00000012", "123456.7", "99999.99", "1"]))
    assert isinstance(window, Window)
    assert window.closes.dtype == np.float64
    assert window.closes.tolist() == [1e-7, 1.2e-7, 123456.7, 99999.99, 1.0]
