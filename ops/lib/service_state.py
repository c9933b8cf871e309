"""Does a service live: systemd's word for its unit, its heartbeat in Redis and its metrics, judged together."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ops.lib import metrics, units
from ops.lib.metrics import Metrics
from ops.lib.report import (
    CANNOT_TELL,
    DEGRADED,
    FUTURE_TOLERANCE_S,
    MISSING,
    PROVEN,
    Finding,
    epoch,
    shown,
)


class Life(StrEnum):
    """How a service is."""

    RUNNING = "RUNNING"
    HUNG = "HUNG"
    """There, and without a young heartbeat."""
    DEAD = "DEAD"
    UNSEEN = "UNSEEN"
    """No heartbeat was ever written into this Redis."""


_CODES = {Life.RUNNING: PROVEN, Life.HUNG: DEGRADED, Life.DEAD: CANNOT_TELL, Life.UNSEEN: MISSING}
_MARKS = {Life.RUNNING: "✅", Life.HUNG: "⚠️ "}


@dataclass(frozen=True)
class Heartbeat:
    """The newest sign of life in Redis.

    Args:
        where: key and field.
        raw: what stands there; None where nothing does.
        now_s: Redis's clock.
        max_age_s: an older one is none.
    """

    where: str
    raw: str | None
    now_s: float
    max_age_s: float

    @property
    def age_s(self) -> float | None:
        """How old it is; None where there is none that can be read."""
        at_s = epoch(self.raw)
        return None if at_s is None else round(self.now_s - at_s, 3)

    @property
    def is_young(self) -> bool:
        """Whether the service has just said that it lives."""
        return self.age_s is not None and -FUTURE_TOLERANCE_S <= self.age_s < self.max_age_s

    def __str__(self) -> str:
        """Say how old it is, or what stands in its place."""
        if self.age_s is None:
            return f"{self.where} is {'missing' if self.raw is None else shown(self.raw)}"
        if self.age_s < -FUTURE_TOLERANCE_S:
            return f"heartbeat {-self.age_s:.0f}s in the future"
        return f"heartbeat {max(self.age_s, 0):.0f}s ago"


@dataclass(frozen=True)
class Service:
    """A service as it was seen at one moment."""

    unit: str
    state: str
    heartbeat: Heartbeat
    metrics: Metrics

    @property
    def has_unit(self) -> bool:
        """Whether systemd has a say; else heartbeat and metrics decide."""
        return self.state not in (units.NOT_INSTALLED, units.NOT_ASKED)

    @property
    def life(self) -> Life:
        """Whether it lives."""
        if self.has_unit and self.state != units.ACTIVE:
            return Life.DEAD
        if self.heartbeat.is_young:
            return Life.RUNNING
        if self.heartbeat.age_s is None:
            return Life.UNSEEN
        # Only a port that should answer and does not tells a dead process from one that hangs.
        return Life.DEAD if self.metrics.fault and not self.has_unit else Life.HUNG

    @property
    def _hangs(self) -> str:
        return "hangs" if self.has_unit or self.metrics.answers else "hangs or does not run"

    def findings(self) -> list[Finding]:
        """Say what is wrong with it: what was seen, and what was expected."""
        beat = self.heartbeat
        said = {
            Life.HUNG: f"{beat}, expected under {beat.max_age_s:.0f}s: it {self._hangs}",
            Life.UNSEEN: f"{beat}, expected its heartbeat: it never ran on this Redis",
            Life.DEAD: f"unit {shown(self.state)}, expected active"
            if self.has_unit
            else f"{beat}, expected under {beat.max_age_s:.0f}s, and no metrics: it does not run",
        }
        found = [Finding(_CODES[self.life], f"{self.unit}: {said[self.life]}")] if self.life in said else []
        if self.life is Life.RUNNING and self.metrics.fault:
            found.append(Finding(DEGRADED, f"{self.metrics.fault}; --metrics-port N names another port, 0 none"))
        return found

    def lines(self) -> list[str]:
        """Show it: one line that can be searched for, and one with what it was judged by."""
        by = {
            units.NOT_INSTALLED: "unit not installed here: judged by heartbeat and metrics",
            units.NOT_ASKED: "unit not asked: judged by heartbeat and metrics",
        }.get(self.state, f"unit {shown(self.state)}")
        says = self.metrics.place if self.metrics.answers else "off" if not self.metrics.port else "no answer"
        return [
            f"{_MARKS.get(self.life, '❌')} {self.unit}.service is {self.life}",
            f"   {self.heartbeat}; metrics {says}; {by}",
        ]

    def facts(self) -> dict[str, Any]:
        """Give the same for a program."""
        return {
            "unit": self.unit,
            "unit_state": self.state,
            "life": self.life.value,
            "heartbeat_age_s": self.heartbeat.age_s,
            "metrics_port": self.metrics.port,
            "metrics_answer": self.metrics.answers,
        }


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what the scripts pass on of a service."""
    parser.add_argument("--metrics-port", type=int, required=True)
    parser.add_argument("--no-unit", action="store_true")


def look(unit: str, arguments: Namespace, heartbeat: Heartbeat) -> Service:
    """Ask systemd and the metrics' port, and put them beside the heartbeat."""
    state = units.NOT_ASKED if arguments.no_unit else units.state(unit)
    return Service(unit, state, heartbeat, metrics.read(arguments.metrics_port, unit))
