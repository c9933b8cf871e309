"""Why did it not trade: everything that streams and keys still hold of one plan, or of a symbol's newest plan."""

import json
import os
import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, field
from typing import NamedTuple

from ops.lib.redis_cli import Answer, Fault, RedisCli, pairs, redis_time_s, text
from ops.lib.report import Verdict, shown
from ops.lib.why_report import Now, Story, report
from ops.lib.why_search import EVENTS, PLANS, RESULTS, Entry, Search, Wanted, ms_of, order_of

SEARCH_S = 0.12
"""For looking through plans where nothing says where: what bash, Python and redis-cli leave of 0.3 s."""
ENDED_WITHIN_MS = 130_000
"""A plan and its permit live 60 s each: by then come its events and, unless its order is unresolved, its result."""
SHOWN_REASONS = 10
PERMIT_PREFIXES = {"governor": b"quantum:permit:", "p26": b"quantum:permit:p26:", "p33": b"quantum:permit:p33:"}


@dataclass
class Keys:
    """What the keys of a plan id say."""

    verdict: dict[str, str] = field(default_factory=dict)
    claim: dict[str, str] = field(default_factory=dict)
    open_claim: dict[str, str] = field(default_factory=dict)
    permits_s: dict[str, float] = field(default_factory=dict)
    """Seconds that a gate's permit still stands."""
    faults: list[str] = field(default_factory=list)

    @property
    def entry_id(self) -> str:
        """The plan's entry, where a key still knows it."""
        rows = (self.verdict, self.claim, self.open_claim)
        return next((row["plan_entry_id"] for row in rows if row.get("plan_entry_id")), "")


