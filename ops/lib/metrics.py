"""Read what a service measures of itself from the port of its metrics on this machine."""

import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ops.lib.report import shown

HOST = "127.0.0.1"
TIMEOUT_S = 3.0
LARGEST_BYTES = 8_000_000
BUILD = "quantum_build_info"
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)", re.ASCII)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', re.ASCII)

Sample = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Metrics:
    """What one port said.

    Args:
        port: where it was asked; 0 is nowhere.
        fault: why nothing was learned; empty where something was.
        samples: name and labels to value.
    """

    port: int
    fault: str = ""
    samples: Mapping[Sample, float] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        """Whether it was asked, and it was the service that answered."""
        return self.port > 0 and not self.fault

    @property
    def place(self) -> str:
        """Where they are."""
        return f"{HOST}:{self.port}"

    def value(self, name: str, **labels: str) -> float | None:
        """Give one sample; None where there is none."""
        return self.samples.get((name, frozenset(labels.items())))


def read(port: int, service: str) -> Metrics:
    """Ask a port for the metrics of a service; those of any other are none.

    Args:
        port: 0 asks nobody.
        service: the unit's name, as it stands in `quantum_build_info`.
    """
    if port == 0:
        return Metrics(port)
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        body = answer.read(LARGEST_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as fault:
        return Metrics(port, f"{HOST}:{port} gives no metrics ({shown(fault) or type(fault).__name__})")
    finally:
        connection.close()
    samples = parsed(body) if answer.status == http.client.OK else {}
    built = {dict(labels).get("service", "") for name, labels in samples if name == BUILD}
    if service not in built:
        whose = ", ".join(sorted(shown(name) for name in built)) or f"something else (HTTP {answer.status})"
        return Metrics(port, f"{HOST}:{port} is answered by {whose}, expected {service}")
    return Metrics(port, samples=samples)


def parsed(body: str) -> dict[Sample, float]:
    """Read Prometheus's text format; a line that is no sample is left out."""
    samples = {}
    for line in body.splitlines():
        match = _SAMPLE.fullmatch(line)
        if match is None:
            continue
        name, labels, value = match.groups()
        try:
            samples[name, frozenset(_LABEL.findall(labels or ""))] = float(value)
        except ValueError:
            continue
    return samples
