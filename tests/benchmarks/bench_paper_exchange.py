"""Figures of the paper exchange: start, klines under load, closes pushed, answers for the whole account, memory.

Usage: python -m tests.benchmarks paper_exchange
The exchange runs in a process of its own with 600 symbols; the load comes from this one, over loopback.
"""

import asyncio
import re
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import aiohttp
import msgspec

from microservices.paper_exchange.kline_event import stream_name
from tests.support.paper import PaperExchange

SYMBOLS = 600
EVERY_S = 0.002
REQUESTS = 5_000
LIMIT = 300
STARTS = 5
WHOLE_ANSWERS = 50
STREAMS_A_CONNECTION = 200
MINUTES = 3


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


class Kline(msgspec.Struct):
    """What is read of a candle."""

    t: int
    T: int
    x: bool


class Event(msgspec.Struct):
    """What is read of an event."""

    k: Kline


class Combined(msgspec.Struct):
    """A combined stream's message."""

    data: Event


async def closes(port: int, symbols: list[str]) -> dict[int, list[float]]:
    """Listen to all symbols over a few connections; by minute, how many seconds after its end each close came."""
    came: dict[int, list[float]] = defaultdict(list)
    decode = msgspec.json.Decoder(Combined).decode
    parts = [symbols[i : i + STREAMS_A_CONNECTION] for i in range(0, len(symbols), STREAMS_A_CONNECTION)]
    done = asyncio.Event()

    async def listen(session: aiohttp.ClientSession, part: list[str]) -> None:
        names = "/".join(stream_name(symbol) for symbol in part)
        async with session.ws_connect(f"ws://127.0.0.1:{port}/market/stream?streams={names}") as stream:
            async for message in stream:
                candle = decode(message.data).data.k
                if candle.x:
                    came[candle.t].append(time.time() - (candle.T + 1) / 1000)
                    if len(came) >= MINUTES and len(came[candle.t]) == len(symbols):
                        done.set()

    async with aiohttp.ClientSession() as session:
        listening = [asyncio.create_task(listen(session, part)) for part in parts]
        async with asyncio.timeout(60 * (MINUTES + 1)):
            await done.wait()
        for task in listening:
            task.cancel()
    return came


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
    settings = {"PAPER_SYMBOLS": str(SYMBOLS)}
    for name, given in (("30", {}), (f"{SYMBOLS}", settings)):
        starts = [seconds_to_answer(given) for _ in range(STARTS)]
        print(f"start to first answer, {name} symbols: {min(starts):.2f} to {max(starts):.2f} s")
    with PaperExchange(settings=settings) as paper:
        listed = paper.get("/fapi/v1/exchangeInfo").json["symbols"]
        symbols = [row["symbol"] for row in listed if row["status"] == "TRADING"]
        for name in ("just started", "warm"):
            took = asyncio.run(klines(paper.base_url, symbols))
            figures = ", ".join(f"p{share * 100:g} {percentile(took, share):.2f} ms" for share in (0.5, 0.99, 1))
            print(f"klines of {LIMIT}, one every {EVERY_S * 1000:g} ms, {name}: {figures}")
        for path, signed in (("/fapi/v2/positionRisk", True), ("/fapi/v1/premiumIndex", False)):
            took = whole_answers(paper, path, signed=signed)
            print(f"{path}, all symbols: p50 {percentile(took, 0.5):.1f} ms, p99 {percentile(took, 0.99):.1f} ms")
        for minute, came in sorted(asyncio.run(closes(paper.port, symbols)).items()):
            first, last = min(came) * 1000, max(came) * 1000
            print(f"{len(came)} closes of minute {minute // 60_000 % 60}: {first:.0f} to {last:.0f} ms after its end")
        print(f"resident memory: {resident_mb(paper.pid):.0f} MB")
    print(subprocess.run(["uname", "-srm"], capture_output=True, text=True, check=True).stdout.strip())


if __name__ == "__main__":
    main()
