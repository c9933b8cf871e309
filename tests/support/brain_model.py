"""The permit chain in memory on a clock of its own: the brain's pure decisions, and around them, in short, all others.

Real are evaluation, parking, judging of answers, ledger and reconciliation. Modelled are Redis (what the scripts do),
the executor, and an exchange that takes its time: an order fills when it pleases, its result comes later still, and the
account shows a fill up to two seconds after it was made. `real_ms` is the time that passes; `now_ms` is Redis's clock,
which may be set.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count

import msgspec

from microservices.contracts import position
from microservices.contracts.claim import ClaimState, OpenClaim
from microservices.contracts.control import HOLD_OF_BRAIN_PREFIX, KillSwitch
from microservices.contracts.plan import Action, Plan, Side
from microservices.contracts.position import InflightMark, LedgerRow, VerdictRow
from microservices.contracts.reason import Reason
from microservices.contracts.result import Result
from microservices.contracts.universe_reader import Allowlist, Tier
from microservices.position_state_brain import ledger
from microservices.position_state_brain.evaluation import evaluate
from microservices.position_state_brain.facts import Facts, Hold, Limits
from microservices.position_state_brain.ledger import Adopt, Agreed, Drift, Settlement
from microservices.position_state_brain.parking import Parking
from microservices.position_state_brain.snapshot import AccountView, Expected, Incomplete, judge
from microservices.position_state_brain.verdict import Allow, Deny, Wait
from tests.support.brain import BASELINE, INSTRUMENT, NOW_MS, exit_plan, open_plan, position_row, result_of

D = Decimal
SYMBOLS = ("BTCUSDT", "ETHUSDT")
PERMIT_MS = 60_000
MOST_LAG_MS = position.SETTLE_MS - 1
PRICE = D(60_000)


@dataclass
class Permit:
    """A permit as it stands in Redis."""

    plan: Plan
    allow: bool
    safe_qty: Decimal
    expires_ms: int
    held: Decimal
    """The position that it was decided on."""
    is_confirmed: bool
    """Whether the newest answer shows that position."""
    ours: Decimal
    """What our ledger said of it."""
    seen_real_ms: int
    """When that position was asked for, on the clock that nobody sets."""


@dataclass
class Order:
    """A claimed plan; `filled` once the exchange has done with it."""

    plan: Plan
    safe_qty: Decimal
    filled: Decimal | None = None


@dataclass
class Fill:
    """What changed a position, and from when on the account shows it."""

    symbol: str
    change: Decimal
    visible_ms: int


@dataclass
class Answer:
    """An answer about the account on its way."""

    requested_ms: int
    requested_real_ms: int
    amounts: dict[str, Decimal]


@dataclass
class Chain:
    """Everything that there is. What a restart of the brain takes away is made anew by `restart`."""

    amounts: dict[str, Decimal]
    real_ms: int = NOW_MS
    offset_ms: int = 0
    limits: Limits = field(default_factory=Limits)
    kill_switch: KillSwitch = KillSwitch.OFF
    exchange_is_away: bool = False
    pending: dict[str, Plan] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    permits: dict[str, Permit] = field(default_factory=dict)
    verdicts: dict[str, VerdictRow] = field(default_factory=dict)
    events: list[tuple[str, Reason]] = field(default_factory=list)
    marks: dict[str, InflightMark] = field(default_factory=dict)
    claimed: set[str] = field(default_factory=set)
    orders: dict[str, Order] = field(default_factory=dict)
    results: list[tuple[str, Result]] = field(default_factory=list)
    applied: int = 0
    rows: dict[str, LedgerRow] = field(default_factory=dict)
    holds: dict[str, bytes] = field(default_factory=dict)
    exits_refused: list[tuple[Reason, bool]] = field(default_factory=list)
    """Why, and whether another exit of the symbol was on its way at that moment."""
    adopted: dict[str, list[tuple[int, Decimal]]] = field(default_factory=dict)
    """By symbol: after how many results, and to what."""

    def __post_init__(self) -> None:
        self.held = dict(self.amounts)
        self.fills: list[Fill] = []
        self.rows = {symbol: LedgerRow(amount) for symbol, amount in self.amounts.items()}
        self.adopted = {symbol: [(0, amount)] for symbol, amount in self.amounts.items()}
        self._numbers = count(1)
        self._newest_ms = 0
        self.restart()

    @property
    def now_ms(self) -> int:
        """Redis's clock."""
        return self.real_ms + self.offset_ms

    def restart(self) -> None:
        """Start the brain anew: what it only remembered is gone, what it had not acked comes again."""
        self.view = AccountView()
        self.seen_real_ms = 0
        self.parking = Parking()
        self.suspects: dict[str, InflightMark] = {}
        self.flat_answers: dict[str, int] = {}
        self.empty_before = False
        self.answer_on_its_way: Answer | None = None

    @property
    def ids_are_ahead(self) -> bool:
        """Whether the clock was set back so far that new entries are from the future; no plan is young enough then."""
        return self._newest_ms > self.now_ms + 5_000

    def _next_id(self) -> str:
        """Name a stream entry as Redis does: never before the one before, wherever the clock was set."""
        self._newest_ms = max(self._newest_ms, self.now_ms)
        return f"{self._newest_ms}-{next(self._numbers)}"

    def plan_open(self, symbol: str, side: Side, qty: Decimal) -> str:
        """A strategy wants in."""
        return self._add(open_plan, symbol=symbol, side=side, qty=qty)

    def plan_exit(self, symbol: str, action: Action, side: Side) -> str:
        """A strategy wants out."""
        return self._add(exit_plan, symbol=symbol, side=side, action=action)

    def _add(self, make: object, **fields: object) -> str:
        assert callable(make)
        entry_id = self._next_id()
        plan_id = f"p{entry_id}"
        planned: Plan = make(entry_id, plan_id=plan_id, timestamp=f"{self.now_ms / 1000:.3f}", **fields)
        self.plans[plan_id] = self.pending[entry_id] = planned
        return plan_id

    def answer(self) -> None:
        """Have the permit loop do one round."""
        for entry_id, planned in list(self.pending.items()):
            if entry_id not in self.parking:
                self._judge(planned)
        for parked in self.parking.due(self.real_ms / 1000, self.view.sequence):
            self._judge(parked.plan)

    def _facts(self, planned: Plan) -> Facts:
        asof = self.now_ms // 1000
        mark = self.marks.get(planned.symbol)
        open_claims = [
            OpenClaim(order.plan.symbol, order.plan.action, ClaimState.SENT)
            for order in self.orders.values()
            if order.plan.symbol == planned.symbol
        ]
        return Facts(
            now_ms=self.now_ms,
            allowlist=Allowlist(Tier.UNIVERSE, frozenset(SYMBOLS), asof),
            account=self.view,
            kill_switch=self.kill_switch,
            hold=Hold(self.holds.get(planned.symbol)),
            verdict=self.verdicts.get(planned.plan_id),
            has_claim=planned.plan_id in self.claimed,
            mark=mark,
            open_claims=tuple(open_claims),
            ledger=self.rows.get(planned.symbol),
            baseline=BASELINE,
            instrument=msgspec.structs.replace(INSTRUMENT, seen_epoch=asof),
        )

    def _judge(self, planned: Plan) -> None:
        verdict = evaluate(planned, self._facts(planned), self.limits)
        if isinstance(verdict, Wait):
            if self.parking.park(planned, verdict, self.real_ms / 1000, self.view.sequence):
                return
            verdict = verdict.otherwise
        self.parking.release(planned.entry_id)
        self._commit(planned, verdict)

    def _commit(self, planned: Plan, verdict: Allow | Deny) -> None:
        """Do what commit.lua does."""
        del self.pending[planned.entry_id]
        allow = isinstance(verdict, Allow)
        oldest_ms = min(int(planned.timestamp * 1000), int(planned.entry_id.partition("-")[0]))
        row = self.view.rows.get(planned.symbol)
        self.permits[planned.plan_id] = Permit(
            planned,
            allow,
            verdict.safe_qty if isinstance(verdict, Allow) else D(0),
            min(self.now_ms + PERMIT_MS, oldest_ms + self.limits.plan_max_age_ms),
            D(0) if row is None else row.position_amt,
            row is not None and row.confirmed,
            self.rows[planned.symbol].position_amt,
            self.seen_real_ms,
        )
        self.verdicts[planned.plan_id] = VerdictRow(planned.entry_id, allow, verdict.reason)
        self.events.append((planned.plan_id, verdict.reason))
        mark = self.marks.get(planned.symbol)
        if not allow:
            if planned.is_exit:
                another = mark is not None and mark.action.is_exit
                claimed = any(
                    order.plan.is_exit for order in self.orders.values() if order.plan.symbol == planned.symbol
                )
                self.exits_refused.append((verdict.reason, another or claimed))
            return
        if mark is not None and not mark.action.is_exit and planned.is_exit and mark.plan_id not in self.claimed:
            displaced = self.permits.get(mark.plan_id)
            if displaced is not None and displaced.allow:
                displaced.allow = False
                self.events.append((mark.plan_id, Reason.DISPLACED_BY_EXIT))
        self.marks[planned.symbol] = InflightMark(planned.plan_id, planned.entry_id, planned.action)

    def consumable(self) -> list[str]:
        """Name the plans whose permit the executor may consume now."""
        return [
            plan_id
            for plan_id, permit in self.permits.items()
            if permit.allow and permit.expires_ms > self.now_ms and self._is_marked(permit.plan)
        ]

    def _is_marked(self, planned: Plan) -> bool:
        mark = self.marks.get(planned.symbol)
        return mark is not None and mark.plan_entry_id == planned.entry_id

    def claim(self, plan_id: str) -> None:
        """Consume a permit."""
        permit = self.permits.pop(plan_id)
        self.claimed.add(plan_id)
        self.orders[plan_id] = Order(permit.plan, permit.safe_qty)

    def fill(self, plan_id: str, share: Decimal, lag_ms: int) -> None:
        """Fill an order, all or a part of it; an exit's is reduceOnly, and cut or refused by the exchange."""
        order = self.orders[plan_id]
        symbol, held = order.plan.symbol, self.held[order.plan.symbol]
        wanted = (order.safe_qty * share).quantize(D("0.001"))
        if order.plan.is_exit:
            opposes = (held > 0) is (order.plan.side is Side.SELL)
            wanted = min(wanted, abs(held)) if opposes and held else D(0)
        order.filled = wanted
        self._move(symbol, wanted if order.plan.side is Side.BUY else -wanted, lag_ms)

    def trade_by_hand(self, symbol: str, change: Decimal) -> None:
        """Somebody else trades on the account, or it is liquidated."""
        self._move(symbol, change, 0)

    def _move(self, symbol: str, change: Decimal, lag_ms: int) -> None:
        self.held[symbol] += change
        self.fills.append(Fill(symbol, change, self.real_ms + lag_ms))

    def finish(self, plan_id: str) -> None:
        """Write the result and end the claim, in one step as the executor does."""
        order = self.orders.pop(plan_id)
        assert order.filled is not None
        ended = result_of(
            plan_id=plan_id, plan_entry_id=order.plan.entry_id, symbol=order.plan.symbol, side=order.plan.side,
            quantity=order.filled, executed=bool(order.filled),
        )  # fmt: skip
        self.results.append((self._next_id(), ended))

    def apply_results(self, most: int = 100) -> None:
        """Have the ledger loop read on; where it has all, it looks after the marks."""
        for result_id, ended in self.results[self.applied : self.applied + most]:
            row = ledger.applied(self.rows.get(ended.symbol), ended, result_id, self.now_ms // 1000)
            if row is not None:
                self.rows[ended.symbol] = row
            mark = self.marks.get(ended.symbol)
            if mark is not None and mark.plan_entry_id == ended.plan_entry_id:
                del self.marks[ended.symbol]
            self.applied += 1
        if self.applied == len(self.results):
            self._sweep()

    def _sweep(self) -> None:
        orphans = {symbol: mark for symbol, mark in self.marks.items() if self._is_orphan(mark)}
        for symbol, mark in self.suspects.items():
            if orphans.get(symbol) == mark:
                del self.marks[symbol], orphans[symbol]
        self.suspects = orphans

    def _is_orphan(self, mark: InflightMark) -> bool:
        permit = self.permits.get(mark.plan_id)
        return mark.plan_id not in self.claimed and (permit is None or permit.expires_ms <= self.now_ms)

    def ask(self) -> None:
        """Ask for the account: what it shows is fixed now, and comes later or, while the exchange is away, never."""
        if self.exchange_is_away or self.answer_on_its_way is not None:
            return
        shown = dict(self.amounts)
        for fill in self.fills:
            if fill.visible_ms <= self.real_ms:
                shown[fill.symbol] += fill.change
        self.answer_on_its_way = Answer(self.now_ms, self.real_ms, shown)

    def receive(self) -> None:
        """Take the answer that was on its way."""
        answer, self.answer_on_its_way = self.answer_on_its_way, None
        if answer is None:
            return
        expected = Expected(trading=frozenset(SYMBOLS), required=frozenset(SYMBOLS), ledger=self.rows)
        rows = [position_row(symbol, amount, mark_price=PRICE) for symbol, amount in answer.amounts.items()]
        view = judge(rows, answer.requested_ms, self.view, expected, empty_before=self.empty_before)
        self.empty_before = isinstance(view, Incomplete) and view.suspiciously_empty
        if isinstance(view, Incomplete):
            return
        prices = dict.fromkeys(SYMBOLS, PRICE)
        self.view = msgspec.structs.replace(
            view, one_way=True, mark_prices=prices, mark_prices_ts_ms=answer.requested_ms
        )
        self.seen_real_ms = answer.requested_real_ms
        for symbol in SYMBOLS:
            self._reconcile(symbol)

    def _reconcile(self, symbol: str) -> None:
        held, row = self.view.rows[symbol], self.rows.get(symbol)
        settlement = Settlement(
            snapshot_ts_ms=held.ts_ms,
            confirmed=held.confirmed,
            has_open_claim=any(order.plan.symbol == symbol for order in self.orders.values()),
            has_unread_result=self.applied < len(self.results),
            flat_answers=0,
        )
        newest = msgspec.structs.replace(settlement, confirmed=True, snapshot_ts_ms=self.view.ts_ms)
        is_flat = held.position_amt.is_zero() or not held.confirmed
        counts = is_flat and row is not None and row.position_amt and ledger.is_settled(row, newest)
        self.flat_answers[symbol] = self.flat_answers.get(symbol, 0) + 1 if counts else 0
        settlement = msgspec.structs.replace(settlement, flat_answers=self.flat_answers[symbol])
        found = ledger.reconcile(
            held.position_amt, row, settlement, D(INSTRUMENT.step_size), self.limits.qty_tolerance_pct
        )
        if isinstance(found, Drift):
            self.holds.setdefault(symbol, f"{HOLD_OF_BRAIN_PREFIX}{found.cause}".encode())
        elif isinstance(found, Agreed | Adopt):
            self.holds.pop(symbol, None)
        if isinstance(found, Adopt):
            last_id = self.results[self.applied - 1][0] if self.applied else "0-0"
            before = row or LedgerRow(D(0))
            self.rows[symbol] = msgspec.structs.replace(before, position_amt=held.position_amt, last_result_id=last_id)
            self.adopted[symbol].append((self.applied, held.position_amt))

    def recounted(self, symbol: str) -> Decimal:
        """Add up what was adopted last and every applied fill since."""
        since, total = self.adopted[symbol][-1]
        for _, ended in self.results[since : self.applied]:
            if ended.symbol == symbol and ended.executed:
                total += ended.quantity if ended.side is Side.BUY else -ended.quantity
        return total
