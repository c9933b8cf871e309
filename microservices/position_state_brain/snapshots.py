"""The snapshot loop: the only one that talks to the exchange. Asks for the account, judges the answer, publishes it."""

import logging
from collections.abc import Callable, Sequence

import msgspec
from redis import Redis

from microservices.contracts import hashes, position
from microservices.contracts.control import Mode
from microservices.contracts.position import AccountRow
from microservices.exchange import (
    BackoffLevel,
    BackoffUnreadable,
    ExchangeError,
    PositionRow,
    SharedBackoff,
    SignedClient,
)
from microservices.position_state_brain import metrics
from microservices.position_state_brain.board import Board, Demand, KnownSymbols
from microservices.position_state_brain.books import Books, InstrumentBook, read_books
from microservices.position_state_brain.committing import LeaseLost
from microservices.position_state_brain.mark_prices import MarkPrices
from microservices.position_state_brain.reconciliation import Reconciler
from microservices.position_state_brain.schedule import DEMAND_DEADLINE_S, POLL_DEADLINE_S, Schedule
from microservices.position_state_brain.snapshot import (
    AccountView,
    Expected,
    Incomplete,
    judge,
    rows_to_write,
)
from microservices.runtime import Clock, LuaScript, redis_ms

_log = logging.getLogger(__name__)

SNAPSHOT = LuaScript.load(__package__, "snapshot.lua", behind="shared.lua")
MODE_EVERY_S = 300.0
MODE_RETRY_S = 30.0
BARRED_LOOK_S = 5.0
"""While the shared back-off forbids asking: how often it is looked at again."""


class Asking:
    """Whether the exchange may be asked now, by the back-off that all services share.

    Args:
        backoff: read before every request.
    """

    def __init__(self, backoff: SharedBackoff) -> None:
        self._backoff = backoff
        self.look_again_s = BARRED_LOOK_S
        """After how many seconds to ask here again."""

    def why_not(self) -> str:
        """Say why nothing may be asked; empty where it may. What cannot be read forbids.

        Raises:
            redis.exceptions.RedisError: Redis did not answer.
        """
        try:
            barred_s = self._backoff.remaining_s(BackoffLevel.SNAPSHOTS)
        except BackoffUnreadable as fault:
            self.look_again_s = BARRED_LOOK_S
            return f"{fault}: nothing is asked"
        self.look_again_s = min(barred_s, BARRED_LOOK_S)
        return "the shared back-off forbids asking" if barred_s > 0 else ""


class SnapshotWriter:
    """Writes complete answers.

    Args:
        redis: a client whose answers are bytes.
        instance_id: gives the id that the lease must hold.
        mode: stands in the account's row.

    Attributes:
        account: the alias that the exchange names; stands in the account's row.
    """

    def __init__(self, redis: Redis, instance_id: Callable[[], str], mode: Mode) -> None:
        self._redis = redis
        self._instance_id = instance_id
        self._mode = mode
        self.account = ""

    def write(self, before: AccountView, now: AccountView, *, complete: bool = True) -> bool:
        """Write what an answer showed; the first of a process also removes what the one before it left behind.

        Returns:
            False where an answer that was requested later stands there.

        Raises:
            LeaseLost: nothing was written.
            redis.exceptions.RedisError: Redis did not answer.
        """
        rows = rows_to_write(before, now) if complete else {}
        gone = [symbol for symbol in now.rows if symbol not in rows] if complete and not before.ts_ms else []
        account = _pairs(
            AccountRow(now.ts_ms, self._mode, self.account, complete, bool(now.one_way), now.open_positions)
        )
        written = [_pairs(row) for row in rows.values()]
        keys = [position.LEASE_KEY, position.ACCOUNT_KEY, *map(position.snapshot_key, [*rows, *gone])]
        counts = [len(written), len(account), len(written[0]) if written else 0]
        arguments: list[str | bytes | int] = [
            self._instance_id(),
            position.SNAPSHOT_TTL_S,
            now.ts_ms,
            *counts,
            *account,
        ]
        arguments += [value for row in written for value in row]
        outcome = SNAPSHOT(self._redis, keys, arguments)
        if outcome == b"lease_lost":
            raise LeaseLost
        return bool(outcome == b"done")


