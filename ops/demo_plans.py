#!/usr/bin/env python3
"""A small demonstration strategy: opens by regime, holds a little, closes. Works in paper mode only.

It shows what a strategy of your own does: read market state, add plans to `quantum:stream:apply.plan`, read how they
ended from `quantum:stream:apply.result`. It never talks to the exchange, and is no advice.

Settings: TRADING_MODE (must be paper), DEMO_POSITIONS, DEMO_HOLD_S, DEMO_NOTIONAL_USDT, REDIS_*.
"""

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Annotated

from msgspec import Meta
from redis import Redis

from microservices.contracts import account, candles, market_state, plan, result, universe
from microservices.contracts.control import Mode
from microservices.contracts.fields import Unreadable
from microservices.contracts.market_state import MarketStateRow, Regime
from microservices.contracts.plan import Action, Decision, Side
from microservices.contracts.reason import Reason
from microservices.contracts.universe_reader import UniverseReader
from microservices.runtime import (
    CommonSettings,
    Context,
    Loop,
    Refused,
    SettingError,
    run,
    streams,
)

logger = logging.getLogger(__name__)

TICK_S = 0.5
RETRY_S = 3.0
REST_UNTRADEABLE_S = 60.0
MAX_NOTIONAL_USDT = Decimal(150)
MINIMUM_MARGIN = Decimal("1.1")
"""An open is at least this many times the exchange's minimum, so that a falling price does not refuse it."""
RESULTS_PER_READ = 100


class Settings(CommonSettings, frozen=True, kw_only=True):
    """What the demonstration is told."""

    trading_mode: Mode
    demo_positions: Annotated[int, Meta(ge=1, le=10)] = 3
    demo_hold_s: Annotated[float, Meta(gt=0)] = 15.0
    demo_notional_usdt: Decimal = Decimal(30)

    def __post_init__(self) -> None:
        """Refuse anything but paper."""
        if self.trading_mode is not Mode.PAPER:
            raise SettingError("TRADING_MODE", self.trading_mode, "paper: demo_plans works in no other mode")
        if not 0 < self.demo_notional_usdt <= MAX_NOTIONAL_USDT:
            raise SettingError("DEMO_NOTIONAL_USDT", self.demo_notional_usdt, f"above 0, at most {MAX_NOTIONAL_USDT}")


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


