"""Read everything that decides on a plan as it stands at one moment: one script, one round trip."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from redis import Redis
from redis.exceptions import ResponseError

from microservices.contracts import claim, control, position, universe
from microservices.contracts.claim import OpenClaim
from microservices.contracts.control import KillSwitch
from microservices.contracts.fields import Unreadable, text
from microservices.contracts.plan import Plan
from microservices.position_state_brain.allowlist_watch import META_FIELDS, AllowlistWatch
from microservices.position_state_brain.board import Board
from microservices.position_state_brain.books import read_baseline
from microservices.position_state_brain.facts import Facts, Hold
from microservices.runtime import LuaScript

_log = logging.getLogger(__name__)

T = TypeVar("T")

FACTS = LuaScript.load(__package__, "facts.lua")
READINGS_AT_MOST = 2
"""A universe that is published in between is read once more."""


class _Answers(NamedTuple):
    """What Redis answered, in the script's order; an error in place of a value where a key has another type."""

    time: Any
    kill_switch: Any
    hold: Any
    claim_exists: Any
    claim_entry_id: Any
    verdict: Any
    mark: Any
    open_claims: Any
    ledger: Any
    baseline: Any
    instrument: Any
    universe_meta: Any


HASHES = ("verdict", "mark", "open_claims", "ledger", "baseline")
"""Which of them are names and values in turn."""


class FactsReader:
    """Reads the facts of one plan after the other.

    Args:
        redis: a client whose answers are bytes.
        watch: the allowlist.
        board: the account.
    """

    def __init__(self, redis: Redis, watch: AllowlistWatch, board: Board) -> None:
        self._redis = redis
        self._watch = watch
        self._board = board
        self._alarmed = ""

    def read(self, plan: Plan) -> Facts:
        """Read the facts of a plan.

        Raises:
            redis.exceptions.RedisError: Redis did not answer.
        """
        answers = self._answers(plan)
        for _ in range(READINGS_AT_MOST - 1):
            if not self._watch.refresh_if_published(answers.universe_meta):
                break
            answers = self._answers(plan)
        seconds, microseconds = map(int, answers.time)
        now_ms = seconds * 1000 + microseconds // 1000
        return Facts(
            now_ms=now_ms,
            allowlist=self._watch.current(now_ms / 1000),
            account=self._board.view,
            kill_switch=self._kill_switch(answers.kill_switch),
            hold=Hold(answers.hold),
            verdict=_read(answers.verdict, position.decode_verdict, plan.plan_id, position.verdict_key(plan.plan_id)),
            has_claim=_is_of_another(answers, plan),
            mark=_read(answers.mark, position.decode_inflight, plan.symbol, position.inflight_key(plan.symbol)),
            open_claims=_open_claims(answers.open_claims, plan.symbol),
            ledger=_read(answers.ledger, position.decode_ledger, plan.symbol, position.ledger_key(plan.symbol)),
            baseline=read_baseline(answers.baseline),
            instrument=_read(answers.instrument, _instrument, plan.symbol, universe.INSTRUMENTS_KEY),
        )

    def _answers(self, plan: Plan) -> _Answers:
        keys = [
            control.KILL_SWITCH_KEY,
            control.hold_key(plan.symbol),
            claim.key(plan.plan_id),
            position.verdict_key(plan.plan_id),
            position.inflight_key(plan.symbol),
            claim.OPEN_KEY,
            position.ledger_key(plan.symbol),
            position.BASELINE_KEY,
            universe.INSTRUMENTS_KEY,
            self._watch.meta_key,
        ]
        answers = _Answers(*FACTS(self._redis, keys, [plan.symbol, *META_FIELDS]))
        return answers._replace(**{name: _pairs(getattr(answers, name)) for name in HASHES})

    def _kill_switch(self, raw: object) -> KillSwitch:
        switch, alarm = control.decode_kill_switch(raw)
        if alarm != self._alarmed:
            self._alarmed = alarm
            if alarm:
                _log.error("%s", alarm)
        return switch


def _pairs(raw: Any) -> Any:  # noqa: ANN401 - a script's answer
    """Make of names and values in turn what HGETALL gives; an error stays one."""
    return raw if isinstance(raw, ResponseError) else dict(zip(raw[::2], raw[1::2], strict=True))


def _read(raw: Any, decode: Callable[[Any, str], T | None], name: str, key: str) -> T | Unreadable | None:  # noqa: ANN401 - redis-py's
    if isinstance(raw, ResponseError):
        return Unreadable(key, str(raw))
    try:
        return decode(raw, name)
    except Unreadable as fault:
        return fault


def _instrument(raw: object | None, symbol: str) -> universe.Instrument | None:
    return None if raw is None else universe.decode_instrument(raw, symbol)


def _is_of_another(answers: _Answers, plan: Plan) -> bool:
    """Whether there is a claim under this plan id that is not this very entry's."""
    if not answers.claim_exists:
        return False
    entry_id = answers.claim_entry_id
    return not (isinstance(entry_id, bytes) and entry_id == plan.entry_id.encode())


def _open_claims(raw: Any, symbol: str) -> tuple[OpenClaim, ...] | Unreadable:  # noqa: ANN401 - redis-py's answer
    """Read the open claims of a symbol; one that cannot be read may be of any symbol, and makes all unreadable."""
    if isinstance(raw, ResponseError):
        return Unreadable(claim.OPEN_KEY, str(raw))
    try:
        claims = [claim.decode_open(value, text(name, claim.OPEN_KEY)) for name, value in raw.items()]
    except Unreadable as fault:
        return fault
    return tuple(open_claim for open_claim in claims if open_claim.symbol == symbol)
