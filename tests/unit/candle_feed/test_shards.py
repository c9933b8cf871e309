"""Symbols share connections, none too many on one, and stay where they are."""

from hypothesis import given
from hypothesis import strategies as st

from microservices.candle_feed.shards import share_out
from microservices.exchange import STREAMS_MAX

SYMBOLS = st.sets(st.integers(0, 60).map(lambda number: f"S{number}USDT"))


def test_600_symbols_need_three_connections() -> None:
    """200 streams are what one connection carries."""
    shards = share_out([], [f"S{number}USDT" for number in range(600)])
    assert [len(shard) for shard in shards] == [STREAMS_MAX] * 3


def test_a_symbol_that_comes_takes_a_free_place() -> None:
    """A listing moves nobody else, and fills the place of one that went."""
    shards = [frozenset("ABC"), frozenset("DEF")]
    assert share_out(shards, "ACDEFX", most=3) == [frozenset("ACX"), frozenset("DEF")]
    assert share_out(shards, "DEF", most=3) == [frozenset(), frozenset("DEF")]


@given(SYMBOLS, SYMBOLS)
def test_everybody_has_one_place(before: set[str], after: set[str]) -> None:
    """Whatever comes and goes, each symbol is on exactly one connection, and who stayed has not moved."""
    first = share_out([], before, most=7)
    second = share_out(first, after, most=7)
    assert sorted(symbol for shard in second for symbol in shard) == sorted(after)
    assert all(len(shard) <= 7 for shard in second)
    for old, new in zip(first, second, strict=False):
        assert old & after <= new
