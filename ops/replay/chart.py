"""The picture of a replay: price, sigma, and the regime probabilities as bands, one column of pixels per moment."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ops.replay.png import Canvas, Colour, text_width

Floats = npt.NDArray[np.float64]

WIDTH, HEIGHT = 1200, 720
_LEFT, _RIGHT, _TOP, _GAP = 110, 20, 40, 34
_BACKGROUND: Colour = (255, 255, 255)
_PANEL: Colour = (246, 247, 249)
_GRID: Colour = (222, 225, 230)
_INK: Colour = (60, 66, 77)
_PRICE: Colour = (33, 78, 140)
_SIGMA: Colour = (176, 67, 32)
_REGIMES: Mapping[str, Colour] = {"trend": (46, 134, 89), "mr": (222, 165, 58), "chop": (160, 168, 182)}
_SHARES = (0.42, 0.25, 0.33)
_GRID_LINES = 4


class _Panel(NamedTuple):
    top: int
    height: int


def draw(title: str, closes: Floats, rolling: Mapping[str, Floats]) -> Canvas:
    """Draw a replay.

    Args:
        title: what it is of.
        closes: all closes; the first ones have no state.
        rolling: what `MarketState.replay` gave for them.
    """
    canvas = Canvas(WIDTH, HEIGHT, _BACKGROUND)
    price, sigma, regimes = _panels()
    closes = closes[len(closes) - len(rolling["sigma"]) :]
    canvas.text(_LEFT, 12, f"{title}: {len(closes)} states", _INK, 3)
    _line_panel(canvas, price, "close", closes, _PRICE)
    _line_panel(canvas, sigma, "sigma per candle", rolling["sigma"], _SIGMA)
    _bands(canvas, regimes, rolling)
    return canvas


def _panels() -> list[_Panel]:
    room = HEIGHT - _TOP - 3 * _GAP
    tops, panels = _TOP, []
    for share in _SHARES:
        panels.append(_Panel(tops + _GAP // 2, round(room * share)))
        tops += round(room * share) + _GAP
    return panels


def _columns(count: int) -> list[slice]:
    """Share the moments among the columns of pixels; every column has one at least."""
    edges = np.linspace(0, count, WIDTH - _LEFT - _RIGHT + 1)
    return [slice(int(start), max(int(start) + 1, int(end))) for start, end in pairwise(edges)]


def _line_panel(canvas: Canvas, panel: _Panel, name: str, values: Floats, colour: Colour) -> None:
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 1.0
    # What cannot be negative has no axis below 0.
    low, high = low - margin if low < 0 else max(0.0, low - margin), high + margin
    _frame(canvas, panel, name, low, high)
    before = values[0]
    for x, rows in enumerate(_columns(len(values)), start=_LEFT):
        some = np.append(values[rows], before)
        before = values[rows][-1]
        top, bottom = (
            panel.top + round((high - edge) / (high - low) * panel.height) for edge in (some.max(), some.min())
        )
        canvas.fill(x, top, 1, max(2, bottom - top), colour)


def _frame(canvas: Canvas, panel: _Panel, name: str, low: float, high: float) -> None:
    canvas.fill(_LEFT, panel.top, WIDTH - _LEFT - _RIGHT, panel.height, _PANEL)
    canvas.text(_LEFT, panel.top - 14, name, _INK)
    for line in range(_GRID_LINES + 1):
        y = panel.top + round(line / _GRID_LINES * panel.height)
        label = f"{high - line / _GRID_LINES * (high - low):.5g}"
        canvas.fill(_LEFT, y, WIDTH - _LEFT - _RIGHT, 1, _GRID)
        canvas.text(_LEFT - 8 - text_width(label), y - 5, label, _INK)


def _bands(canvas: Canvas, panel: _Panel, rolling: Mapping[str, Floats]) -> None:
    _frame(canvas, panel, "", 0.0, 1.0)
    left = _LEFT
    for name, colour in _REGIMES.items():
        canvas.fill(left, panel.top - 15, 12, 12, colour)
        canvas.text(left + 18, panel.top - 14, name, _INK)
        left += 40 + text_width(name)
    for x, rows in enumerate(_columns(len(rolling["sigma"])), start=_LEFT):
        bottom = 0.0
        for name, colour in _REGIMES.items():
            share = float(rolling[f"p_{name}"][rows].mean())
            top_y, bottom_y = (panel.top + round((1 - edge) * panel.height) for edge in (bottom + share, bottom))
            canvas.fill(x, top_y, 1, bottom_y - top_y, colour)
            bottom += share
