"""The market in a terminal: a tile for each symbol, as large as there is room for."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.color import Color
from rich.console import Group
from rich.style import Style
from rich.text import Text

from ops.market.view import COLOURS, GLYPHS, Cell, Colour, Market, Mood, Sort, ages, cells, summary, volatility

_LIGHT: Colour = (240, 242, 246)
_BLACK: Colour = (12, 14, 18)
_SIGMA_WIDTH = 6
_NAME_MOST, _NAME_WITH_SIGMA_LEAST, _NAME_LEAST = 10, 6, 2
FAULTS_SHOWN = 5


class Size(NamedTuple):
    """A tile: how wide its name is, and whether its volatility is told."""

    name: int
    tells_sigma: bool

    @property
    def width(self) -> int:
        """All columns it takes, the one between two tiles included."""
        return self.name + 3 + (_SIGMA_WIDTH if self.tells_sigma else 0)


def render(market: Market, sort: Sort, width: int, height: int | None = None) -> Group:
    """Lay the board out.

    Args:
        market: what is shown.
        sort: the order of the tiles.
        width: columns there are.
        height: lines there are; None: as many as it takes.
    """
    shown = cells(market.states, sort)
    heading = [Text(summary(market), style="bold")]
    if shown:
        heading += [Text(volatility(shown)), Text(ages(market))]
    heading += [Text(_skipped(market)), _legend(sort)]
    heading += [Text(f"unreadable: {fault}", style="red") for fault in market.faults[:FAULTS_SHOWN]]
    for line in heading:  # a line that is too long for the window must not take two of it
        line.no_wrap, line.overflow = True, "ellipsis"
    lines = None if height is None else max(1, height - len(heading) - 1)
    return Group(*heading, *_tiles(shown, width, lines))


def strip(shown: Sequence[Cell], width: int) -> Text:
    """Give one sign a symbol, for a board that shows other things too."""
    text = Text()
    for line in _lines(shown, width):
        for cell in line:
            text.append(GLYPHS[cell.mood], _style(cell.colour))
        text.append("\n")
    text.rstrip()
    return text


def _tiles(shown: Sequence[Cell], width: int, lines: int | None) -> list[Text]:
    size = _size(len(shown), width, lines)
    across = max(1, width // size.width)
    rows = [Text(" ").join(_tile(cell, size) for cell in some) for some in _lines(shown, across)]
    if lines is None or len(rows) <= lines:
        return rows
    return [*rows[: lines - 1], Text(f"and {len(shown) - (lines - 1) * across} more", no_wrap=True)]


def _lines(shown: Sequence[Cell], across: int) -> Iterator[Sequence[Cell]]:
    return (shown[start : start + across] for start in range(0, len(shown), across))


def _size(count: int, width: int, lines: int | None) -> Size:
    """Choose the largest tile of which all fit; the largest at all where there is no limit."""
    room = width if lines is None else width // max(1, math.ceil(count / lines))
    if room >= Size(_NAME_WITH_SIGMA_LEAST, tells_sigma=True).width:
        return Size(min(_NAME_MOST, room - 3 - _SIGMA_WIDTH), tells_sigma=True)
    return Size(min(_NAME_MOST, max(_NAME_LEAST, room - 3)), tells_sigma=False)


def _tile(cell: Cell, size: Size) -> Text:
    sigma = f" {cell.sigma_bp:5.1f}" if size.tells_sigma else ""
    name = cell.name if len(cell.name) <= size.name else f"{cell.name[: size.name - 1]}…"
    return Text(f"{GLYPHS[cell.mood]} {name:<{size.name}}{sigma}", _style(cell.colour))


def _style(colour: Colour) -> Style:
    red, green, blue = colour
    # The sRGB weights of brightness decide whether black or white is read better.
    is_bright = 0.299 * red + 0.587 * green + 0.114 * blue > 110
    return Style(color=Color.from_rgb(*(_BLACK if is_bright else _LIGHT)), bgcolor=Color.from_rgb(*colour))


def _legend(sort: Sort) -> Text:
    text = Text()
    for mood in Mood:
        text.append(f" {GLYPHS[mood]} {mood} ", _style(COLOURS[mood]))
        text.append(" ")
    text.append(f" figures: σ in bp a minute; the stronger the colour, the higher; sorted by {sort}")
    return text


def _skipped(market: Market) -> str:
    status = market.status
    if status is None:
        return "publisher: no status"
    try:
        reasons = json.loads(status.skipped_reasons)
        why = ", ".join(f"{name} {int(count)}" for name, count in reasons.items())
    except (ValueError, TypeError, AttributeError):
        why = "reasons unreadable"
    skipped = f", {status.skipped} skipped ({why})" if status.skipped else ""
    age_s = market.at - status.last_cycle_epoch
    return f"publisher: {status.published} published{skipped} in {status.cycle_ms} ms, {age_s:.0f} s ago"
