"""The market board's order, colours, tiles and picture."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from microservices.contracts.market_state import MarketStateRow, PublisherStatus, Regime, Source
from ops.market.heat_map import draw
from ops.market.tiles import render, strip
from ops.market.view import COLOURS, Cell, Market, Mood, Sort, ages, cells, mood_of, summary, volatility

NOW = 1_800_000_100
ROW = MarketStateRow(
    0.001, 0.0001, 0.5, 0.6, 0.1, 0.3, 0.5, 1.0, 1.0, NOW - 5, 300, Regime.TREND, Source.CANDLES, NOW - 40
)
STATUS = PublisherStatus(3, 2, '{"short": 1, "stale": 1}', 23, NOW - 5)


def row(**changes: object) -> MarketStateRow:
    """A state, with changes."""
    return msgspec.structs.replace(ROW, **changes)


MARKET = Market(
    NOW,
    {
        "BTCUSDT": row(),
        "ETHUSDT": row(sigma=0.002, mu=-0.0002, ts=0.7, p_trend=0.5, ts_timestamp=NOW - 9),
        "SOLUSDT": row(sigma=0.0005, regime=Regime.MR, p_trend=0.2, p_mr=0.7, mu=0.001),
        "XRPUSDT": row(sigma=0.003, regime=Regime.CHOP, p_trend=0.1, p_chop=0.8, ts=0.1),
    },
    STATUS,
)


def order(sort: Sort) -> list[str]:
    """The names as they are sorted."""
    return [cell.name for cell in cells(MARKET.states, sort)]


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        (Sort.SIGMA, ["XRP", "ETH", "BTC", "SOL"]),
        (Sort.TREND, ["BTC", "ETH", "SOL", "XRP"]),
        (Sort.MR, ["SOL", "BTC", "ETH", "XRP"]),
        (Sort.CHOP, ["XRP", "BTC", "ETH", "SOL"]),
        (Sort.TS, ["ETH", "BTC", "SOL", "XRP"]),
        (Sort.MU, ["SOL", "BTC", "XRP", "ETH"]),
        (Sort.AGE, ["BTC", "SOL", "XRP", "ETH"]),
        (Sort.SYMBOL, ["BTC", "ETH", "SOL", "XRP"]),
    ],
)
def test_each_order_is_what_its_name_says(sort: Sort, names: list[str]) -> None:
    """The highest first, the youngest first, names by the alphabet; equals by name."""
    assert order(sort) == names


def test_a_trend_has_its_direction() -> None:
    """Up and down are two things to an operator, although the regime is one."""
    assert [mood_of(state) for state in MARKET.states.values()] == [Mood.UP, Mood.DOWN, Mood.MR, Mood.CHOP]
    assert MARKET.moods() == dict.fromkeys(Mood, 1)


def test_the_wildest_has_the_full_colour_and_the_calmest_the_least() -> None:
    """Rank decides: the strongest colour is the mood's own, the others are darker."""
    shown: dict[str, Cell] = {cell.name: cell for cell in cells(MARKET.states)}
    assert shown["XRP"].colour == COLOURS[Mood.CHOP]
    assert max(shown["SOL"].colour) < max(COLOURS[Mood.MR]) / 2


def test_the_headings_say_the_figures() -> None:
    """How many do what, how wild it is, and how old."""
    assert summary(MARKET) == "MARKET    4 symbols: ▲ trend up 1  ▼ trend down 1  ~ mr 1  · chop 1"
    made_up = msgspec.structs.replace(ROW, source=Source.SYNTHETIC)
    assert summary(Market(NOW, {"BTCUSDT": made_up})).endswith("  ⚠ 1 SYNTHETIC, of no market")
    assert volatility(cells(MARKET.states)) == "σ a minute: median 15.0 bp, highest 30.0 bp (XRPUSDT)"
    assert ages(MARKET) == "published 5 to 9 s ago, candles closed 40 s ago"
    assert MARKET.older_than(8) == ["ETHUSDT"]


def text_of(market: Market, width: int = 118, height: int | None = None, *, colours: bool = False) -> list[str]:
    """The board's lines, as a window of that size gets them."""
    console = Console(
        width=width,
        markup=False,
        highlight=False,
        force_terminal=colours,
        color_system="truecolor" if colours else None,
    )
    with console.capture() as capture:
        console.print(render(market, Sort.SIGMA, width, height))
    return capture.get().splitlines()


def test_without_colours_every_tile_says_its_regime() -> None:
    """The sign before each name tells what the colour would; with colours each tile has its own."""
    tiles = text_of(MARKET)[-1]
    assert [tile in tiles for tile in ("▲ BTC         10.0", "▼ ETH         20.0", "· XRP         30.0")] == [True] * 3
    red, green, blue = COLOURS[Mood.CHOP]
    assert f"48;2;{red};{green};{blue}m· XRP" in text_of(MARKET, colours=True)[-1]


def test_the_publishers_skips_are_named_by_reason() -> None:
    """And a status that cannot be read, or is not there, is said, not hidden."""
    assert "publisher: 3 published, 2 skipped (short 1, stale 1) in 23 ms, 5 s ago" in text_of(MARKET)
    strange = msgspec.structs.replace(STATUS, skipped_reasons="[1]")
    assert any("reasons unreadable" in line for line in text_of(Market(NOW, MARKET.states, strange)))
    assert "publisher: no status" in text_of(Market(NOW, MARKET.states))


def test_a_market_without_symbols_is_a_heading() -> None:
    """Nothing there is nothing shown, in a terminal and in the picture."""
    assert text_of(Market(NOW, {}))[0].startswith("MARKET    0 symbols")
    assert draw(Market(NOW, {}), Sort.SIGMA).height < 200
    assert strip([], 100).plain == ""


def many(count: int) -> Market:
    """A market of so many symbols."""
    return Market(NOW, {f"S{number}USDT": row(sigma=0.001 + number / 1e6) for number in range(count)}, STATUS)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(1, 700), st.integers(60, 250), st.integers(12, 80))
def test_whatever_the_window_nothing_is_wider_or_higher_than_it(count: int, width: int, height: int) -> None:
    """All symbols fit, or the last line says how many do not."""
    lines = text_of(many(count), width, height)
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    shown = sum(line.count("▲ S") for line in lines)
    left = lines[-1].split(" more")[0].removeprefix("and ") if " more" in lines[-1] else "0"
    assert shown + int(left) == count


def test_the_strip_has_a_sign_for_each_symbol() -> None:
    """600 symbols are six lines of a hundred signs."""
    text = strip(cells(many(600).states), 100).plain
    assert [len(line) for line in text.split("\n")] == [100] * 6


def test_the_picture_has_a_tile_for_each_symbol() -> None:
    """566 tiles, each in its colour, none outside the canvas."""
    market = many(566)
    canvas = draw(market, Sort.SIGMA)
    painted = set(np.unique(canvas.pixels.astype(int) @ (65_536, 256, 1)).tolist())
    assert {
        red * 65_536 + green * 256 + blue for red, green, blue in (each.colour for each in cells(market.states))
    } <= painted
    assert 1.2 < canvas.width / canvas.height < 1.9


def test_hostile_names_are_only_text() -> None:
    """A key that looks like markup, is far too long, or has signs that no picture has, breaks neither."""
    market = Market(NOW, {"[/red]USDT": row(), "X" * 300: row(), "币安人生USDT": row(), "USDT": row()})
    assert any("[/red]" in line for line in text_of(market))
    assert draw(market, Sort.SYMBOL).width > 0
