"""However long the work of one iteration is, a hang in it is noticed as soon as one anywhere else."""

import threading
from unittest.mock import create_autospec

import pytest
from fakeredis import FakeRedis

from microservices.apply_layer.closing import Closer
from microservices.apply_layer.resolver import Resolver
from microservices.apply_layer.settings import Settings
from microservices.contracts.control import BACKOFF_KEY
from microservices.exchange import Order, SharedBackoff
from microservices.exchange.errors import BadAnswer
from microservices.runtime import Loop, SettingError, load_settings
from microservices.runtime.daemon import LoopRunner
from tests.support.clock import FakeClock
from tests.unit.apply_layer.plans import a_job, a_plan

KEYS = {"BINANCE_API_KEY": "k" * 64, "BINANCE_API_SECRET": "s" * 64}
ORDERS = 12


class SlowExchange:
    """Answers each query after some seconds, and never usefully; notes whether its asker counted as hung before.

    Args:
        clock: moved by each answer.
        after_s: by so much.
    """

    def __init__(self, clock: FakeClock, after_s: float) -> None:
        self._clock = clock
        self._after_s = after_s
        self.runner: LoopRunner | None = None
        self.seen: list[bool] = []

    def exchange_time_ms(self) -> int:
        return int(self._clock.now() * 1000)

    def query_order(self, symbol: str, client_order_id: str, *, timeout_s: float | None = None) -> Order:
        self._clock.advance(self._after_s)
        assert self.runner is not None
        self.seen.append(self.runner.makes_progress())
        raise BadAnswer("GET /fapi/v1/order", "not JSON")


def asked(after_s: float) -> list[bool]:
    """Have a dozen orders asked for in one iteration; tell for each whether the loop made progress meanwhile."""
    clock = FakeClock()
    exchange = SlowExchange(clock, after_s)
    backoff = SharedBackoff(FakeRedis(), BACKOFF_KEY, "test")
    resolver = Resolver(exchange, create_autospec(Closer, instance=True), backoff, clock)
    for number in range(ORDERS):
        resolver.adopt(a_job(a_plan(plan_id=f"p{number}")))
    exchange.runner = LoopRunner(Loop("resolver", resolver.tick), threading.Event(), clock, list[Exception]().append)
    exchange.runner.step()
    return exchange.seen


def test_asking_for_many_orders_is_progress() -> None:
    """A dozen slow answers take a minute: none of them makes the loop look hung, for each is one order less."""
    assert asked(5.0) == [True] * ORDERS


def test_one_answer_that_does_not_end_is_none() -> None:
    """A query that outlasts its own deadline by far is a hang, the first as well as the twelfth."""
    assert asked(26.0) == [False] * ORDERS


def test_no_order_s_deadline_is_longer_than_what_counts_as_hung() -> None:
    """A worker that waits for the exchange as long as it is allowed to must never be taken for hung."""
    bound_ms = Loop("worker-1", lambda: 0.0).max_tick_s * 1000
    with pytest.raises(SettingError, match="APPLY_ORDER_TIMEOUT_MS"):
        load_settings(Settings, {"APPLY_ORDER_TIMEOUT_MS": str(int(bound_ms))} | KEYS)
