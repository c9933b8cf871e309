"""The page of all metrics."""

from ops.generators.registry import MEASURED, RUNTIME, measured


def metrics_page() -> str:
    """Write every service's metrics with their kinds, labels and meaning."""
    sections = [f"## {unit}, port {port}\n\n{metrics_table(package)}\n" for package, (unit, port) in MEASURED.items()]
    return f"""# Metrics

Generated from each service's `metrics.py` by `python -m ops.generate_docs`. What to do with them: `docs/monitoring.md`.

A service serves them on 127.0.0.1 at `/metrics`, on the port of its settings (below: the default). Those of the
universe service and of the market state are off until `ops/deploy.sh --metrics` sets their ports. A histogram has
`_bucket`, `_count` and `_sum`. The labels of a metric are bounded. Besides these each serves what the client library
knows of its process (`process_start_time_seconds`, `process_resident_memory_bytes` and others).

## Every service

{metrics_table(RUNTIME)}

{chr(10).join(sections)}"""


def metrics_table(package: str) -> str:
    """Write what one package's module measures."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} "
        f"| {metric.meaning.replace('|', '/')} |"
        for metric in measured(package)
    ]
    return "\n".join(("| metric | type | labels | what it says |", "|---|---|---|---|", *rows))
