"""The permit loop: answer every plan; let those that need a fresher snapshot wait without holding up others."""

import logging
from collections.abc import Callable
from typing import NamedTuple, Self

from redis import Redis

from microservices.contracts import plan
from microservices.contracts.fields import plain, shown
from microservices.contracts.plan import Decision, InvalidPlan, Plan
from microservices.contracts.reason import Reason
from microservices.position_state_brain import metrics
from microservices.position_state_brain.allowlist import not_listed_line
from microservices.position_state_brain.allowlist_watch import AllowlistWatch
from microservices.position_state_brain.board import Board, Demand, KnownSymbols
from microservices.position_state_brain.committing import Commits, Committed, LeaseLost, Outcome
from microservices.position_state_brain.evaluation import deny_duplicate, deny_invalid, evaluate
from microservices.position_state_brain.facts import Facts, Limits, readable
from microservices.position_state_brain.parking import Parking
from microservices.position_state_brain.reading import FactsReader
from microservices.position_state_brain.verdict import Allow, Deny, Wait
from microservices.runtime import Clock, Entry, StreamConsumer, redis_ms

_log = logging.getLogger(__name__)

BATCH = 100
IDLE_BLOCK_MS = 1_000
PARKED_PAUSE_S = 0.005
"""Between two looks at the stream while plans wait for a snapshot, whose coming ends the pause.

Redis ends a short block only with the next tick of its own, up to 100 ms later: too late for an open.
"""
ATTEMPTS = 3
"""At one plan, where mark or clock move between evaluation and commit."""


def plan_consumer(redis: Redis, group: str, plan_max_age_s: float) -> StreamConsumer:
    """Make the brain's consumer of plans; a new or lost group begins where a plan may still be young enough."""

    def start_id() -> str:
        return f"{max(0, redis_ms(redis) - round(plan_max_age_s * 1000))}-0"

    return StreamConsumer(
        redis, plan.STREAM, group, plan.CONSUMER_BRAIN, batch=BATCH, block_ms=IDLE_BLOCK_MS, start_id=start_id
    )


class _Subject(NamedTuple):
    """What a line of the log is about."""

    entry_id: str
    symbol: str
    action: str
    plan_id: str

    @classmethod
    def of(cls, planned: Plan) -> Self:
        """Name a plan."""
        return cls(planned.entry_id, planned.symbol, planned.action.value, planned.plan_id)

    @property
    def what(self) -> str:
        """Action and id."""
        return f"{self.action} {self.plan_id}"


