"""Do the permit sources work: the permits that stand now, each gate's last decision, and each gate's heartbeat."""

import json
import re
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from ops.lib import units
from ops.lib.redis_cli import Answer, CannotTell, Fault, RedisCli, instead, pairs, redis_time_s, scanned, text
from ops.lib.report import DEGRADED, FUTURE_TOLERANCE_S, PROVEN, Verdict, epoch, framed, shown

TITLE = "Quantum Trader 3-Permit Gate Infrastructure Audit"
PREFIX = "quantum:permit:"
EVENTS = "quantum:stream:permit.events"
HEARTBEAT_MAX_AGE_S = 60
PERMIT_MAX_TTL_S = 60
EVENTS_LOOKED_AT = 2_000
JUDGED_AT_MOST = 5_000
LARGEST_NUMBER = 10**15
ALIVE = ("", units.NOT_INSTALLED, units.ACTIVE, "activating", "reloading")
"""What systemd says of the unit of a gate that may be idle; empty where the gate has none."""
MODES = ("testnet", "mainnet", "paper")
DIGEST = re.compile("[0-9a-f]{64}")
SAFE_QTY = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)


@dataclass(frozen=True)
class Gate:
    """A permit source: its name in permits, its heading, its keys' prefix, its heartbeat, its unit where it has one."""

    name: str
    heading: str
    prefix: str
    heartbeat_key: str
    unit: str = ""


GATES = (
    Gate("governor", "GOVERNOR PERMITS: ", PREFIX, "quantum:governor:status"),
    Gate("p26", "P2.6 PERMITS:     ", f"{PREFIX}p26:", "quantum:portfolio:gate_status", "quantum-portfolio-gate"),
    Gate("p33", "P3.3 PERMITS:     ", f"{PREFIX}p33:", "quantum:position:status", "quantum-position-state-brain"),
)


