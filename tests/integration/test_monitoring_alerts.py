"""Every alert is silent while all is well, and fires for the fault it is there for, in a real Prometheus.

It runs the repository's own configuration and rules, with minutes made seconds. Decision intelligence, Redis and its
exporter are real, and so are their faults; of the other services their own metrics are served and driven.
"""

import contextlib
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from microservices.contracts import result
from microservices.contracts.universe_reader import Tier
from microservices.runtime.build_info import read_build
from ops.generators.registry import MEASURED
from tests.integration.test_monitoring_files import OF_REDIS
from tests.support.daemon import ROOT, Daemon
from tests.support.http_server import HttpServer
from tests.support.measured_fleet import measured_fleet
from tests.support.ports import free_port
from tests.support.prometheus import PROMETHEUS, Alert, Program, Prometheus
from tests.support.promql import needs_prometheus
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

P35 = "decision_intelligence"
UNIT = MEASURED[P35][0]
STARTED = f'process_start_time_seconds{{unit="{UNIT}"}}'
COMMIT = "a" * 40
PATIENCE_S = 120.0
"""On a quiet machine each step takes two or three seconds."""
DRIVEN = {
    *("UniverseStale", "FeedLagging", "FeedStopped", "MarketStateOld", "MarketStateEmpty", "AllowlistEnv"),
    *("SnapshotStale", "DeniesRising", "PermitLatency", "LedgerDrift", "ApplyResultsAbsent", "OrdersUnresolved"),
    *("KillSwitchOn", "P35Lag", "P35SnapshotOld", "ResultsUnreadable", "MixedBuilds", "OrdersHeldUp"),
    "UntradedPositions",
}
"""What fires when the services that are not real say that they are ill."""


def release_of(folder: Path) -> Path:
    """Copy the code as a release of its own: a commit made in the checkout meanwhile would look like a deployment."""
    shutil.copytree(
        ROOT / "microservices", folder / "microservices", ignore=shutil.ignore_patterns("__pycache__", "paper_exchange")
    )
    (folder / "RELEASE").write_text(f"VERSION=0.1.0\nCOMMIT={COMMIT}\nBRANCH=main\n")
    return folder


