"""Tell what became of a plan: lines for a person, figures for a program."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.lib.report import MISSING, PROVEN, Verdict, epoch, shown, utc
from ops.lib.why_search import EVENTS, PLANS, Entry, Reach

GATES = ("governor", "p26", "p33")
PLAN_FIELDS = ("decision", "action", "side", "qty", "reduceOnly", "expected_position", "source", "reason_codes")
RESULT_FIELDS = ("order_id", "side", "quantity", "price", "gate", "retryable", "wait_ms", "mode")
VERDICT_FIELDS = ("allow", "reason", "plan_entry_id")
CLAIM_FIELDS = ("state", "client_order_id", "qty", "claimed_at_ms", "sent_at_ms", "done_at_ms")
_CALLED = {PLANS: "plans", EVENTS: "verdicts"}
NONE_OF_GATE = "no verdict in the stream: not installed, never asked, or longer ago than the stream reaches"


@dataclass
class Now:
    """What holds now, whatever the plan."""

    reasons: dict[str, str] = field(default_factory=dict)
    symbol_reasons: dict[str, str] = field(default_factory=dict)
    age_s: float | None = None
    kill_switch: str | None = None
    hold: str | None = None


@dataclass
class Story:
    """All that is known of one plan."""

    asked: str
    now_s: float
    kind: str = "plan"
    plan: Entry | None = None
    result: Entry | None = None
    events: list[Entry] = field(default_factory=list)
    """Of every gate, oldest first."""
    verdict: dict[str, str] = field(default_factory=dict)
    claim: dict[str, str] = field(default_factory=dict)
    permits_s: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    reach: dict[str, Reach] = field(default_factory=dict)
    looked_back_to_ms: dict[str, int] = field(default_factory=dict)
    """Of streams that were looked through only so far, for want of time."""
    now: Now = field(default_factory=Now)

    @property
    def symbol(self) -> str:
        """The symbol it is about; empty where nothing names one."""
        named = next((entry.fields["symbol"] for entry in self._entries if entry.fields.get("symbol")), "")
        return named or self.claim.get("symbol", "")

    @property
    def entry(self) -> Entry | None:
        """What says most of it: the plan, else the result, else a verdict."""
        return next(iter(self._entries), None)

    @property
    def _entries(self) -> list[Entry]:
        return [entry for entry in (self.plan, self.result, *self.events) if entry]

    @property
    def is_known(self) -> bool:
        """Whether anything is left of it."""
        return bool(self.plan or self.result or self.events or self.verdict or self.claim)

    @property
    def began_ms(self) -> int | None:
        """When the plan came."""
        return self.plan.ms if self.plan else None


def report(story: Story) -> Verdict:
    """Tell it."""
    facts = _facts(story)
    if not story.is_known:
        problem = f"nothing is known of {shown(story.asked)}, neither as a plan id nor as a symbol"
        lines = [f"WHY     {shown(story.asked)}", f"❌ {problem}", *_now_lines(story), *_reach_lines(story)]
        return Verdict(MISSING, "UNKNOWN", lines, facts, [*story.problems, problem])
    status, answer = _answer(story)
    lines = [f"WHY     {_title(story)}", answer, "", *_plan_lines(story), *_gate_lines(story), *_result_lines(story)]
    lines += [*_now_lines(story), *_reach_lines(story), *(f"⚠ {problem}" for problem in story.problems)]
    return Verdict(PROVEN, status, lines, facts, story.problems)


def _title(story: Story) -> str:
    entry = story.entry
    plan_id = shown(entry.fields.get("plan_id", "") if entry else story.asked)
    return f"{plan_id}, the newest plan of {shown(story.asked)}" if story.kind == "symbol" else plan_id


def _answer(story: Story) -> tuple[str, str]:
    """Say in one line what became of it."""
    if story.result is not None:
        return _ended(story.result.fields)
    denied = next((event.fields for event in reversed(story.events) if event.fields.get("allow") == "false"), None)
    if denied is not None:
        gate, reason = shown(denied.get("gate", "")), shown(denied.get("reason", ""))
        return "DENIED", f"❌ denied by {gate}: {reason}; there is no result of it"
    state = story.claim.get("state", "")
    if state:
        return "PENDING", f"⚠ no result: its claim is {shown(state)}"
    return "PENDING", "⚠ no result: it waits, or the apply layer does not run, or its result is gone from the stream"


def _ended(fields: Mapping[str, str]) -> tuple[str, str]:
    executed = fields.get("executed", "").lower() == "true"
    decision, error = shown(fields.get("decision", "") or "no decision"), shown(fields.get("error", ""))
    if executed:
        order = shown(fields.get("order_id", "") or "without an id")
        return "TRADED", f"✅ it traded: order {order}{f', {error}' if error else ''}"
    gate = f" (gate {shown(fields['gate'])})" if fields.get("gate") else ""
    again = {"true": "; a new plan under a new id can succeed", "false": "; a new plan would meet the same"}
    return (
        "NOT TRADED",
        f"❌ {decision}: {error or 'no reason given'}{gate}{again.get(fields.get('retryable', ''), '')}",
    )


def _plan_lines(story: Story) -> list[str]:
    if story.plan is None:
        gone = f"PLAN    not in {PLANS} (any more)"
        return [
            f"{gone}, entry {shown(story.verdict['plan_entry_id'])}" if story.verdict.get("plan_entry_id") else gone
        ]
    fields = story.plan.fields
    when = f"{utc(story.plan.ms / 1000)}, {_ago(story.now_s - story.plan.ms / 1000)}"
    return [
        f"PLAN    {story.plan.id}  {when}",
        f"        {shown(fields.get('symbol', ''))} {_words(fields, PLAN_FIELDS)}",
    ]


def _gate_lines(story: Story) -> list[str]:
    lines = []
    for event in story.events:
        lines.append(f"GATE    {_verdict_words(story, event)}")
        lines += [f"        {figures}" for figures in _figures(event.fields.get("context", ""))]
    silent = [gate for gate in GATES if gate not in {event.fields.get("gate") for event in story.events}]
    lines += [f"GATE    {gate}: {NONE_OF_GATE}" for gate in silent]
    if story.verdict and "p33" in silent:
        lines.append(f"        its key says: {_words(story.verdict, VERDICT_FIELDS)}")
    return lines


def _verdict_words(story: Story, event: Entry) -> str:
    """Say what a gate said, when, and whether its permit still stands."""
    fields, issued_ms = event.fields, _issued_ms(event)
    gate = fields.get("gate", "?")
    allows = fields.get("allow") == "true"
    words = f"{shown(gate)}: {'allow' if allows else 'deny'} {shown(fields.get('reason', ''))}"
    if allows:
        words += f" safe_qty {shown(fields.get('safe_qty', ''))}"
    words += f"{_after(story, issued_ms)}, {_ago(story.now_s - issued_ms / 1000)}"
    standing_s = story.permits_s.get(gate, 0.0)
    return f"{words}, its permit stands for {standing_s:.0f} s more" if allows and standing_s else words


def _figures(context: str) -> list[str]:
    """Write a verdict's figures, those that are there, a few a line."""
    figures = _context(context)
    if figures is None:
        return [shown(context)] if context else []
    words = [f"{shown(name)}={shown(value)}" for name, value in figures.items() if value is not None]
    return [" ".join(words[start : start + 5]) for start in range(0, len(words), 5)]


