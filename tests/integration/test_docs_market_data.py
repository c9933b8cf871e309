"""The page of market data: every command in it runs, and its tables name what the code has."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis import Redis

from microservices.candle_feed.validation import Fault
from microservices.contracts import candles, market_state
from microservices.contracts.candles import FeedStatus
from microservices.contracts.market_state import PublisherStatus
from microservices.market_state_publisher.candle_window import SkipReason
from ops.market.view import GLYPHS, Mood, Sort
from tests.support.daemon import ROOT, Daemon
from tests.support.ops import put_tool
from tests.support.paper import PaperExchange
from tests.support.redis_server import RedisServer

PAGE = (ROOT / "docs" / "market-data.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """Every command of the page."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


def first_column(heading: str) -> set[str]:
    """The words in backticks of the first column of a table that begins with a heading."""
    table = PAGE.split(f"| {heading} |", 1)[1].split("\n\n")[0]
    return {word for line in table.splitlines()[2:] for word in re.findall(r"`(\w+)`", line.split("|")[1])}


@pytest.fixture(scope="module")
def filled() -> Iterator[RedisServer]:
    """A Redis with candles and states, made by one round of the feed and one of the publisher."""
    with RedisServer() as server, PaperExchange() as paper:
        feed = {**paper.feed_environment(), "CANDLES_SYMBOLS": "BTCUSDT", "CANDLES_METRICS_PORT": "0"}
        for package, own in (("candle_feed", feed), ("market_state_publisher", {"MARKETSTATE_SYMBOLS": "BTCUSDT"})):
            done = Daemon(package, "--once", environment={**own, "REDIS_PORT": str(server.port)}).run(60)
            assert done.returncode == 0, done.stderr
        yield server


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_page_runs(command: str, filled: RedisServer, tmp_path: Path) -> None:
    """It ends with 0 and has something to say."""
    put_tool(tmp_path, "redis-cli", f'exec {shutil.which("redis-cli")} -p {filled.port} "$@"')
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_PORT": str(filled.port)}
    line = command.replace("market.png", str(tmp_path / "market.png"))
    done = subprocess.run(["bash", "-c", line], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).strip()
    assert "ERR" not in done.stdout


def test_the_statuses_are_told_field_by_field(filled: RedisServer) -> None:
    """A field of either status that the page does not explain, or explains without its being there, is an error."""
    with filled.client() as redis:
        fields = {*hash_fields(redis, candles.STATUS_KEY), *hash_fields(redis, market_state.STATUS_KEY)}
    told = {
        word
        for table in PAGE.split("| field |")[1:]
        for word in re.findall(r"^\| `(\w+)` \|", table.split("\n\n")[0], re.MULTILINE)
    }
    assert told == fields == {*FeedStatus.__struct_fields__, *PublisherStatus.__struct_fields__}


def hash_fields(redis: Redis, key: str) -> list[str]:
    """The names of a hash's fields."""
    found: Any = redis.hkeys(key)
    return [name.decode() for name in found]


def test_every_reason_and_fault_is_told() -> None:
    """An operator who sees a word in a status or a metric finds it on the page."""
    assert first_column("reason") == {reason.value for reason in SkipReason}
    faults = re.search(r"^Faults: (.*?)\.$", PAGE, re.DOTALL | re.MULTILINE)
    assert faults is not None
    assert set(re.findall(r"`(\w+)`", faults[1])) == {*(fault.value for fault in Fault), "unreadable_message"}


def test_every_metric_is_told() -> None:
    """The tables name the metrics of both services, and none that is not there."""
    for package in ("candle_feed", "market_state_publisher"):
        import_module(f"microservices.{package}.metrics")
    served = {family.name for family in REGISTRY.collect()}
    mine = {name for name in served if name.startswith(("candle_feed_", "quantum_marketstate_"))}
    assert set(re.findall(r"`((?:candle_feed|quantum_marketstate)_[a-z_]+)`", PAGE)) == mine


def test_the_boards_words_are_told() -> None:
    """Signs and orders of the board are those of the page."""
    for mood in Mood:
        assert f"`{GLYPHS[mood]}` {mood}" in PAGE
    sorts = re.search(r"`--sort` takes\n(.*?)\. Exit", PAGE, re.DOTALL)
    assert sorts is not None
    assert re.findall(r"`(\w+)`", sorts[1]) == list(Sort)