class Found(NamedTuple):
    """What was found first, and whether it is of the plan that was asked about, or the newest of the symbol."""

    plan: Entry | None = None
    result: Entry | None = None
    event: Entry | None = None
    kind: str = "plan"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what the script passes on."""
    parser.add_argument("--what", required=True)


def prove(cli: RedisCli, arguments: Namespace) -> Verdict:
    """Look for it and tell what is known.

    Raises:
        CannotTell: Redis did not answer, or a stream is none.
    """
    deadline_s = time.monotonic() + SEARCH_S
    asked = os.fsencode(arguments.what)
    search = Search(cli, deadline_s)
    search.look()
    keys, now_s = keys_of(cli, asked)
    story = Investigation(cli, search, now_s).of(asked, keys)
    story.reach, story.looked_back_to_ms = search.reach, search.looked_back_to_ms
    story.now = now_of(cli, story.symbol, now_s)
    return report(story)


class Investigation:
    """Put together what became of one plan.

    Args:
        cli: the way to Redis.
        search: the way through its streams, looked at already.
        now_s: Redis's time.
    """

    def __init__(self, cli: RedisCli, search: Search, now_s: float) -> None:
        self._cli = cli
        self._search = search
        self._now_s = now_s

    def of(self, asked: bytes, keys: Keys) -> Story:
        """Find the plan that is asked about, and all that belongs to it."""
        story = Story(text(asked), self._now_s)
        found = Found(self._search.one(PLANS, keys.entry_id)) if keys.entry_id else self._by_looking(asked)
        story.plan, story.result, story.kind = found.plan, found.result, found.kind
        story.events = [found.event] if found.event else []
        if story.plan is None and story.result is not None:
            story.plan = self._plan_of(story.result)
        plan_id = asked if story.kind == "plan" else self._plan_id_of(story).encode()
        if plan_id != asked:
            keys, _ = keys_of(self._cli, plan_id)
            keys = _of_its_entry(keys, story)
        self._complete(story, plan_id, keys)
        return story

    def _by_looking(self, asked: bytes) -> Found:
        """Find it by its fields: in the newest plans, by the index, then where there is time for."""
        symbol = asked.decode("utf-8", "replace").upper().encode()
        wanted = (Wanted("plan_id", asked), Wanted("symbol", symbol))
        last_ms = self._search.reach[PLANS].last_ms or 0
        recent = self._search.between(PLANS, last_ms - ENDED_WITHIN_MS, last_ms, *wanted)
        plan = _named(recent, asked)
        if plan is not None:
            return Found(plan=plan)
        results = self._search.indexed(RESULTS, int(self._now_s * 1000), {asked, symbol}, *wanted)
        result = _named(results, asked)
        if result is not None:
            return Found(result=result)
        if recent and (not results or order_of(recent[0].id) >= order_of(results[0].id)):
            return Found(plan=recent[0], kind="symbol")
        if results:
            return Found(result=results[0], kind="symbol")
        return self._by_looking_further(asked, {asked, symbol}, wanted)

    def _by_looking_further(self, asked: bytes, names: set[bytes], wanted: tuple[Wanted, ...]) -> Found:
        """Find a plan that has no result (yet), or a verdict that outlived both: those are kept by their number."""
        results_ms = self._search.reach[RESULTS].first_ms
        until_ms = int(self._now_s * 1000) if results_ms is None else results_ms
        verdicts = self._search.indexed(EVENTS, until_ms, names, *wanted, earlier_ms=ENDED_WITHIN_MS)
        event = _named(verdicts, asked)
        if event is not None:
            return Found(event=event)
        plan = self._search.newest(PLANS, *wanted)
        if plan is not None:
            return Found(plan=plan, kind="plan" if _named([plan], asked) else "symbol")
        event = verdicts[0] if verdicts else self._search.newest(EVENTS, *wanted)
        return Found(event=event, kind="plan" if event is None or _named([event], asked) else "symbol")

    def _plan_of(self, result: Entry) -> Entry | None:
        entry_id = result.fields.get("plan_entry_id", "")
        if entry_id:
            return self._search.one(PLANS, entry_id)
        wanted = Wanted("plan_id", result.fields.get("plan_id", "").encode())
        before = self._search.between(PLANS, result.ms - ENDED_WITHIN_MS, result.ms, wanted)
        return before[0] if before else None

    def _plan_id_of(self, story: Story) -> str:
        entry = story.entry
        return entry.fields.get("plan_id", "") if entry else ""

    def _complete(self, story: Story, plan_id: bytes, keys: Keys) -> None:
        """Add result, events and keys."""
        story.claim, story.verdict, story.permits_s = keys.claim | keys.open_claim, keys.verdict, keys.permits_s
        story.problems += keys.faults
        if not plan_id:
            return
        wanted = Wanted("plan_id", plan_id)
        begin_ms = self._begin_ms(story, keys)
        if story.result is None:
            story.result = self._result_of(story, keys, wanted, begin_ms)
        end_ms = begin_ms + ENDED_WITHIN_MS
        story.events = self._search.between(EVENTS, begin_ms, end_ms, wanted)[::-1]

    def _begin_ms(self, story: Story, keys: Keys) -> int:
        """When the plan came: nothing of it is older."""
        if story.plan is not None:
            return story.plan.ms
        if keys.entry_id:
            return max(0, order_of(keys.entry_id)[0])
        if story.result is not None:
            return story.result.ms - ENDED_WITHIN_MS // 2
        if story.events:
            event = story.events[0]
            planned_ms = ms_of(event.fields.get("plan_entry_id", ""))
            return planned_ms if planned_ms >= 0 else event.ms - ENDED_WITHIN_MS // 2
        return (self._search.reach[EVENTS].last_ms or 0) - ENDED_WITHIN_MS

    def _result_of(self, story: Story, keys: Keys, wanted: Wanted, begin_ms: int) -> Entry | None:
        result_id = keys.claim.get("result_id", "")
        found = self._search.one(RESULTS, result_id) if result_id else None
        if found is not None:
            return found
        entry_id = story.plan.id if story.plan else keys.entry_id
        results = self._search.between(RESULTS, begin_ms, begin_ms + ENDED_WITHIN_MS, wanted)
        if not results and entry_id:
            results = self._search.indexed(RESULTS, int(self._now_s * 1000), [wanted.value], wanted)
        if not entry_id:
            return next(iter(results), None)
        # Another entry's result is another story: the order of this one may be on its way.
        own = (result for result in results if result.fields.get("plan_entry_id") in (None, "", entry_id))
        return next(own, None)


def keys_of(cli: RedisCli, plan_id: bytes) -> tuple[Keys, float]:
    """Read the keys of a plan id, and Redis's time.

    Raises:
        CannotTell: Redis did not answer.
    """
    names = {"verdict": b"quantum:position:verdict:" + plan_id, "claim": b"quantum:apply:claim:" + plan_id}
    asked_permits = [("PTTL", prefix + plan_id) for prefix in PERMIT_PREFIXES.values()]
    hashes = [("HGETALL", name) for name in names.values()]
    moment, verdict, claim, opened, *lives = cli.ask(
        ("TIME",), *hashes, ("HGET", "quantum:apply:open", plan_id), *asked_permits
    )
    keys = Keys()
    keys.verdict = _hash(verdict, "quantum:position:verdict", keys.faults)
    keys.claim = _hash(claim, "quantum:apply:claim", keys.faults)
    keys.open_claim = _json(opened)
    for gate, life in zip(PERMIT_PREFIXES, lives, strict=True):
        if isinstance(life, int) and life > 0:
            keys.permits_s[gate] = life / 1000
    return keys, redis_time_s(moment)


def _of_its_entry(keys: Keys, story: Story) -> Keys:
    """Give the keys as they are where they are of the entry that is told of, else none: its id had come before."""
    result_of = story.result.fields.get("plan_entry_id", "") if story.result else ""
    entry_id = story.plan.id if story.plan else result_of
    if not keys.entry_id or entry_id in ("", keys.entry_id):
        return keys
    story.problems.append(
        f"the same plan id came before, as {shown(keys.entry_id)}: by the plan id that one is told of"
    )
    return Keys(faults=keys.faults)


def now_of(cli: RedisCli, symbol: str, now_s: float) -> Now:
    """Read what holds now whatever plan it is: switches, and why things did not trade in the last hour."""
    top, by_symbol, written, switch, hold = cli.ask(
        ("ZREVRANGE", "quantum:p35:reason:top:1h", 0, SHOWN_REASONS - 1, "WITHSCORES"),
        ("HGET", "quantum:p35:symbol:top:1h", symbol),
        ("HGET", "quantum:p35:status", "snapshot_ts"),
        ("GET", "quantum:kill_switch"),
        ("GET", f"quantum:reconcile:hold:{symbol}"),
    )
    age_s = now_s - int(written) if isinstance(written, bytes) and written.isdigit() else None
    reasons = {} if isinstance(top, Fault) else pairs(top)
    of_symbol = {name: str(count) for name, count in _json(by_symbol).items()} if symbol else {}
    return Now(reasons, of_symbol, age_s, _said(switch), _said(hold) if symbol else None)


def _named(entries: list[Entry], plan_id: bytes) -> Entry | None:
    """Give the entry of this plan id that was not refused as a duplicate, else the newest."""
    of_plan = [entry for entry in entries if entry.fields.get("plan_id") == text(plan_id)]
    first = [entry for entry in of_plan if entry.fields.get("error") != "duplicate_plan"]
    return next(iter(first or of_plan), None)


def _hash(answer: Answer, key: str, faults: list[str]) -> dict[str, str]:
    if isinstance(answer, Fault):
        faults.append(f"{key}: {answer.text}, expected a hash")
        return {}
    return pairs(answer)


def _json(answer: Answer) -> dict[str, str]:
    """Read a JSON object as text; what is none says nothing."""
    try:
        document = json.loads(text(answer), parse_float=str, parse_constant=str) if isinstance(answer, bytes) else {}
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(value) for name, value in document.items()} if isinstance(document, dict) else {}


def _said(answer: Answer) -> str | None:
    """Read a switch; None where it is absent, Redis's own words where it is no string."""
    if answer is None:
        return None
    return answer.text if isinstance(answer, Fault) else text(answer)
