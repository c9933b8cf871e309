#!/usr/bin/env python3
"""A small demonstration strategy: opens by regime, holds a little, closes. Works in paper mode only.

It shows what a strategy of your own does: read market state, add plans to `quantum:stream:apply.plan`, read how they
ended from `quantum:stream:apply.result`. It never talks to the exchange, and is no advice.

Usage: demo_plans.py [--positions 3] [--hold-s 15] [--notional-usdt 30]
Environment: REDIS_HOST, REDIS_PORT, REDIS_DB, TRADING_MODE (must be paper).
"""

import argparse
import os
import sys
import time
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from microservices.contracts import account, candles, market_state, plan, result, universe
from microservices.contracts.control import Mode
from microservices.contracts.fields import Unreadable
from microservices.contracts.market_state import MarketStateRow, Regime
from microservices.contracts.plan import Action, Decision, Side
from microservices.contracts.universe_reader import UniverseReader

TICK_S = 0.5
RETRY_S = 3.0
MAX_NOTIONAL_USDT = Decimal(150)
RESULTS_PER_READ = 100


@dataclass
class Holding:
    """One symbol the demonstration is in, or on its way into or out of."""

    symbol: str
    side: Side
    opened_at: float
    halved: bool = False
    awaiting: str = ""
    """The plan whose result is awaited; empty while none is."""
    closing: bool = False
    retry_at: float = 0.0


@dataclass
class Demo:
    """The strategy: one `tick` reads results, closes what was held long enough or left its regime, opens what trends."""

    redis: Redis
    positions: int
    hold_s: float
    notional_usdt: Decimal
    holdings: dict[str, Holding] = field(default_factory=dict)
    rested: dict[str, float] = field(default_factory=dict)
    last_result_id: str = "$"

    def tick(self, now: float) -> None:
        """Do one round."""
        self._read_results(now)
        states = self._states(now)
        for holding in list(self.holdings.values()):
            if not holding.awaiting and now >= holding.retry_at:
                self._close_if_due(holding, states.get(holding.symbol), now)
        for symbol in by_trend(states):
            if len(self.holdings) >= self.positions:
                return
            if symbol not in self.holdings and now >= self.rested.get(symbol, 0.0):
                self._open(symbol, states[symbol], now)

    def _states(self, now: float) -> dict[str, MarketStateRow]:
        reader = UniverseReader(self.redis, Mode.PAPER)
        reader.refresh()
        symbols = sorted(reader.current(now).symbols)
        pipeline = self.redis.pipeline(transaction=False)
        for symbol in symbols:
            pipeline.hgetall(market_state.key(symbol))
        states = {}
        for symbol, raw in zip(symbols, pipeline.execute(), strict=True):
            try:
                row = market_state.decode(raw, symbol)
            except Unreadable as fault:
                print(f"demo: {fault}", flush=True)
                continue
            if row is not None:
                states[symbol] = row
        return states

    def _open(self, symbol: str, state: MarketStateRow, now: float) -> None:
        quantity = self._quantity(symbol)
        if quantity is None:
            self.rested[symbol] = now + 60
            return
        side = Side.BUY if state.mu >= 0 else Side.SELL
        holding = Holding(symbol, side, now)
        self.holdings[symbol] = holding
        fields = {"action": Action.OPEN, "side": side, "reduceOnly": False, "qty": quantity}
        self._add(holding, fields, f"regime_{state.regime}", now)

    def _close_if_due(self, holding: Holding, state: MarketStateRow | None, now: float) -> None:
        held_s = now - holding.opened_at
        left_regime = state is not None and state.regime is Regime.MR
        if held_s < self.hold_s / 2 and not left_regime:
            return
        side = Side.SELL if holding.side is Side.BUY else Side.BUY
        full = left_regime or held_s >= self.hold_s
        if not full and holding.halved:
            return
        holding.closing, holding.halved = full, True
        action = Action.FULL_CLOSE_PROPOSED if full else Action.PARTIAL_50
        self._add(holding, {"action": action, "side": side}, "hold_time" if full else "take_half", now)

    def _add(self, holding: Holding, fields: dict[str, object], why: str, now: float) -> None:
        holding.awaiting = f"demo-{holding.symbol}-{fields['action']}-{int(now * 1000)}"
        header = {"plan_id": holding.awaiting, "symbol": holding.symbol, "decision": Decision.EXECUTE}
        footer = {"source": "demo_plans", "reason_codes": why, "timestamp": f"{now:.3f}"}
        self.redis.xadd(plan.STREAM, plan.encode(header | fields | footer))
        print(f"demo: {fields['action']} {fields['side']} {holding.symbol} ({why})", flush=True)

    def _quantity(self, symbol: str) -> Decimal | None:
        """Size an open: the wished notional, at least a tenth above the exchange's minimum; None where that is too much."""
        newest = self.redis.zrange(candles.key(symbol), -1, -1)
        rules = self.redis.hget(universe.INSTRUMENTS_KEY, symbol)
        if not newest or rules is None:
            return None
        try:
            price = Decimal(candles.decode(newest[0], symbol).close)
            instrument = universe.decode_instrument(rules, symbol)
        except Unreadable:
            return None
        step = Decimal(instrument.step_size)
        notional = max(self.notional_usdt, Decimal(instrument.min_notional) * Decimal("1.1"))
        steps = (notional / price / step).to_integral_value(ROUND_CEILING)
        quantity = max(steps * step, Decimal(instrument.min_qty))
        return quantity if quantity * price <= MAX_NOTIONAL_USDT else None

    def _read_results(self, now: float) -> None:
        if self.last_result_id == "$":
            newest = self.redis.xrevrange(result.STREAM, count=1)
            self.last_result_id = newest[0][0].decode() if newest else "0"
            return
        for entry_id, raw in self.redis.xrange(result.STREAM, f"({self.last_result_id}", count=RESULTS_PER_READ):
            self.last_result_id = entry_id.decode()
            try:
                self._take(result.decode(raw, "result"), now)
            except Unreadable as fault:
                print(f"demo: {fault}", flush=True)

    def _take(self, ended: result.Result, now: float) -> None:
        holding = self.holdings.get(ended.symbol)
        if holding is None or holding.awaiting != ended.plan_id:
            return
        holding.awaiting = ""
        print(f"demo: {ended.plan_id} {ended.decision} {ended.error or ended.quantity}", flush=True)
        opening = "-OPEN-" in ended.plan_id
        gone = ended.error == "no_position"
        if (opening and not ended.executed) or gone or (holding.closing and ended.executed):
            del self.holdings[ended.symbol]
            self.rested[ended.symbol] = now + self.hold_s
        elif not ended.executed:
            holding.retry_at = now + RETRY_S