@dataclass
class Seen:
    """What was seen of one gate."""

    gate: Gate
    required: bool
    unit: str
    keys: int = 0
    valid: int = 0
    unjudged: int = 0
    faults: list[str] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    last_decision: dict[str, Any] | None = None
    heartbeat_age_s: float | None = None
    heartbeat_said: str = "none"

    @property
    def is_idle(self) -> bool:
        """Whether it lives and has nothing to permit; one that systemd has just seen end is not idle but gone."""
        return self.unit in ALIVE and self.has_beaten

    @property
    def has_beaten(self) -> bool:
        """Whether its heartbeat is young."""
        age_s = self.heartbeat_age_s
        return age_s is not None and -FUTURE_TOLERANCE_S <= age_s < HEARTBEAT_MAX_AGE_S

    @property
    def works(self) -> bool:
        """Whether it is there: a permit that stands, or a heartbeat."""
        return self.valid > 0 or self.is_idle


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what the script passes on."""
    parser.add_argument("--sample", type=int, required=True)
    parser.add_argument("--gates", required=True)


def prove(cli: RedisCli, arguments: Namespace) -> Verdict:
    """Look and judge.

    Raises:
        CannotTell: Redis did not answer, or the event stream is none.
    """
    required = arguments.gates.split(",")
    seen = {gate.name: Seen(gate, gate.name in required, units.state(gate.unit) if gate.unit else "") for gate in GATES}
    by_gate = _by_gate(scanned(cli, f"{PREFIX}*"))
    [time] = cli.ask(("TIME",))
    for name, keys in by_gate.items():
        _look_at_permits(cli, seen[name], keys, redis_time_s(time), arguments.sample)
    _look_at_heartbeats(cli, seen, redis_time_s(time))
    _look_at_events(cli, seen, redis_time_s(time))
    return judged(list(seen.values()))


def judged(seen: list[Seen]) -> Verdict:
    """Judge what was seen."""
    missing = [each for each in seen if each.required and not each.works]
    problems = [f"{each.gate.name}: {_why_missing(each)}" for each in missing]
    asked = ", ".join(each.gate.name for each in seen if each.required)
    if missing:
        status = f"❌ MISSING: {', '.join(each.gate.name for each in missing)}"
    elif all(each.required for each in seen):
        status = "✅ ALL THREE PERMIT SOURCES ACTIVE"
    else:
        status = f"✅ ACTIVE: {asked} (the others were not asked for)"
    lines = [*framed(TITLE), "", f"Total Permits: {sum(each.keys for each in seen)}", ""]
    for each in seen:
        lines += [*_gate_lines(each), ""]
    lines += [f"STATUS: {status}", *(f"   {problem}" for problem in problems)]
    facts = {
        "audit": "permits",
        "total": sum(each.keys for each in seen),
        "gates": [_gate_facts(each) for each in seen],
    }
    return Verdict(DEGRADED if missing else PROVEN, "MISSING" if missing else "ACTIVE", lines, facts, problems)


def permit_fault(gate: Gate, plan_id: str, answer: Answer, ttl_ms: int, now_s: float) -> tuple[str, dict[str, Any]]:
    """Say why this is no permit of that gate; empty where it is one. Besides, what it says."""
    if isinstance(answer, Fault):
        return f"{answer.text}, expected a string", {}
    try:
        permit = json.loads(text(answer))
    except (ValueError, RecursionError):
        return f"is {shown(text(answer))}, expected JSON", {}
    if not isinstance(permit, dict):
        return f"is {shown(permit)}, expected an object", {}
    if not 0 < ttl_ms <= PERMIT_MAX_TTL_S * 1000:
        seen = "no TTL" if ttl_ms < 0 else f"a TTL of {ttl_ms / 1000:.0f} s"
        return f"has {seen}, expected at most {PERMIT_MAX_TTL_S} s", permit
    for name, expected, is_right in _requirements(permit, gate, plan_id, now_s):
        if not is_right:
            return f"{name} is {shown(json.dumps(permit.get(name)))}, expected {expected}", permit
    return "", permit


def _requirements(permit: dict[str, Any], gate: Gate, plan_id: str, now_s: float) -> list[tuple[str, str, bool]]:
    created_s, expires_ms = permit.get("created_at"), permit.get("expires_at_ms")
    latest_s = now_s + FUTURE_TOLERANCE_S
    return [
        ("v", "1", permit.get("v") == 1 and _is_number(permit["v"])),
        ("gate", gate.name, permit.get("gate") == gate.name),
        ("plan_id", "the key's", permit.get("plan_id") == plan_id),
        ("plan_digest", "64 hex digits", _fits(DIGEST, permit.get("plan_digest"))),
        ("symbol", "a symbol", isinstance(permit.get("symbol"), str) and bool(permit["symbol"])),
        ("mode", f"one of {', '.join(MODES)}", permit.get("mode") in MODES),
        ("allow", "true or false", isinstance(permit.get("allow"), bool)),
        ("safe_qty", "a plain decimal", _fits(SAFE_QTY, permit.get("safe_qty"))),
        ("created_at", "a time that is past", _is_number(created_s) and created_s <= latest_s),
        (
            "expires_at_ms",
            f"a time within {PERMIT_MAX_TTL_S} s",
            _is_number(expires_ms) and now_s < expires_ms / 1000 <= latest_s + PERMIT_MAX_TTL_S,
        ),
    ]


def _fits(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and bool(pattern.fullmatch(value))


def _is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether it is a number that time can be; JSON of Python's knows infinities, and ints without bounds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER


def _by_gate(keys: list[bytes]) -> dict[str, list[bytes]]:
    """Tell whose keys they are; the governor's are those without another gate's name in them."""
    split: dict[str, list[bytes]] = {gate.name: [] for gate in GATES}
    longest_first = sorted(GATES, key=lambda gate: -len(gate.prefix))
    for key in keys:
        split[next(gate.name for gate in longest_first if key.startswith(gate.prefix.encode()))].append(key)
    return split


def _look_at_permits(cli: RedisCli, seen: Seen, keys: list[bytes], now_s: float, samples: int) -> None:
    judged_keys = keys[:JUDGED_AT_MOST]
    answers = cli.ask(*(command for key in judged_keys for command in (("GET", key), ("PTTL", key))))
    seen.keys = seen.unjudged = len(keys) - len(judged_keys)
    for key, value, ttl_ms in zip(judged_keys, answers[::2], answers[1::2], strict=True):
        if value is None or not isinstance(ttl_ms, int):
            continue  # it expired between the scan and this look
        seen.keys += 1
        plan_id = text(key).removeprefix(seen.gate.prefix)
        fault, permit = permit_fault(seen.gate, plan_id, value, ttl_ms, now_s)
        seen.valid += not fault
        if fault:
            seen.faults.append(f"{text(key)}: {fault}")
        if len(seen.samples) < samples:
            seen.samples.append(_sample(key, ttl_ms, fault, permit))


def _sample(key: bytes, ttl_ms: int, fault: str, permit: dict[str, Any]) -> dict[str, Any]:
    """Take what a report shows of a permit; what is not of its type is not shown, the fault names it."""
    texts = {name: permit.get(name) for name in ("symbol", "safe_qty", "reason")}
    allow = permit.get("allow")
    return {
        "key": text(key),
        "ttl_s": ttl_ms // 1000 if ttl_ms >= 0 else None,
        "fault": shown(fault),
        "allow": allow if isinstance(allow, bool) else None,
    } | {name: value if isinstance(value, str) else None for name, value in texts.items()}


def _look_at_heartbeats(cli: RedisCli, seen: dict[str, Seen], now_s: float) -> None:
    answers = cli.ask(*(("HGET", each.gate.heartbeat_key, "last_ts") for each in seen.values()))
    for each, answer in zip(seen.values(), answers, strict=True):
        key = each.gate.heartbeat_key
        if answer is None:
            each.heartbeat_said = f"{key} last_ts is missing"
            continue
        beat_s = None if isinstance(answer, Fault) else epoch(text(answer))
        if beat_s is None:
            each.heartbeat_said = (
                f"{key} last_ts is {shown(answer.text if isinstance(answer, Fault) else text(answer))}"
            )
            continue
        each.heartbeat_age_s = round(now_s - beat_s, 3)
        each.heartbeat_said = f"{each.heartbeat_age_s:.0f}s ago"
        if not each.has_beaten:
            each.heartbeat_said += f", expected under {HEARTBEAT_MAX_AGE_S}"


def _look_at_events(cli: RedisCli, seen: dict[str, Seen], now_s: float) -> None:
    [answer] = cli.ask(("XREVRANGE", EVENTS, "+", "-", "COUNT", EVENTS_LOOKED_AT))
    if not isinstance(answer, list):
        raise CannotTell(f"{EVENTS}: {instead(answer)}, expected a stream")
    for entry in answer:
        entry_id, fields = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
        event = pairs(fields)
        each = seen.get(event.get("gate", ""))
        if each is not None and each.last_decision is None:
            said = {name: event.get(name, "") for name in ("plan_id", "symbol", "allow", "reason")}
            milliseconds = text(entry_id).partition("-")[0]
            each.last_decision = {
                "entry_id": text(entry_id),
                "age_s": round(now_s - int(milliseconds) / 1000, 3),
            } | said


def _why_missing(seen: Seen) -> str:
    permits = f"{seen.keys} keys, none of them a valid permit" if seen.keys else "no permit"
    unit = "" if seen.unit in ALIVE else f"; {seen.gate.unit} is {shown(seen.unit)}, expected active"
    return f"{permits}; heartbeat {seen.heartbeat_said}{unit}"


def _gate_facts(seen: Seen) -> dict[str, Any]:
    return {
        "gate": seen.gate.name,
        "required": seen.required,
        "works": seen.works,
        "keys": seen.keys,
        "valid": seen.valid,
        "faults": [shown(fault) for fault in seen.faults[:20]],
        "samples": seen.samples,
        "last_decision": seen.last_decision,
        "heartbeat_age_s": seen.heartbeat_age_s,
        "unit": seen.unit or None,
    }


def _gate_lines(seen: Seen) -> list[str]:
    lines = [f"{seen.gate.heading}{seen.keys} keys"]
    if not seen.required:
        lines.append("   not installed" + (f"; ⚠ and yet {seen.keys} keys are there" if seen.keys else ""))
    if seen.unjudged:
        lines.append(f"   {seen.unjudged} keys were only counted: the first {JUDGED_AT_MOST} are looked into")
    if seen.faults:
        lines.append(f"   ⚠ {len(seen.faults)} of them are no permits, the first: {shown(seen.faults[0])}")
    lines += [f"   {_sample_line(sample)}" for sample in seen.samples]
    if seen.required or seen.last_decision:
        lines.append(f"   last decision: {_decision_line(seen.last_decision)}")
    if seen.required:
        state = "idle" if seen.is_idle and not seen.valid else "working" if seen.works else "missing"
        lines.append(f"   heartbeat: {seen.heartbeat_said} ({state})")
        lines += [f"   unit: {_unit_line(seen.unit)}"] if seen.unit else []
    return lines


def _sample_line(sample: dict[str, Any]) -> str:
    ttl = "none" if sample["ttl_s"] is None else f"{sample['ttl_s']}s"
    said = sample["fault"] or (
        f"{'allow' if sample['allow'] else 'deny'} {shown(sample['symbol'])} safe_qty {shown(sample['safe_qty'])} "
        f"{shown(sample['reason'])}"
    )
    return f"{shown(sample['key'])} TTL {ttl} {said}"


def _decision_line(decision: dict[str, Any] | None) -> str:
    if decision is None:
        return f"none in the newest {EVENTS_LOOKED_AT} events"
    verdict = {"true": "allow", "false": "deny"}.get(decision["allow"], shown(decision["allow"]))
    said = f"{verdict} {shown(decision['symbol'])} {shown(decision['reason'])}"
    return f"{said}, plan {shown(decision['plan_id'])}, {decision['age_s']:.0f}s ago"


def _unit_line(unit: str) -> str:
    if unit == units.NOT_INSTALLED:
        return "not installed here, judged by its heartbeat"
    return f"{'' if unit in ALIVE else '⚠ '}{shown(unit)}"
