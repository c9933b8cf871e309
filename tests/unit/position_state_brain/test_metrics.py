"""What is counted of verdicts."""

from prometheus_client import REGISTRY

from microservices.contracts.reason import Reason
from microservices.position_state_brain import metrics


def judged(outcome: str) -> float:
    """Read the count over all symbols and reasons."""
    value = REGISTRY.get_sample_value("p33_verdicts_total", {"outcome": outcome})
    assert value is not None, "must be there before the first verdict: an alert needs to see it rise"
    return value


def test_every_verdict_is_counted_over_all_symbols_too() -> None:
    """A symbol's first deny makes a new series, whose rise from nothing Prometheus cannot see; this one shows it."""
    allowed, denied = judged("allow"), judged("deny")
    metrics.count_allow("BTCUSDT", despite_drift=False)
    metrics.count_deny("ETHUSDT", Reason.NO_ALLOWLIST)
    metrics.count_deny("", Reason.PLAN_EXPIRED)
    assert (judged("allow") - allowed, judged("deny") - denied) == (1, 2)
