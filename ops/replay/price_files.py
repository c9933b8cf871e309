"""Closes out of a file: one price a line, or candles as CSV, JSON or JSON lines, plain or gzip.

CSV with a header (a column `close` or `c`, in any order), CSV without one (Binance's order: open time, open, high, low,
close), several symbols in one file by a `symbol` column; JSON arrays of arrays or of objects, an object that holds such
an array under `candles`, and JSON lines of `kline` stream messages, of which only closed candles count.
"""

import csv
import gzip
import json
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_CLOSE_NAMES = ("close", "c")
_TIME_NAMES = ("open_time", "opentime", "timestamp", "time", "date", "t")
_SYMBOL_NAMES = ("symbol", "s")
_CLOSE_AMONG_NUMBERS = 4
"""Where the close stands among the numbers of a candle without names: open time, open, high, low, close."""
_NAMED_AT_MOST = 8
_GZIP_MAGIC = b"\x1f\x8b"
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)


class BadPrices(Exception):
    """The file cannot be used; the text says why in one line."""


class Row(NamedTuple):
    """One close, with its symbol and open time where the file names them."""

    symbol: str
    time: float | None
    close: float


class History(NamedTuple):
    """Closes in the order of time, and their open times as the file writes them (NaN where it does not)."""

    symbol: str
    times: npt.NDArray[np.float64]
    closes: npt.NDArray[np.float64]


def read_histories(source: str) -> dict[str, History]:
    """Read every symbol of a file; one without a name is called by the empty string.

    Raises:
        BadPrices: it cannot be read, or holds no prices.
    """
    by_symbol: dict[str, list[Row]] = {}
    for row in _read_rows(source):
        by_symbol.setdefault(row.symbol, []).append(row)
    return {symbol: _in_order(source, rows) for symbol, rows in by_symbol.items()}


def read_history(source: str, symbol: str | None = None) -> History:
    """Read the closes of a file, or of standard input where `source` is `-`.

    Args:
        source: path of the file.
        symbol: which one, where the file holds several.

    Raises:
        BadPrices: it cannot be read, holds no prices, or several symbols and none was chosen.
    """
    return _in_order(source, _of_one_symbol(source, _read_rows(source), symbol))


def _read_rows(source: str) -> list[Row]:
    text = _text(source)
    try:
        return list(_rows(text))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, csv.Error) as error:
        raise BadPrices(f"{source}: not one price a line, nor CSV or JSON candles with a close: {error}") from None


def _text(source: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        if raw.startswith(_GZIP_MAGIC):
            raw = gzip.decompress(raw)
        return raw.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadPrices(f"{source}: cannot be read: {error}") from None


def _rows(text: str) -> Iterator[Row]:
    stripped = text.lstrip()
    if stripped.startswith(("[", "{")):
        return _json_rows(stripped)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if lines and _NUMBER.fullmatch(lines[0].strip()):
        return (Row("", None, float(line)) for line in lines)
    return _csv_rows(lines)


def _csv_rows(lines: list[str]) -> Iterator[Row]:
    table = csv.reader(lines)
    first = next(table, None)
    if first is None:
        return
    if not any(_NUMBER.fullmatch(cell.strip()) for cell in first):
        names = [cell.strip().lower() for cell in first]
        for cells in table:
            yield _named_row(dict(zip(names, cells, strict=True)))
        return
    for cells in (first, *table):
        yield _unnamed_row(cells)


def _json_rows(text: str) -> Iterator[Row]:
    try:
        documents: list[Any] = [json.loads(text)]
    except json.JSONDecodeError:
        documents = [json.loads(line) for line in text.splitlines() if line.strip()]
    for document in documents:
        yield from _document_rows(document)


def _document_rows(document: Any, symbol: str = "") -> Iterator[Row]:  # noqa: ANN401 - whatever JSON holds
    if isinstance(document, Mapping) and "candles" in document:
        yield from _document_rows(document["candles"], str(document.get("symbol", "")))
    elif isinstance(document, Mapping):
        candle = _stream_candle(document)
        if candle.get("x", True):
            yield _named_row({str(name).lower(): value for name, value in candle.items()}, symbol)
    else:
        for item in document:
            if isinstance(item, Mapping):
                yield from _document_rows(item, symbol)
            else:
                yield _unnamed_row(item if isinstance(item, list) else [item])


def _stream_candle(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Unwrap a candle from the messages it travels in: `msg`, `data`, `k`."""
    for name in ("msg", "data", "k"):
        inner = document.get(name)
        if isinstance(inner, Mapping):
            document = inner
    return document


def _named_row(candle: Mapping[str, Any], symbol: str = "") -> Row:
    close = next((candle[name] for name in _CLOSE_NAMES if name in candle), None)
    if close is None:
        raise ValueError(f"no column close among {', '.join(list(candle)[:8])}")
    time = next((candle[name] for name in _TIME_NAMES if name in candle), None)
    named = next((str(candle[name]) for name in _SYMBOL_NAMES if name in candle), symbol)
    return Row(named.strip().upper(), _time(time), float(close))


def _unnamed_row(cells: Iterable[Any]) -> Row:
    texts = [str(cell).strip() for cell in cells]
    numbers = [text for text in texts if _NUMBER.fullmatch(text)]
    if len(numbers) == 1:
        return Row("", None, float(numbers[0]))
    if len(numbers) <= _CLOSE_AMONG_NUMBERS:
        raise ValueError(f"{len(numbers)} numbers in a row, expected one price, or open time, open, high, low, close")
    return Row("", float(numbers[0]), float(numbers[_CLOSE_AMONG_NUMBERS]))


def _time(value: object) -> float | None:
    text = str(value).strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _of_one_symbol(source: str, rows: list[Row], symbol: str | None) -> list[Row]:
    known = sorted({row.symbol for row in rows})
    wanted = symbol.upper() if symbol else None
    if wanted is not None and known != [""]:
        rows = [row for row in rows if row.symbol == wanted]
    elif len(known) > 1:
        more = " …" if len(known) > _NAMED_AT_MOST else ""
        named = ", ".join(known[:_NAMED_AT_MOST])
        raise BadPrices(f"{source}: holds {len(known)} symbols, choose one with --symbol: {named}{more}")
    if not rows:
        raise BadPrices(f"{source}: no closed candle{f' of {wanted}' if wanted else ''}")
    return rows


def _in_order(source: str, rows: list[Row]) -> History:
    times = np.array([np.nan if row.time is None else row.time for row in rows])
    closes = np.array([row.close for row in rows])
    if np.isfinite(times).all():
        order = np.argsort(times, kind="stable")
        times, closes = times[order], closes[order]
        twice = np.flatnonzero(np.diff(times) == 0)
        if len(twice):
            raise BadPrices(f"{source}: two candles of open time {times[twice[0]]:.0f}")
    return History(rows[0].symbol, times, closes)
