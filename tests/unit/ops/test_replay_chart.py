"""The picture of a replay: a whole PNG, with what it must show where it must show it."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from ai_engine.market_state import MarketState
from ops import replay_market_state
from ops.replay import chart
from ops.replay.png import Canvas
from ops.replay.synthetic import synthetic_prices

BELOW_LEGEND = 512


def decoded(path: Path) -> np.ndarray:
    """Read a PNG of the kind the tool writes, checking every checksum."""
    raw, at, chunks = path.read_bytes(), 8, {}
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    while at < len(raw):
        (length,) = struct.unpack(">I", raw[at : at + 4])
        kind, data = raw[at + 4 : at + 8], raw[at + 8 : at + 8 + length]
        assert struct.unpack(">I", raw[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + data)
        chunks[kind] = data
        at += 12 + length
    width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colour, list(chunks)) == (8, 2, [b"IHDR", b"IDAT", b"IEND"])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3)


def test_the_tool_draws_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--plot` writes a PNG with the price line, the sigma line and the three bands in their colours."""
    path = tmp_path / "states.png"
    assert replay_market_state.main(["--synthetic", "--n", "600", "--plot", str(path)]) == 0
    assert "344 states drawn" in capsys.readouterr().err
    pixels = decoded(path)
    assert pixels.shape == (chart.HEIGHT, chart.WIDTH, 3)
    found = {tuple(colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0).tolist()}
    assert {(33, 78, 140), (176, 67, 32), (46, 134, 89), (222, 165, 58), (160, 168, 182)} <= found


@pytest.mark.parametrize("count", [257, 258, 3_000])
def test_bands_fill_every_column_in_proportion(count: int) -> None:
    """From one state to thousands: each column is filled from top to bottom, trend's part its probability."""
    closes = synthetic_prices("trend", 1, count)
    rolling = MarketState().replay(closes)
    pixels = chart.draw("x", closes, rolling).pixels
    trend = (pixels == (46, 134, 89)).all(axis=2)[BELOW_LEGEND:, 112:-24]
    bands = trend | (pixels == (222, 165, 58)).all(axis=2)[BELOW_LEGEND:, 112:-24]
    bands |= (pixels == (160, 168, 182)).all(axis=2)[BELOW_LEGEND:, 112:-24]
    heights = bands.sum(axis=0)
    assert heights.max() - heights.min() <= 1
    shares = trend.sum(axis=0) / heights
    assert abs(shares.mean() - rolling["p_trend"].mean()) < 0.02


def test_flat_prices_are_a_line() -> None:
    """A market that stands still has a picture too."""
    closes = np.full(300, 5.0)
    pixels = chart.draw("flat", closes, MarketState().replay(closes)).pixels
    assert (pixels == (33, 78, 140)).all(axis=2).sum() == 2 * (chart.WIDTH - 130)


def test_what_lies_outside_the_canvas_is_cut_off() -> None:
    """Rectangles and text beyond the edges do no harm."""
    canvas = Canvas(10, 10, (0, 0, 0))
    canvas.fill(-5, -5, 8, 8, (1, 1, 1))
    canvas.fill(8, 8, 50, 50, (2, 2, 2))
    canvas.fill(-9, -9, 3, 3, (3, 3, 3))
    canvas.text(-3, 4, "Aß9", (4, 4, 4))
    assert (canvas.pixels[:3, :3] == 1).all()
    assert (canvas.pixels[8:, 8:] == 2).all()
    assert not (canvas.pixels == 3).any()
