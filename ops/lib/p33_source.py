"""Which tier of the allowlist the position-state brain uses now: its metrics say it, else its journal, else its status.

Whoever answers first is believed; the others are held against it.
"""

import re
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ops.lib import host_tool, service_state
from ops.lib.metrics import Metrics
from ops.lib.redis_cli import Answer, Fault, pairs
from ops.lib.report import CANNOT_TELL, DEGRADED, FUTURE_TOLERANCE_S, MISSING, PROVEN, Finding, shown
from ops.lib.service_state import Heartbeat, Life, Service

UNIT = "quantum-position-state-brain"
STATUS_KEY = "quantum:position:status"
HEARTBEAT_MAX_AGE_S = 30
JOURNAL_MAX_AGE_S = 660
"""The brain repeats its line every ten minutes: one that is older is of a brain that is gone."""
LIST_TOLERANCE_S = 5.0
"""Age and heartbeat are told in whole seconds, and not in the same instant."""

UNIVERSE, LAST_OK, ENV, NONE = "universe", "last_ok", "env", "none"
WORDS = {
    UNIVERSE: "✅ Using Universe (primary source)",
    LAST_OK: "⚠️  Using last_ok (the last good list), expected universe",
    ENV: "⚠️  Using env (P33_ALLOWLIST of the brain's settings), expected universe",
    NONE: "❌ FAIL-CLOSED: No valid allowlist from any source!",
}
CODES = {UNIVERSE: PROVEN, LAST_OK: DEGRADED, ENV: DEGRADED, NONE: MISSING}
_LINE = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \[[A-Z]+\] P3\.3 allowlist source=(universe|last_ok|env|none) stale=\S+ "
    r"count=(\d{1,9}) asof_epoch=(\d{1,11}|static|\?) age_s=\S+",
    re.ASCII,
)


@dataclass(frozen=True)
class Told:
    """What one of the three says: the tier, how many symbols, and of when they are."""

    by: str
    tier: str
    count: int | None = None
    asof_epoch: float | None = None
    """None where it is not said, or the list has no date."""


@dataclass(frozen=True)
class Source:
    """The tier in use, who said so, and everything that is known besides."""

    service: Service
    status: dict[str, str]
    told: tuple[Told, ...]
    """By metrics, journal and status hash, those that said anything, most trusted first."""
    now_s: float

    @property
    def tier(self) -> str | None:
        """The tier in use; None where nobody told."""
        return self.told[0].tier if self.told else None

    def findings(self) -> list[Finding]:
        """Say what is not as it must be: the service, the tier, and who contradicts whom."""
        found = self.service.findings()
        if self.tier is None:
            said = f"{STATUS_KEY} allowlist_source is {shown(self.status.get('allowlist_source', 'missing'))}"
            if self.service.life in (Life.RUNNING, Life.HUNG):
                found.append(Finding(CANNOT_TELL, f"neither metrics nor journal name the tier, and {said}"))
            return found
        if self.tier != UNIVERSE:
            found.append(Finding(CODES[self.tier], f"the allowlist's source is {self.tier}, expected {UNIVERSE}"))
        first, *others = self.told
        found += [
            Finding(DEGRADED, f"{first.by} says {first.tier}, and yet {other.by} says {other.tier}, expected the same")
            for other in others
            if other.by == STATUS_KEY and other.tier != first.tier
        ]
        return found

    def lines(self) -> list[str]:
        """Show the tier, and how it is known."""
        if not self.told:
            return ["❌ unknown: neither metrics, nor journal, nor a young status hash name it"]
        first = self.told[0]
        count = "" if first.count is None else f"{first.count} symbols, "
        asof = "no date" if first.asof_epoch is None else f"{max(self.now_s - first.asof_epoch, 0):.0f}s old"
        return [WORDS[first.tier], f"   {count}{asof}; told by {first.by}"]

    def facts(self) -> dict[str, Any]:
        """Give the same for a program."""
        first = self.told[0] if self.told else None
        return {
            "source": self.tier,
            "count": first.count if first else None,
            "age_s": round(self.now_s - first.asof_epoch, 3) if first and first.asof_epoch is not None else None,
            "told_by": first.by if first else None,
            "mode": self.status.get("mode"),
            "service": self.service.facts(),
        }


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what the scripts pass on."""
    service_state.add_arguments(parser)


def look(status: Answer, now_s: float, arguments: Namespace) -> Source:
    """Ask the brain's metrics, its journal, and what its status hash says.

    Args:
        status: the status hash as Redis answered it.
        now_s: Redis's clock.
        arguments: as declared.
    """
    fields = {} if isinstance(status, Fault) else pairs(status)
    raw = f"a key of another type ({status.text})" if isinstance(status, Fault) else fields.get("last_ts")
    heartbeat = Heartbeat(f"{STATUS_KEY} last_ts", raw, now_s, HEARTBEAT_MAX_AGE_S)
    service = service_state.look(UNIT, arguments, heartbeat)
    # The age was told with the heartbeat, and is that old by now.
    told_s = now_s - heartbeat.age_s if heartbeat.is_young and heartbeat.age_s is not None else now_s
    told = [_by_metrics(service.metrics, told_s)]
    if service.life is not Life.DEAD:
        told.append(None if arguments.no_unit else by_journal(_journal(), now_s))
    if heartbeat.is_young:
        told.append(_by_status(fields))
    return Source(service, fields, tuple(each for each in told if each is not None), now_s)


def _by_metrics(metrics: Metrics, told_s: float) -> Told | None:
    in_use = [tier for tier in WORDS if metrics.value("p33_allowlist_source", source=tier) == 1]
    if len(in_use) != 1:  # before the first heartbeat none is marked
        return None
    count, age_s = metrics.value("p33_allowlist_count"), metrics.value("p33_allowlist_age_seconds")
    is_dated = in_use[0] in (UNIVERSE, LAST_OK) and age_s is not None
    return Told(
        f"metrics {metrics.place}",
        in_use[0],
        None if count is None else int(count),
        told_s - age_s if is_dated and age_s is not None else None,
    )


def by_journal(lines: list[str], now_s: float) -> Told | None:
    """Read the newest line on the allowlist; None where it is none, or too old to speak of now."""
    for line in reversed(lines):
        match = _LINE.search(line)
        if match is None:
            continue
        at, tier, count, asof = match.groups()
        try:
            said_s = datetime.strptime(at, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
        except ValueError:
            return None
        if not -FUTURE_TOLERANCE_S <= now_s - said_s <= JOURNAL_MAX_AGE_S:
            return None
        return Told(f"journal of {at} UTC", tier, int(count), float(asof) if asof.isdecimal() else None)
    return None


def _by_status(fields: dict[str, str]) -> Told | None:
    tier, count = fields.get("allowlist_source", ""), fields.get("allowlist_count", "")
    is_count = count.isascii() and count.isdecimal() and len(count) < 10
    return Told(STATUS_KEY, tier, int(count) if is_count else None) if tier in WORDS else None


def _journal() -> list[str]:
    """Give the brain's lines on its allowlist of the last minutes; none where there is no journal to read."""
    command = ["journalctl", f"--unit={UNIT}.service", "--since=-15min", "--grep=P3\\.3 allowlist source="]
    command += ["--lines=20", "--output=cat", "--no-pager", "--quiet"]
    return host_tool.said(command).splitlines()
