"""What a price does inside its minute."""

from hypothesis import given
from hypothesis import strategies as st

from microservices.paper_exchange.candles import MINUTE_MS, Candle


@st.composite
def sound_candles(draw: st.DrawFn) -> Candle:
    """Any candle whose high and low enclose its open and close."""
    low = draw(st.integers(1, 10_000))
    high = low + draw(st.integers(0, 500))
    inside = st.integers(low, high)
    return Candle(0, 2, 1, 3, draw(inside), high, low, draw(inside), draw(st.floats(0, 1e6)))


@given(sound_candles(), st.integers(-5, MINUTE_MS + 5))
def test_a_price_stays_within_its_candle(candle: Candle, elapsed_ms: int) -> None:
    """No moment of a minute has a price that its candle will not show."""
    assert candle.low <= candle.price_at(elapsed_ms) <= candle.high


@given(sound_candles())
def test_a_minute_visits_open_both_extremes_and_close(candle: Candle) -> None:
    """Who watches the mark price sees the very candle that klines show afterwards."""
    visited = [candle.price_at(third * MINUTE_MS // 3) for third in range(4)]
    assert visited[0] == candle.opened
    assert visited[3] == candle.close
    assert {min(visited), max(visited)} == {candle.low, candle.high}


@given(sound_candles(), st.integers(0, MINUTE_MS), st.integers(0, MINUTE_MS))
def test_a_running_candle_only_grows(candle: Candle, one_ms: int, other_ms: int) -> None:
    """High, low and volume of a running candle never shrink, and end as the closed candle's."""
    early, late = candle.so_far(min(one_ms, other_ms)), candle.so_far(max(one_ms, other_ms))
    assert late.high >= early.high
    assert late.low <= early.low
    assert late.volume >= early.volume
    assert candle.so_far(MINUTE_MS) == candle


def test_prices_inside_a_minute_keep_to_the_tick() -> None:
    """A market order fills at a price that the exchange could have quoted."""
    candle = Candle(0, 2, 10, 3, 9_500_000, 9_501_230, 9_498_760, 9_500_500, 1.0)
    assert {candle.price_at(elapsed_ms) % 10 for elapsed_ms in range(0, MINUTE_MS, 777)} == {0}
