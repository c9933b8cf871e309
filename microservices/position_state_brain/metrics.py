"""What the brain measures for Prometheus. Symbols that nobody trades share one label: labels are bounded."""

from decimal import Decimal

from prometheus_client import Counter, Gauge, Histogram

from microservices.contracts.reason import Reason
from microservices.contracts.universe_reader import Allowlist, Tier

OTHER_SYMBOL = "other"
"""Stands for every symbol that nobody trades."""

_ALLOWED = Counter("p33_permit_allow_total", "Plans permitted", ["symbol"])
_DENIED = Counter("p33_permit_deny_total", "Plans denied", ["symbol", "reason"])
_VERDICTS = Counter("p33_verdicts_total", "Plans judged, over all symbols and reasons", ["outcome"])
_LATENCY = Histogram(
    "p33_permit_latency_seconds",
    "From the plan's entry in its stream to its verdict, on Redis's clock",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_SNAPSHOT_AGE = Gauge("p33_snapshot_age_seconds", "Age of the newest complete answer; -1 before the first")
_EXCHANGE_AMT = Gauge("p33_exchange_position_amt", "The exchange's position", ["symbol"])
_LEDGER_AMT = Gauge("p33_ledger_position_amt", "What our own fills add up to", ["symbol"])
_DRIFT = Gauge("p33_ledger_drift", "The exchange's position less our own, 0 where they agree", ["symbol"])
_UNTRADED = Gauge("p33_untraded_positions", "Positions in symbols that the exchange does not trade any more")
_ON_DEMAND = Counter("p33_ondemand_snapshots_total", "Snapshots asked for because plans waited")
_SNAPSHOT_FAILURES = Counter("p33_snapshot_failures_total", "Requests that gave no complete answer")
_SOURCE = Gauge("p33_allowlist_source", "1 for the tier in use", ["source"])
_COUNT = Gauge("p33_allowlist_count", "Symbols in the list in force")
_AGE = Gauge("p33_allowlist_age_seconds", "Age of the list in force; 0 where it has no date")
_EXITS_DESPITE_DRIFT = Counter("p33_exit_despite_drift_total", "Exits permitted while ledger and position differ")
_UNREADABLE = Counter("p33_unreadable_results_total", "Results that the ledger could not read")

_ALLOW = _VERDICTS.labels("allow")
_DENY = _VERDICTS.labels("deny")


def count_allow(symbol: str, *, despite_drift: bool) -> None:
    """Count a permitted plan."""
    _ALLOWED.labels(symbol or OTHER_SYMBOL).inc()
    _ALLOW.inc()
    if despite_drift:
        _EXITS_DESPITE_DRIFT.inc()


def count_deny(symbol: str, reason: Reason) -> None:
    """Count a denied plan; without a symbol where it is none that is traded."""
    _DENIED.labels(symbol or OTHER_SYMBOL, reason.value).inc()
    _DENY.inc()


def observe_latency(seconds: float) -> None:
    """Note how long a plan waited for its verdict."""
    _LATENCY.observe(max(0.0, seconds))


def count_on_demand() -> None:
    """Count a request that was made for plans that wait."""
    _ON_DEMAND.inc()


def count_snapshot_failure() -> None:
    """Count a request without a complete answer."""
    _SNAPSHOT_FAILURES.inc()


def count_unreadable_result() -> None:
    """Count a result that could not be applied."""
    _UNREADABLE.inc()


def show_snapshot_age(seconds: float) -> None:
    """Show the age of the newest complete answer."""
    _SNAPSHOT_AGE.set(seconds)


def show_position(symbol: str, exchange_amt: Decimal, ledger_amt: Decimal) -> None:
    """Show a symbol's position and ledger beside each other."""
    _EXCHANGE_AMT.labels(symbol).set(float(exchange_amt))
    _LEDGER_AMT.labels(symbol).set(float(ledger_amt))


def show_drift(symbol: str, difference: Decimal) -> None:
    """Show by how much a settled symbol differs."""
    _DRIFT.labels(symbol).set(float(difference))


def show_untraded(count: int) -> None:
    """Show how many positions can only be left."""
    _UNTRADED.set(count)


def show_allowlist(allowlist: Allowlist, now: float) -> None:
    """Show the list in force."""
    for tier in Tier:
        _SOURCE.labels(tier.value).set(tier is allowlist.source)
    _COUNT.set(allowlist.count)
    _AGE.set(allowlist.age_s(now))