def _context(raw: str) -> dict[str, Any] | None:
    try:
        document = json.loads(raw, parse_float=str, parse_constant=str) if raw else {}
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _result_lines(story: Story) -> list[str]:
    lines = [f"CLAIM   {_words(story.claim, CLAIM_FIELDS)}"] if story.claim else []
    if story.result is None:
        return lines
    fields = story.result.fields
    when = f"{_after(story, story.result.ms)}, {_ago(story.now_s - story.result.ms / 1000)}"
    decided = f"{shown(fields.get('decision', '') or '-')} {shown(fields.get('error', '') or '-')}"
    lines.append(f"RESULT  {story.result.id}  {decided} executed={shown(fields.get('executed', ''))}{when}")
    words = _words(fields, RESULT_FIELDS)
    return [*lines, f"        {words}"] if words else lines


def _after(story: Story, at_ms: float) -> str:
    return "" if story.began_ms is None else f", {(at_ms - story.began_ms) / 1000:.3f} s after the plan"


def _now_lines(story: Story) -> list[str]:
    now = story.now
    switch = "absent: no position is opened" if now.kill_switch is None else shown(now.kill_switch)
    hold = "none" if now.hold is None else shown(now.hold)
    lines = ["", f"NOW     kill switch: {switch}; hold on {shown(story.symbol) or 'its symbol'}: {hold}"]
    if now.age_s is None:
        return [*lines, "HOUR    no figures: decision intelligence has written none"]
    lines.append(f"HOUR    top reasons, as of {_ago(now.age_s)}: {_counts(now.reasons)}")
    if story.symbol:
        lines.append(f"        of {shown(story.symbol)}: {_counts(now.symbol_reasons)}")
    return lines


