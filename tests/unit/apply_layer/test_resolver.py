"""The resolver's pauses: asking goes on whatever the exchange says of its limits."""

from typing import Any

from microservices.apply_layer.resolver import Resolver
from microservices.exchange import BackoffLevel, Order, Throttled
from tests.support.clock import FakeClock
from tests.unit.apply_layer.plans import a_job

DAYS_S = 3 * 86_400.0


class ThrottlingClient:
    """An exchange that answers every query with 429 and asks for days."""

    def __init__(self) -> None:
        self.asked = 0

    def exchange_time_ms(self) -> int:
        """Tell some time."""
        return 1_800_000_000_000

    def query_order(self, symbol: str, client_order_id: str, *, timeout_s: float | None = None) -> Order:
        """Refuse."""
        self.asked += 1
        raise Throttled("GET /fapi/v1/order", 429, DAYS_S)


class FreeBackoff:
    """Nobody else was throttled."""

    def remaining_s(self, level: BackoffLevel) -> float:
        """Hold nobody up."""
        return 0.0


def test_a_429_that_asks_for_days_stops_the_questions_for_a_minute() -> None:
    """I-43: until an exit is answered for, its symbol takes no other exit: nobody waits for days to ask again."""
    clock, client = FakeClock(), ThrottlingClient()
    backoff: Any = FreeBackoff()
    no_closer: Any = None
    resolver = Resolver(client, no_closer, backoff, clock)
    job = a_job()
    job.sent_at_ms = client.exchange_time_ms() - 1_000
    resolver.adopt(job)
    resolver.tick()
    for _ in range(11):
        clock.advance(5)
        resolver.tick()
    assert client.asked == 1
    for _ in range(7):  # held up, it looks again after 30 s at the latest
        clock.advance(5)
        resolver.tick()
    assert client.asked == 2
