"""What the services measure, read from their own metrics modules."""

from importlib import import_module
from typing import NamedTuple

from prometheus_client.metrics import MetricWrapperBase

from microservices.runtime.metrics import Reported
from ops.deploy.catalog import PAPER_EXCHANGE, UNITS

RUNTIME = "runtime"
"""Stands for the package whose metrics every service serves."""

MEASURED = {
    unit.package: (unit.name, unit.usual_port)
    for unit in sorted(UNITS, key=lambda unit: unit.usual_port)
    if unit is not PAPER_EXCHANGE
}
"""Package to its unit and the port of its metrics on 127.0.0.1; the paper exchange serves none."""


class Measured(NamedTuple):
    """One metric as Prometheus sees it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which its samples are stored."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (self.name,)


def collectors(package: str) -> list[MetricWrapperBase | Reported]:
    """Give the metrics that a service's module holds, in its order; one label's child of a metric is none."""
    found = vars(import_module(f"microservices.{package}.metrics")).values()
    return [
        value
        for value in found
        if isinstance(value, MetricWrapperBase | Reported) and not getattr(value, "_labelvalues", ())
    ]


def measured(package: str) -> list[Measured]:
    """Describe them; counters under the name that ends in `_total`."""
    found = []
    for collector in collectors(package):
        labels = tuple(getattr(collector, "_labelnames", ()))
        for family in collector.describe():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found.append(Measured(name, family.type, labels, family.documentation))
    return found


def all_series() -> set[str]:
    """Name every series that any of our services can serve."""
    return {name for package in (RUNTIME, *MEASURED) for metric in measured(package) for name in metric.series}