def _reach_lines(story: Story) -> list[str]:
    lines = []
    for stream, reach in story.reach.items():
        name = stream.removeprefix("quantum:stream:")
        back = "is empty" if reach.first_ms is None else f"back to {utc(reach.first_ms / 1000)}"
        lines.append(f"REACH   {name} {back}, {reach.entries} entries")
    for stream, back_ms in story.looked_back_to_ms.items():
        lines.append(f"⚠ {_CALLED[stream]} were looked through only back to {utc(back_ms / 1000)}, for want of time")
    return lines


def _facts(story: Story) -> dict[str, Any]:
    reach = {
        stream: {"entries": each.entries, "first": _s(each.first_ms), "last": _s(each.last_ms)}
        for stream, each in story.reach.items()
    }
    return {
        "why": story.asked,
        "kind": story.kind if story.is_known else None,
        "symbol": story.symbol or None,
        "plan": _entry(story.plan, story.now_s),
        "verdicts": [_verdict(event, story.now_s) for event in story.events],
        "permits_s": story.permits_s,
        "claim": story.claim or None,
        "result": _entry(story.result, story.now_s),
        "kill_switch": story.now.kill_switch,
        "hold": story.now.hold,
        "top_reasons_1h": story.now.reasons,
        "symbol_reasons_1h": story.now.symbol_reasons,
        "top_reasons_age_s": story.now.age_s,
        "reach": reach,
        "looked_back_to": {stream: back_ms / 1000 for stream, back_ms in story.looked_back_to_ms.items()},
    }


def _entry(entry: Entry | None, now_s: float) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {"entry_id": entry.id, "age_s": round(now_s - entry.ms / 1000, 3), "fields": entry.fields}


def _verdict(event: Entry, now_s: float) -> dict[str, Any]:
    fields = event.fields
    told = {name: fields.get(name, "") for name in ("gate", "reason", "safe_qty")}
    context = _context(fields.get("context", ""))
    return {
        **told,
        "allow": fields.get("allow") == "true",
        "entry_id": event.id,
        "age_s": round(now_s - _issued_ms(event) / 1000, 3),
        "context": {
            name: shown(value) if isinstance(value, float) else value for name, value in (context or {}).items()
        },
    }


def _issued_ms(event: Entry) -> float:
    issued = epoch(event.fields.get("issued_at_ms", ""))
    return event.ms if issued is None else issued


def _words(fields: Mapping[str, str], names: tuple[str, ...]) -> str:
    return " ".join(f"{name}={shown(fields[name])}" for name in names if fields.get(name))


def _counts(reasons: Mapping[str, str]) -> str:
    return ", ".join(f"{shown(reason)} {shown(count)}" for reason, count in reasons.items()) or "none"


def _ago(seconds: float) -> str:
    if seconds < 0:
        return f"{-seconds:.1f} s in the future"
    if seconds < 120:
        return f"{seconds:.1f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 7_200 else f"{seconds / 3_600:.1f} h ago"


def _s(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
