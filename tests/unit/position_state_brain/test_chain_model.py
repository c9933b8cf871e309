"""The brain's decisions under time: orders, results and the account's own view are late, in any order of events.

A state machine over `tests/support/brain_model.py`. What must hold, whatever comes when:

- of a symbol never two opens, and never two exits, can trade at once;
- no permit is above the position that it was decided on, and that position was asked for at most ten seconds ago;
- where nobody else trades and nobody sets the clock, no exit that reaches the exchange is above what is really held;
- the ledger is what was adopted and our fills since;
- an exit is refused for another exit only while there is one, and never for what concerns opens alone;
- a plan has one verdict, but for an open's allow that an exit displaces;
- once nothing is on its way, ledger and position agree or a named hold says that they do not, and whatever is held can
  be left.
"""

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from microservices.contracts.plan import Action, Side
from microservices.contracts.reason import Reason
from microservices.position_state_brain import ledger
from tests.support.brain import INSTRUMENT
from tests.support.brain_model import MOST_LAG_MS, SYMBOLS, Chain
from tests.support.scale import model_settings, scaled

EXAMPLES = 150
D = Decimal
EXITS = [action for action in Action if action.is_exit]
AMOUNTS = [D(0), D("0.4"), D("-0.3")]
EXIT_REASONS = {
    Reason.NO_POSITION, Reason.SIDE_MISMATCH, Reason.DUST_POSITION, Reason.PERMIT_OUTSTANDING, Reason.PLAN_EXPIRED,
    Reason.STALE_EXCHANGE_STATE, Reason.NO_EXCHANGE_SNAPSHOT,
}  # fmt: skip
STALE_MS = 10_000
SHORT_MS = (10, 50, 200, 900)
LONG_MS = (1_000, 2_000, 5_000, 16_000)
DISTURBANCES = 2
"""Per run, of each kind; with more of them hardly anything would ever be permitted."""

symbols = st.sampled_from(SYMBOLS)
sides = st.sampled_from(list(Side))
steps = st.integers(1, 400).map(lambda number: D(number) / 1_000)


