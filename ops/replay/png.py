"""A canvas of pixels and the PNG file of it: rectangles, vertical strokes and small text are all a chart needs.

Written here because a plotting library would cost every installation 60 MB for one picture.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]

GLYPH_WIDTH, GLYPH_HEIGHT = 3, 5
# Five rows of three pixels each, written as five octal digits.
_GLYPHS = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717", "6": "74757", "7": "71222",
    "8": "75757", "9": "75717", ".": "00002", "-": "00700", "+": "02720", ":": "02020", "/": "11244", "%": "51245",
    "(": "24442", ")": "21112", "=": "07070", ",": "00024", "_": "00007", "a": "25755", "b": "65656", "c": "34443",
    "d": "65556", "e": "74647", "f": "74644", "g": "34553", "h": "55755", "i": "72227", "j": "11152", "k": "55655",
    "l": "44447", "m": "57755", "n": "65555", "o": "25552", "p": "65644", "q": "25563", "r": "65655", "s": "34216",
    "t": "72222", "u": "55557", "v": "55552", "w": "55775", "x": "55255", "y": "55222", "z": "71247",
}  # fmt: skip


class Canvas:
    """Pixels, (0, 0) top left.

    Args:
        width: in pixels.
        height: in pixels.
        background: what it is filled with.
    """

    def __init__(self, width: int, height: int, background: Colour) -> None:
        self.width, self.height = width, height
        self.pixels: npt.NDArray[np.uint8] = np.empty((height, width, 3), dtype=np.uint8)
        self.pixels[:] = background

    def fill(self, left: int, top: int, width: int, height: int, colour: Colour) -> None:
        """Fill a rectangle; what lies outside the canvas is cut off."""
        self.pixels[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = colour

    def text(self, left: int, top: int, text: str, colour: Colour, scale: int = 2) -> None:
        """Write small text; capitals are written small, and what has no glyph is left blank."""
        for number, letter in enumerate(text.lower()):
            rows = _GLYPHS.get(letter, "00000")
            for row, digit in enumerate(rows):
                for column in range(GLYPH_WIDTH):
                    if int(digit, 8) >> (GLYPH_WIDTH - 1 - column) & 1:
                        x = left + (number * (GLYPH_WIDTH + 1) + column) * scale
                        self.fill(x, top + row * scale, scale, scale, colour)

    def write(self, path: Path) -> None:
        """Write the PNG file (W3C PNG specification: true colour, 8 bits, one zlib stream)."""
        rows = np.concatenate((np.zeros((self.height, 1), np.uint8), self.pixels.reshape(self.height, -1)), axis=1)
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks))


def text_width(text: str, scale: int = 2) -> int:
    """Give the width of a text in pixels."""
    return (len(text) * (GLYPH_WIDTH + 1) - 1) * scale


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
