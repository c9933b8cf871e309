"""The replay tool: every form of input, every kind of output, its exit codes."""

import csv
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai_engine.market_state import FIELDS, MarketState
from ops import replay_market_state
from ops.replay.price_files import BadPrices, read_history
from ops.replay.synthetic import REGIMES, synthetic_prices
from tests.support.market_state_oracle import flat

PRICES = synthetic_prices("trend", 42, 300)
CANDLES: list[dict[str, Any]] = [
    {"t": 60_000 * n, "o": "1", "h": "2", "l": "0.5", "c": repr(float(price)), "v": "1"}
    for n, price in enumerate(PRICES)
]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the tool; give exit code, standard output and standard error."""
    try:
        code = replay_market_state.main(list(arguments))
    except SystemExit as usage:
        code = int(usage.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_synthetic_trend_prints_the_golden_state(capsys: pytest.CaptureFixture[str]) -> None:
    """Seed 42 prints the locked numbers, with their decimals, bars, windows and the dominant regime."""
    code, out, _ = run(capsys, "--synthetic", "--regime", "trend")
    assert code == 0
    for expected in ("0.00967080", "0.00186241", "0.192581", "trend   30.3% ████████████", "dp=0.494118", "64/128/256"):
        assert expected in out
    assert out.rstrip().endswith("dominant     chop")


@pytest.mark.parametrize("regime", REGIMES)
def test_json_is_the_state_and_what_it_was_made_of(capsys: pytest.CaptureFixture[str], regime: str) -> None:
    """With --json every key of get_state is printed, with the dominant regime besides."""
    code, out, _ = run(capsys, "--synthetic", "--regime", regime, "--seed", "7", "--n", "400", "--json")
    printed = json.loads(out)
    state = MarketState().get_state("X", synthetic_prices(regime, 7, 400))
    assert state is not None
    assert code == 0
    assert printed | state == printed
    assert printed["prices"] == 400
    assert printed["dominant"] in {"trend", "mr", "chop"}


def text_forms() -> dict[str, str]:
    """Write the same candles in every form the tool reads."""
    binance = [[row["t"], row["o"], row["h"], row["l"], row["c"], row["v"]] for row in CANDLES]
    named = [{"timestamp": row["t"], "open": 1, "close": float(row["c"])} for row in CANDLES]
    stream = [
        {"msg": {"stream": "x", "data": {"e": "kline", "k": row | {"s": "BTCUSDT", "x": True}}}} for row in CANDLES
    ]
    stream.append({"msg": {"data": {"k": CANDLES[0] | {"s": "BTCUSDT", "x": False, "c": "-5"}}}})
    return {
        "one price a line": "\n".join(repr(float(price)) for price in PRICES),
        "CSV with a header": "open_time,open,high,low,close,volume\n"
        + "\n".join(f"{row['t']},1,2,0.5,{row['c']},1" for row in CANDLES),
        "CSV by symbol": "symbol,close,open_time\n"
        + "\n".join(f"BTCUSDT,{row['c']},{row['t']}\nETHUSDT,5,{row['t']}" for row in CANDLES),
        "CSV without a header, newest first, with text": "\n".join(
            f"{row['t']},2019-09-19 03:57:00,BTC/USDT,1,2,0.5,{row['c']},1" for row in reversed(CANDLES)
        ),
        "JSON arrays": json.dumps(binance),
        "JSON numbers": json.dumps(list(PRICES)),
        "JSON objects": json.dumps({"symbol": "BTCUSDT", "candles": named}),
        "JSON lines of candles": "\n".join(json.dumps(row) for row in CANDLES),
        "JSON lines of the stream": "\n".join(json.dumps(row) for row in stream),
    }


@pytest.mark.parametrize("form", text_forms())
@pytest.mark.parametrize("zipped", [False, True])
def test_every_form_of_file_gives_the_same_closes(tmp_path: Path, form: str, zipped: bool) -> None:
    """The closes come out in the order of time, to the last bit, plain or gzip."""
    path = tmp_path / "prices"
    raw = text_forms()[form].encode()
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    history = read_history(str(path), "BTCUSDT")
    assert (history.closes == PRICES).all()


def test_standard_input_is_read_as_a_file_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dash reads what is piped in."""
    raw = io.BytesIO(text_forms()["one price a line"].encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(raw))
    code, out, _ = run(capsys, "--file", "-", "--json")
    assert code == 0
    assert json.loads(out)["source"] == "standard input"


