"""What the universe service measures."""

from prometheus_client import Counter, Gauge, Histogram

SYMBOLS = Gauge("universe_symbols", "Symbols in the list under active")
ASOF = Gauge("universe_asof_epoch_seconds", "When the list under active was asked for")
STALE = Gauge("universe_stale", "1 while the list under active is not the answer to the last refresh")
DROPPED = Gauge("universe_dropped", "Traded perpetuals that are not in the list")
INSTRUMENTS = Gauge("universe_instruments", "Perpetuals whose rules are kept")
REFRESHES = Counter("universe_refreshes", "Refreshes by how they ended", ["outcome"])
FETCH_SECONDS = Histogram(
    "universe_fetch_seconds",
    "Seconds until the whole answer was there",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

PUBLISHED, FETCH_FAILED, REJECTED, HELD_UP = "published", "fetch_failed", "rejected", "held_up"
for _outcome in (PUBLISHED, FETCH_FAILED, REJECTED, HELD_UP):
    REFRESHES.labels(outcome=_outcome)


def started(count: int, asof_epoch: int) -> None:
    """Show the list that was found at start, which is stale."""
    SYMBOLS.set(count)
    ASOF.set(asof_epoch)
    STALE.set(1)


def failed(outcome: str) -> None:
    """Count a refresh that published nothing."""
    STALE.set(1)
    REFRESHES.labels(outcome=outcome).inc()


def published(count: int, asof_epoch: int, dropped: int, instruments: int) -> None:
    """Show the list that is in force now."""
    SYMBOLS.set(count)
    ASOF.set(asof_epoch)
    STALE.set(0)
    DROPPED.set(dropped)
    INSTRUMENTS.set(instruments)
    REFRESHES.labels(outcome=PUBLISHED).inc()
