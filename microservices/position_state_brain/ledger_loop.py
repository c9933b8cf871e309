"""The ledger loop: read results in their order and apply each exactly once."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from redis import Redis

from microservices.contracts import hashes, position, result
from microservices.contracts.control import Mode
from microservices.contracts.fields import Unreadable, plain, stream_id, text
from microservices.contracts.position import Baseline, LedgerRow
from microservices.contracts.result import Result
from microservices.position_state_brain import ledger, metrics
from microservices.position_state_brain.board import KnownSymbols
from microservices.position_state_brain.books import NO_ROW, BookedRow, booked_row, read_baseline
from microservices.position_state_brain.committing import LeaseLost
from microservices.position_state_brain.marks import MarkSweeper
from microservices.runtime import Clock, Entry, LuaScript
from microservices.runtime.streams import entries_after

_log = logging.getLogger(__name__)

LEDGER = LuaScript.load(__package__, "ledger.lua", behind="shared.lua")
BATCH = 200
BLOCK_MS = 1_000
START = "0-0"


class Cursor(NamedTuple):
    """How far results were applied."""

    stored: bytes
    """As it stands in Redis; empty where nothing usable does."""
    applied_to: str
    is_lost: bool = False
    """Something else stands in Redis, or nothing where there were results: it would look as if they waited."""


class LedgerLoop:
    """Applies results.

    Args:
        redis: a client whose answers are bytes.
        clock: dates rows.
        instance_id: gives the id that the lease must hold.
        mode: results of another mode are not ours.
        known: told of new ledger rows.
        sweeper: ends marks, whenever everything there was is applied.
    """

    def __init__(
        self,
        *,
        redis: Redis,
        clock: Clock,
        instance_id: Callable[[], str],
        mode: Mode,
        known: KnownSymbols,
        sweeper: MarkSweeper,
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._instance_id = instance_id
        self._mode = mode
        self._known = known
        self._sweeper = sweeper
        self._cursor: Cursor | None = None

    def tick(self) -> float:
        """Apply one batch; where it was the last, look after the marks.

        Raises:
            LeaseLost: another instance is the brain.
            redis.exceptions.RedisError: Redis did not answer; what is not applied is read again.
        """
        cursor = self._cursor or self._load_cursor()
        self._cursor = None  # an error below must not leave a cursor that Redis does not have
        entries = entries_after(self._redis, result.STREAM, cursor.applied_to, count=BATCH, block_ms=BLOCK_MS)
        for entry in entries:
            if not self._apply(entry, cursor):
                return 0.0
            cursor = Cursor(entry.id.encode(), entry.id)
        if entries:
            self._cursor = cursor  # else it is read again: it may be lost while nothing happens
        elif cursor.is_lost:
            self._advance(cursor, cursor.applied_to)
        if len(entries) < BATCH:
            self._sweeper.sweep()
        return 0.0

    def _load_cursor(self) -> Cursor:
        """Read the cursor; where it is lost, results count again from the baseline: every row knows what it has."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.get(position.LEDGER_CURSOR_KEY)
        pipeline.hget(position.BASELINE_KEY, "result_id")
        raw, baseline_id = pipeline.execute(raise_on_error=False)
        stored = raw if isinstance(raw, bytes) else b""
        if applied_to := _id_or_empty(raw):
            return Cursor(stored, applied_to)
        applied_to = _id_or_empty(baseline_id) or START
        if raw is not None:
            _log.warning("%s is no id: results are read from %s", position.LEDGER_CURSOR_KEY, applied_to)
        return Cursor(stored, applied_to, is_lost=raw is not None or applied_to != START)

    def _apply(self, entry: Entry, cursor: Cursor) -> bool:
        """Apply one result; False where cursor or row changed meanwhile, and both must be read again."""
        ended = self._read(entry)
        booked, row = self._row_after(ended, entry.id) if ended is not None else (NO_ROW, None)
        symbol, plan_entry_id = (ended.symbol, ended.plan_entry_id) if ended is not None else ("", "")
        if row is not None:
            self._known.add(ledger={symbol})
        values = [] if row is None else [part for pair in hashes.encode(row).items() for part in pair]
        is_applied = self._advance(cursor, entry.id, symbol, plan_entry_id, [*booked.seen, *values])
        if is_applied and row is not None:
            _log.info("%s: ledger %s after result %s", symbol, plain(row.position_amt), entry.id)
        return is_applied

    def _advance(
        self,
        cursor: Cursor,
        result_id: str,
        symbol: str = "",
        plan_entry_id: str = "",
        row: Sequence[str | bytes] = NO_ROW.seen,
    ) -> bool:
        """Move the cursor on, with what belongs to it; False where cursor or row changed meanwhile."""
        keys = [
            position.LEASE_KEY,
            position.LEDGER_CURSOR_KEY,
            position.ledger_key(symbol),
            position.inflight_key(symbol),
        ]
        outcome = LEDGER(self._redis, keys, [self._instance_id(), cursor.stored, result_id, plan_entry_id, *row])
        if outcome == b"lease_lost":
            raise LeaseLost
        return bool(outcome == b"done")

    def _read(self, entry: Entry) -> Result | None:
        """Read a result; None where it is none of ours: it is passed over, and drift will show what it hid."""
        try:
            ended = result.decode(entry.fields or {}, f"result {entry.id}")
        except Unreadable as fault:
            metrics.count_unreadable_result()
            _log.error("%s: not applied to the ledger", fault)
            return None
        if ended.mode is not self._mode:
            _log.error("result %s is of mode %s, not %s: not applied to the ledger", entry.id, ended.mode, self._mode)
            return None
        return ended

    def _row_after(self, ended: Result, result_id: str) -> tuple[BookedRow, LedgerRow | None]:
        """Give the row as it was read, and as it will be; None where it stays."""
        if not ended.executed or not ended.symbol:
            return NO_ROW, None
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hgetall(position.ledger_key(ended.symbol))
        pipeline.hgetall(position.BASELINE_KEY)
        raw_row, raw_baseline = pipeline.execute(raise_on_error=False)
        booked, adopted = booked_row(raw_row, ended.symbol), read_baseline(raw_baseline)
        try:
            if isinstance(adopted, Baseline) and adopted.includes(ended.plan_entry_id, ended.timestamp):
                _log.warning("%s: result %s ended before the account was adopted: it is in it", ended.symbol, result_id)
                return booked, None
            if isinstance(booked.row, Unreadable):
                raise booked.row
            return booked, ledger.applied(booked.row, ended, result_id, int(self._clock.now()))
        except Unreadable as fault:
            metrics.count_unreadable_result()
            _log.error("%s: result %s is not applied to the ledger of %s", fault, result_id, ended.symbol)
            return booked, None


def _id_or_empty(raw: object) -> str:
    try:
        stream_id(text(raw, "stream id"), "stream id")
    except Unreadable:
        return ""
    return text(raw, "stream id")
