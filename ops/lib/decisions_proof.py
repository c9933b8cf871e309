"""Does decision intelligence count: its service, its group, how far behind it is, buckets, and windows that agree."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ops.lib import decision_windows, service_state
from ops.lib.decision_windows import COUNTED, COUNTS, LONGEST_MINUTES, REASONS, WINDOWS, Counted, count_of
from ops.lib.redis_cli import Answer, CannotTell, Fault, RedisCli, instead, pairs, redis_time_s
from ops.lib.report import (
    DEGRADED,
    MISSING,
    Finding,
    Verdict,
    aged,
    aligned,
    concluded,
    epoch,
    framed,
    shown,
)
from ops.lib.service_state import Heartbeat, Service

UNIT = "quantum-p35-decision-intelligence"
TITLE = "P3.5 DECISION INTELLIGENCE - PROOF"
STREAM = "quantum:stream:apply.result"
GROUP = "p35_decision_intel"
STATUS_KEY = "quantum:p35:status"
HEARTBEAT_MAX_AGE_S = 30
SLACK_S = 5
MINUTES_SHOWN = 5
MINUTES_READ = LONGEST_MINUTES + 10
"""Back from now: an hour, and as many minutes as the newest snapshot may be old."""
PENDING_STUCK_MS = 180_000
"""Three times as long as another instance waits before it takes a message over."""
CAUGHT_UP_S = 120
"""A result may be counted so long after it came: taken over from a consumer that died."""
GROWTH_LOOKED_AT = 50_000
TOP_SHOWN = 5


@dataclass(frozen=True)
class Seen:
    """All that was seen at one moment."""

    service: Service
    status: dict[str, str]
    group: dict[str, str] | None
    """The group as XINFO shows it; None where there is none."""
    group_fault: str
    stuck: bool
    """Whether a message is pending that somebody should have finished long ago."""
    buckets: dict[int, Counted]
    windows: dict[str, Counted]
    came_since: int
    """Results that came so lately that the newest snapshot may lack them; at most as many as it lacks."""
    max_snapshot_age_s: float
    max_lag: int
    now_s: float

    @property
    def snapshot_s(self) -> float | None:
        """When the windows were last written."""
        return epoch(self.status.get("snapshot_ts"))

    @property
    def lag(self) -> int | None:
        """Results that the group has not read; its own word where Redis cannot say."""
        told = None if self.group is None else count_of(self.group.get("lag"))
        return count_of(self.status.get("lag")) if told is None else told


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what the script passes on."""
    service_state.add_arguments(parser)
    parser.add_argument("--interval", type=int, required=True)
    parser.add_argument("--max-lag", type=int, required=True)


