"""A universe service in its world: a real Redis, a server that plays the exchange, and a clock that tests move."""

import threading
from typing import Any, NamedTuple

from redis import Redis

from microservices.contracts import universe
from microservices.contracts.control import BACKOFF_KEY, Mode
from microservices.contracts.universe import Instrument
from microservices.exchange import PublicClient, SharedBackoff
from microservices.universe_service.service import UNIT, UniverseService
from microservices.universe_service.settings import Settings
from tests.support.clock import FakeClock
from tests.support.http_server import HttpServer

NOW = 1_800_000_000
META_OF_A_FAILURE = {b"stale", b"error", b"last_attempt_epoch"}


class Keys(NamedTuple):
    """Everything the service owns, as it stands in Redis."""

    active: bytes | None
    last_ok: bytes | None
    meta: dict[bytes, bytes]
    instruments: dict[bytes, bytes]

    def say(self, field: str) -> str:
        """Give a field of the meta hash."""
        return self.meta[field.encode()].decode()

    @property
    def symbols(self) -> list[str]:
        """The list in force."""
        assert self.active is not None
        return list(universe.decode_document(self.active, universe.ACTIVE_KEY).symbols)

    def instrument(self, symbol: str) -> Instrument:
        """The rules of one instrument."""
        return universe.decode_instrument(self.instruments[symbol.encode()], symbol)


class World:
    """One Redis, one exchange, one clock; services come and go."""

    def __init__(self, redis: Redis, server: HttpServer) -> None:
        self.redis = redis
        self.server = server
        self.clock = FakeClock(NOW)
        self.stop = threading.Event()

    def service(self, url: str = "", timeout_s: float = 2.0, **settings: Any) -> UniverseService:
        """Make a service that has not prepared yet."""
        backoff = SharedBackoff(self.redis, BACKOFF_KEY, UNIT)
        client = PublicClient(url or self.server.url, clock=self.clock, timeout_s=timeout_s, backoff=backoff)
        told = Settings(**{"universe_mode": Mode.PAPER, "binance_futures_base_url": self.server.url} | settings)
        return UniverseService(told, self.redis, client, backoff=backoff, clock=self.clock, stop=self.stop)

    def started(self, **settings: Any) -> UniverseService:
        """Make a service that has prepared."""
        service = self.service(**settings)
        service.prepare()
        return service

    def keys(self) -> Keys:
        """Read what stands in Redis."""
        redis: Any = self.redis  # redis-py's stubs say bytes or str; this client answers bytes
        return Keys(
            redis.get(universe.ACTIVE_KEY),
            redis.get(universe.LAST_OK_KEY),
            redis.hgetall(universe.META_KEY),
            redis.hgetall(universe.INSTRUMENTS_KEY),
        )
