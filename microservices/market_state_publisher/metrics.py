"""What the publisher counts for Prometheus; served only where a port is set."""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge

from microservices.market_state_publisher import publication
from microservices.market_state_publisher.candle_window import Skipped

_PUBLISHED = Counter("quantum_marketstate_published_total", "States published")
_SKIPPED = Gauge("quantum_marketstate_skipped", "Symbols not published in the last cycle, by reason", ["reason"])
_CYCLE_SECONDS = Gauge("quantum_marketstate_cycle_seconds", "Duration of the last cycle, from read to last write")
_LAST_CYCLE_EPOCH = Gauge("quantum_marketstate_last_cycle_epoch", "When the last cycle began, epoch seconds")


def count_cycle(published: int, skipped: Mapping[str, Skipped], cycle_s: float, now: float) -> None:
    """Count one cycle."""
    _PUBLISHED.inc(published)
    _SKIPPED.clear()
    for reason, count in publication.count_reasons(skipped).items():
        _SKIPPED.labels(reason).set(count)
    _CYCLE_SECONDS.set(cycle_s)
    _LAST_CYCLE_EPOCH.set(now)
