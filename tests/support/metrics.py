"""What a daemon's metrics server says, or the registry of this very process."""

import urllib.request

from prometheus_client import REGISTRY


def scraped(port: int) -> str:
    """Give the metrics served on 127.0.0.1, as text; a daemon may count a moment after what it counted can be seen."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def registered(name: str, **labels: str) -> float:
    """Give a metric of this process; 0 where it was never touched."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
