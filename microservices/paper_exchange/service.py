"""Serves the exchange in one thread of its own."""

import asyncio
import gc
import logging
from collections.abc import Sequence

from aiohttp import web

from microservices.paper_exchange.assembly import Exchange, build_exchange
from microservices.paper_exchange.gateway import make_app
from microservices.paper_exchange.instruments import BadMarketFile
from microservices.paper_exchange.journal import Journal
from microservices.paper_exchange.settings import Settings
from microservices.paper_exchange.sped_clock import SpedClock
from microservices.paper_exchange.state_file import BadStateFile
from microservices.paper_exchange.stream_hub import StreamHub
from microservices.paper_exchange.venue import Venue
from microservices.runtime import Context, Loop, Refused

logger = logging.getLogger(__name__)

SLICE_S = 0.2  # how long the thread serves before it looks whether it should stop
MATCH_EVERY_S = 1.0
ADDRESS_MAX_BYTES = 131_072  # 1,024 streams of names that are not ASCII, percent-encoded
WARM_CANDLES = 300  # what every client asks for first


class PaperService:
    """The paper exchange as a daemon.

    Args:
        context: settings and clock.
    """

    def __init__(self, context: Context[Settings]) -> None:
        self._settings = context.settings
        self._clock = SpedClock(context.clock, context.settings.paper_speed)
        self._serving = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._chores: list[asyncio.Task[None]] = []
        self._venue: Venue | None = None

    def prepare(self) -> None:
        """Load what is to be shown, and listen.

        Raises:
            Refused: a file given cannot be used, or the address is taken.
        """
        try:
            exchange = build_exchange(self._settings, self._clock)
            self._venue = exchange.venue
            _warm(exchange.venue)
            self._serving.run_until_complete(self._listen(exchange))
        except (BadMarketFile, BadStateFile) as error:
            raise Refused(str(error)) from None
        except OSError as error:
            raise Refused(f"cannot listen on {self._address()}: {error.strerror}") from None
        # Candles of 600 symbols are 70,000 objects that stay: to look through them all would hold answers up.
        gc.freeze()
        symbols, alias, wallet = len(self._venue.info.instruments), self._venue.alias, self._venue.account.wallet
        logger.info(
            "Paper exchange on http://%s: %d symbols, account %s, %s USDT", self._address(), symbols, alias, wallet
        )

    def loops(self) -> Sequence[Loop]:
        """Serve, a slice at a time."""
        return [Loop("http", self.serve)]

    def serve(self) -> float:
        """Serve for one slice; a chore that failed fails it, so that it does not go unseen."""
        self._serving.run_until_complete(asyncio.sleep(SLICE_S))
        for chore in self._chores:
            if chore.done():
                chore.result()
        return 0.0

    def status_line(self) -> str:
        """Say where it listens and what the account holds."""
        if self._venue is None:
            return "loading"
        held = sum(1 for position in list(self._venue.account.positions.values()) if position.amount)
        return f"on {self._address()}, {held} positions, wallet {self._venue.account.wallet:.2f} USDT"

    def close(self) -> None:
        """Stop listening; nobody waits for anything else."""
        if self._serving.is_running() or self._serving.is_closed():
            return
        for chore in self._chores:
            chore.cancel()
        if self._runner is not None:
            self._serving.run_until_complete(self._runner.cleanup())
        self._serving.close()

    def _address(self) -> str:
        host = self._settings.paper_host
        return f"[{host}]:{self._settings.paper_port}" if ":" in host else f"{host}:{self._settings.paper_port}"

    def _drop_connections(self) -> None:
        server = None if self._runner is None else self._runner.server
        for connection in [] if server is None else server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def _listen(self, exchange: Exchange) -> None:
        venue = exchange.venue
        hub = StreamHub(venue, self._settings.paper_update_ms)
        self._runner = web.AppRunner(
            make_app(venue, Journal(), hub), access_log=None, shutdown_timeout=0.1, max_line_size=ADDRESS_MAX_BYTES
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, self._settings.paper_host, self._settings.paper_port).start()
        venue.later = lambda seconds, what: _discard(asyncio.get_running_loop().call_later(seconds, what))
        venue.drop_connections = self._drop_connections
        self._chores = [asyncio.create_task(chore) for chore in (_match(exchange), hub.run())]


async def _match(exchange: Exchange) -> None:
    while True:
        await asyncio.sleep(MATCH_EVERY_S)
        exchange.calendar.keep()
        exchange.venue.match_resting()


def _warm(venue: Venue) -> None:
    """Make the candles that clients ask for first before anybody can ask.

    A symbol's first answer costs six times a later one: a feed that starts with the exchange would ask faster than
    that, and the answers would queue. From then on blocks of different symbols are due at different minutes.
    """
    for symbol in venue.info.instruments:
        venue.market.klines(symbol, venue.now_ms(), limit=WARM_CANDLES, start_ms=None, end_ms=None)


def _discard(_handle: object) -> None:
    """Forget the handle: nothing scheduled is ever called off."""
