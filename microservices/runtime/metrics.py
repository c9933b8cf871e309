"""What every daemon measures of itself, and the little server that shows it on 127.0.0.1."""

import logging
import threading
from collections.abc import Iterable

from prometheus_client import REGISTRY, Counter, Gauge, Metric, disable_created_metrics, start_http_server
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from microservices.runtime.build_info import BuildInfo

logger = logging.getLogger(__name__)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter that no dashboard reads

LOOP_ERRORS = Counter("quantum_loop_errors", "Iterations of a loop that failed", ["loop", "error"])
LOOP_FAILING = Gauge("quantum_loop_failing", "1 while the loop's last iteration failed", ["loop"])
BUILD = Gauge("quantum_build_info", "Always 1; the labels name the build", ["service", "version", "commit"])


class Reported(Collector):
    """A counter that is kept elsewhere (in Redis, by several processes) and shown here as it was last read.

    Before the first reading it shows nothing: a zero that jumps to the true figure would look like an increase.

    Args:
        name: ends in `_total`.
        documentation: what it counts.
    """

    def __init__(self, name: str, documentation: str) -> None:
        self._name = name
        self._documentation = documentation
        self._value: float | None = None
        REGISTRY.register(self)

    def set(self, value: float) -> None:
        """Show what was read; a lower value is, to Prometheus, a counter that began again."""
        self._value = value

    def describe(self) -> Iterable[Metric]:
        """Give its name, kind and meaning."""
        return [CounterMetricFamily(self._name, self._documentation)]

    def collect(self) -> Iterable[Metric]:
        """Give its value, once there is one."""
        return [CounterMetricFamily(self._name, self._documentation, self._value)]


def show_build(service: str, build: BuildInfo) -> None:
    """Publish which build runs."""
    BUILD.labels(service=service, version=build.version, commit=build.commit).set(1)


def start_server(port: int | None, stop: threading.Event) -> threading.Thread | None:
    """Serve the metrics on 127.0.0.1 until `stop` is set; without a free port, warn and go on without.

    Args:
        port: None or 0 is none.
        stop: ends the server.

    Returns:
        The thread that ends it, to be joined; None where there is no server.
    """
    if not port:
        return None
    try:
        server, _ = start_http_server(port, addr="127.0.0.1")
    except OSError as error:
        logger.warning("Metrics port %d is not to be had (%s): going on without metrics", port, error.strerror or error)
        return None
    logger.info("Metrics server started on port %d", port)

    def end() -> None:
        stop.wait()
        server.shutdown()
        server.server_close()

    thread = threading.Thread(target=end, name="metrics-end", daemon=True)
    thread.start()
    return thread