class Demo:
    """The strategy. One tick reads results, closes what was held long enough or left its regime, opens what trends.

    Args:
        redis: a client whose answers are bytes.
        settings: how many positions, how large, how long.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._universe = UniverseReader(redis, Mode.PAPER)
        self._holdings: dict[str, Holding] = {}
        self._rested: dict[str, float] = {}
        self._last_result_id = ""

    def prepare(self) -> None:
        """Look where it is, and from where on results are its own.

        Raises:
            Refused: this Redis does not belong to a paper account.
        """
        bound = account.decode(self._redis.hgetall(account.KEY))
        if bound is not None and bound.mode is not Mode.PAPER:
            raise Refused(f"{account.KEY} says mode {bound.mode}: demo_plans works in paper mode only")
        self._last_result_id = streams.last_id(self._redis, result.STREAM)

    def loops(self) -> Sequence[Loop]:
        """Give its one loop."""
        return (Loop("plans", lambda: self.tick(time.time())),)

    def status_line(self) -> str:
        """Say what it holds."""
        return f"{len(self._holdings)} positions"

    def close(self) -> None:
        """Leave the positions as they are: they belong to the account."""

    def tick(self, now: float) -> float:
        """Do one round; return the seconds until the next."""
        self._read_results(now)
        states = self._states(now)
        for holding in list(self._holdings.values()):
            if not holding.awaiting and now >= holding.retry_at:
                self._close_if_due(holding, states.get(holding.symbol), now)
        for symbol in by_trend(states):
            if len(self._holdings) >= self._settings.demo_positions:
                break
            if symbol not in self._holdings and now >= self._rested.get(symbol, 0.0):
                self._open(symbol, states[symbol], now)
        return TICK_S

    def _states(self, now: float) -> dict[str, MarketStateRow]:
        self._universe.refresh()
        symbols = sorted(self._universe.current(now).symbols)
        pipeline = self._redis.pipeline(transaction=False)
        for symbol in symbols:
            pipeline.hgetall(market_state.key(symbol))
        states = {}
        for symbol, raw in zip(symbols, pipeline.execute(), strict=True):
            try:
                row = market_state.decode(raw, symbol)
            except Unreadable as fault:
                logger.warning("%s", fault)
                continue
            if row is not None:
                states[symbol] = row
        return states

    def _open(self, symbol: str, state: MarketStateRow, now: float) -> None:
        quantity = self._quantity(symbol)
        if quantity is None:
            self._rested[symbol] = now + REST_UNTRADEABLE_S
            return
        side = Side.BUY if state.mu >= 0 else Side.SELL
        holding = Holding(symbol, side, now)
        self._holdings[symbol] = holding
        fields = {"action": Action.OPEN, "side": side, "reduceOnly": False, "qty": quantity}
        self._add(holding, fields, f"regime_{state.regime}", now)

    def _close_if_due(self, holding: Holding, state: MarketStateRow | None, now: float) -> None:
        held_s = now - holding.opened_at
        left_regime = state is not None and state.regime is Regime.MR
        if held_s < self._settings.demo_hold_s / 2 and not left_regime:
            return
        side = Side.SELL if holding.side is Side.BUY else Side.BUY
        full = left_regime or held_s >= self._settings.demo_hold_s
        if not full and holding.halved:
            return
        holding.closing, holding.halved = full, True
        action = Action.FULL_CLOSE_PROPOSED if full else Action.PARTIAL_50
        self._add(holding, {"action": action, "side": side}, "hold_time" if full else "take_half", now)

    def _add(self, holding: Holding, fields: dict[str, object], why: str, now: float) -> None:
        holding.awaiting = f"demo-{holding.symbol}-{fields['action']}-{int(now * 1000)}"
        header = {"plan_id": holding.awaiting, "symbol": holding.symbol, "decision": Decision.EXECUTE}
        footer = {"source": "demo_plans", "reason_codes": why, "timestamp": f"{now:.3f}"}
        self._redis.xadd(plan.STREAM, plan.encode(header | fields | footer))
        logger.info("%s %s %s (%s)", fields["action"], fields["side"], holding.symbol, why)

    def _quantity(self, symbol: str) -> Decimal | None:
        """Size an open: the wished notional, or a little above the exchange's minimum; None where that is too much."""
        newest = self._redis.zrange(candles.key(symbol), -1, -1)
        rules = self._redis.hget(universe.INSTRUMENTS_KEY, symbol)
        if not newest or rules is None:
            return None
        try:
            price = Decimal(candles.decode(newest[0], symbol).close)
            instrument = universe.decode_instrument(rules, symbol)
        except Unreadable:
            return None
        step = Decimal(instrument.step_size)
        notional = max(self._settings.demo_notional_usdt, Decimal(instrument.min_notional) * MINIMUM_MARGIN)
        steps = (notional / price / step).to_integral_value(ROUND_CEILING)
        quantity = max(steps * step, Decimal(instrument.min_qty))
        return quantity if quantity * price <= MAX_NOTIONAL_USDT else None

    def _read_results(self, now: float) -> None:
        for entry in streams.entries_after(self._redis, result.STREAM, self._last_result_id, count=RESULTS_PER_READ):
            self._last_result_id = entry.id
            try:
                self._take(result.decode(entry.fields or {}, result.STREAM), now)
            except Unreadable as fault:
                logger.warning("%s", fault)

    def _take(self, ended: result.Result, now: float) -> None:
        holding = self._holdings.get(ended.symbol)
        if holding is None or holding.awaiting != ended.plan_id:
            return
        holding.awaiting = ""
        logger.info("%s %s %s", ended.plan_id, ended.decision, ended.error or ended.quantity)
        opening = "-OPEN-" in ended.plan_id
        gone = ended.error == Reason.NO_POSITION
        if (opening and not ended.executed) or gone or (holding.closing and ended.executed):
            del self._holdings[ended.symbol]
            self._rested[ended.symbol] = now + self._settings.demo_hold_s
        elif not ended.executed:
            holding.retry_at = now + RETRY_S


def by_trend(states: dict[str, MarketStateRow]) -> list[str]:
    """Order symbols by how much they trend; those that revert are left out."""
    candidates = [symbol for symbol, state in states.items() if state.regime is not Regime.MR]
    return sorted(candidates, key=lambda symbol: (states[symbol].p_trend, symbol), reverse=True)


def build(context: Context[Settings]) -> Demo:
    """Make the strategy from its settings and connection."""
    return Demo(context.redis, context.settings)


if __name__ == "__main__":
    sys.exit(run("quantum-demo-plans", Settings, build))