class Watch:
    """Prometheus over a suite, and the alerts that have fired so far."""

    def __init__(self, folder: Path, redis: RedisServer, stack: contextlib.ExitStack) -> None:
        self.redis = redis
        self._release = release_of(folder / "release")
        self.fleet = stack.enter_context(measured_fleet(read_build(self._release)))
        self._p35_port, exporter, alertmanager = free_port(), free_port(), free_port()
        self.p35 = self._daemon()
        stack.callback(self._end)
        self.webhook = stack.enter_context(HttpServer())
        text = (PROMETHEUS / "alertmanager.yml").read_text()
        for address, port in (("127.0.0.1:8080", self.webhook.port), ("localhost:25", free_port())):
            assert address in text
            text = text.replace(address, f"127.0.0.1:{port}")  # no mail leaves this machine: nobody listens there
        (folder / "alertmanager.yml").write_text(text)
        stack.enter_context(
            Program(
                folder,
                "prometheus-redis-exporter",
                f"-redis.addr=redis://127.0.0.1:{redis.port}",
                f"-web.listen-address=127.0.0.1:{exporter}",
            )
        )
        stack.enter_context(
            Program(
                folder,
                "prometheus-alertmanager",
                "--config.file=alertmanager.yml",
                "--storage.path=alertmanager",
                f"--web.listen-address=127.0.0.1:{alertmanager}",
                "--cluster.listen-address=",
            )
        )
        ports = self.fleet.ports()
        targets = {port: ports[package] for package, (_, port) in MEASURED.items()}
        targets |= {MEASURED[P35][1]: self._p35_port, 9121: exporter, 9093: alertmanager}
        self.prometheus = stack.enter_context(Prometheus(folder, targets, {"quantum-p35-second": ports[P35]}))
        self.fired: dict[str, Alert] = {}

    def _daemon(self) -> Daemon:
        environment = {"REDIS_PORT": str(self.redis.port), "P35_METRICS_PORT": str(self._p35_port)}
        return Daemon(P35, environment=environment, root=self._release).__enter__()

    def _end(self) -> None:
        self.p35.__exit__()

    def await_silence(self) -> None:
        """Wait until everything is scraped and judged, and no alert even waits to fire."""
        wait_until(
            lambda: not self._complaints(), PATIENCE_S, what=lambda: f"silence: {self._complaints()}", every_s=0.1
        )

    def _complaints(self) -> list[str]:
        self.fleet.beat()
        prometheus = self.prometheus
        up = prometheus.query("up == 1")
        return [
            *([] if len(up) == prometheus.targets else [f"only these are up: {[of['metric'] for of in up]}"]),
            *([] if prometheus.query("quantum_p35_lost_total + quantum_p35_dead_letter_total") else ["no counters"]),
            *(f"{rule}" for rule in prometheus.rules() if rule["health"] != "ok" or not rule["evaluationTime"]),
            *(f"{alert}" for alert in prometheus.alerts()),
        ]

    def await_alerts(self, *names: str) -> None:
        """Wait until each of these has fired; the fleet goes on meanwhile."""
        wait_until(lambda: {*names} <= {*self._look()}, PATIENCE_S, what=f"{', '.join(names)}", every_s=0.1)

    def _look(self) -> dict[str, Alert]:
        self.fleet.beat()
        for alert in self.prometheus.alerts():
            if alert["state"] == "firing":
                self.fired.setdefault(alert["labels"]["alertname"], alert)
        return self.fired

    def started_at(self) -> str:
        """When decision intelligence was started, as Prometheus saw it last; empty while it does not."""
        self._look()
        return next((found["value"][1] for found in self.prometheus.query(STARTED)), "")

    def kill_and_start_again(self) -> None:
        """End decision intelligence as its watchdog would, and start it again once Prometheus could see it."""
        before = wait_until(self.started_at, PATIENCE_S, what="a start to be seen", every_s=0.1)
        self.p35.end(signal.SIGKILL)
        with self.redis.client() as redis:
            for _ in range(5):
                redis.xadd(result.STREAM, {"decision": "SKIP"})
            redis.xtrim(result.STREAM, maxlen=0, approximate=False)
        self.p35.__exit__()
        self.p35 = self._daemon()
        wait_until(lambda: self.started_at() not in ("", before), PATIENCE_S, what="another start", every_s=0.1)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """Everything started, and ended by its id."""
    with contextlib.ExitStack() as stack:
        yield Watch(tmp_path, stack.enter_context(RedisServer()), stack)


@pytest.mark.slow
@needs_prometheus
def test_every_alert_fires_for_its_fault_and_none_before(watch: Watch) -> None:
    """From silence over one fault after another to all of them; the critical ones reach who is to be woken."""
    prometheus, fleet = watch.prometheus, watch.fleet
    watch.await_silence()
    assert {found["metric"]["commit"] for found in prometheus.query("quantum_build_info")} == {COMMIT}

    fleet.break_everything(time.time() - 400)
    with watch.redis.client() as redis:
        redis.xadd(result.STREAM, {"decision": b"\xff"})
        redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] / 0.9))
        watch.await_alerts(*DRIVEN, "DeadLetters", "RedisMemory")
        assert {found["metric"]["__name__"] for found in prometheus.query('{job="redis"}')} >= OF_REDIS
        redis.config_set("maxmemory", 0)
    fleet.show_tier(Tier.NONE)
    watch.await_alerts("AllowlistNone")

    watch.kill_and_start_again()
    watch.await_alerts("ServiceRestarted", "ResultsLost")
    for _ in range(3):
        watch.kill_and_start_again()
    watch.await_alerts("ServiceRestartsOften")

    watch.redis.stop()
    watch.await_alerts("RedisDown", "LoopFailing")
    watch.p35.end(signal.SIGKILL)
    watch.await_alerts("ServiceDown")

    assert {*watch.fired} == prometheus.names
    for name, alert in watch.fired.items():
        texts = alert["annotations"]
        assert texts["runbook_url"].endswith(".md"), name
        assert not any(sign in f"{texts}" for sign in ("{{", "<error", "<no value>", "%!")), texts
    woken = b"".join(request.body for request in watch.webhook.requests)
    assert b"SnapshotStale" in woken
    assert b"docs/runbooks/snapshot-stale.md" in woken
    assert b"FeedLagging" not in woken
