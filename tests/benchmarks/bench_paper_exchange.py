"""Figures of the paper exchange: start, klines under load, answers for the whole account, memory.

Usage: python -m tests.benchmarks paper_exchange
The exchange runs in a process of its own with 600 symbols; the load comes from this one, over loopback.
"""

import asyncio
import json
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from microservices.paper_exchange.builtin_market import builtin_exchange_info
from tests.support.paper import PaperExchange

SYMBOLS = 600
EVERY_S = 0.002
REQUESTS = 5_000
LIMIT = 300
STARTS = 5
WHOLE_ANSWERS = 50


def many_symbols() -> dict[str, Any]:
    """Repeat the built-in market under other names until there are enough."""
    document = builtin_exchange_info()
    rows = document["symbols"]
    document["symbols"] = [
        {**rows[i % len(rows)], "symbol": f"{chr(65 + i // 26 % 26)}{chr(65 + i % 26)}{i}USDT"} for i in range(SYMBOLS)
    ]
    return document


def percentile(values: list[float], share: float) -> float:
    """Give the value that so large a share does not exceed, in ms."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] * 1000


async def klines(base_url: str, symbols: list[str]) -> list[float]:
    """Ask for candles at a fixed pace, whatever is still unanswered; the seconds that each answer took."""
    took: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(symbol: str) -> None:
            began = time.perf_counter()
            url = f"{base_url}/fapi/v1/klines?symbol={symbol}&interval=1m&limit={LIMIT}"
            async with session.get(url) as answer:
                await answer.read()
                assert answer.status == 200
            took.append(time.perf_counter() - began)

        began, asked = time.perf_counter(), []
        for number in range(REQUESTS):
            await asyncio.sleep(max(0.0, began + number * EVERY_S - time.perf_counter()))
            asked.append(asyncio.create_task(ask(symbols[number % len(symbols)])))
        await asyncio.gather(*asked)
    return took


def seconds_to_answer(settings: dict[str, str]) -> float:
    """Start one and wait for its first answer."""
    began = time.perf_counter()
    with PaperExchange(settings=settings):
        return time.perf_counter() - began


def resident_mb(pid: int) -> float:
    """Give the resident memory of a process."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def whole_answers(paper: PaperExchange, path: str, *, signed: bool) -> list[float]:
    """Ask for everything at once, again and again."""
    took = []
    for _ in range(WHOLE_ANSWERS):
        began = time.perf_counter()
        reply = paper.signed("GET", path) if signed else paper.get(path)
        took.append(time.perf_counter() - began)
        assert reply.status == 200
    return took


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        info = Path(folder) / "exchange_info.json"
        info.write_text(json.dumps(many_symbols()))
        settings = {"PAPER_EXCHANGE_INFO": str(info)}
        for name, given in (("30 built-in", {}), (f"{SYMBOLS}", settings)):
            starts = [seconds_to_answer(given) for _ in range(STARTS)]
            print(f"start to first answer, {name} symbols: {min(starts):.2f} to {max(starts):.2f} s")
        with PaperExchange(settings=settings) as paper:
            symbols = [row["symbol"] for row in paper.get("/fapi/v1/exchangeInfo").json["symbols"]]
            for name in ("just started", "warm"):
                took = asyncio.run(klines(paper.base_url, symbols))
                figures = ", ".join(f"p{share * 100:g} {percentile(took, share):.2f} ms" for share in (0.5, 0.99, 1))
                print(f"klines of {LIMIT}, one every {EVERY_S * 1000:g} ms, {name}: {figures}")
            for path, signed in (("/fapi/v2/positionRisk", True), ("/fapi/v1/premiumIndex", False)):
                took = whole_answers(paper, path, signed=signed)
                print(f"{path}, all symbols: p50 {percentile(took, 0.5):.1f} ms, p99 {percentile(took, 0.99):.1f} ms")
            print(f"resident memory: {resident_mb(paper.pid):.0f} MB")
    print(subprocess.run(["uname", "-srm"], capture_output=True, text=True, check=True).stdout.strip())


if __name__ == "__main__":
    main()
