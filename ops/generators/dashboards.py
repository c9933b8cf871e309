"""The dashboards: one for every service, a panel for each thing it measures, and an overview of all."""

import json
from collections.abc import Iterator

from ops.generators.panels import Panel, dashboard, link
from ops.generators.registry import MEASURED, Measured, measured

OVERVIEW = "quantum-overview"
UNBOUNDED = {"symbol"}
"""Labels with many values: only the largest series of them are drawn."""

_TITLE_LENGTH = 60


def dashboards() -> dict[str, str]:
    """Give every dashboard's file name with its content."""
    made = {OVERVIEW: dashboard(OVERVIEW, "Quantum Trader", _overview(), [link(unit, unit) for unit, _ in _units()])}
    for unit, package in _units():
        made[unit] = dashboard(unit, unit, _of_service(unit, package), [link(OVERVIEW, "overview")])
    return {f"{uid}.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n" for uid, content in made.items()}


def _units() -> list[tuple[str, str]]:
    return [(unit, package) for package, (unit, _) in MEASURED.items()]


def _overview() -> Iterator[Panel]:
    yield _stat("services that answer", 'sum(up{job="quantum"})')
    yield _stat("alerts", 'count(ALERTS{alertstate="firing"}) or vector(0)')
    yield _stat("kill switch: 0 off, 1 no opens, 2 full stop", "apply_kill_switch")
    yield _stat("positions' snapshot", "p33_snapshot_age_seconds", "s")
    yield _stat("orders without an outcome", "apply_unresolved_orders")
    yield _stat("builds", "count(count by (version, commit) (quantum_build_info))")
    yield Panel("Up", (('up{job="quantum"}', "{{unit}}"),))
    yield Panel("Loops that fail", (("sum by (unit) (quantum_loop_failing)", "{{unit}}"),))
    yield Panel("Restarts in an hour", (('changes(process_start_time_seconds{job="quantum"}[1h])', "{{unit}}"),))
    yield Panel("Plans judged a minute", (("rate(p33_verdicts_total[5m]) * 60", "{{outcome}}"),))
    yield Panel(
        "Denied because, a minute",
        (("topk(8, sum by (reason) (rate(p33_permit_deny_total[5m])) * 60)", "{{reason}}"),),
    )
    yield Panel("Results a minute", (("sum by (decision) (rate(apply_results_total[5m])) * 60", "{{decision}}"),))
    yield Panel("Plan to permit", _quantiles("p33_permit_latency_seconds", "unit"), "s")
    yield Panel("Order to answer", _quantiles("apply_order_seconds", "unit"), "s")
    yield Panel("Orders a minute", (("rate(apply_orders_total[5m]) * 60", "{{outcome}}"),))
    yield Panel("Age of the universe", (("time() - universe_asof_epoch_seconds", "list"),), "s")
    yield Panel("Symbols whose candles are late", (("candle_feed_lagging_symbols", "late"),))
    yield Panel(
        "Age of the last market-state cycle", (("time() - quantum_marketstate_last_cycle_epoch", "cycle"),), "s"
    )
    yield Panel("Ledger and exchange disagree", (("p33_ledger_drift != 0", "{{symbol}}"),))
    yield Panel("Results not yet counted", (("quantum_p35_lag", "lag"), ("quantum_p35_pending", "pending")))
    yield Panel("Redis's memory", (("redis_memory_used_bytes", "used"), ("redis_memory_max_bytes", "limit")), "bytes")


def _of_service(unit: str, package: str) -> Iterator[Panel]:
    own = f'{{unit="{unit}"}}'
    yield _stat("answers", f"up{own}", width=4)
    yield _stat("running for", f"time() - process_start_time_seconds{own}", "s", width=4)
    yield _stat("memory", f"process_resident_memory_bytes{own}", "bytes", width=4)
    yield _stat("cores used", f"rate(process_cpu_seconds_total{own}[5m])", width=4)
    yield Panel(
        "build",
        ((f"quantum_build_info{own}", "{{version}} {{commit}}"),),
        note="quantum_build_info",
        kind="stat",
        height=4,
    )
    yield Panel("Loops that fail", ((f"quantum_loop_failing{own}", "{{loop}}"),), note="quantum_loop_failing", width=12)
    yield Panel(
        "Failed iterations of loops, a minute",
        ((f"sum by (loop, error) (rate(quantum_loop_errors_total{own}[5m])) * 60", "{{loop}} {{error}}"),),
        note="quantum_loop_errors_total",
        width=12,
    )
    for metric in measured(package):
        yield _drawn(metric)


def _stat(title: str, expression: str, unit: str = "short", width: int = 4) -> Panel:
    return Panel(title, ((expression, ""),), unit, kind="stat", width=width, height=4)


def _drawn(metric: Measured) -> Panel:
    """Draw one metric in the way its kind and name ask for."""
    title, name = _title(metric.meaning), metric.name
    legend = " ".join(f"{{{{{label}}}}}" for label in metric.labels) or name
    if metric.kind == "histogram":
        return Panel(title, _quantiles(name, *metric.labels), "s", name)
    if metric.kind == "counter":
        return Panel(f"{title}, a minute", ((_largest(metric, f"rate({name}[5m]) * 60"), legend),), note=name)
    if name.endswith(("_epoch", "_epoch_seconds", "_timestamp_seconds")):
        return Panel(f"{title}: ago", ((f"time() - {name}", legend),), "s", name)
    return Panel(title, ((_largest(metric, name), legend),), "s" if name.endswith("_seconds") else "short", name)


def _largest(metric: Measured, expression: str) -> str:
    return f"topk(10, {expression})" if UNBOUNDED & {*metric.labels} else expression


def _quantiles(name: str, *labels: str) -> tuple[tuple[str, str], ...]:
    """Give the median, the 90th and the 99th percentile of a histogram by its labels."""
    by = ", ".join(("le", *labels))
    legend = "".join(f" {{{{{label}}}}}" for label in labels)
    return tuple(
        (f"histogram_quantile({quantile}, sum by ({by}) (rate({name}_bucket[5m])))", f"p{quantile * 100:g}{legend}")
        for quantile in (0.5, 0.9, 0.99)
    )


def _title(meaning: str) -> str:
    """Shorten what a metric means to a panel's title, at a word's end."""
    if len(meaning) <= _TITLE_LENGTH:
        return meaning
    return f"{meaning[:_TITLE_LENGTH].rsplit(' ', 1)[0].rstrip(',;:')} …"