class SnapshotLoop:
    """Keeps the account's view fresh.

    Args:
        client: the exchange.
        asking: says before every request whether it may be made.
        redis: a client whose answers are bytes.
        clock: for waiting.
        board: where the view is published.
        demand: what plans wait for.
        known: symbols with a ledger row, a mark or a hold.
        mark_prices: refreshed behind the account.
        writer: writes the view.
        reconciler: compares it with the ledger; None in a dry run.
        poll_s: between two requests.
    """

    def __init__(
        self,
        *,
        client: SignedClient,
        asking: Asking,
        redis: Redis,
        clock: Clock,
        board: Board,
        demand: Demand,
        known: KnownSymbols,
        mark_prices: MarkPrices,
        writer: SnapshotWriter,
        reconciler: Reconciler | None,
        poll_s: float,
    ) -> None:
        self._client = client
        self._asking = asking
        self._redis = redis
        self._clock = clock
        self._board = board
        self._demand = demand
        self._known = known
        self._mark_prices = mark_prices
        self._writer = writer
        self._reconciler = reconciler
        self._instruments = InstrumentBook(redis)
        self._schedule = Schedule(poll_s)
        self._mode_due_s = float("-inf")
        self._one_way: bool | None = None
        self._empty_before = False
        self.fault = "not asked yet"
        """Why the newest request gave no complete answer; empty where it did."""

    def tick(self) -> float:
        """Ask where it is time to; return the seconds until it is again.

        Raises:
            LeaseLost: another instance is the brain.
            redis.exceptions.RedisError: Redis did not answer.
        """
        if self._due_in_s() <= 0:
            self._ask()
        return self._due_in_s()

    def shortfall(self) -> str:
        """Say why there is no complete answer."""
        return f"no complete answer about the account: {self.fault}" if self.fault else ""

    def _due_in_s(self) -> float:
        needed_in_s = None
        if self._demand.from_ms is not None:
            needed_in_s = (self._demand.from_ms - redis_ms(self._redis)) / 1000
        return self._schedule.due_in_s(self._clock.monotonic(), needed_in_s)

    def _ask(self) -> None:
        now_s = self._clock.monotonic()
        on_demand = self._schedule.is_early(now_s)
        self._schedule.asked(now_s)
        if why := self._asking.why_not():
            self._schedule.bar(now_s, self._asking.look_again_s)
            self._failed(why)
            return
        try:
            self._ask_mode()
            requested_ms = redis_ms(self._redis)
            if on_demand:
                metrics.count_on_demand()
            answer = self._client.position_risk(timeout_s=DEMAND_DEADLINE_S if on_demand else POLL_DEADLINE_S)
        except ExchangeError as error:
            self._failed(str(error))
            return
        self._take(answer, requested_ms)
        if self._mark_prices.is_due():
            self._mark_prices.refresh(redis_ms(self._redis))

    def _ask_mode(self) -> None:
        """Ask whether the account is in one-way mode: at start, every five minutes, and after rows of hedge mode.

        What was answered once stands while the exchange does not answer again.

        Raises:
            ExchangeError: it was never answered.
        """
        now_s = self._clock.monotonic()
        if now_s < self._mode_due_s:
            return
        try:
            self._one_way = not self._client.hedge_mode()
        except ExchangeError as error:
            if self._one_way is None:
                raise
            self._mode_due_s = now_s + MODE_RETRY_S
            _log.warning("position mode not answered: %s", error)
            return
        self._mode_due_s = now_s + MODE_EVERY_S
        if not self._one_way:
            self._stop_for_hedge_mode()

    def _stop_for_hedge_mode(self) -> None:
        """Publish at once that nothing can be permitted; only a complete answer in one-way mode ends it."""
        before = self._board.view
        if before.one_way is False:
            return
        _log.error("the account is in hedge mode, which is not supported: everything is denied")
        view = msgspec.structs.replace(before, one_way=False, sequence=before.sequence + 1)
        self._board.publish(view)
        self._writer.write(before, view, complete=False)

    def _take(self, answer: Sequence[PositionRow], requested_ms: int) -> None:
        self._instruments.refresh()
        named = {row.symbol for row in answer}
        moving = {row.symbol for row in answer if not row.position_amt.is_zero()}
        wanted = moving | self._known.booked
        books = read_books(self._redis, wanted, named | wanted)
        before = self._board.view
        view = judge(answer, requested_ms, before, self._expected(books), empty_before=self._empty_before)
        if isinstance(view, Incomplete):
            self._incomplete(view)
            return
        view = msgspec.structs.replace(view, one_way=self._one_way)
        self._empty_before = False
        if not self._writer.write(before, view):
            self._failed("an answer that was requested later stands in Redis")
            return
        self._board.publish(view)
        self._schedule.look_again(view.has_unconfirmed)
        self._succeeded()
        if self._reconciler is not None:
            self._reconciler.run(view, books, self._instruments)

    def _expected(self, books: Books) -> Expected:
        """Say what an answer must show: what we hold or are about to trade, but for what is not listed any more."""
        rows = books.rows
        held = {symbol for symbol, row in rows.items() if not row.position_amt.is_zero()}
        required = {symbol for symbol in held | self._known.marked.keys() if not self._instruments.is_delisted(symbol)}
        return Expected(
            trading=self._instruments.trading,
            required=frozenset(required),
            ledger=rows if books.has_baseline else {},
        )

    def _incomplete(self, incomplete: Incomplete) -> None:
        self._empty_before = incomplete.suspiciously_empty
        self._schedule.look_again(incomplete.suspiciously_empty)
        self._failed(incomplete.why)
        if incomplete.hedge_rows:
            self._mode_due_s = float("-inf")
            self._stop_for_hedge_mode()

    def _failed(self, why: str) -> None:
        metrics.count_snapshot_failure()
        if why != self.fault:
            _log.warning("no complete answer about the account: %s", why)
        self.fault = why

    def _succeeded(self) -> None:
        if self.fault:
            view = self._board.view
            _log.info("account known: %d symbols, %d positions", len(view.rows), view.open_positions)
        self.fault = ""


def _pairs(row: msgspec.Struct) -> list[str]:
    return [part for pair in hashes.encode(row).items() for part in pair]
