"""What is missing is asked for in the right order, in the fewest and lightest requests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.candle_feed.planning import (
    CHUNK_CANDLES,
    FRESH_CANDLES,
    Request,
    Window,
    is_deep,
    newest_settled_ms,
    next_settled_at_ms,
    plan,
    wanted,
    weight_of,
)
from microservices.contracts.candles import INTERVAL_MS

NEWEST = 30_000_000 * INTERVAL_MS
WINDOW = Window(NEWEST - 1_499 * INTERVAL_MS, NEWEST)


def ago(minutes: int) -> int:
    """The open time so many minutes before the newest."""
    return NEWEST - minutes * INTERVAL_MS


def span(oldest: int, newest: int) -> list[int]:
    """All open times from `oldest` to `newest` minutes ago, ascending."""
    return list(range(ago(oldest), ago(newest) + 1, INTERVAL_MS))


@pytest.mark.parametrize(
    ("limit", "weight"),
    [(1, 1), (99, 1), (100, 2), (300, 2), (499, 2), (500, 5), (1_000, 5), (1_001, 10), (1_500, 10)],
)
def test_weights_are_the_documented_ones(limit: int, weight: int) -> None:
    """The weight of each limit, at both edges of each step of Binance's table."""
    assert weight_of(limit) == weight


@pytest.mark.parametrize("limit", [0, -1, 1_501])
def test_no_weight_for_an_impossible_limit(limit: int) -> None:
    """A limit the exchange would refuse is refused here."""
    with pytest.raises(ValueError, match="limit"):
        weight_of(limit)


@pytest.mark.parametrize(("second", "newest_minute"), [(0.0, -2), (0.999, -2), (1.0, -1), (30.0, -1), (59.999, -1)])
def test_a_candle_settles_a_second_after_its_close(second: float, newest_minute: int) -> None:
    """The running candle is never wanted, and one that just closed only after the exchange has finished it."""
    now_ms = NEWEST + int(second * 1000)
    assert newest_settled_ms(now_ms) == NEWEST + newest_minute * INTERVAL_MS


@given(st.integers(0, 10_000_000_000_000))
def test_the_next_one_settles_when_it_is_said_to(now_ms: int) -> None:
    """At the time that is told the newest settled candle is the next one, and a millisecond before it is not."""
    at_ms = next_settled_at_ms(now_ms)
    assert now_ms < at_ms <= now_ms + INTERVAL_MS
    assert newest_settled_ms(at_ms) == newest_settled_ms(now_ms) + INTERVAL_MS
    assert newest_settled_ms(at_ms - 1) == newest_settled_ms(now_ms)


def test_the_window_holds_what_is_kept() -> None:
    """It ends with the newest settled candle and holds exactly so many."""
    window = wanted(NEWEST + 90_000, 1_500)
    assert window.last_ms == NEWEST
    assert window.first_ms == ago(1_499)


@pytest.mark.parametrize(
    ("missing", "requests"),
    [
        ({}, []),
        ({"A": []}, []),
        ({"A": [ago(0)]}, [Request("A", ago(1), ago(0))]),
        ({"A": span(3, 0)}, [Request("A", ago(4), ago(0))]),
        ({"A": [ago(200), ago(0)]}, [Request("A", ago(200), ago(0))]),
        ({"A": span(299, 0)}, [Request("A", ago(299), ago(0))]),
        ({"A": [ago(1_499)]}, [Request("A", ago(1_499), ago(1_499))]),
        (
            {"A": span(1_499, 0)},
            [
                Request("A", ago(299), ago(0)),
                Request("A", ago(798), ago(300)),
                Request("A", ago(1_297), ago(799)),
                Request("A", ago(1_499), ago(1_298)),
            ],
        ),
        (
            {"B": span(299, 0), "A": [ago(0)], "C": [ago(400)]},
            [Request("A", ago(1), ago(0)), Request("B", ago(299), ago(0)), Request("C", ago(401), ago(400))],
        ),
    ],
    ids=[
        "nothing", "complete", "the newest", "a few", "two holes in one", "newest 300", "the oldest", "all",
        "one candle before 300 before depth",
    ],
)  # fmt: skip
def test_plans(missing: dict[str, list[int]], requests: list[Request]) -> None:
    """Each need becomes the requests one would write by hand."""
    assert plan(missing, WINDOW) == requests


def test_a_whole_history_weighs_eight() -> None:
    """1,500 candles in chunks of up to 499 weigh 8, where one request would weigh 10."""
    assert sum(request.weight for request in plan({"A": span(1_499, 0)}, WINDOW)) == 8


@given(
    st.dictionaries(
        st.sampled_from("ABCDEFG"),
        st.sets(st.integers(0, 1_499)).map(lambda minutes: [ago(minute) for minute in sorted(minutes, reverse=True)]),
    )
)
def test_every_plan_covers_what_is_missing(missing: dict[str, list[int]]) -> None:
    """Whatever is missing is asked for once, within the window, at the lightest limits, fresh before deep."""
    requests = plan(missing, WINDOW)
    for symbol, minutes in missing.items():
        own = [request for request in requests if request.symbol == symbol]
        for minute in minutes:
            assert any(request.first_ms <= minute <= request.last_ms for request in own)
    for request in requests:
        assert WINDOW.first_ms <= request.first_ms <= request.last_ms <= WINDOW.last_ms
        assert request.limit <= CHUNK_CANDLES
        assert request.weight <= 2
    depths = [is_deep(request, WINDOW) for request in requests]
    assert depths == sorted(depths)
    fresh = [request.weight for request, deep in zip(requests, depths, strict=True) if not deep]
    assert fresh == sorted(fresh)
    assert FRESH_CANDLES == 300
