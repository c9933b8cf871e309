"""Answers of `GET /fapi/v1/exchangeInfo` for tests: made up ones, and recorded ones where they are at hand."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

Entry = dict[str, Any]


def entry(symbol: str, **change: object) -> Entry:
    """Make a traded perpetual as the exchange lists it; a change to None leaves the field out."""
    fields = {
        "symbol": symbol,
        "pair": symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "baseAsset": symbol[:-4],
        "quoteAsset": "USDT",
        "filters": filters(),
    } | change
    return {name: value for name, value in fields.items() if value is not None}


def filters(**change: dict[str, str] | None) -> list[dict[str, str]]:
    """Make a perpetual's filters; a change adds to the named one, and None leaves it out."""
    rules: dict[str, dict[str, str]] = {
        "PRICE_FILTER": {"minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
        "LOT_SIZE": {"minQty": "0.0001", "maxQty": "1000", "stepSize": "0.0001"},
        "MARKET_LOT_SIZE": {"minQty": "0.001", "maxQty": "120", "stepSize": "0.001"},
        "MIN_NOTIONAL": {"notional": "5"},
    }
    made = []
    for kind, rule in rules.items():
        changed = change.get(kind, {})
        if changed is not None:
            made.append({"filterType": kind} | rule | changed)
    return made


def answer(entries: list[Any], **change: object) -> bytes:
    """Make the bytes of a whole answer."""
    document = {"timezone": "UTC", "serverTime": 1_800_000_000_000, "futuresType": "U_MARGINED", "symbols": entries}
    return json.dumps(document | change).encode()


def listing(count: int) -> bytes:
    """Make an answer of so many traded perpetuals: AAAAUSDT, AAABUSDT and so on."""
    return answer([entry(f"{name(number)}USDT") for number in range(count)])


def name(number: int) -> str:
    """Make a base asset of four letters."""
    return "".join(chr(65 + number // 26**place % 26) for place in (3, 2, 1, 0))


def recorded(file_name: str) -> bytes:
    """Read a recorded answer, unpacked; skip the test where recorded data are not at hand."""
    path = recorded_directory() / file_name
    if not path.exists():
        pytest.skip(f"recorded data are not at hand: {path} (QUANTUM_RECORDED_DATA names their folder)")
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.suffix == ".gz" else raw


def recorded_directory() -> Path:
    """Name the folder of recorded exchangeInfo answers."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    return Path(os.environ.get("QUANTUM_RECORDED_DATA") or beside) / "exchangeinfo"