class PermitLoop:
    """Answers plans.

    Args:
        consumer: hands out the plans.
        is_ours: asks whether we are the one brain; only that one may read, because all read under one name.
        reader: reads what decides on them.
        commits: writes the verdicts.
        watch: the allowlist.
        board: the account.
        demand: told what plans wait for; None where no snapshot is made on demand.
        known: told of symbols that have a mark.
        limits: the evaluation's.
        clock: for waiting.
    """

    def __init__(
        self,
        *,
        consumer: StreamConsumer,
        is_ours: Callable[[], bool],
        reader: FactsReader,
        commits: Commits,
        watch: AllowlistWatch,
        board: Board,
        demand: Demand | None,
        known: KnownSymbols,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._consumer = consumer
        self._is_ours = is_ours
        self._reader = reader
        self._commits = commits
        self._watch = watch
        self._board = board
        self._demand = demand
        self._known = known
        self._limits = limits
        self._clock = clock
        self._parking = Parking()
        self.answered = 0

    @property
    def parked(self) -> int:
        """How many plans wait for a snapshot."""
        return len(self._parking)

    def tick(self) -> float:
        """Answer one batch, and those of the waiting that can be answered now; return the pause in seconds.

        Raises:
            LeaseLost: another instance is the brain.
            redis.exceptions.RedisError: Redis did not answer; what was not written is read again.
        """
        self._watch.refresh_if_due()
        if not self._is_ours():
            self._consumer.start_again()
            raise LeaseLost
        with self._consumer.batch(0 if self._parking else IDLE_BLOCK_MS) as entries:
            for entry in entries:
                self._take(entry)
            for parked in self._parking.due(self._clock.monotonic(), self._board.view.sequence):
                self._judge(parked.plan)
        if self._demand is not None:
            self._demand.set(self._parking.requested_from_ms())
        return PARKED_PAUSE_S if self._parking and not entries else 0.0

    def _take(self, entry: Entry) -> None:
        """Answer an entry; one that waits already was read again after an error, and goes on waiting."""
        if entry.id in self._parking:
            return
        if entry.fields is None:
            _log.warning("plan %s is gone from its stream: nobody can answer it", entry.id)
            self._commits.acknowledge(entry.id)
            return
        try:
            header = plan.decode_header(entry.id, entry.fields)
            if header.decision is not Decision.EXECUTE:
                self._commits.acknowledge(entry.id)
                return
            planned = plan.decode(header)
        except InvalidPlan as fault:
            self._refuse_invalid(entry, fault)
            return
        first_entry_id = self._parking.entry_of(planned.plan_id)
        if first_entry_id is None:
            self._judge(planned)
        else:
            denied = deny_duplicate(first_entry_id)
            committed = self._commits.refuse(entry.id, planned.plan_id, planned.symbol, denied)
            self._note(_Subject.of(planned), denied, committed)

    def _refuse_invalid(self, entry: Entry, fault: InvalidPlan) -> None:
        """Deny what is no plan; where its id is none, or an earlier plan's that waits, by an event alone."""
        denied = deny_invalid(fault.why)
        if fault.plan_id and self._parking.entry_of(fault.plan_id) is None:
            committed = self._commits.commit_invalid(entry.id, fault, denied)
        else:
            raw_id = (entry.fields or {}).get(b"plan_id", b"").decode("utf-8", "replace")
            committed = self._commits.refuse(entry.id, raw_id, fault.symbol, denied)
        self._note(_Subject(entry.id, fault.symbol, "plan", shown(fault.plan_id)), denied, committed)

    def _judge(self, planned: Plan) -> None:
        decided = self._decide(planned)
        if decided is not None:
            self._parking.release(planned.entry_id)
            self._note(_Subject.of(planned), *decided)

    def _decide(self, planned: Plan) -> tuple[Allow | Deny, Committed] | None:
        """Evaluate and commit until nothing moves in between; None where the plan waits."""
        attempts_left = ATTEMPTS
        while True:
            attempts_left -= 1
            facts = self._reader.read(planned)
            verdict = self._evaluate(planned, facts)
            if verdict is None:
                return None
            committed = self._commit(planned, verdict, facts)
            if committed.outcome not in (Outcome.MOVED, Outcome.EXPIRED):
                return verdict, committed
            if not attempts_left:
                reason = Reason.PLAN_EXPIRED if committed.outcome is Outcome.EXPIRED else Reason.PERMIT_OUTSTANDING
                denied = Deny(reason, verdict.context)
                return denied, self._commit(planned, denied, facts)

    def _evaluate(self, planned: Plan, facts: Facts) -> Allow | Deny | None:
        """Evaluate; None where the plan may wait for a fresher snapshot."""
        verdict = evaluate(planned, facts, self._limits)
        if not isinstance(verdict, Wait):
            return verdict
        waits = self._parking.park(planned, verdict, self._clock.monotonic(), facts.account.sequence)
        return None if waits else verdict.otherwise

    def _commit(self, planned: Plan, verdict: Allow | Deny, facts: Facts) -> Committed:
        mark = readable(facts.mark)
        if isinstance(verdict, Deny) and verdict.reason is Reason.DUPLICATE_PLAN:
            return self._commits.refuse(planned.entry_id, planned.plan_id, planned.symbol, verdict)
        try:
            return self._commits.commit(planned, verdict, mark)
        finally:  # afterwards, and also where the reply was lost: the sweeper forgets symbols without a mark
            if mark is not None or isinstance(verdict, Allow):
                self._known.add(marked={planned.symbol})

    def _note(self, about: _Subject, verdict: Allow | Deny, committed: Committed) -> None:
        """Count and log; a verdict that could not be written is acked, so that it does not come back for ever."""
        self.answered += 1
        outcome, symbol = committed.outcome, about.symbol
        if outcome is Outcome.WRONG_TYPE:
            why = "a key of its verdict or the event stream has another type"
            _log.error("%s: %s not answered: %s", symbol, about.what, why)
            self._commits.acknowledge(about.entry_id)
            return
        if outcome in (Outcome.ALREADY, Outcome.NOT_OURS):
            _log.info("%s: %s is answered already (%s)", symbol, about.what, outcome)
            return
        if outcome.is_verdict:
            metrics.observe_latency(committed.at_us / 1e6 - int(about.entry_id.partition("-")[0]) / 1e3)
        label = symbol if symbol in self._board.view.rows or symbol in self._watch.latest.symbols else ""
        if isinstance(verdict, Allow) and outcome.is_verdict:
            self._note_allow(about, verdict, label, is_displacing=outcome is Outcome.DISPLACED)
            return
        reason = _reason_written(verdict, outcome)
        metrics.count_deny(label, reason)
        if reason is Reason.NOT_IN_ALLOWLIST:
            _log.debug("%s", not_listed_line(symbol, self._watch.latest.source, about.plan_id))
        else:
            unreadable = verdict.context.get("unreadable")
            why = f" ({unreadable})" if unreadable else ""
            _log.log(logging.WARNING if why else logging.INFO, "%s: deny %s, %s%s", symbol, about.what, reason, why)

    def _note_allow(self, about: _Subject, verdict: Allow, label: str, *, is_displacing: bool) -> None:
        """Count and log a permit; an exit that goes ahead although our ledger says otherwise wants a look."""
        despite_drift = verdict.context["ledger_agrees"] is False
        metrics.count_allow(label, despite_drift=despite_drift)
        displacing = " in place of an open" if is_displacing else ""
        drift = f", although our ledger says {verdict.context['ledger_amt']}" if despite_drift else ""
        level = logging.WARNING if despite_drift else logging.INFO
        _log.log(level, "%s: allow %s, %s%s%s", about.symbol, about.what, plain(verdict.safe_qty), displacing, drift)


def _reason_written(verdict: Allow | Deny, outcome: Outcome) -> Reason:
    """Name the reason that stands in the event: the script knows of ends and duplicates that came in between."""
    if outcome is Outcome.PLAN_ENDED:
        return Reason.PLAN_ENDED
    return Reason.DUPLICATE_PLAN if outcome is Outcome.DUPLICATE else verdict.reason
