"""ops/market_board.py as an operator runs it: exit codes, a picture, a terminal with Ctrl-C, and no Redis."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest
from redis import Redis

from microservices.contracts import hashes, market_state
from microservices.contracts.market_state import MarketStateRow, PublisherStatus, Regime, Source
from tests.support.daemon import ROOT
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

SCRIPT = ROOT / "ops" / "market_board.py"


def publish(redis: Redis, symbol: str, *, age_s: float = 0, regime: Regime = Regime.TREND) -> None:
    """Publish a state as the publisher does."""
    now = int(time.time() - age_s)
    row = MarketStateRow(0.001, 0.0001, 0.5, 0.6, 0.1, 0.3, 0.5, 1.0, 1.0, now, 300, regime, Source.CANDLES, now)
    redis.hset(market_state.key(symbol), mapping=market_state.encode(row))
    status = PublisherStatus(1, 1, '{"stale": 1}', 5, now)
    redis.hset(market_state.STATUS_KEY, mapping=hashes.encode(status))


def board(port: int, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it where no terminal is."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env={"PATH": os.environ["PATH"], "REDIS_PORT": str(port)} | environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_it_shows_what_is_published(redis_server: RedisServer, redis_client: Redis) -> None:
    """Two symbols, each with its regime's sign and volatility, sorted as told; the publisher's skips by reason."""
    publish(redis_client, "BTCUSDT")
    publish(redis_client, "ETHUSDT", regime=Regime.CHOP)
    done = board(redis_server.port, "--sort", "symbol")
    assert (done.returncode, done.stderr) == (0, "")
    assert "MARKET    2 symbols: ▲ trend up 1" in done.stdout
    assert re.search(r"▲ BTC +10\.0 · ETH +10\.0", done.stdout)
    assert "1 skipped (stale 1)" in done.stdout
    assert "\033[" not in done.stdout


def test_old_and_unreadable_states_are_degraded(redis_server: RedisServer, redis_client: Redis) -> None:
    """Exit 2 with the symbols' names; what cannot be read is shown as that, and costs nobody else."""
    publish(redis_client, "BTCUSDT")
    publish(redis_client, "ETHUSDT", age_s=200)
    done = board(redis_server.port, "--once")
    assert done.returncode == 2
    assert done.stderr == "1 states are older than 180 s: ETHUSDT\n"
    assert board(redis_server.port, "--max-age", "300").returncode == 0
    redis_client.hset(market_state.key("XRPUSDT"), "sigma", "much")
    done = board(redis_server.port, "--max-age", "300")
    assert done.returncode == 2
    assert "unreadable: quantum:marketstate:XRPUSDT" in done.stdout
    assert "BTC" in done.stdout


def test_nothing_published_is_missing(redis_server: RedisServer, redis_client: Redis) -> None:
    """Exit 3, and the key that was expected."""
    done = board(redis_server.port)
    assert done.returncode == 3
    assert "expected quantum:marketstate:SYMBOL" in done.stderr
    assert "publisher: no status" in done.stdout


def test_it_draws_a_picture(redis_server: RedisServer, redis_client: Redis, tmp_path: Path) -> None:
    """--png writes a PNG file; where it cannot be written one line says so and the exit code is 1."""
    publish(redis_client, "BTCUSDT")
    done = board(redis_server.port, "--png", str(tmp_path / "map.png"))
    assert done.returncode == 0
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG\r\n")
    done = board(redis_server.port, "--png", str(tmp_path / "none" / "map.png"))
    assert done.returncode == 1
    assert done.stderr == f"market_board.py: {tmp_path}/none/map.png cannot be written: No such file or directory\n"


