"""The market as a picture: a tile for each symbol, in the colours of the terminal's board."""

import math
from collections.abc import Sequence

from ops.market.view import COLOURS, Cell, Market, Mood, Sort, ages, cells, volatility
from ops.replay.png import Canvas, Colour, text_width

TILE_WIDTH, TILE_HEIGHT, GAP = 108, 46, 4
_MARGIN, _HEADING = 24, 92
_BACKGROUND: Colour = (16, 18, 23)
_INK: Colour = (222, 226, 233)
_ON_BRIGHT: Colour = (10, 12, 16)
_WIDE = 1.6  # the picture's width beside its height


def draw(market: Market, sort: Sort) -> Canvas:
    """Draw all symbols; a market without any is a heading alone."""
    shown = cells(market.states, sort)
    across = _across(len(shown))
    down = math.ceil(len(shown) / across)
    canvas = Canvas(
        2 * _MARGIN + across * (TILE_WIDTH + GAP) - GAP, _HEADING + down * (TILE_HEIGHT + GAP) + _MARGIN, _BACKGROUND
    )
    _heading(canvas, market, shown, sort)
    for number, cell in enumerate(shown):
        left = _MARGIN + number % across * (TILE_WIDTH + GAP)
        _tile(canvas, left, _HEADING + number // across * (TILE_HEIGHT + GAP), cell)
    return canvas


def _across(count: int) -> int:
    """Give the tiles in a row that make the picture wide, and at least as many as the heading needs."""
    return max(9, round(math.sqrt(count * _WIDE * TILE_HEIGHT / TILE_WIDTH)))


def _heading(canvas: Canvas, market: Market, shown: Sequence[Cell], sort: Sort) -> None:
    canvas.text(_MARGIN, 14, f"market: {len(shown)} symbols, sorted by {sort}", _INK, 3)
    if shown:
        # The picture's letters have no sigma and no capitals.
        line = volatility(shown).replace("σ", "sigma")
        canvas.text(_MARGIN, 40, f"{line}; {ages(market)}", _INK)
    left = _MARGIN
    for mood, count in market.moods().items():
        canvas.fill(left, 62, 14, 14, COLOURS[mood])
        label = f"{mood} {count}"
        canvas.text(left + 20, 64, label, _INK)
        left += 20 + text_width(label) + 26


def _tile(canvas: Canvas, left: int, top: int, cell: Cell) -> None:
    canvas.fill(left, top, TILE_WIDTH, TILE_HEIGHT, cell.colour)
    ink = _ON_BRIGHT if sum(cell.colour) > 330 else _INK
    letters = (TILE_WIDTH - 8) // text_width("00", 2) * 2
    canvas.text(left + 6, top + 8, cell.name[:letters], ink)
    canvas.text(left + 6, top + 26, f"{_sign(cell.mood)}{cell.sigma_bp:.1f}", ink)


def _sign(mood: Mood) -> str:
    """Tell the moods apart without colours too."""
    return {Mood.UP: "+ ", Mood.DOWN: "- ", Mood.MR: "= ", Mood.CHOP: ". "}[mood]
