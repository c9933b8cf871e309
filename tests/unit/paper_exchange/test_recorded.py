"""Recorded candles: every form they are kept in, what is left out or refused, and how they are placed in time."""

import gzip
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.paper_exchange.builtin_market import builtin_exchange_info
from microservices.paper_exchange.candles import MINUTE_MS
from microservices.paper_exchange.instruments import BadMarketFile, ExchangeInfo
from microservices.paper_exchange.market import Market
from microservices.paper_exchange.recorded_files import MAX_ROWS, Recording, Skipped, read_recordings
from microservices.paper_exchange.recorded_path import RecordedPath

INFO = ExchangeInfo(builtin_exchange_info())
BTC, ETH = INFO.instruments["BTCUSDT"], INFO.instruments["ETHUSDT"]
BEGIN_MS = 1_763_175_060_000
ROWS = [
    (0, "95505.4", "95505.5", "95502.7", "95502.7", "16.536"),
    (1, "95502.8", "95510.0", "95478.0", "95478.1", "28.313"),
    (2, "95478.0", "95478.1", "95457.6", "95457.6", "0.0"),
]
NAMES = ["open_time", "open", "high", "low", "close", "volume"]


def cells(begin_ms: int = BEGIN_MS) -> list[list[str]]:
    """The rows with their open times in milliseconds."""
    return [[str(begin_ms + minute * MINUTE_MS), *values] for minute, *values in ROWS]


def csv(*rows: Sequence[str]) -> bytes:
    """Write rows as CSV."""
    return "".join(",".join(row) + "\n" for row in rows).encode()


def with_header() -> bytes:
    """Header and six columns."""
    return csv(NAMES, *cells())


def shuffled_header() -> bytes:
    """Other names and another order of the columns."""
    order = [5, 0, 4, 3, 2, 1]
    names = ["Volume", "Open time", "Close", "Low", "High", "Open"]
    return csv(names, *([row[i] for i in order] for row in cells()))


def headless_falling() -> bytes:
    """No header, newest first, a date and the pair between time and prices, more columns behind."""
    return csv(*([row[0], "2019-09-19 03:57:00", "BTC/USDT", *row[1:], "151001.2", "21"] for row in reversed(cells())))


def headless_plain() -> bytes:
    """No header, nothing but numbers: the symbol is in the file's name."""
    return csv(*cells())


def vision() -> bytes:
    """The columns of Binance Vision's monthly files."""
    header = [*NAMES, "close_time", "quote_volume", "count", "taker_buy_volume", "taker_buy_quote_volume", "ignore"]
    return csv(header, *([*row, str(int(row[0]) + 59_999), "1", "2", "3", "4", "0"] for row in cells()))


def microseconds() -> bytes:
    """Vision's newer files count in microseconds."""
    return csv(NAMES, *([row[0] + "000", *row[1:]] for row in cells()))


def seconds() -> bytes:
    """Open times in whole seconds."""
    return csv(NAMES, *([row[0][:-3], *row[1:]] for row in cells()))


def objects_in_candles() -> bytes:
    """A symbol and a list of objects under `candles`, numbers as JSON numbers."""
    names = ["timestamp", "open", "high", "low", "close", "volume"]
    candles = [dict(zip(names, (float(cell) for cell in row), strict=True)) for row in cells()]
    return json.dumps({"symbol": "BTCUSDT", "interval": "1m", "candles": candles}).encode()


def arrays() -> bytes:
    """The wire's own form: arrays, prices as text, and more columns than six."""
    return json.dumps([[int(row[0]), *row[1:], int(row[0]) + 59_999, "1", 2] for row in cells()]).encode()


def number_arrays() -> bytes:
    """Arrays of six numbers."""
    return json.dumps([[int(row[0]), *map(float, row[1:])] for row in cells()]).encode()


def symbol_column() -> bytes:
    """Several symbols in one table."""
    other = ([name, *row] for name in ("ETHUSDT", "NOTLISTED") for row in cells())
    return csv(["symbol", *NAMES], *(["BTCUSDT", *row] for row in cells()), *other)


