"""The services' metrics without the services: each one's own metrics module, served on a port of its own."""

import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from decimal import Decimal
from multiprocessing.managers import BaseManager
from typing import cast

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from microservices.apply_layer import metrics as apply_layer
from microservices.candle_feed import metrics as candle_feed
from microservices.contracts.control import Mode
from microservices.contracts.plan import Decision
from microservices.contracts.reason import Reason
from microservices.contracts.result import Result
from microservices.contracts.universe_reader import Allowlist, Tier
from microservices.decision_intelligence import metrics as decision_intelligence
from microservices.market_state_publisher import metrics as market_state_publisher
from microservices.position_state_brain import metrics as brain
from microservices.runtime.build_info import BuildInfo
from microservices.runtime.metrics import show_build
from microservices.universe_service import metrics as universe_service
from ops.generators.registry import MEASURED, RUNTIME, collectors
from tests.support.ports import free_port

_END = Result(plan_entry_id="1-0", decision=Decision.EXECUTE, executed=True, mode=Mode.PAPER, timestamp=1)
_SYMBOLS = frozenset({"BTCUSDT", "ETHUSDT"})


class MeasuredFleet:
    """All services at work, until a fault is put into one of them. `beat` is called again and again meanwhile."""

    def __init__(self, build: BuildInfo) -> None:
        self._ports: dict[str, int] = {}
        self._is_broken = False
        for package in MEASURED:
            registry = CollectorRegistry()
            ProcessCollector(registry=registry)
            for collector in (*collectors(RUNTIME), *collectors(package)):
                registry.register(collector)
            self._ports[package] = free_port()
            start_http_server(self._ports[package], addr="127.0.0.1", registry=registry)
        show_build("quantum-apply-layer", build)
        self.show_tier(Tier.UNIVERSE)

    def ports(self) -> dict[str, int]:
        """Say where each service's metrics are served."""
        return self._ports

    def beat(self) -> None:
        """Let every service do what it does all the time, as well as it can."""
        brain.count_allow("BTCUSDT", despite_drift=False)
        brain.observe_latency(0.9 if self._is_broken else 0.002)
        if self._is_broken:
            for _ in range(5):
                brain.count_deny("ETHUSDT", Reason.STALE_EXCHANGE_STATE)
        else:
            apply_layer.ended(_END)
            self._say(time.time(), is_ill=False)

    def show_tier(self, tier: Tier) -> None:
        """Let the brain take its list from there."""
        symbols = frozenset[str]() if tier is Tier.NONE else _SYMBOLS
        brain.show_allowlist(Allowlist(tier, symbols), time.time())

    def break_everything(self, old: float) -> None:
        """Put a fault into each service at once.

        Args:
            old: epoch seconds of what is too old.
        """
        self._is_broken = True
        self._say(old, is_ill=True)
        self.show_tier(Tier.ENV)
        brain.count_unreadable_result()
        show_build("quantum-apply-layer", BuildInfo("0.0.1", "0" * 40, "old"))

    def _say(self, at: float, *, is_ill: bool) -> None:
        """Let every gauge say what it says of a suite that is well, or ill, at that time."""
        universe_service.published(2, int(at), 0, 2)
        candle_feed.SYMBOLS.set(2)
        candle_feed.LAGGING.set(is_ill)
        candle_feed.LAST_CLOSE.set(at)
        market_state_publisher.count_cycle(0 if is_ill else 2, {}, 0.02, at)
        brain.show_snapshot_age(47 if is_ill else 4)
        brain.show_drift("BTCUSDT", Decimal("0.003") if is_ill else Decimal(0))
        brain.show_untraded(int(is_ill))
        apply_layer.UNRESOLVED.set(is_ill)
        apply_layer.KILL_SWITCH.set(is_ill)
        apply_layer.HELD_UP.set(is_ill)
        decision_intelligence.LAG.set(5_000 if is_ill else 0)
        decision_intelligence.SNAPSHOT_AT.set(at)


class _Processes(BaseManager):
    """Holds a fleet in a process of its own."""


_Processes.register("fleet", MeasuredFleet)


@contextlib.contextmanager
def measured_fleet(build: BuildInfo) -> Iterator[MeasuredFleet]:
    """Run a fleet in a process of its own, where no other test has left anything in the services' metrics."""
    with _Processes(ctx=multiprocessing.get_context("spawn")) as processes:
        yield cast("MeasuredFleet", processes.fleet(build))  # type: ignore[attr-defined]
