"""Recorded 1-minute candles in the forms people keep them in, as columns per symbol.

CSV with a header (any order of columns; Binance Vision's among them), CSV without one (open time first, then open,
high, low, close, volume; columns of text between them may name the symbol), several symbols in one CSV by a `symbol`
column, JSON `{"candles": [{…}]}`, JSON arrays of arrays or of objects; plain or .gz; rows in either direction.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from microservices.paper_exchange.instruments import BadMarketFile, read_plain

MAX_ROWS = 10_080
"""The newest week of a recording is used: enough for any window, and read in a moment."""

_MINUTE_S = 60
_SUFFIXES = (".csv", ".csv.gz", ".json", ".json.gz")
_TIME_NAMES = ("open_time", "opentime", "timestamp", "time", "t")
_COLUMN_NAMES = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_SYMBOL_TEXT = re.compile(r"[^\W_]+[/-]?[^\W_]+")
_MAX_DECIMALS = 10

Cells = Sequence[Sequence[str]]


class Recording(msgspec.Struct, frozen=True):
    """One symbol's recorded candles in the order of time; a row a minute, gaps closed up.

    Columns of `prices` are open, high, low, close; `end_s` is the open time of the last row, epoch seconds.
    """

    symbol: str
    source: Path
    end_s: float
    prices: NDArray[np.float64]
    volume: NDArray[np.float64]
    price_decimals: int
    volume_decimals: int


class Skipped(msgspec.Struct, frozen=True):
    """A file or symbol that was left out, and why."""

    what: str
    why: str


def read_recordings(folder: Path, symbols: Sequence[str]) -> tuple[dict[str, Recording], list[Skipped]]:
    """Read every recording of the listed symbols under a folder; of two for one symbol the one that ends later.

    Raises:
        BadMarketFile: the folder is none, or a file that should hold candles does not; names file and fault.
    """
    if not folder.is_dir():
        raise BadMarketFile(f"{folder}: not a folder")
    wanted, kept = frozenset(symbols), dict[str, Recording]()
    skipped: list[Skipped] = []
    for path in sorted(path for path in folder.iterdir() if path.name.lower().endswith(_SUFFIXES)):
        for found in _found_in(path, wanted):
            if isinstance(found, Skipped):
                skipped.append(found)
                continue
            other = kept.get(found.symbol)
            if other is None or found.end_s > other.end_s:
                kept[found.symbol] = found
            if other is not None:
                older = min(found, other, key=lambda recording: recording.end_s)
                skipped.append(Skipped(f"{found.symbol} of {older.source.name}", "another recording ends later"))
    return kept, skipped


def _found_in(path: Path, wanted: frozenset[str]) -> list[Recording | Skipped]:
    try:
        return list(_read_file(path, wanted))
    except (IndexError, TypeError, AttributeError):
        raise BadMarketFile(f"{path}: a row is no list of open time, open, high, low, close, volume") from None


def _read_file(path: Path, wanted: frozenset[str]) -> Iterator[Recording | Skipped]:
    raw = read_plain(path)
    read = _json_tables if ".json" in path.name.lower() else _csv_tables
    for name, rows in read(path, raw):
        symbol = name if name in wanted else _symbol_in(path.name, wanted) if not name else None
        if symbol is None:
            yield Skipped(f"{name or 'the symbol'} of {path.name}", "not a listed symbol")
        else:
            yield _recording(path, symbol, rows)


def _csv_tables(path: Path, raw: bytes) -> Iterator[tuple[str, Cells]]:
    """Split a CSV into tables of the six cells open time, open, high, low, close, volume, by symbol."""
    try:
        lines = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadMarketFile(f"{path}: not UTF-8: {error}") from None
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise BadMarketFile(f"{path}: empty")
    header = [cell.strip().lower() for cell in lines[0].split(",")]
    if _NUMBER.fullmatch(header[0]):
        yield from _headless_table(path, lines)
        return
    take = _columns(path, header)
    if "symbol" not in header:
        yield "", [take(line.split(",")) for line in _newest(lines[1:], lambda line: line.split(",")[0])]
        return
    at = header.index("symbol")
    tables: dict[str, list[str]] = {}
    for line in lines[1:]:
        tables.setdefault(line.split(",", at + 1)[at], []).append(line)
    for symbol, table in tables.items():
        yield symbol.strip().upper(), [take(line.split(",")) for line in table]


def _headless_table(path: Path, lines: list[str]) -> Iterator[tuple[str, Cells]]:
    cells = lines[0].split(",")
    numeric = [i for i, cell in enumerate(cells) if _NUMBER.fullmatch(cell.strip())][:6]
    if len(numeric) < 6:
        raise BadMarketFile(f"{path}: no header, and not six columns of numbers")
    texts = [cell.strip() for i, cell in enumerate(cells) if i not in numeric]
    name = next((text for text in texts if _SYMBOL_TEXT.fullmatch(text)), "")
    take = itemgetter(*numeric)
    newest = _newest(lines, lambda line: line.split(",")[0])
    yield re.sub("[/-]", "", name).upper(), [take(line.split(",")) for line in newest]


def _json_tables(path: Path, raw: bytes) -> Iterator[tuple[str, Cells]]:
    try:
        document: Any = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise BadMarketFile(f"{path}: not JSON: {error}") from None
    symbol = ""
    if isinstance(document, dict):
        symbol = str(document.get("symbol") or "").upper()
        document = document.get("candles")
    if not isinstance(document, list) or not document:
        raise BadMarketFile(f"{path}: no list of candles")
    if isinstance(document[0], dict):
        header = list(document[0])
        take = _columns(path, [name.lower() for name in header])
        document = [take([str(row.get(name)) for name in header]) for row in document]
    else:
        document = [[str(cell) for cell in row[:6]] for row in document]
    yield symbol, document


def _columns(path: Path, header: list[str]) -> Callable[[Sequence[str]], Sequence[str]]:
    """Build what takes open time, open, high, low, close and volume out of a row."""
    times = [i for i, name in enumerate(header) if name.replace(" ", "_") in _TIME_NAMES]
    values = [header.index(name) if name in header else -1 for name in _COLUMN_NAMES]
    if any(at < 0 for at in values):  # the wire's own one-letter names
        values = [header.index(name) if name in header else -1 for name in _COLUMN_NAMES.values()]
    if not times or any(at < 0 for at in values):
        raise BadMarketFile(f"{path}: no columns open time, open, high, low, close, volume in {header[:8]}")
    return itemgetter(times[0], *values)


def _newest(lines: list[str], time_of: Callable[[str], str]) -> list[str]:
    """Cut a long table to its newest rows, whichever way it runs."""
    if len(lines) <= MAX_ROWS:
        return lines
    try:
        falling = float(time_of(lines[0])) > float(time_of(lines[-1]))
    except ValueError:  # the first column is not the time: the whole table is read
        return lines
    return lines[:MAX_ROWS] if falling else lines[-MAX_ROWS:]


def _recording(path: Path, symbol: str, rows: Cells) -> Recording | Skipped:
    """Turn cells into columns in the order of time.

    Raises:
        BadMarketFile: a cell is no number, or a price is not above 0 or outside its own low and high.
    """
    try:
        table = np.fromiter(map(float, chain.from_iterable(rows)), np.float64).reshape(-1, 6)
    except ValueError as error:
        raise BadMarketFile(f"{path}: {symbol}: {error}") from None
    times, where = np.unique(table[:, 0], return_index=True)
    seconds = times / _unit_per_second(times[-1])
    if len(times) > 1 and float(np.median(np.diff(seconds))) != _MINUTE_S:
        return Skipped(f"{symbol} of {path.name}", "not 1-minute candles")
    where = where[-MAX_ROWS:]
    prices, volume = table[where, 1:5], table[where, 5]
    if not _sound(prices, volume):
        raise BadMarketFile(f"{path}: {symbol}: a price is not above 0, or outside its own low and high")
    return Recording(
        symbol=symbol,
        source=path,
        end_s=float(seconds[-1]),
        prices=prices,
        volume=volume,
        price_decimals=_decimals(prices),
        volume_decimals=_decimals(volume),
    )


def _sound(prices: NDArray[np.float64], volume: NDArray[np.float64]) -> bool:
    finite = bool(np.isfinite(prices).all() and np.isfinite(volume).all())
    ordered = (prices[:, 1] >= prices.max(axis=1)).all() and (prices[:, 2] <= prices.min(axis=1)).all()
    return finite and bool(ordered) and bool((prices > 0).all()) and bool((volume >= 0).all())


def _unit_per_second(time: float) -> float:
    """Tell seconds, milliseconds and microseconds apart by size; Vision's newer files have the last."""
    return 1e6 if time > 1e14 else 1e3 if time > 1e11 else 1.0


def _decimals(numbers: NDArray[np.float64]) -> int:
    """Count the decimals that write every number exactly."""
    return next((d for d in range(_MAX_DECIMALS) if (np.round(numbers, d) == numbers).all()), _MAX_DECIMALS)


def _symbol_in(file_name: str, wanted: frozenset[str]) -> str | None:
    return next((part for part in re.split(r"[-_. ]", file_name) if part in wanted), None)
