"""Where to look for a plan's or a symbol's results: what stands in the stream is found by id, and nobody knows an id.

For every minute of entry ids one string: four bytes of each plan id and each symbol that a result of that minute named.
A search looks for its four bytes in these strings, and then only through the minutes that hold them. It is written
before a batch is counted, so that a crash between the two writes it twice rather than never.
"""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from zlib import crc32

from microservices.contracts import decision
from microservices.runtime import Row

MARK_BYTES = 4
_FOUR_BYTES = next(code for code in "IL" if array(code).itemsize == MARK_BYTES)

Command = tuple[str | bytes | int, ...]


def mark(name: bytes) -> bytes:
    """Give the four bytes that stand for a plan id or a symbol: its CRC-32, most significant byte first."""
    return crc32(name).to_bytes(MARK_BYTES, "big")


def index_commands(rows: Sequence[Row]) -> Iterator[Command]:
    """Make the commands that note a batch.

    Args:
        rows: entries in the order of their ids.
    """
    at = 0
    while at < len(rows):
        minute = _minute(rows[at])
        behind = bisect_left(rows, minute + 1, at, key=_minute)
        marks = _marks(rows[at:behind])
        if marks:
            yield "APPEND", decision.index_key(minute), marks
            yield "EXPIRE", decision.index_key(minute), decision.INDEX_TTL_S
        at = behind


def _minute(row: Row) -> int:
    return int(row[0].partition(b"-")[0]) // 60_000


def _marks(rows: Sequence[Row]) -> bytes:
    """Mark every plan id and each symbol once; most often these stand where the apply layer writes them."""
    plan_ids = [values[1] if values[0] == b"plan_id" else _value(values, b"plan_id") for _, values in rows if values]
    symbols = {values[3] if values[2:3] == [b"symbol"] else _value(values, b"symbol") for _, values in rows if values}
    names = filter(None, (*plan_ids, *map(bytes.upper, symbols)))
    marks = array(_FOUR_BYTES, map(crc32, names))
    if sys.byteorder == "little":
        marks.byteswap()
    return marks.tobytes()


def _value(values: list[bytes], name: bytes) -> bytes:
    """Give a field's value, empty where there is none."""
    names = values[::2]
    return values[2 * names.index(name) + 1] if name in names else b""
