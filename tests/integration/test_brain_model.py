"""A brain under everything at once: plans, claims, fills, hand-made trades, restarts and faults in any order.

The executor and the exchange are modelled here; the brain and Redis are the real ones. Whatever the order of events,
two opens or two exits of a symbol are never on their way together, no exit is above the position, every plan has one
verdict, and once all is quiet ledger and position agree or a named hold says that they do not.
"""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
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
from redis import Redis

from microservices.contracts import claim, permit, position, result
from microservices.contracts.claim import ClaimState, OpenClaim
from microservices.contracts.fields import stream_id
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Action, Side
from microservices.contracts.reason import Reason
from microservices.exchange import Unreachable
from microservices.runtime.streams import entries_after
from tests.support.brain import result_of
from tests.support.brain_world import World
from tests.support.scale import model_settings, scaled

D = Decimal
SYMBOLS = ("BTCUSDT", "ETHUSDT")
symbols = st.sampled_from(SYMBOLS)
steps = st.integers(1, 400).map(lambda number: D(number) / 1_000)
EXAMPLES = 50
DISTURBANCES = 2
"""Per run; with more of them hardly anything would ever be permitted."""
EXITS = [action for action in Action if action.is_exit]


@dataclass
class Order:
    """A plan that the executor has claimed."""

    plan_id: str
    entry_id: str
    symbol: str
    action: Action
    side: Side
    safe_qty: Decimal
    filled: Decimal | None = None


