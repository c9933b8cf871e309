"""Compare a complete answer with the ledger: adopt what may be adopted, hold what drifts, end our own holds."""

import logging
from collections.abc import Callable
from decimal import Decimal

import msgspec
from redis import Redis

from microservices.contracts import claim, control, permit, position, result
from microservices.contracts.control import Mode
from microservices.contracts.fields import Unreadable, plain, text
from microservices.contracts.permit import Gate
from microservices.contracts.reason import Reason
from microservices.position_state_brain import ledger, metrics
from microservices.position_state_brain.board import KnownSymbols
from microservices.position_state_brain.books import NO_ROW, BookedRow, Books, InstrumentBook
from microservices.position_state_brain.committing import LeaseLost
from microservices.position_state_brain.ledger import Adoption, Agreed, Drift, DriftCause, Settlement, Unsettled
from microservices.position_state_brain.snapshot import AccountView, SymbolPosition
from microservices.runtime import Clock, LuaScript

_log = logging.getLogger(__name__)

ADOPT = LuaScript.load(__package__, "adopt.lua", behind="shared.lua")
BASELINE = LuaScript.load(__package__, "baseline.lua", behind="shared.lua")
HOLD = LuaScript.load(__package__, "hold.lua", behind="shared.lua")
FIRST_START = "first start on paper"
BRAIN = "brain"
REWRITTEN_WITHIN_S = 8.0
"""Since a baseline was seen last: by then an executor knows of the loss by its heartbeat (3 s), and a poll is 5 s."""
UNTRADED = "untraded"
"""Under which the alarm for delisted positions is remembered; no symbol is spelt like it."""
NO_BASELINE = "opens are denied: run ops/reconcile_position.sh --all --adopt-exchange"