def by_trend(states: dict[str, MarketStateRow]) -> list[str]:
    """Order symbols by how much they trend; those that revert are left out."""
    candidates = [symbol for symbol, state in states.items() if state.regime is not Regime.MR]
    return sorted(candidates, key=lambda symbol: (states[symbol].p_trend, symbol), reverse=True)


def why_not_paper(redis: Redis) -> str:
    """Say why this is no paper suite; empty where it is one."""
    if os.environ.get("TRADING_MODE") != Mode.PAPER:
        return f"TRADING_MODE is {os.environ.get('TRADING_MODE')!r}"
    bound = account.decode(redis.hgetall(account.KEY))
    return f"{account.KEY} says mode {bound.mode}" if bound is not None and bound.mode is not Mode.PAPER else ""


def main() -> int:
    """Run until stopped; exit 1 where this is not paper mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positions", type=int, default=3)
    parser.add_argument("--hold-s", type=float, default=15.0)
    parser.add_argument("--notional-usdt", type=Decimal, default=Decimal(30))
    arguments = parser.parse_args()
    redis = Redis(
        host=os.environ.get("REDIS_HOST", "127.0.0.1"),
        port=int(os.environ.get("REDIS_PORT", "6379")),
        db=int(os.environ.get("REDIS_DB", "0")),
        protocol=2,
        socket_timeout=5,
        retry=Retry(NoBackoff(), 0),
    )
    demo = Demo(redis, arguments.positions, arguments.hold_s, arguments.notional_usdt)
    while True:
        try:
            if refusal := why_not_paper(redis):
                print(f"demo_plans works in paper mode only: {refusal}", file=sys.stderr)
                return 1
            demo.tick(time.time())
        except (RedisConnectionError, RedisTimeoutError) as away:
            print(f"demo: Redis is away: {away}", flush=True)
        time.sleep(TICK_S)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