class Chain(RuleBasedStateMachine):
    """The rules: what can happen. Counts the reasons of all runs."""

    def __init__(
        self, redis: Redis, state_directory: Path, monkeypatch: pytest.MonkeyPatch, reasons: Counter[str]
    ) -> None:
        super().__init__()
        self.reasons = reasons
        self.redis = redis
        self.state_directory = state_directory
        self.monkeypatch = monkeypatch
        self.numbers = count(1)
        self.plans: dict[str, tuple[str, str, Action, Side]] = {}
        self.orders: dict[str, Order] = {}
        self.disturbances = 0

    @initialize(amounts=st.lists(st.sampled_from([D(0), D("0.4"), D("-0.3")]), min_size=2, max_size=2))
    def begin(self, amounts: list[Decimal]) -> None:
        """Start on paper with whatever positions there are."""
        self.redis.flushall()
        self.world = World(self.redis, self.state_directory, self.monkeypatch, p33_cooldown_sec=0.0)
        self.adopted = dict(zip(SYMBOLS, amounts, strict=True))
        self.world.exchange.positions = {**self.adopted}
        self.world.begin()

    def teardown(self) -> None:
        """Let everything that is on its way end; then the brain must find agreement, or say what is wrong."""
        if not hasattr(self, "world"):
            return
        self.world.exchange.error = None
        for plan_id in list(self.orders):
            if self.orders[plan_id].filled is None:
                self.fill(plan_id, D(1))
            self.finish(plan_id)
        self.world.brain.permits.tick()
        self.world.brain.ledger.tick()
        for _ in range(4):
            self.world.snapshot()
        for symbol in SYMBOLS:
            row, held = self.world.ledger(symbol), self.world.exchange.positions[symbol]
            ours = D(0) if row is None else row.position_amt
            assert ours == D(held) or (self.world.hold(symbol) or "").startswith("brain:"), (symbol, ours, held)
        self.world.brain.close()
        self.reasons.update(event.reason for event in self.world.events())

    @rule(symbol=symbols, side=st.sampled_from(list(Side)), qty=steps)
    def plan_an_open(self, symbol: str, side: Side, qty: Decimal) -> None:
        """A strategy wants in."""
        plan_id = f"p{next(self.numbers)}"
        self.plans[plan_id] = (self.world.open(plan_id, symbol=symbol, side=side, qty=qty), symbol, Action.OPEN, side)

    @rule(symbol=symbols, action=st.sampled_from(EXITS))
    def plan_an_exit(self, symbol: str, action: Action) -> None:
        """A strategy wants out; it knows the side."""
        plan_id = f"p{next(self.numbers)}"
        side = Side.SELL if D(self.world.exchange.positions[symbol]) > 0 else Side.BUY
        entry_id = self.world.close(plan_id, symbol=symbol, side=side, action=action)
        self.plans[plan_id] = (entry_id, symbol, action, side)

    @rule()
    def answer(self) -> None:
        """The permit loop's turn."""
        self.world.brain.permits.tick()

    @rule()
    def apply_results(self) -> None:
        """The ledger loop's turn."""
        self.world.clock.advance(0.5)
        self.world.brain.ledger.tick()

    @rule()
    def poll(self) -> None:
        """The snapshot loop's turn."""
        self.world.snapshot()

    @rule()
    def claim_what_is_permitted(self) -> None:
        """The executor consumes every permit that it may: the script's own rules, in short."""
        for plan_id, (entry_id, symbol, action, side) in self.plans.items():
            document = self.world.permit(plan_id)
            mark = self.world.mark(symbol)
            if document is None or not document.allow or mark is None or mark.plan_entry_id != entry_id:
                continue
            self.redis.delete(permit.key(Gate.P33, plan_id))
            self.redis.hset(claim.key(plan_id), mapping={"state": "claimed", "plan_entry_id": entry_id})
            text = claim.encode_open(OpenClaim(symbol, action, ClaimState.CLAIMED)).decode()
            self.redis.hset(claim.OPEN_KEY, plan_id, text)
            self.orders[plan_id] = Order(plan_id, entry_id, symbol, action, side, D(document.safe_qty))

    @precondition(lambda self: any(order.filled is None for order in self.orders.values()))
    @rule(data=st.data(), share=st.sampled_from([D(0), D("0.5"), D(1)]))
    def fill_one(self, data: st.DataObject, share: Decimal) -> None:
        """The exchange fills an order, all, half or nothing of it; reduceOnly is its own rule."""
        waiting = [plan_id for plan_id, order in self.orders.items() if order.filled is None]
        self.fill(data.draw(st.sampled_from(waiting)), share)

    @precondition(lambda self: any(order.filled is not None for order in self.orders.values()))
    @rule(data=st.data())
    def finish_one(self, data: st.DataObject) -> None:
        """The executor writes a result."""
        filled = [plan_id for plan_id, order in self.orders.items() if order.filled is not None]
        self.finish(data.draw(st.sampled_from(filled)))

    @rule()
    def settle(self) -> None:
        """All orders are filled and told of, and a snapshot shows it."""
        for plan_id in list(self.orders):
            if self.orders[plan_id].filled is None:
                self.fill(plan_id, D(1))
            self.finish(plan_id)
        self.world.clock.advance(1.0)
        self.world.brain.ledger.tick()
        self.world.snapshot()

    @rule()
    def go_on(self) -> None:
        """Plans are answered and what is permitted is claimed."""
        self.world.brain.permits.tick()
        self.claim_what_is_permitted()

    @rule(data=st.data())
    def let_a_permit_expire(self, data: st.DataObject) -> None:
        """Nobody consumed it in time."""
        if self.plans:
            self.redis.delete(permit.key(Gate.P33, data.draw(st.sampled_from(sorted(self.plans)))))

    @precondition(lambda self: self.disturbances < DISTURBANCES)
    @rule(symbol=symbols, change=st.integers(-300, 300))
    def trade_by_hand(self, symbol: str, change: int) -> None:
        """Somebody else trades on the account, or it is liquidated."""
        self.disturbances += 1
        held = D(self.world.exchange.positions[symbol]) + D(change) / 1_000
        self.world.exchange.positions[symbol] = held

    @precondition(lambda self: self.disturbances < DISTURBANCES or self.world.exchange.error is not None)
    @rule(is_away=st.booleans())
    def lose_the_exchange(self, *, is_away: bool) -> None:
        """It goes, and comes back."""
        self.disturbances += is_away
        self.world.exchange.error = Unreachable("GET /fapi/v2/positionRisk", "gone", sent=True) if is_away else None

    @rule(seconds=st.sampled_from([-3_600.0, -1.0, 1.0, 3_600.0]))
    def set_the_clock(self, seconds: float) -> None:
        """The brain's own clock is set; what decides is Redis's."""
        self.world.clock.step(seconds)

    @rule(symbol=symbols, is_exit=st.booleans())
    def plan_three_at_once(self, symbol: str, *, is_exit: bool) -> None:
        """Three of one kind within an order's latency, read in one batch or one after the other."""
        held = D(self.world.exchange.positions[symbol])
        before = len(self.world.events())
        plan_ids = []
        for number in range(3):
            if is_exit:
                self.plan_an_exit(symbol, Action.PARTIAL_25)
            else:
                self.plan_an_open(symbol, Side.BUY if held >= 0 else Side.SELL, D("0.01"))
            plan_ids.append(list(self.plans)[-1])
            if number:
                self.world.brain.permits.tick()
        said = self.world.events()[before:]
        assert sum(event.allow and event.plan_id in plan_ids for event in said) <= 1

    @rule()
    def restart(self) -> None:
        """The brain dies and is started again."""
        self.world.restart()

    @invariant()
    def never_two_on_their_way(self) -> None:
        """Of a symbol at most one open and one exit can still trade: permitted and consumable, or claimed."""
        for symbol in SYMBOLS if hasattr(self, "world") else ():
            alive = [order.action for order in self.orders.values() if order.symbol == symbol]
            mark = self.world.mark(symbol)
            if mark is not None and mark.plan_id not in self.orders:
                document = self.world.permit(mark.plan_id)
                alive += [mark.action] if document is not None and document.allow else []
            exits = sum(action.is_exit for action in alive)
            assert exits <= 1, (symbol, alive)
            assert len(alive) - exits <= 1, (symbol, alive)

    @invariant()
    def every_verdict_is_the_only_one_and_within_the_position(self) -> None:
        """An allow is withdrawn at most once, and only an open's, by an exit."""
        if not hasattr(self, "world"):
            return
        verdicts: dict[str, list[str]] = {}
        for event in self.world.events():
            if event.plan_id:
                verdicts.setdefault(event.plan_id, []).append(event.reason)
        for plan_id, reasons in verdicts.items():
            is_open = self.plans[plan_id][2] is Action.OPEN
            assert len(reasons) == 1 or (is_open and reasons == [Reason.ALLOWED, Reason.DISPLACED_BY_EXIT]), reasons
        for plan_id, (_, _, action, _) in self.plans.items():
            document = self.world.permit(plan_id)
            if document is not None and document.allow and action.is_exit:
                assert D(document.safe_qty) <= abs(D(document.context["position_amt"]))

    @invariant()
    def the_ledger_is_what_was_adopted_and_our_fills_since(self) -> None:
        """Recounted from the streams: every applied result once, in its order, between the adoptions."""
        if not hasattr(self, "world"):
            return
        for symbol in SYMBOLS:
            row = self.world.ledger(symbol)
            if row is not None and row.last_result_id:
                assert row.position_amt == self.recounted(symbol, row.last_result_id), symbol

    def recounted(self, symbol: str, up_to: str) -> Decimal:
        """Add up adoptions and fills, as the two streams tell of them in the order of their times."""
        happened: list[tuple[tuple[int, int], int, Any]] = []
        for entry in entries_after(self.redis, permit.EVENTS, "0-0", count=10_000):
            event = permit.decode_event(entry.fields or {}, "event")
            if event.reason == Reason.LEDGER_ADOPTED and event.symbol == symbol:
                happened.append((stream_id(entry.id, "event"), 1, msgspec.json.decode(event.context)["to"]))
        for entry in entries_after(self.redis, result.STREAM, "0-0", count=10_000):
            ended = result.decode(entry.fields or {}, "result")
            if (
                ended.symbol == symbol
                and ended.executed
                and stream_id(entry.id, "result") <= stream_id(up_to, "result")
            ):
                happened.append((stream_id(entry.id, "result"), 0, ended))
        total = self.adopted[symbol]
        for _, kind, what in sorted(happened, key=lambda moment: moment[:2]):
            if kind:
                total = D(what)
            else:
                total += what.quantity if what.side is Side.BUY else -what.quantity
        return total

    def fill(self, plan_id: str, share: Decimal) -> None:
        """Fill an order at the exchange."""
        order = self.orders[plan_id]
        held = D(self.world.exchange.positions[order.symbol])
        wanted = (order.safe_qty * share).quantize(D("0.001"))
        if order.action.is_exit:
            opposes = (held > 0) is (order.side is Side.SELL)
            wanted = min(wanted, abs(held)) if opposes and held else D(0)
        order.filled = wanted
        self.world.exchange.positions[order.symbol] = held + (wanted if order.side is Side.BUY else -wanted)

    def finish(self, plan_id: str) -> None:
        """Write an order's result, and end its claim."""
        order = self.orders.pop(plan_id)
        ended = result_of(
            plan_id=plan_id, plan_entry_id=order.entry_id, symbol=order.symbol, side=order.side,
            quantity=order.filled, executed=bool(order.filled), timestamp=self.world.now_ms() // 1000,
        )  # fmt: skip
        self.redis.xadd(result.STREAM, result.encode(ended))
        self.redis.hset(claim.key(plan_id), "state", "done")
        self.redis.hdel(claim.OPEN_KEY, plan_id)


@pytest.mark.soak
def test_the_chain_keeps_its_promises_in_any_order_of_events(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the two seconds that a real account needs to show a fill: the model's account is never late."""
    monkeypatch.setattr(position, "SETTLE_MS", 0)
    reasons = Counter[str]()
    run_state_machine_as_test(
        lambda: Chain(redis_client, tmp_path, monkeypatch, reasons),  # type: ignore[arg-type] # called without arguments
        settings=model_settings(examples=EXAMPLES, steps=50),
    )
    assert reasons[Reason.ALLOWED] > 0 or scaled(EXAMPLES) < EXAMPLES, reasons