FORMS: dict[str, Callable[[], bytes]] = {
    "x_BTCUSDT_1m.csv": with_header,
    "BTCUSDT-a.csv": shuffled_header,
    "falling.csv": headless_falling,
    "BTCUSDT.csv": headless_plain,
    "BTCUSDT-1m-2025-04.csv": vision,
    "BTCUSDT-1m-2026-04.csv": microseconds,
    "BTCUSDT_seconds.csv": seconds,
    "candles.json": objects_in_candles,
    "BTCUSDT_wire.json": arrays,
    "BTCUSDT-numbers.json": number_arrays,
    "many.csv": symbol_column,
}


def read(folder: Path) -> tuple[dict[str, Recording], list[Skipped]]:
    """Read a folder for the built-in symbols."""
    return read_recordings(folder, INFO.symbols())


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_candles(tmp_path: Path, name: str, zipped: bool) -> None:
    """Whatever the file looks like, the candles, their order, their end and their decimals are the same."""
    body = FORMS[name]()
    path = tmp_path / (name + ".gz" if zipped else name)
    path.write_bytes(gzip.compress(body) if zipped else body)
    recording = read(tmp_path)[0]["BTCUSDT"]
    assert recording.prices.tolist() == [[float(cell) for cell in row[1:5]] for row in ROWS]
    assert recording.volume.tolist() == [16.536, 28.313, 0.0]
    assert recording.end_s == BEGIN_MS / 1000 + 120
    assert (recording.price_decimals, recording.volume_decimals) == (1, 3)


def test_the_recording_that_ends_later_wins(tmp_path: Path) -> None:
    """Of two files for one symbol the newer one is shown, and the other is named as left out."""
    (tmp_path / "a_BTCUSDT.csv").write_bytes(csv(NAMES, *cells(BEGIN_MS + 10 * MINUTE_MS)))
    (tmp_path / "b_BTCUSDT.csv").write_bytes(with_header())
    recordings, skipped = read(tmp_path)
    assert recordings["BTCUSDT"].source.name == "a_BTCUSDT.csv"
    assert [left_out.what for left_out in skipped] == ["BTCUSDT of b_BTCUSDT.csv"]


def test_other_intervals_and_unlisted_symbols_are_left_out(tmp_path: Path) -> None:
    """Five-minute candles and symbols that exchangeInfo lacks are no error, and are named."""
    five = ([str(BEGIN_MS + i * 5 * MINUTE_MS), "1", "1", "1", "1", "0"] for i in range(4))
    (tmp_path / "BTCUSDT_5m.csv").write_bytes(csv(NAMES, *five))
    (tmp_path / "UNITTEST_BTC-1m.json").write_bytes(arrays())
    (tmp_path / "stream.jsonl").write_text("{}\n{}\n")
    recordings, skipped = read(tmp_path)
    assert recordings == {}
    assert [left_out.why for left_out in skipped] == ["not 1-minute candles", "not a listed symbol"]


def broken(**changes: str) -> bytes:
    """The plain table with one row's columns changed."""
    rows = cells()
    for name, value in changes.items():
        rows[1][NAMES.index(name)] = value
    return csv(NAMES, *rows)


@pytest.mark.parametrize(
    "body",
    [
        broken(close="abc"),
        broken(close="nan"),
        broken(low="0"),
        broken(high="95400"),
        broken(volume="-1"),
        csv(NAMES, *cells(), ["1763175240000", "1"]),
        csv(["time", "open"], ["1", "2"]),
        csv(["1", "2"]),
        b"",
        b"\xff\xfe",
    ],
    ids=["no number", "nan", "zero", "high below", "negative volume", "short", "columns", "narrow", "empty", "binary"],
)
def test_a_broken_table_is_refused_by_name(tmp_path: Path, body: bytes) -> None:
    """A file that should hold candles and does not ends in one line with its path, never in other prices."""
    (tmp_path / "BTCUSDT.csv").write_bytes(body)
    with pytest.raises(BadMarketFile, match=r"BTCUSDT\.csv") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"candles": 3}', b"[1, 2]", b'[{"open": 1}]', b"[[1, null, 1, 1, 1, 1]]"]
)
def test_broken_json_is_refused_by_name(tmp_path: Path, body: bytes) -> None:
    """The same for JSON of another shape."""
    (tmp_path / "BTCUSDT.json").write_bytes(body)
    with pytest.raises(BadMarketFile, match=r"BTCUSDT\.json"):
        read(tmp_path)