class Timed(RuleBasedStateMachine):
    """The rules: what can happen. Counts the reasons of all runs."""

    def __init__(self, reasons: Counter[str]) -> None:
        super().__init__()
        self.reasons = reasons
        self.disturbed = 0
        self.clock_was_set = 0
        self.others_trade = set[str]()

    @initialize(amounts=st.tuples(st.sampled_from(AMOUNTS), st.sampled_from(AMOUNTS)))
    def begin(self, amounts: tuple[Decimal, Decimal]) -> None:
        """An account that was adopted, and a first look at it."""
        self.chain = Chain(dict(zip(SYMBOLS, amounts, strict=True)))
        self.look()

    def look(self) -> None:
        """Ask for the account and take the answer."""
        self.chain.ask()
        self.chain.receive()

    @rule(symbol=symbols, side=sides, qty=steps)
    def plan_an_open(self, symbol: str, side: Side, qty: Decimal) -> None:
        """A strategy wants in."""
        self.chain.plan_open(symbol, side, qty)

    @rule(symbol=symbols, action=st.sampled_from(EXITS))
    def plan_an_exit(self, symbol: str, action: Action) -> None:
        """A strategy wants out; it knows the side."""
        self.chain.plan_exit(symbol, action, Side.SELL if self.chain.held[symbol] > 0 else Side.BUY)

    @rule(symbol=symbols, is_exit=st.booleans())
    def plan_three_at_once(self, symbol: str, *, is_exit: bool) -> None:
        """Three of one kind 50 ms apart, each answered as it comes, within one order's latency."""
        before = len(self.chain.events)
        for _ in range(3):
            if is_exit:
                self.plan_an_exit(symbol, Action.PARTIAL_25)
            else:
                self.chain.plan_open(symbol, Side.BUY if self.chain.held[symbol] >= 0 else Side.SELL, D("0.01"))
            self.chain.answer()
            self.chain.real_ms += 50
        new = [plan_id for plan_id, reason in self.chain.events[before:] if reason is Reason.ALLOWED]
        allowed = [plan_id for plan_id in new if self.chain.plans[plan_id].symbol == symbol]
        assert sum(self.chain.plans[plan_id].is_exit is is_exit for plan_id in allowed) <= 1

    @rule()
    def answer(self) -> None:
        """The permit loop's turn."""
        self.chain.answer()

    @rule(plan=st.integers(0, 9))
    def claim_one(self, plan: int) -> None:
        """The executor's turn."""
        if consumable := self.chain.consumable():
            self.chain.claim(consumable[plan % len(consumable)])

    @precondition(lambda self: any(order.filled is None for order in self.chain.orders.values()))
    @rule(data=st.data(), share=st.sampled_from([D(0), D("0.5"), D(1), D(1)]), lag_ms=st.integers(0, MOST_LAG_MS))
    def fill_one(self, data: st.DataObject, share: Decimal, lag_ms: int) -> None:
        """The exchange fills an order; its account shows it later."""
        waiting = [plan_id for plan_id, order in self.chain.orders.items() if order.filled is None]
        self.fill(data.draw(st.sampled_from(waiting)), share, lag_ms)

    def fill(self, plan_id: str, share: Decimal, lag_ms: int) -> None:
        """Fill an order, once it is checked to be none that takes more than there is."""
        order, held = self.chain.orders[plan_id], self.chain.held[self.chain.orders[plan_id].plan.symbol]
        if order.plan.is_exit and order.plan.symbol not in self.others_trade and not self.clock_was_set:
            assert (held > 0) is (order.plan.side is Side.SELL), (order, held)
            assert order.safe_qty <= abs(held), (order, held)
        self.chain.fill(plan_id, share, lag_ms)

    @precondition(lambda self: any(order.filled is not None for order in self.chain.orders.values()))
    @rule(data=st.data())
    def finish_one(self, data: st.DataObject) -> None:
        """The executor writes a result."""
        filled = [plan_id for plan_id, order in self.chain.orders.items() if order.filled is not None]
        self.chain.finish(data.draw(st.sampled_from(filled)))

    @rule(most=st.sampled_from([1, 100]))
    def apply_results(self, most: int) -> None:
        """The ledger loop's turn."""
        self.chain.apply_results(most)

    @rule()
    def ask(self) -> None:
        """The snapshot loop asks, and waits for its answer."""
        self.chain.ask()

    @rule()
    def receive(self) -> None:
        """The answer is there."""
        self.chain.receive()

    @rule()
    def poll(self) -> None:
        """A whole quick poll after the plain time of one."""
        self.chain.real_ms += 5_000
        self.look()

    @rule(ms=st.sampled_from(SHORT_MS + LONG_MS))
    def let_time_pass(self, ms: int) -> None:
        """Time passes."""
        self.chain.real_ms += ms

    @rule()
    def settle(self) -> None:
        """All that is on its way ends, and the account is looked at once it shows it."""
        self.end_all()
        self.chain.real_ms += 16_000
        self.look()

    @rule(symbol=symbols, qty=steps)
    def trade(self, symbol: str, qty: Decimal) -> None:
        """An open goes its whole way, where nothing is against it."""
        self.settle()
        self.chain.plan_open(symbol, Side.BUY if self.chain.held[symbol] >= 0 else Side.SELL, qty)
        self.chain.answer()
        self.end_all()

    @rule(symbol=symbols, lag_ms=st.integers(0, MOST_LAG_MS), pause_ms=st.sampled_from(SHORT_MS))
    def leave_twice(self, symbol: str, lag_ms: int, pause_ms: int) -> None:
        """Half of a position is closed, and before the account shows it a second exit is planned and done."""
        for _ in range(2):
            self.plan_an_exit(symbol, Action.PARTIAL_75)
            self.chain.answer()
            self.end_all(lag_ms)
            self.chain.real_ms += pause_ms
            self.look()
        self.chain.answer()
        self.end_all()

    @rule(symbol=symbols)
    def open_behind_an_exit(self, symbol: str) -> None:
        """An open is on its way when an exit takes its mark over and ends; another open must wait for the first."""
        side = Side.BUY if self.chain.held[symbol] >= 0 else Side.SELL
        self.chain.plan_open(symbol, side, D("0.01"))
        self.chain.answer()
        for plan_id in self.chain.consumable():
            self.chain.claim(plan_id)
        opens = {plan_id for plan_id, order in self.chain.orders.items() if not order.plan.is_exit}
        self.plan_an_exit(symbol, Action.PARTIAL_25)
        self.chain.answer()
        self.end_all(0, but=opens)
        self.chain.real_ms += 16_000
        self.look()
        self.chain.plan_open(symbol, side, D("0.01"))
        self.chain.answer()

    @rule(symbol=symbols)
    def lose_a_mark(self, symbol: str) -> None:
        """Somebody deletes the key, or Redis was rolled back: no permit can be consumed without, and claims remain."""
        self.chain.marks.pop(symbol, None)

    @rule(symbol=symbols)
    def exit_behind_a_claim_without_a_mark(self, symbol: str) -> None:
        """The claim alone says that an exit is on its way."""
        self.plan_an_exit(symbol, Action.PARTIAL_50)
        self.chain.answer()
        for plan_id in self.chain.consumable():
            self.chain.claim(plan_id)
        self.lose_a_mark(symbol)
        self.plan_an_exit(symbol, Action.PARTIAL_50)
        self.chain.answer()

    @precondition(lambda self: self.disturbed < DISTURBANCES)
    @rule(symbol=symbols)
    def exit_of_what_has_just_vanished(self, symbol: str) -> None:
        """Somebody closes a position; before the second answer without it nobody knows."""
        self.disturbed += 1
        self.others_trade.add(symbol)
        side = Side.SELL if self.chain.held[symbol] > 0 else Side.BUY
        self.chain.trade_by_hand(symbol, -self.chain.held[symbol])
        self.chain.real_ms += 1_000
        self.look()
        self.chain.plan_exit(symbol, Action.FULL_CLOSE_PROPOSED, side)
        self.chain.answer()

    @precondition(lambda self: self.disturbed < DISTURBANCES)
    @rule(symbol=symbols, change=st.integers(1, 300))
    def open_on_a_drift_that_has_no_hold_yet(self, symbol: str, change: int) -> None:
        """A result of the other symbol is unread, so that nothing is compared; somebody trades; a strategy wants in."""
        self.settle()
        self.disturbed += 1
        self.others_trade.add(symbol)
        other = next(name for name in SYMBOLS if name != symbol)
        self.chain.plan_open(other, Side.BUY if self.chain.held[other] >= 0 else Side.SELL, D("0.01"))
        self.chain.answer()
        for plan_id in self.chain.consumable():
            self.chain.claim(plan_id)
            self.fill(plan_id, D(1), 0)
            self.chain.finish(plan_id)
        self.chain.trade_by_hand(symbol, D(change) / 1_000)
        self.chain.real_ms += 1_000
        self.look()
        self.chain.plan_open(symbol, Side.BUY if self.chain.held[symbol] >= 0 else Side.SELL, D("0.01"))
        self.chain.answer()

    @precondition(lambda self: self.disturbed < DISTURBANCES)
    @rule(symbol=symbols, change=st.one_of(st.none(), st.integers(-300, 300)))
    def trade_by_hand(self, symbol: str, change: int | None) -> None:
        """Somebody else trades on the account, or closes all, or it is liquidated."""
        self.disturbed += 1
        self.others_trade.add(symbol)
        self.chain.trade_by_hand(symbol, -self.chain.held[symbol] if change is None else D(change) / 1_000)

    @precondition(lambda self: self.disturbed < DISTURBANCES or self.chain.exchange_is_away)
    @rule(is_away=st.booleans())
    def lose_the_exchange(self, *, is_away: bool) -> None:
        """It goes, with what it was about to say, and comes back."""
        self.disturbed += is_away
        self.chain.exchange_is_away = is_away
        self.chain.answer_on_its_way = None if is_away else self.chain.answer_on_its_way

    @precondition(lambda self: self.clock_was_set < DISTURBANCES)
    @rule(offset_ms=st.sampled_from([-3_600_000, -4_000, 4_000, 3_600_000]))
    def set_the_clock(self, offset_ms: int) -> None:
        """Redis's clock is set, forward or back."""
        self.clock_was_set += 1
        self.chain.offset_ms += offset_ms

    @rule()
    def restart(self) -> None:
        """The brain dies and is started again."""
        self.chain.restart()

    def end_all(self, lag_ms: int = 0, *, but: set[str] | None = None) -> None:
        """Let everything that is on its way end, and be applied."""
        for plan_id in self.chain.consumable():
            self.chain.claim(plan_id)
        for plan_id in sorted(self.chain.orders.keys() - (but or set())):
            if self.chain.orders[plan_id].filled is None:
                self.fill(plan_id, D(1), lag_ms)
            self.chain.finish(plan_id)
        self.chain.apply_results()

    def come_to_rest(self) -> None:
        """Let waiting plans and permits run out, then look twice as often as an answer must be seen."""
        self.chain.exchange_is_away = False
        self.chain.receive()
        for _ in range(3):
            self.chain.real_ms += 31_000
            self.chain.answer()
            self.end_all()
        for _ in range(4):
            self.chain.real_ms += 5_000
            self.look()

    def teardown(self) -> None:
        """At rest there is agreement or a named hold, no plan is without its answer, and every position can be left."""
        if not hasattr(self, "chain"):
            return
        chain = self.chain
        self.come_to_rest()
        assert chain.pending == {}
        assert {plan_id for plan_id, _ in chain.events} == set(chain.plans)
        ends_in_future = {symbol for symbol in SYMBOLS if chain.rows[symbol].last_exec_ts_ms > chain.now_ms}
        for symbol in SYMBOLS:
            hold, ours = chain.holds.get(symbol, b""), chain.rows[symbol].position_amt
            agree = ours == chain.held[symbol]
            assert agree is not hold.startswith(b"brain:") or symbol in ends_in_future, (symbol, ours, chain.held)
        for symbol in SYMBOLS:
            if chain.held[symbol]:
                self.leave(symbol)
        self.reasons.update(reason for _, reason in chain.events)

    def leave(self, symbol: str) -> None:
        """Nothing but a clock that was set back keeps a position from being closed: then no plan is of now."""
        self.plan_an_exit(symbol, Action.FULL_CLOSE_PROPOSED)
        self.chain.answer()
        self.look()
        self.chain.answer()
        expected = Reason.PLAN_EXPIRED if self.chain.ids_are_ahead else Reason.ALLOWED
        assert self.chain.events[-1][1] is expected, (symbol, self.chain.held, self.chain.events[-1])

    @invariant()
    def never_two_on_their_way(self) -> None:
        """Permitted and consumable, or claimed: at most one open and one exit of a symbol."""
        if not hasattr(self, "chain"):
            return
        plans = [self.chain.plans[plan_id] for plan_id in (*self.chain.consumable(), *self.chain.orders)]
        alive = Counter((planned.symbol, planned.is_exit) for planned in plans)
        assert all(number <= 1 for number in alive.values()), alive

    @invariant()
    def no_permit_is_above_what_was_seen_a_moment_ago(self) -> None:
        """Neither from a stale answer, nor above the position in it, nor an open on books that disagree with it."""
        if not hasattr(self, "chain"):
            return
        for plan_id in self.chain.consumable():
            permit = self.chain.permits[plan_id]
            made_ms = int(permit.plan.entry_id.partition("-")[0])
            if not self.clock_was_set:
                assert permit.seen_real_ms >= made_ms - STALE_MS
            assert permit.is_confirmed
            if permit.plan.is_exit:
                assert permit.safe_qty <= abs(permit.held)
            else:
                step, tolerance = D(INSTRUMENT.step_size), self.chain.limits.qty_tolerance_pct
                assert ledger.agreement(permit.held, permit.ours, step, tolerance).is_close_enough

    @invariant()
    def an_exit_is_refused_only_for_what_makes_it_wrong_or_unknowable(self) -> None:
        """For another exit only while there is one; never for drift, a hold of the brain's, a cooldown or a minimum."""
        if hasattr(self, "chain"):
            assert {reason for reason, _ in self.chain.exits_refused} <= EXIT_REASONS
            assert all(other for reason, other in self.chain.exits_refused if reason is Reason.PERMIT_OUTSTANDING)

    @invariant()
    def the_ledger_is_what_was_adopted_and_our_fills_since(self) -> None:
        """Every applied result once, in its order."""
        for symbol in SYMBOLS if hasattr(self, "chain") else ():
            assert self.chain.rows[symbol].position_amt == self.chain.recounted(symbol), symbol

    @invariant()
    def every_verdict_is_the_only_one(self) -> None:
        """An allow is withdrawn at most once, and only an open's, by an exit."""
        if not hasattr(self, "chain"):
            return
        said: dict[str, list[Reason]] = {}
        for plan_id, reason in self.chain.events:
            said.setdefault(plan_id, []).append(reason)
        withdrawn = [Reason.ALLOWED, Reason.DISPLACED_BY_EXIT]
        for plan_id, reasons in said.items():
            is_open = not self.chain.plans[plan_id].is_exit
            assert len(reasons) == 1 or (is_open and reasons == withdrawn), (plan_id, reasons)


@pytest.mark.slow
@pytest.mark.soak
def test_the_promises_hold_however_late_everything_is() -> None:
    """And the runs are no empty ones: opens and exits are permitted, displaced, refused and waited for."""
    reasons = Counter[str]()
    run_state_machine_as_test(
        lambda: Timed(reasons),  # type: ignore[arg-type] # called without arguments
        settings=model_settings(examples=EXAMPLES, steps=60),
    )
    if scaled(EXAMPLES) < EXAMPLES:
        return  # so few runs need not meet everything
    met = {Reason.ALLOWED, Reason.PERMIT_OUTSTANDING, Reason.COOLDOWN_IN_FLIGHT, Reason.STALE_EXCHANGE_STATE}
    assert met <= set(reasons), reasons
