"""Which processes the suite consists of, and the settings of each: nobody inherits another's."""

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ops.suite.ports import free_ports

PUBLISH_INTERVAL_S = 10
"""The demonstration publishes more often than the default 60 s, so that a watcher sees it move."""
WINDOW_INTERVAL_S = 2
CANDLES_WEIGHT_PER_MIN = 1_600
"""Enough for the history of hundreds of symbols and their first new candle in one minute; nobody shares the limit."""
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LOG_LEVEL", "PAPER_SEED")


@dataclass(frozen=True)
class Process:
    """One supervised process: its unit's name, its command line, its whole environment."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Layout:
    """Ports, keys and folders of one run; everything in `scratch` is gone after it."""

    scratch: Path
    redis_port: int
    paper_port: int
    metrics_ports: tuple[int, ...]
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
    exchange_info: Path | None = None
    klines: Path | None = None

    @property
    def paper_url(self) -> str:
        """Where the paper exchange listens."""
        return f"http://127.0.0.1:{self.paper_port}"

    @property
    def stream_url(self) -> str:
        """Where its market streams are."""
        return f"ws://127.0.0.1:{self.paper_port}/market"

    @property
    def redis_environment(self) -> dict[str, str]:
        """How every process and script finds the run's own Redis, and none but that."""
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.redis_port), "REDIS_DB": "0"}

    @property
    def base_environment(self) -> dict[str, str]:
        """What every process gets besides its own settings."""
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return passed_on | {"PYTHONUNBUFFERED": "1"} | self.redis_environment

    @property
    def proofs_environment(self) -> dict[str, str]:
        """What the operator's scripts are told of this run: its Redis, its metrics' ports, how often it publishes."""
        ports = {
            metrics: str(port) for (_, metrics, _), port in zip(_SERVICES.values(), self.metrics_ports, strict=True)
        }
        return self.base_environment | ports | _INTERVALS


def make_layout(scratch: Path, exchange_info: Path | None, klines: Path | None) -> Layout:
    """Choose free ports and a random key pair for one run."""
    redis_port, paper_port, *metrics_ports = free_ports(2 + len(_SERVICES))
    return Layout(
        scratch=scratch,
        redis_port=redis_port,
        paper_port=paper_port,
        metrics_ports=tuple(metrics_ports),
        api_key=secrets.token_hex(16),
        api_secret=secrets.token_hex(32),
        exchange_info=exchange_info,
        klines=klines,
    )


def processes(layout: Layout) -> list[Process]:
    """List the suite's processes. Redis comes last: when it answers, all others have been started, and wait for it."""
    suite = [_paper_exchange(layout)]
    suite += [_service(layout, index, name) for index, name in enumerate(_SERVICES)]
    suite.append(Process("demo-plans", (sys.executable, "ops/demo_plans.py"), _trading(layout)))
    return [*suite, _redis(layout)]


def _redis(layout: Layout) -> Process:
    data = _folder(layout.scratch / "redis")
    command = (sys.executable, "-m", "ops.suite.private_redis", str(layout.redis_port), str(data))
    return Process("redis", command, layout.base_environment)


def _paper_exchange(layout: Layout) -> Process:
    environment = {
        "PAPER_HOST": "127.0.0.1",
        "PAPER_PORT": str(layout.paper_port),
        "PAPER_API_KEY": layout.api_key,
        "PAPER_API_SECRET": layout.api_secret,
        "PAPER_STATE_FILE": str(_folder(layout.scratch / "paper-exchange") / "account.json"),
    }
    if layout.exchange_info is not None:
        environment["PAPER_EXCHANGE_INFO"] = str(layout.exchange_info)
    if layout.klines is not None:
        environment["PAPER_KLINES_DIR"] = str(layout.klines)
    command = (sys.executable, "-m", "microservices.paper_exchange.main")
    return Process("paper-exchange", command, layout.base_environment | environment)


def _service(layout: Layout, index: int, name: str) -> Process:
    package, metrics_variable, own = _SERVICES[name]
    environment = _trading(layout) | own | {metrics_variable: str(layout.metrics_ports[index])}
    environment["STATE_DIRECTORY"] = str(_folder(layout.scratch / name))
    if name == "candle-feed":
        environment["BINANCE_FUTURES_WS_URL"] = layout.stream_url
    if name in _WITH_KEYS:
        environment |= {"BINANCE_API_KEY": layout.api_key, "BINANCE_API_SECRET": layout.api_secret}
    return Process(name, (sys.executable, "-m", f"microservices.{package}.main"), environment)


def _trading(layout: Layout) -> dict[str, str]:
    mode = {"TRADING_MODE": "paper", "BINANCE_FUTURES_BASE_URL": layout.paper_url}
    return layout.base_environment | mode


_INTERVALS = {
    "MARKETSTATE_PUBLISH_INTERVAL": str(PUBLISH_INTERVAL_S),
    "P35_SNAPSHOT_INTERVAL_SEC": str(WINDOW_INTERVAL_S),
}
_WITH_KEYS = ("position-state-brain", "apply-layer")
_SERVICES: dict[str, tuple[str, str, dict[str, str]]] = {
    "universe-service": ("universe_service", "UNIVERSE_METRICS_PORT", {"UNIVERSE_MODE": "paper"}),
    "candle-feed": (
        "candle_feed",
        "CANDLES_METRICS_PORT",
        {"CANDLES_WEIGHT_PER_MIN": str(CANDLES_WEIGHT_PER_MIN)},
    ),
    "marketstate": (
        "market_state_publisher",
        "MARKETSTATE_METRICS_PORT",
        {"MARKETSTATE_SYMBOLS": "universe", "MARKETSTATE_PUBLISH_INTERVAL": _INTERVALS["MARKETSTATE_PUBLISH_INTERVAL"]},
    ),
    "position-state-brain": ("position_state_brain", "P33_METRICS_PORT", {}),
    "apply-layer": ("apply_layer", "APPLY_METRICS_PORT", {"APPLY_MODE": "paper", "APPLY_GATES_OPEN": "p33"}),
    "p35-decision-intelligence": (
        "decision_intelligence",
        "P35_METRICS_PORT",
        {"P35_SNAPSHOT_INTERVAL_SEC": _INTERVALS["P35_SNAPSHOT_INTERVAL_SEC"]},
    ),
}


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
