"""What a daemon's metrics server says."""

import urllib.request


def scraped(port: int) -> str:
    """Give the metrics served on 127.0.0.1, as text; a daemon may count a moment after what it counted can be seen."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())
