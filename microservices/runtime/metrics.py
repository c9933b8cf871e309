"""What every daemon measures of itself, and the little server that shows it on 127.0.0.1."""

import logging
import threading

from prometheus_client import Counter, Gauge, disable_created_metrics, start_http_server

from microservices.runtime.build_info import BuildInfo

logger = logging.getLogger(__name__)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter that no dashboard reads

LOOP_ERRORS = Counter("quantum_loop_errors", "Iterations of a loop that failed", ["loop", "error"])
LOOP_FAILING = Gauge("quantum_loop_failing", "1 while the loop's last iteration failed", ["loop"])
BUILD = Gauge("quantum_build_info", "Always 1; the labels name the build", ["service", "version", "commit"])


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
