"""Ends in-flight marks whose plan can no longer become an order. A mark has no meaning by its age."""

import logging
from collections.abc import Callable, Mapping

from redis import Redis
from redis.exceptions import ResponseError

from microservices.contracts import claim, permit, position
from microservices.contracts.fields import Unreadable
from microservices.contracts.permit import Gate
from microservices.contracts.position import InflightMark
from microservices.position_state_brain.board import KnownSymbols
from microservices.position_state_brain.committing import LeaseLost
from microservices.runtime import Clock, LuaScript

_log = logging.getLogger(__name__)

UNMARK = LuaScript.load(__package__, "unmark.lua", behind="shared.lua")
SWEEP_EVERY_S = 1.0
DONE_FOR_MS = 60_000
"""A claim is done in one step with its result. If the mark is still there after so long, the result was lost, or the
account was adopted over it; no snapshot from before its fill counts any more."""


class MarkSweeper:
    """Looks at every mark now and then; used by the ledger loop's thread alone.

    A mark whose permit is gone and whose plan nobody claims is suspect. It ends at the next look if it still is: the
    ledger loop has then applied every result there was when it became suspect, so that no claim that expired after its
    order can end a mark before its fill is in the ledger. A claim that has long been done closes no symbol either,
    whatever became of its result: it would for the day that it lives.

    Args:
        redis: a client whose answers are bytes.
        clock: for the pause between two looks.
        instance_id: gives the id that the lease must hold.
        known: the symbols with a mark.
    """

    def __init__(self, redis: Redis, clock: Clock, instance_id: Callable[[], str], known: KnownSymbols) -> None:
        self._redis = redis
        self._clock = clock
        self._instance_id = instance_id
        self._known = known
        self._suspects: dict[str, InflightMark] = {}
        self._unreadable = set[str]()
        self._due_s = float("-inf")

    def sweep(self) -> None:
        """Look at the marks where it is time to.

        To be called when every result that was there before the call is applied.

        Raises:
            LeaseLost: another instance is the brain.
            redis.exceptions.RedisError: Redis did not answer.
        """
        now_s = self._clock.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + SWEEP_EVERY_S
        for symbol, mark in self._suspects.items():
            self._end(symbol, mark)
        self._suspects = self._orphans(self._marks())

    def _end(self, symbol: str, mark: InflightMark) -> None:
        keys = [position.LEASE_KEY, position.inflight_key(symbol), *_permit_and_claim(mark)]
        outcome = UNMARK(self._redis, keys, [self._instance_id(), mark.plan_entry_id, DONE_FOR_MS])
        if outcome == b"lease_lost":
            raise LeaseLost
        if outcome == b"removed":
            _log.info("%s: mark of %s ended: its permit was not used", symbol, mark.plan_id)
        if outcome == b"removed_without_result":
            _log.warning("%s: mark of %s ended: its claim is done, but its result never came", symbol, mark.plan_id)

    def _marks(self) -> dict[str, InflightMark]:
        symbols = self._known.marked
        pipeline = self._redis.pipeline(transaction=False)
        for symbol in symbols:
            pipeline.hgetall(position.inflight_key(symbol))
        answers = dict(zip(symbols, pipeline.execute(raise_on_error=False) if symbols else [], strict=True))
        self._known.forget_marks({symbol: symbols[symbol] for symbol, raw in answers.items() if not raw})
        decoded = {symbol: self._decoded(symbol, raw) for symbol, raw in answers.items()}
        return {symbol: mark for symbol, mark in decoded.items() if mark is not None}

    def _decoded(self, symbol: str, raw: object) -> InflightMark | None:
        """Read a mark; one that cannot be read closes its symbol until somebody removes the key, and is said once."""
        try:
            if isinstance(raw, ResponseError) or not isinstance(raw, Mapping):
                raise Unreadable(position.inflight_key(symbol), str(raw))
            mark = position.decode_inflight(raw, symbol)
        except Unreadable as fault:
            if symbol not in self._unreadable:
                _log.error("%s: every plan of %s is denied until the key is removed", fault, symbol)
            self._unreadable.add(symbol)
            return None
        self._unreadable.discard(symbol)
        return mark

    def _orphans(self, marks: Mapping[str, InflightMark]) -> dict[str, InflightMark]:
        if not marks:
            return {}
        pipeline = self._redis.pipeline(transaction=False)
        for mark in marks.values():
            permit_key, claim_key = _permit_and_claim(mark)
            pipeline.exists(permit_key)
            pipeline.exists(claim_key)
            pipeline.hget(claim_key, "state")
        answers = iter(pipeline.execute(raise_on_error=False))
        orphans = {}
        for (symbol, mark), has_permit, has_claim, state in zip(marks.items(), answers, answers, answers, strict=True):
            if not has_permit and (not has_claim or state == b"done"):
                orphans[symbol] = mark
        return orphans


def _permit_and_claim(mark: InflightMark) -> tuple[str, str]:
    return permit.key(Gate.P33, mark.plan_id), claim.key(mark.plan_id)
