"""An instance of the apply layer that holds its lease, with its scripts: for tests of the scripts themselves."""

from decimal import Decimal
from typing import Any

from redis import Redis

from microservices.apply_layer.scripts import Claimed, ConsumeAnswer, Limits, Scripts
from microservices.contracts import claim
from microservices.contracts.permit import Gate
from tests.support.apply_world import BINDING, World

INSTANCE = "lock:one"
LIMITS = Limits(max_age_s=60, max_notional_usdt=Decimal(200), max_positions=10)
P33 = (Gate.P33,)
ALL = (Gate.GOVERNOR, Gate.P26, Gate.P33)


class Bench:
    """A world with an instance that holds its lease, and its scripts."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.world = World(redis)
        self.world.set_up()
        self.redis.set(claim.LEASE_KEY, INSTANCE)
        self.scripts = Scripts(redis, BINDING, LIMITS, INSTANCE)

    def consume(self, entry_id: str, gates: tuple[Gate, ...] = P33, *, may_claim: bool = True) -> ConsumeAnswer:
        """Consume a plan's permits; whatever does not claim must leave every key as it was."""
        before = self.dump()
        answer = self.scripts.consume(self.world.plan(entry_id), gates, may_claim=may_claim)
        assert isinstance(answer, Claimed) or self.dump() == before
        return answer

    def dump(self) -> dict[bytes, Any]:
        """Give every key's serialised value."""
        keys: Any = self.redis.keys("*")
        return {bytes(key): self.redis.dump(key) for key in keys}

    def command(self, *parts: str) -> None:
        """Send any command."""
        send: Any = self.redis.execute_command
        send(*parts)
