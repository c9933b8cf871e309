"""Whether a service lives, from unit, heartbeat and metrics; and what metrics are, whatever a port answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.lib import metrics
from ops.lib.metrics import Metrics
from ops.lib.report import DEGRADED, MISSING, PROVEN, Finding, aged, aligned, worst
from ops.lib.service_state import Heartbeat, Life, Service

NOW = 1_800_000_000.0
OFF, ANSWERS, SILENT = Metrics(0), Metrics(8045), Metrics(8045, "127.0.0.1:8045 gives no metrics (refused)")


def service(state: str, age_s: float | None, seen: Metrics = ANSWERS) -> Service:
    """Make a service as it may be seen."""
    raw = None if age_s is None else str(NOW - age_s)
    return Service("quantum-x", state, Heartbeat("quantum:x last_ts", raw, NOW, 30), seen)


@pytest.mark.parametrize(
    ("seen", "life"),
    [
        (service("active", 1), Life.RUNNING),
        (service("active", 1, OFF), Life.RUNNING),
        (service("active", 1, SILENT), Life.RUNNING),
        (service("active", 30), Life.HUNG),
        (service("active", 30, SILENT), Life.HUNG),
        (service("active", -6), Life.HUNG),
        (service("active", None), Life.UNSEEN),
        (service("failed", 1), Life.DEAD),
        (service("activating", None), Life.DEAD),
        (service("not installed", 1, SILENT), Life.RUNNING),
        (service("not installed", 30), Life.HUNG),
        (service("not installed", 30, OFF), Life.HUNG),
        (service("not installed", 30, SILENT), Life.DEAD),
        (service("not installed", None, SILENT), Life.UNSEEN),
        (service("not asked", 30, SILENT), Life.DEAD),
    ],
)
def test_unit_heartbeat_and_metrics_together_say_whether_it_lives(seen: Service, life: Life) -> None:
    """The unit comes first; without it an old heartbeat is a hang unless a port that should answer is silent."""
    assert seen.life is life
    assert (worst(seen.findings()) == PROVEN) is (life is Life.RUNNING and not seen.metrics.fault)
    assert f"is {life}" in seen.lines()[0]


def test_a_running_service_without_its_metrics_is_degraded() -> None:
    """Whose port was taken goes on without; where none was asked for there is nothing to miss."""
    assert [finding.code for finding in service("active", 1, SILENT).findings()] == [DEGRADED]
    assert service("active", 1, OFF).findings() == []


@given(st.none() | st.text(max_size=40), st.sampled_from(["active", "failed", "not installed"]))
def test_no_text_is_a_young_heartbeat_by_accident(raw: str | None, state: str) -> None:
    """Whatever stands in the field, the report is printable, and only a time of now is a sign of life."""
    seen = Service("quantum-x", state, Heartbeat("k f", raw, NOW, 30), OFF)
    assert all(line.isprintable() for line in seen.lines())
    assert seen.life is not Life.RUNNING


@given(st.text(max_size=200))
def test_any_body_is_read_as_metrics_or_left_out(body: str) -> None:
    """A line that is no sample is none."""
    for (name, labels), value in metrics.parsed(body).items():
        assert name
        assert isinstance(value, float)
        assert isinstance(labels, frozenset)


def test_samples_are_found_by_name_and_labels() -> None:
    """As Prometheus's text format writes them, escapes and all."""
    body = '# HELP a b\na 1\nb{x="1",y="q\\"}"} 2.5\nc{x="1"} NaN\nd nothing\n'
    seen = Metrics(1, samples=metrics.parsed(body))
    assert (seen.value("a"), seen.value("b", y='q\\"}', x="1"), seen.value("d"), seen.value("b")) == (
        1,
        2.5,
        None,
        None,
    )


def test_the_worst_of_all_decides() -> None:
    """Cannot tell is worse than missing, missing than degraded."""
    codes = [Finding(code, "") for code in (DEGRADED, MISSING, 1)]
    assert [worst(codes[:count]) for count in range(4)] == [PROVEN, DEGRADED, MISSING, 1]


def test_figures_stand_below_each_other() -> None:
    """Names of any length, one column; an age of a later time says so."""
    assert aligned({"A": 1, "Long": "x"}) == ["A:    1", "Long: x"]
    assert aligned({}) == []
    assert (aged(-0.4), aged(12), aged(-60)) == ("0s old", "12s old", "60s in the future")