class Reconciler:
    """Brings ledger and position together after every complete answer.

    Args:
        redis: a client whose answers are bytes.
        clock: dates rows.
        instance_id: gives the id that the lease must hold.
        mode: on paper the first start adopts the account by itself.
        known: told of new ledger rows and holds.
        tolerance_pct: of the position, within which a difference is adopted.
    """

    def __init__(
        self,
        redis: Redis,
        clock: Clock,
        *,
        instance_id: Callable[[], str],
        mode: Mode,
        known: KnownSymbols,
        tolerance_pct: Decimal,
    ) -> None:
        self._redis = redis
        self._instance_id = instance_id
        self._clock = clock
        self._mode = mode
        self._known = known
        self._tolerance_pct = tolerance_pct
        self._flat_answers: dict[str, int] = {}
        self._said: dict[str, str] = {}
        self._lost_until_s = float("-inf")

    def run(self, view: AccountView, books: Books, instruments: InstrumentBook) -> None:
        """Work through every symbol with a position, a ledger row, a hold or a request.

        Raises:
            LeaseLost: another instance is the brain.
            redis.exceptions.RedisError: Redis did not answer.
        """
        if books.baseline is not None:
            self._seen_baseline()
        if books.request_all is not None or self._adopts_by_itself(books):
            self._adopt_all(view, books)
            return
        if not books.has_baseline:
            self._say("", f"{books.baseline or 'the account was never adopted'}: {NO_BASELINE}")
            return
        for symbol in books.ledger:
            self._reconcile(symbol, view, books, instruments)
        self._show_untraded(view, instruments)
        for symbol, who in books.requests.items():
            self._adopt_as_asked(symbol, who, view, books, instruments)

    def _adopts_by_itself(self, books: Books) -> bool:
        """Tell whether the account may be adopted without being asked for it: on paper, where it never was.

        A baseline that was there and is gone says that Redis has lost its data: then it waits, until the executor has
        written again what it knows, so that no result comes behind an adoption that has its fill already.
        """
        waits = self._clock.monotonic() < self._lost_until_s
        return books.baseline is None and self._mode is Mode.PAPER and not waits

    def _seen_baseline(self) -> None:
        self._lost_until_s = self._clock.monotonic() + REWRITTEN_WITHIN_S

    def _reconcile(self, symbol: str, view: AccountView, books: Books, instruments: InstrumentBook) -> None:
        booked, held = books.ledger[symbol], view.rows.get(symbol)
        if isinstance(booked.row, Unreadable):
            mend = f"ops/reconcile_position.sh --symbol {symbol} --adopt-exchange writes it anew"
            self._hold(symbol, DriftCause.LEDGER_UNREADABLE, f"{booked.row}; {mend}")
            return
        if held is None:
            if booked.amount:
                gone = f"the exchange names no position any more, our ledger {plain(booked.amount)}"
                self._hold(symbol, DriftCause.NOT_ON_EXCHANGE, gone)
            else:
                self._end_hold(symbol, books)
            return
        metrics.show_position(symbol, held.position_amt, booked.amount)
        settlement = self._count_flat(symbol, booked, view, _settlement(symbol, held, books))
        step = instruments.step(symbol)
        found = ledger.reconcile(held.position_amt, booked.row, settlement, step, self._tolerance_pct)
        if isinstance(found, Unsettled):
            return
        metrics.show_drift(symbol, held.position_amt - booked.amount)
        if isinstance(found, Drift):
            what = f"drift, exchange {plain(held.position_amt)}, ledger {plain(booked.amount)}"
            self._hold(symbol, found.cause, what)
        elif isinstance(found, Agreed) or self._adopt(symbol, booked, held.position_amt, found.why, by=BRAIN):
            self._end_hold(symbol, books)

    def _count_flat(self, symbol: str, booked: BookedRow, view: AccountView, settlement: Settlement) -> Settlement:
        """Count in how many settled answers in a row a position that we hold was flat.

        The first one in which it has vanished counts too, although nothing is decided on it: the row is the old one.
        """
        held = view.rows[symbol]
        is_flat = held.position_amt.is_zero() or not held.confirmed
        newest = msgspec.structs.replace(settlement, confirmed=True, snapshot_ts_ms=view.ts_ms)
        counts = is_flat and booked.amount and ledger.is_settled(booked.readable, newest)
        flat_answers = self._flat_answers.pop(symbol, 0) + 1 if counts else 0
        if flat_answers:
            self._flat_answers[symbol] = flat_answers
        return msgspec.structs.replace(settlement, flat_answers=flat_answers)

    def _adopt_as_asked(
        self, symbol: str, who: str, view: AccountView, books: Books, instruments: InstrumentBook
    ) -> None:
        """Adopt one symbol at an operator's request, once nothing of it is on its way; the request lives a minute.

        What is delisted and not named any more is flat.
        """
        booked, held = books.ledger.get(symbol, NO_ROW), view.rows.get(symbol)
        if held is None and not instruments.is_delisted(symbol):
            self._say(symbol, f"{symbol}: not adopted as asked by {who}: the exchange names no position of it")
            return
        if held is not None and not ledger.is_settled(booked.readable, _settlement(symbol, held, books)):
            return
        amount = Decimal(0) if held is None else held.position_amt
        if self._adopt(symbol, booked, amount, Adoption.OPERATOR, by=who):
            self._end_hold(symbol, books)

    def _adopt(self, symbol: str, booked: BookedRow, amount: Decimal, why: Adoption, *, by: str) -> bool:
        """Set a ledger row; at an operator's request whatever stands there, else only the row that was compared."""
        asked = why is Adoption.OPERATOR
        before = plain(booked.amount) if booked.readable else None
        context = {"from": before, "to": plain(amount), "why": why.value, "by": by}
        keys = [
            position.LEASE_KEY,
            position.LEDGER_CURSOR_KEY,
            result.STREAM,
            claim.OPEN_KEY,
            position.ledger_key(symbol),
            permit.EVENTS,
            *([control.adopt_key(symbol)] if asked else []),
        ]
        arguments: list[str | bytes | int] = [
            self._instance_id(),
            Gate.P33.value,
            symbol,
            *booked.seen,
            plain(amount),
            int(self._clock.now()),
            msgspec.json.encode(context),
            Reason.LEDGER_ADOPTED.value,
            permit.EVENTS_MAXLEN,
        ]
        outcome = _checked(ADOPT(self._redis, keys, arguments))
        if outcome != "done":
            _log.info("%s: ledger not adopted now: %s", symbol, outcome)
            return False
        self._known.add(ledger={symbol})
        self._flat_answers.pop(symbol, None)
        metrics.show_drift(symbol, Decimal(0))
        _log.warning("%s: ledger adopted from %s to %s (%s, by %s)", symbol, before, plain(amount), why, by)
        return True

    def _adopt_all(self, view: AccountView, books: Books) -> None:
        """Adopt the whole account from an answer that no fill of ours can be missing from."""
        asked = books.request_all is not None
        by = books.request_all or FIRST_START
        fills_ms = [booked.readable.last_exec_ts_ms for booked in books.ledger.values() if booked.readable]
        if view.has_unconfirmed or view.ts_ms < max(fills_ms, default=0) + position.SETTLE_MS:
            return
        amounts = {symbol: row.position_amt for symbol, row in view.rows.items() if not row.position_amt.is_zero()}
        rows = amounts | {symbol: Decimal(0) for symbol in books.ledger if symbol not in amounts}
        context = {"positions": len(amounts), "why": Adoption.OPERATOR.value if asked else "first_start", "by": by}
        keys = [
            position.LEASE_KEY,
            position.LEDGER_CURSOR_KEY,
            result.STREAM,
            claim.OPEN_KEY,
            position.BASELINE_KEY,
            control.ADOPT_ALL_KEY,
            permit.EVENTS,
            *map(position.ledger_key, rows),
        ]
        arguments: list[str | bytes | int] = [
            self._instance_id(),
            "true" if asked else "false",
            by,
            view.ts_ms,
            len(amounts),
            int(self._clock.now()),
            Gate.P33.value,
            Reason.LEDGER_ADOPTED.value,
            msgspec.json.encode(context),
            permit.EVENTS_MAXLEN,
            position.SETTLE_MS,
            *map(plain, rows.values()),
        ]
        outcome = _checked(BASELINE(self._redis, keys, arguments))
        if outcome == "done":
            self._known.add(ledger=set(rows))
            self._flat_answers.clear()
            self._seen_baseline()
            _log.warning("account adopted: %d positions (by %s)", len(amounts), by)
        else:
            self._say("", f"account not adopted yet: {outcome}")

    def _hold(self, symbol: str, cause: DriftCause, what: str) -> None:
        hold = f"{control.HOLD_OF_BRAIN_PREFIX}{cause}"
        outcome = self._call_hold(symbol, hold)
        self._known.add(held={symbol})
        effect = f"hold {hold} set" if outcome == "set" else "a hold is there"
        self._say(symbol, f"{symbol}: {what} ({cause}): {effect}, opens are denied", key=hold + what)

    def _show_untraded(self, view: AccountView, instruments: InstrumentBook) -> None:
        """Alarm for positions in symbols that are not traded any more: they can be closed, if at all, never grow."""
        held = {symbol for symbol, row in view.rows.items() if not row.position_amt.is_zero()}
        untraded = sorted(symbol for symbol in held if instruments.is_delisted(symbol))
        metrics.show_untraded(len(untraded))
        if untraded:
            self._say(UNTRADED, f"positions in symbols that are not traded any more: {', '.join(untraded)}: close them")
        else:
            self._said.pop(UNTRADED, None)

    def _end_hold(self, symbol: str, books: Books) -> None:
        self._said.pop(symbol, None)
        if _is_ours(books.holds.get(symbol)) and self._call_hold(symbol, "") == "ended":
            _log.info("%s: ledger and position agree: our hold is ended", symbol)

    def _call_hold(self, symbol: str, hold: str) -> str:
        keys = [position.LEASE_KEY, control.hold_key(symbol)]
        return _checked(HOLD(self._redis, keys, [self._instance_id(), hold, control.HOLD_OF_BRAIN_PREFIX]))

    def _say(self, symbol: str, what: str, *, key: str = "") -> None:
        """Warn of a state once, until it changes."""
        if self._said.get(symbol) != (key or what):
            self._said[symbol] = key or what
            _log.warning("%s", what)


def _settlement(symbol: str, held: SymbolPosition, books: Books) -> Settlement:
    return Settlement(
        snapshot_ts_ms=held.ts_ms,
        confirmed=held.confirmed,
        has_open_claim=books.has_open_claim(symbol),
        has_unread_result=books.has_unread_result,
        flat_answers=0,
    )


def _is_ours(hold: object) -> bool:
    try:
        return hold is not None and text(hold, "hold").startswith(control.HOLD_OF_BRAIN_PREFIX)
    except Unreadable:
        return False


def _checked(answer: bytes) -> str:
    outcome = answer.decode()
    if outcome == "lease_lost":
        raise LeaseLost
    return outcome