def test_rolling_writes_the_state_of_every_prefix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each row of the CSV is what get_state says of that prefix, to the last bit."""
    path = tmp_path / "candles.csv"
    path.write_text(text_forms()["CSV with a header"])
    out_path = tmp_path / "states.csv"
    code, out, err = run(capsys, "--file", str(path), "--rolling", str(out_path), "--json")
    rows = list(csv.DictReader(out_path.read_text().splitlines()))
    assert code == 0
    assert json.loads(out)["prices"] == 300
    assert "44 states written" in err
    assert len(rows) == 44
    for row in (rows[0], rows[20], rows[-1]):
        state = MarketState().get_state("X", PRICES[: int(row["index"]) + 1])
        assert state is not None
        assert {name: float(row[name]) for name in FIELDS} == flat(state)
        assert float(row["close"]) == PRICES[int(row["index"])]
        assert int(row["open_time"]) == 60_000 * int(row["index"])


def test_theta_changes_the_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    """An override reaches the calculator."""
    code, out, _ = run(capsys, "--synthetic", "--json", "--theta", '{"vol": {"sigma_floor": 0.5}}')
    assert code == 0
    assert json.loads(out)["sigma"] == 0.5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1\n2\nthree",
        "open,high\n1,2",
        "[1, 2",
        "{}",
        '{"candles": []}',
        "1\n" * 256,
        "1\n" * 300 + "0\n",
        "1\n" * 300 + "nan\n",
        '[{"t":1,"c":"1"},{"t":1,"c":"2"}]',
        '[{"s":"A","c":"1"},{"s":"B","c":"2"}]',
        "t,c\n1,2,3",
    ],
)
def test_unreadable_or_too_short_input_is_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """Whatever is wrong with the input is said in one line that names the file."""
    path = tmp_path / "prices.csv"
    path.write_text(text)
    code, out, err = run(capsys, "--file", str(path))
    assert (code, out) == (1, "")
    assert err.startswith("replay_market_state: ")
    assert "prices.csv" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "no closed candle"), ("1,2,3\n", "3 numbers in a row"), ('[["1", "2"]]', "2 numbers in a row")],
)
def test_what_is_missing_is_said_in_words(tmp_path: Path, text: str, why: str) -> None:
    """An empty file and rows without a close are refused by what they lack, not by a Python error."""
    path = tmp_path / "prices.csv"
    path.write_text(text)
    with pytest.raises(BadPrices, match=why):
        read_history(str(path))


def test_a_missing_file_is_exit_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file that is not there."""
    code, _, err = run(capsys, "--file", str(tmp_path / "absent"))
    assert code == 1
    assert "absent" in err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--synthetic", "--file", "x"],
        ["--synthetic", "--regime", "sideways"],
        ["--synthetic", "--n", "0"],
        ["--synthetic", "--seed", "-1"],
        ["--synthetic", "--theta", "{"],
        ["--synthetic", "--theta", "[]"],
        ["--synthetic", "--theta", '{"vola": 1}'],
        ["--synthetic", "--bogus"],
    ],
)
def test_wrong_usage_is_exit_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Contradictory, unknown or impossible options."""
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err


def test_synthetic_prices_are_numpy_s_legacy_generator() -> None:
    """The generators follow the specified recursions."""
    noise: Any = np.random.RandomState(3).randn(50)
    assert (synthetic_prices("chop", 3, 50) == 100 + np.cumsum(noise * 0.02)).all()
    assert (synthetic_prices("trend", 3, 50) == 100 * np.exp(np.cumsum(noise * 0.01 + 0.002))).all()
    reverting = synthetic_prices("mean_revert", 3, 50)
    assert reverting[0] == pytest.approx(100 + noise[0] * 0.015)
    assert reverting[1] == pytest.approx(reverting[0] + 0.05 * (100 - reverting[0]) + noise[1] * 0.015)


def test_a_symbol_that_is_not_there_is_named() -> None:
    """Choosing an absent symbol is refused."""
    with pytest.raises(BadPrices, match="ABSENT"):
        read_history(str(Path(__file__).with_name("absent")).replace("absent", "ABSENT"), "ABSENT")