def prove(cli: RedisCli, arguments: Namespace) -> Verdict:
    """Look and judge.

    Raises:
        CannotTell: Redis did not answer, or does not say what is pending.
    """
    [time] = cli.ask(("TIME",))
    last = int(redis_time_s(time) // 60) + 1
    minutes = range(last - MINUTES_READ, last + 1)
    tops = [(name, *keys.values()) for name, keys in ((name, decision_windows.window_keys(name)) for name in WINDOWS)]
    answers = cli.together(
        ("TIME",),
        ("HGETALL", STATUS_KEY),
        ("XINFO", "GROUPS", STREAM),
        *(("HGETALL", decision_windows.bucket_key(minute)) for minute in minutes),
        *(words for _, counts, *two in tops for words in (("HGETALL", counts), *map(_whole, two))),
    )
    now_s, (status, groups) = redis_time_s(answers[0]), answers[1:3]
    raw_buckets, raw_windows = answers[3 : 3 + len(minutes)], answers[3 + len(minutes) :]
    fields = {} if isinstance(status, Fault) else pairs(status)
    raw = f"a key of another type ({status.text})" if isinstance(status, Fault) else fields.get("last_ts")
    group, fault = _group(groups)
    buckets = {
        minute: decision_windows.bucket(decision_windows.bucket_key(minute), each)
        for minute, each in zip(minutes, raw_buckets, strict=True)
    }
    windows = {
        name: decision_windows.window(name, dict(zip(decision_windows.window_keys(name), three, strict=True)))
        for name, three in zip(WINDOWS, zip(*[iter(raw_windows)] * 3, strict=True), strict=True)
    }
    heartbeat = Heartbeat(f"{STATUS_KEY} last_ts", raw, now_s, HEARTBEAT_MAX_AGE_S)
    return judged(
        Seen(
            service=service_state.look(UNIT, arguments, heartbeat),
            status=fields,
            group=group,
            group_fault=fault,
            stuck=group is not None and _is_stuck(cli),
            buckets=buckets,
            windows=windows,
            came_since=_came_since(cli, epoch(fields.get("snapshot_ts")), buckets, windows),
            max_snapshot_age_s=2 * arguments.interval + SLACK_S,
            max_lag=arguments.max_lag,
            now_s=now_s,
        )
    )


def judged(seen: Seen) -> Verdict:
    """Judge what was seen."""
    findings = [*seen.service.findings(), *_of_group(seen), *_of_counts(seen), *_of_snapshot(seen)]
    lines = [*framed(TITLE), "", *seen.service.lines(), "", *aligned(_figures(seen)), "", *_table(seen)]
    return concluded(findings, "P3.5 DECISION INTELLIGENCE PROVEN", lines, _facts(seen))


def _whole(key: str) -> tuple[str | int, ...]:
    return ("ZREVRANGE", key, 0, -1, "WITHSCORES")


def _group(groups: Answer) -> tuple[dict[str, str] | None, str]:
    """Give the group, or why there is none."""
    if isinstance(groups, list):
        found = [pairs(each) for each in groups]
        mine = next((each for each in found if each.get("name") == GROUP), None)
        return mine, "" if mine else f"{STREAM} has no group {GROUP}, expected it"
    if isinstance(groups, Fault) and "no such key" in groups.text:
        return None, f"{STREAM} is missing, expected it with the group {GROUP}"
    return None, f"{STREAM}: {instead(groups)}, expected a stream"


def _is_stuck(cli: RedisCli) -> bool:
    [pending] = cli.ask(("XPENDING", STREAM, GROUP, "IDLE", PENDING_STUCK_MS, "-", "+", 1))
    if not isinstance(pending, list):
        raise CannotTell(f"{STREAM}: XPENDING: {instead(pending)}")
    return bool(pending)


def _sums(minute: int, width: int, buckets: dict[int, Counted]) -> Counted:
    """Add up the buckets of a window that ends with a minute."""
    return decision_windows.summed(buckets[each] for each in range(minute - width + 1, minute + 1) if each in buckets)


def _growth(snapshot_s: float, buckets: dict[int, Counted], windows: dict[str, Counted]) -> tuple[int, str]:
    """Say how many results the buckets count that the windows lack, and which key lacks most."""
    minute = int(snapshot_s // 60)
    count, key = max(
        decision_windows.lacking(name, windows[name], _sums(minute, width, buckets)) for name, width in WINDOWS.items()
    )
    return min(count, GROWTH_LOOKED_AT), key


def _came_since(
    cli: RedisCli, snapshot_s: float | None, buckets: dict[int, Counted], windows: dict[str, Counted]
) -> int:
    growth = 0 if snapshot_s is None else _growth(snapshot_s, buckets, windows)[0]
    if snapshot_s is None or growth <= 0:
        return 0
    since_ms = max(0, int((snapshot_s - CAUGHT_UP_S) * 1000))
    [answer] = cli.ask(("XRANGE", STREAM, since_ms, "+", "COUNT", growth))
    return len(answer) if isinstance(answer, list) else 0


def _of_group(seen: Seen) -> Iterable[Finding]:
    if seen.group is None:
        yield Finding(MISSING, seen.group_fault)
        return
    if seen.lag is None:
        yield Finding(DEGRADED, f"lag of {GROUP} is unknown, expected a number")
    elif seen.lag > seen.max_lag:
        yield Finding(DEGRADED, f"lag is {seen.lag} results, expected at most {seen.max_lag}")
    if seen.stuck:
        yield Finding(
            DEGRADED, f"a result has been pending for over {PENDING_STUCK_MS // 1000}s, expected it to be finished"
        )


def _of_counts(seen: Seen) -> Iterable[Finding]:
    for each in (*seen.buckets.values(), *seen.windows.values()):
        yield from each.findings


def _of_snapshot(seen: Seen) -> Iterable[Finding]:
    """Say whether the windows are young, and the sums of their buckets."""
    if seen.snapshot_s is None:
        said = shown(seen.status.get("snapshot_ts", "missing"))
        yield Finding(MISSING, f"{STATUS_KEY} snapshot_ts is {said}, expected when the windows were written")
        return
    age_s = seen.now_s - seen.snapshot_s
    if not -SLACK_S <= age_s < seen.max_snapshot_age_s:
        yield Finding(DEGRADED, f"the windows are {aged(age_s)}, expected under {seen.max_snapshot_age_s:.0f}s")
        return
    minute = int(seen.snapshot_s // 60)
    for name, width in WINDOWS.items():
        yield from decision_windows.excess(name, seen.windows[name], _sums(minute, width, seen.buckets))
    lacking, key = _growth(seen.snapshot_s, seen.buckets, seen.windows)
    if lacking > seen.came_since and not any(each.findings for each in seen.windows.values()):
        yield Finding(
            DEGRADED,
            f"{key} lacks {lacking} results that its buckets count, and only {seen.came_since} of them came since it "
            "was written, expected the sums of its buckets",
        )


def _figures(seen: Seen) -> dict[str, object]:
    group, status = seen.group or {}, seen.status
    age = "never" if seen.snapshot_s is None else f"{max(seen.now_s - seen.snapshot_s, 0):.0f}s ago"
    counted = {name: shown(status.get(f"{name}_total", "0")) for name in ("processed", "dead_letter", "lost", "late")}
    minutes = sorted(seen.buckets)[-MINUTES_SHOWN - 1 : -1]
    last = "  ".join(
        f"{datetime.fromtimestamp(minute * 60, UTC):%H:%M} {seen.buckets[minute].total}" for minute in minutes
    )
    return {
        "Group": f"{GROUP}, {shown(group.get('consumers', '0'))} consumers" if group else seen.group_fault,
        "Lag": "unknown" if seen.lag is None else seen.lag,
        "Pending": shown(group.get("pending", "unknown")),
        "Counted": f"{counted['processed']} results, {counted['dead_letter']} dead letters, {counted['lost']} lost, "
        f"{counted['late']} late",
        "Last minutes": f"{last} (UTC, results)",
        "Windows": f"written {age}",
    }


def _table(seen: Seen) -> list[str]:
    """Show the windows, and what the longest says is most frequent."""
    lines = [f"{'window':8}" + "".join(f"{name:>9}" for name in COUNTED)]
    for name, counted in seen.windows.items():
        counts = counted.counts[COUNTS]
        lines.append(f"{name:8}" + "".join(f"{counts.get(decision, '-'):>9}" for decision in COUNTED))
    top = seen.windows["1h"].counts[REASONS].most_common(TOP_SHOWN)
    said = ", ".join(f"{shown(reason)} {count}" for reason, count in top)
    return [*lines, f"Reasons, last hour: {said or 'none'}"]


def _facts(seen: Seen) -> dict[str, Any]:
    return {
        "proof": "decisions",
        "group": GROUP if seen.group else None,
        "lag": seen.lag,
        "pending": count_of(seen.group.get("pending")) if seen.group else None,
        "totals": {
            name: count_of(seen.status.get(f"{name}_total")) or 0
            for name in ("processed", "dead_letter", "lost", "late")
        },
        "snapshot_age_s": None if seen.snapshot_s is None else round(seen.now_s - seen.snapshot_s, 3),
        "windows": {name: dict(counted.counts[COUNTS]) for name, counted in seen.windows.items()},
        "service": seen.service.facts(),
    }