def test_a_program_reads_one_document(redis_server: RedisServer, redis_client: Redis) -> None:
    """--json: everything the board shows, in its order, with the exit code and each problem; nothing on stderr."""
    publish(redis_client, "BTCUSDT", age_s=200)
    publish(redis_client, "ETHUSDT", regime=Regime.CHOP)
    redis_client.hset(market_state.key("XRPUSDT"), "sigma", "nan")
    done = board(redis_server.port, "--json", "--sort", "age")
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit"], document["status"]) == (2, 2, "DEGRADED")
    old, unreadable = document["problems"]
    assert old == "1 states are older than 180 s: BTCUSDT"
    assert unreadable.startswith("quantum:marketstate:XRPUSDT")
    assert document["publisher"]["skipped_reasons"] == {"stale": 1}
    assert document["moods"] == {"trend up": 1, "trend down": 0, "mr": 0, "chop": 1}
    assert [(each["symbol"], each["regime"], each["sigma"]) for each in document["symbols"]] == [
        ("ETHUSDT", "chop", 0.001),
        ("BTCUSDT", "trend", 0.001),
    ]
    assert document["symbols"][1]["age_s"] >= 200


def test_a_program_is_told_of_nothing_too(redis_server: RedisServer, redis_client: Redis) -> None:
    """No state, or no Redis: the document says so, with the exit code that text has for it."""
    done = board(redis_server.port, "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit"], document["status"], document["symbols"]) == (3, 3, "MISSING", [])
    done = board(free_port(), "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit"], document["status"]) == (1, 1, "CANNOT TELL")
    assert document["problems"][0].startswith("Redis: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--sort", "beauty"],
        ["--every", "0"],
        ["--max-age", "soon"],
        ["--nothing"],
        ["BTCUSDT"],
        ["--json", "--png", "map.png"],
    ],
)
def test_wrong_usage_is_1_with_the_usage(arguments: list[str]) -> None:
    """As every script here: what is wrong, and the usage, on standard error."""
    done = board(1, *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "usage: market_board.py" in done.stderr


def test_help_names_exit_codes_and_settings() -> None:
    """-h says how it ends and where it looks."""
    done = board(1, "-h")
    assert done.returncode == 0
    for part in ("Exit: 0", "REDIS_URL", "NO_COLOR", "--png", "--json"):
        assert part in done.stdout


def test_without_redis_it_cannot_tell() -> None:
    """Exit 1 and one line; no traceback."""
    done = board(free_port())
    assert done.returncode == 1
    assert done.stderr.startswith("market_board.py: Redis: ")
    assert done.stderr.count("\n") == 1


class Terminal:
    """The board on a terminal of the test's own."""

    def __init__(self, port: int, **environment: str) -> None:
        self._mine, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "--every", "0.1"],
            env={"PATH": os.environ["PATH"], "REDIS_PORT": str(port), "TERM": "xterm-256color"} | environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.shown = ""

    def see(self, text: str, timeout_s: float = 30) -> None:
        """Wait until the terminal has shown a text."""
        deadline = time.monotonic() + timeout_s
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self._mine], [], [], 0.5)[0]:
                self.shown += os.read(self._mine, 65_536).decode("utf-8", "replace")

    def end(self) -> int:
        """Press Ctrl-C, and give the exit code."""
        self.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 20
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            with suppress(OSError):  # it has let go of its side
                if select.select([self._mine], [], [], 0.1)[0]:  # a full terminal would keep it waiting
                    os.read(self._mine, 65_536)
        return self.process.wait(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(20)
        os.close(self._mine)


@pytest.mark.parametrize("no_color", [False, True])
def test_on_a_terminal_it_goes_on_until_it_is_stopped(no_color: bool) -> None:
    """It shows what comes later, an outage of Redis and its end; NO_COLOR has no colours; Ctrl-C is a clean end."""
    with (
        RedisServer() as server,
        server.client() as redis,
        Terminal(server.port, **({"NO_COLOR": "1"} if no_color else {})) as terminal,
    ):
        publish(redis, "BTCUSDT")
        terminal.see("BTC")
        publish(redis, "ETHUSDT")
        terminal.see("ETH")
        server.stop()
        terminal.see("Redis is away")
        server.start()
        publish(redis, "SOLUSDT")
        terminal.see("SOL")
        assert ("[48;" in terminal.shown or ";48;" in terminal.shown) is not no_color
        assert terminal.end() == 0
        assert "Traceback" not in terminal.shown
