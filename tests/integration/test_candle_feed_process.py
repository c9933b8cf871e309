"""The candle feed as an operator meets it: a process beside the paper exchange."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from microservices.contracts import candles
from microservices.contracts.candles import INTERVAL_MS
from tests.support.paper import PaperExchange
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def symbols(paper: PaperExchange) -> list[str]:
    """All that it lists, with every fault of a test before ended."""
    paper.clear_faults()
    return [row["symbol"] for row in paper.get("/fapi/v1/exchangeInfo").json["symbols"]]


def start(paper: PaperExchange, redis: RedisServer, symbols: list[str], *arguments: str) -> subprocess.Popen[bytes]:
    """Start a feed process."""
    environment = {
        **os.environ,
        **paper.feed_environment(),
        "REDIS_PORT": str(redis.port),
        "CANDLES_SYMBOLS": ",".join(symbols),
        "CANDLES_METRICS_PORT": "0",
    }
    command = [sys.executable, str(ROOT / "microservices/candle_feed/main.py"), *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait for the end of a process; its exit code and what it wrote to stderr."""
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors.decode()


def minutes(redis: Any, symbol: str) -> list[int]:
    """The open times stored of a symbol."""
    return [int(score) for _, score in redis.zrange(candles.key(symbol), 0, -1, withscores=True)]


def test_from_start_to_the_newest_300_and_a_clean_end(
    paper: PaperExchange, symbols: list[str], redis_server: RedisServer, redis_client: Redis
) -> None:
    """30 symbols have their newest 300 candles, and then all, each minute once; SIGTERM ends it with 0."""
    redis: Any = redis_client
    process = start(paper, redis_server, symbols)
    try:
        wait_until(lambda: min(redis.zcard(candles.key(symbol)) for symbol in symbols) >= 300, 30)
        wait_until(lambda: all(redis.zcard(candles.key(symbol)) == 1_500 for symbol in symbols), 30)
        for symbol in symbols:
            stored = minutes(redis, symbol)
            assert stored == list(range(stored[0], stored[-1] + 1, INTERVAL_MS))
            assert stored[-1] + INTERVAL_MS <= time.time() * 1000
    finally:
        process.send_signal(signal.SIGTERM)
        code, errors = ended(process)
    assert code == 0
    assert "Traceback" not in errors


def test_once_fills_and_ends(
    paper: PaperExchange, symbols: list[str], redis_server: RedisServer, redis_client: Redis
) -> None:
    """`--once` does one round and ends with 0; a hole and a repeated candle of the exchange are stored as they are."""
    redis: Any = redis_client
    holed, repeated = symbols[:2]
    paper.fault(
        {"fault": "skip_candles", "symbol": holed, "count": 5, "ago": 20},
        {"fault": "repeat_candle", "symbol": repeated},
    )
    assert ended(start(paper, redis_server, [holed, repeated], "--once"))[0] == 0
    assert redis.zcard(candles.key(repeated)) == 1_500
    assert len(set(minutes(redis, repeated))) == 1_500
    gaps = [later - earlier for earlier, later in zip(minutes(redis, holed), minutes(redis, holed)[1:], strict=False)]
    assert sorted(set(gaps)) == [INTERVAL_MS, 6 * INTERVAL_MS]


def test_once_fails_where_the_exchange_is_away(
    paper: PaperExchange, symbols: list[str], redis_server: RedisServer, redis_client: Redis
) -> None:
    """`--once` without an exchange ends with 1 and one line that says so."""
    paper.fault({"fault": "html", "status": 502})
    code, errors = ended(start(paper, redis_server, symbols, "--once"))
    assert code == 1
    assert "HTTP 502" in errors
    assert "Traceback" not in errors
    assert not redis_client.exists(candles.key(symbols[0]))


def test_once_fails_without_symbols(paper: PaperExchange, redis_server: RedisServer, redis_client: Redis) -> None:
    """`--once` with no list from anywhere ends with 1 and says what is missing."""
    code, errors = ended(start(paper, redis_server, [], "--once"))
    assert code == 1
    assert "no valid universe" in errors
    assert not redis_client.keys("quantum:candles:?*USDT")


def test_check_config(paper: PaperExchange, redis_server: RedisServer) -> None:
    """`--check-config` ends with 0, and with 78 and one line where a value is wrong."""
    assert ended(start(paper, redis_server, ["BTCUSDT"], "--check-config"))[0] == 0
    environment = {**os.environ, **paper.feed_environment(), "CANDLES_KEEP": "1"}
    command = [sys.executable, "-m", "microservices.candle_feed.main", "--check-config"]
    refused = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, timeout=30, text=True)
    assert refused.returncode == 78
    assert refused.stderr.startswith("CANDLES_KEEP='1': allowed is ")
    assert refused.stderr.count("\n") == 1