def test_a_folder_or_a_gzip_that_is_none_is_refused(tmp_path: Path) -> None:
    """What cannot be read at all is named too."""
    with pytest.raises(BadMarketFile, match="not a folder"):
        read(tmp_path / "absent")
    (tmp_path / "BTCUSDT.csv.gz").write_bytes(with_header())
    with pytest.raises(BadMarketFile, match=r"BTCUSDT\.csv\.gz"):
        read(tmp_path)


@pytest.mark.parametrize("falling", [False, True], ids=["rising", "falling"])
def test_of_a_long_recording_the_newest_week_is_used(tmp_path: Path, falling: bool) -> None:
    """Length costs nothing: older rows are cut off, whichever way the table runs."""
    rows = [[str(BEGIN_MS + i * MINUTE_MS), "2", "2", "2", "2", "1"] for i in range(MAX_ROWS + 500)]
    (tmp_path / "BTCUSDT.csv").write_bytes(csv(NAMES, *(reversed(rows) if falling else rows)))
    recording = read(tmp_path)[0]["BTCUSDT"]
    assert len(recording.volume) == MAX_ROWS
    assert recording.end_s == BEGIN_MS / 1000 + (MAX_ROWS + 499) * 60


def recording_of(closes: list[int]) -> Recording:
    """A recording whose candles open where the one before closed."""
    opens = [closes[0], *closes[:-1]]
    prices = np.array(
        [[o, max(o, c) + 1, min(o, c) - 0.5, c] for o, c in zip(opens, closes, strict=True)], dtype=np.float64
    )
    return Recording(
        symbol="ETHUSDT",
        source=Path("x"),
        end_s=0.0,
        prices=prices,
        volume=np.arange(1.0, len(closes) + 1),
        price_decimals=1,
        volume_decimals=0,
    )


def test_the_recording_ends_now_and_nothing_is_before_it() -> None:
    """The newest recorded candle is the one that has just closed; the history is no longer than the recording."""
    anchor = 29_000_000
    path = RecordedPath(recording_of([100, 105, 103]), ETH, anchor)
    body = Market({"ETHUSDT": path}).klines("ETHUSDT", anchor * MINUTE_MS, limit=500, start_ms=None, end_ms=None)
    rows = msgspec.json.decode(body)
    assert [row[0] // MINUTE_MS - anchor for row in rows] == [-3, -2, -1, 0]
    assert [Decimal(row[4]) for row in rows[:3]] == [100, 105, 103]
    assert Decimal(rows[3][1]) == 103


@given(st.lists(st.integers(50, 60), min_size=1, max_size=9), st.integers(0, 60))
def test_it_goes_on_without_a_seam_within_recorded_prices(closes: list[int], ahead: int) -> None:
    """After its end the recording runs backwards and forwards in turn: it joins, and no price is new."""
    path = RecordedPath(recording_of(closes), ETH, 1_000)
    candles = path.candles(path.first_minute(), len(closes) + ahead)
    assert (candles.opens[1:] == candles.closes[:-1]).all()
    assert set(candles.highs.tolist()) <= set(candles.highs[: len(closes)].tolist())
    assert (candles.highs >= np.maximum(candles.opens, candles.closes)).all()
    assert (candles.lows <= np.minimum(candles.opens, candles.closes)).all()


def test_recorded_prices_finer_than_the_tick_stay_exact() -> None:
    """A recording from before a tick grew keeps its own decimals."""
    fine = Recording(
        symbol="BTCUSDT",
        source=Path("x"),
        end_s=0.0,
        prices=np.array([[1.2345, 1.2346, 1.2344, 1.2345]]),
        volume=np.array([1.0]),
        price_decimals=4,
        volume_decimals=0,
    )
    candles = RecordedPath(fine, BTC, 10).candles(9, 1)
    assert (candles.closes.tolist(), candles.decimals, candles.tick) == ([12_345], 4, 1)
