"""The demonstration strategy against a real Redis: what it adds, when, and that it is a stranger to real money."""

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from redis import Redis

from microservices.contracts import account, candles, hashes, market_state, plan, result, universe
from microservices.contracts.account import AccountBinding
from microservices.contracts.candles import Candle
from microservices.contracts.control import Mode
from microservices.contracts.market_state import MarketStateRow, Regime, Source
from microservices.contracts.plan import Action, Decision, Side
from microservices.contracts.result import Result
from microservices.contracts.universe import Instrument, UniverseDocument, UniverseMeta
from microservices.runtime import Refused, streams
from ops.demo_plans import Demo, Settings
from tests.support.redis_server import RedisServer

NOW = 1_800_000_000.0
ROOT = Path(__file__).parents[2]
HOLD_S = 15.0


def put_world(redis: Redis, regimes: dict[str, Regime]) -> None:
    """Fill Redis with a fresh universe, instruments, one candle at 100 USDT and a market state per symbol."""
    now = int(NOW)
    document = UniverseDocument(now, universe.SOURCE, Mode.PAPER, tuple(sorted(regimes)), universe.FILTERS)
    redis.set(universe.ACTIVE_KEY, universe.encode_document(document))
    redis.hset(universe.META_KEY, mapping=hashes.encode(UniverseMeta(now, now, len(regimes), 0)))
    rules = Instrument("TRADING", now, "0.01", "0.001", "0.001", "1000", "5", 0, 4_133_404_800)
    for symbol, regime in regimes.items():
        redis.hset(universe.INSTRUMENTS_KEY, symbol, universe.encode_instrument(rules))
        candle = candles.encode(Candle(60_000, "100", "100", "100", "100", "1"))
        redis.zadd(candles.key(symbol), {candle: 60_000})
        state = MarketStateRow(0.001, 0.0001, 0.5, 0.6, 0.1, 0.3, 0.5, 1.0, 1.0, now, 300, regime, Source.CANDLES, now)
        redis.hset(market_state.key(symbol), mapping=market_state.encode(state))


def plans(redis: Redis) -> list[plan.Plan]:
    """Every plan in the stream, oldest first; each is valid or this raises."""
    entries = reversed(streams.newest_entries(redis, plan.STREAM, count=100))
    return [plan.decode(plan.decode_header(entry.id, entry.fields or {})) for entry in entries]


def answer(redis: Redis, planned: plan.Plan, *, executed: bool, error: str = "") -> None:
    """End a plan as the apply layer would."""
    ended = Result(
        plan_id=planned.plan_id,
        plan_entry_id=planned.entry_id,
        symbol=planned.symbol,
        decision=Decision.EXECUTE if executed else Decision.BLOCKED,
        executed=executed,
        error=error,
        quantity=planned.qty,
        mode=Mode.PAPER,
        timestamp=int(NOW),
    )
    redis.xadd(result.STREAM, result.encode(ended))


@pytest.fixture
def demo(redis_client: Redis) -> Demo:
    """The strategy with room for one position, prepared in a paper world of one trending symbol."""
    put_world(redis_client, {"AAAUSDT": Regime.TREND, "BBBUSDT": Regime.MR})
    strategy = Demo(redis_client, Settings(trading_mode=Mode.PAPER, demo_positions=1, demo_hold_s=HOLD_S))
    strategy.prepare()
    return strategy


def test_it_opens_what_trends_with_a_small_valid_plan(demo: Demo, redis_client: Redis) -> None:
    """One open, of the trending symbol, on the side of mu, for about 30 USDT, and no second while it is awaited."""
    demo.tick(NOW)
    demo.tick(NOW + 1)
    (opened,) = plans(redis_client)
    assert (opened.symbol, opened.action, opened.side, opened.qty) == ("AAAUSDT", Action.OPEN, Side.BUY, Decimal("0.3"))


def test_it_takes_half_and_then_closes(demo: Demo, redis_client: Redis) -> None:
    """After half the time half is closed, after all of it the rest, on the other side."""
    demo.tick(NOW)
    answer(redis_client, plans(redis_client)[0], executed=True)
    demo.tick(NOW + HOLD_S / 2 + 1)
    answer(redis_client, plans(redis_client)[1], executed=True)
    demo.tick(NOW + HOLD_S + 1)
    exits = plans(redis_client)[1:]
    assert [planned.action for planned in exits] == [Action.PARTIAL_50, Action.FULL_CLOSE_PROPOSED]
    assert {planned.side for planned in exits} == {Side.SELL}


def test_a_refused_exit_is_tried_again_under_a_new_id(demo: Demo, redis_client: Redis) -> None:
    """A plan id is one intent; a position is not forgotten because one exit was denied (I-43)."""
    demo.tick(NOW)
    answer(redis_client, plans(redis_client)[0], executed=True)
    demo.tick(NOW + HOLD_S + 1)
    answer(redis_client, plans(redis_client)[1], executed=False, error="permit_timeout")
    demo.tick(NOW + HOLD_S + 2)
    demo.tick(NOW + HOLD_S + 6)
    exits = plans(redis_client)[1:]
    assert len({planned.plan_id for planned in exits}) == 2


def test_it_opens_nothing_without_a_universe(redis_client: Redis) -> None:
    """No list, no plans."""
    put_world(redis_client, {"AAAUSDT": Regime.TREND})
    redis_client.delete(universe.ACTIVE_KEY)
    strategy = Demo(redis_client, Settings(trading_mode=Mode.PAPER))
    strategy.prepare()
    strategy.tick(NOW)
    assert plans(redis_client) == []


def test_a_redis_of_another_mode_is_refused(redis_client: Redis) -> None:
    """Also where its own variable says paper."""
    account.bind(redis_client, AccountBinding(Mode.TESTNET, "testnet.binancefuture.com", "SgsR"))
    with pytest.raises(Refused, match="paper mode only"):
        Demo(redis_client, Settings(trading_mode=Mode.PAPER)).prepare()


@pytest.mark.parametrize("mode", ["testnet", "mainnet", ""])
def test_any_other_mode_stops_it_with_one_line(redis_server: RedisServer, mode: str) -> None:
    """As a program: one line on standard error, and nothing in the stream."""
    environment = {"PATH": os.environ["PATH"], "TRADING_MODE": mode, "REDIS_PORT": str(redis_server.port)}
    ended = subprocess.run(
        [sys.executable, "ops/demo_plans.py"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=20
    )
    assert ended.returncode != 0
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "TRADING_MODE" in ended.stderr
