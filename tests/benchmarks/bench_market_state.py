"""MarketState beside a direct scipy evaluation: time per state, ratios, memory, start-up, in one run on one core.

Usage: python -m tests.benchmarks market_state
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from ai_engine import compiled
from ai_engine.market_state import MarketState
from ai_engine.prices import Floats
from tests.support.market_state_oracle import oracle
from tests.support.price_paths import mixed, random_walk
from tests.support.recorded import FILES, histories

SYMBOLS = 566
PRICES = 300
LIVE_STEPS = 60
MANY_CANDLES = 456
CANDLES = 600
LONG_CANDLES = 100_000
YARDSTICK_STATES = 40
ROUNDS = 3
PROCESS = """
import time
started = time.monotonic()
import numpy as np
from ai_engine.market_state import MarketState
rng = np.random.default_rng(0)
names = [f"S{n}USDT" for n in range(566)]
walks = {name: 100 * np.exp(np.cumsum(rng.normal(0, 0.001, 300))) for name in names}
engine = MarketState().live(names)
for name, prices in walks.items():
    engine.seed(name, prices)
engine.push({name: float(prices[-1]) for name, prices in walks.items()})
ready = time.monotonic() - started
for _ in range(20):
    engine.push({name: float(prices[-1] * np.exp(rng.normal(0, 0.001))) for name, prices in walks.items()})
peak_kb = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak_kb) / 1024, ready)
"""


class Work(NamedTuple):
    """One row of the table: what is done, how many states it makes, what the specification asks for."""

    name: str
    states: int
    least_ratio: int
    run: Callable[[], None]


def main() -> None:
    """Print the tables."""
    pin_to_one_core()
    walks = [random_walk(np.random.default_rng(n), CANDLES) for n in range(SYMBOLS)]
    print("yardstick: one state by scipy.stats.theilslopes on the three windows, the rest in numpy; best of each")
    long = random_walk(np.random.default_rng(0), LONG_CANDLES)
    ways = ["compiled", "numpy"] if compiled.library() else ["numpy"]
    for way in ways:
        with only(way):
            table(f"random walks, {way}", works(walks, long, 1 if way == "compiled" else 20), walks)
    with only(ways[0]):
        if FILES:
            table(f"recorded candles, {ways[0]}", works(*recorded(), 1), walks)
        pieces = [mixed(np.random.default_rng(n), CANDLES) for n in range(SYMBOLS)]
        long = mixed(np.random.default_rng(0), LONG_CANDLES)
        table(f"flats, ties, spikes, exact exponentials and all else, {ways[0]}", works(pieces, long, 1), walks)
    print_process()


def recorded() -> tuple[list[Floats], Floats]:
    """Cut pieces out of the recordings, one a symbol, and take the longest recording whole."""
    found = [closes for path in FILES for closes in histories(path, CANDLES).values()]
    pieces = [closes[start : start + CANDLES] for closes in found for start in range(0, len(closes) - CANDLES, CANDLES)]
    chosen = np.random.default_rng(0).choice(len(pieces), min(SYMBOLS, len(pieces)), replace=False)
    return [pieces[index] for index in chosen], max(found, key=len)[:LONG_CANDLES]


def pin_to_one_core() -> None:
    """Keep everything on one processor, as the figures are meant."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


@contextmanager
def only(way: str) -> Iterator[None]:
    """Compute with the compiled code, or as a machine without a compiler does."""
    with patch.object(compiled, "library", compiled.library if way == "compiled" else lambda: None):
        yield


def works(histories_in: list[Floats], long: Floats, shrink: int) -> list[Work]:
    """List what is measured; `shrink` makes the long ones shorter for a slow way."""
    named = {f"S{n}USDT": prices for n, prices in enumerate(histories_in)}
    market_state = MarketState()
    engine = market_state.live(named)
    for symbol, prices in named.items():
        engine.seed(symbol, prices[:PRICES])
    steps = iter([{symbol: float(prices[PRICES + n]) for symbol, prices in named.items()} for n in range(300)])
    live_steps = max(2, LIVE_STEPS // shrink)
    cold = {symbol: prices[:PRICES] for symbol, prices in named.items()}
    many = {symbol: prices[:MANY_CANDLES] for symbol, prices in list(named.items())[:: 2 * shrink - 1]}
    long = long[: len(long) // shrink]

    def live() -> None:
        for _ in range(live_steps):
            engine.push(next(steps))

    return [
        Work(
            f"cold: get_states of {len(cold)} x {PRICES} prices",
            len(cold),
            10,
            lambda: drop(market_state.get_states(cold)),
        ),
        Work(f"live: one new candle for {len(named)} symbols", len(named) * live_steps, 250, live),
        Work(
            f"replay of {len(many)} symbols",
            len(many) * (MANY_CANDLES - 256),
            150,
            lambda: drop(market_state.replay(many)),
        ),
        Work(
            f"replay of one symbol, {len(long)} candles", len(long) - 256, 30, lambda: drop(market_state.replay(long))
        ),
    ]


def direct(histories_in: list[Floats]) -> None:
    """Evaluate the formulas one symbol after another."""
    for prices in histories_in[:YARDSTICK_STATES]:
        oracle(prices[:PRICES])


def drop(_: object) -> None:
    """Drop a result."""


def seconds(run: Callable[[], None]) -> float:
    """Measure once."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def table(title: str, rows: list[Work], yardstick: list[Floats]) -> None:
    """Measure and print some rows; yardstick and work take turns, so that both meet the same machine."""
    print(f"\n{title}")
    print(f"{'work':<46}{'per state':>12}{'yardstick':>12}{'ratio':>9}{'asked for':>12}")
    for row in rows:
        yardstick_us = work_us = float("inf")
        for _ in range(ROUNDS):
            yardstick_us = min(yardstick_us, seconds(lambda: direct(yardstick)) / YARDSTICK_STATES * 1e6)
            work_us = min(work_us, seconds(row.run) / row.states * 1e6)
        ratio = f"{yardstick_us / work_us:.0f}x"
        print(f"{row.name:<46}{work_us:>9.1f} µs{yardstick_us:>9.0f} µs{ratio:>9}{row.least_ratio:>11}x", flush=True)


def print_process() -> None:
    """Measure a process of its own that computes all symbols live."""
    done = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True)
    memory_mb, ready_s = map(float, done.stdout.split())
    print(f"\na process that computes {SYMBOLS} symbols live: {memory_mb:.0f} MB at most (asked for: under 70),")
    print(f"ready in {ready_s:.2f} s (asked for: under 2), imports included")


if __name__ == "__main__":
    main()
