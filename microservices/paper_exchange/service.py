"""Puts the exchange together and serves it in one thread of its own."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from aiohttp import web

from microservices.paper_exchange.account import Account
from microservices.paper_exchange.builtin_market import BASE_PRICES, builtin_exchange_info
from microservices.paper_exchange.candles import MINUTE_MS, PricePath
from microservices.paper_exchange.gateway import make_app
from microservices.paper_exchange.instruments import BadMarketFile, ExchangeInfo, load_exchange_info
from microservices.paper_exchange.journal import Journal
from microservices.paper_exchange.market import Market
from microservices.paper_exchange.orders import OrderBook, Status
from microservices.paper_exchange.recorded_files import Recording, read_recordings
from microservices.paper_exchange.recorded_path import RecordedPath
from microservices.paper_exchange.settings import Settings
from microservices.paper_exchange.signature import Credentials
from microservices.paper_exchange.simulated_path import SimulatedPath, plausible_base_price
from microservices.paper_exchange.sped_clock import SpedClock
from microservices.paper_exchange.state_file import BadStateFile, State, alias_of, load_state
from microservices.paper_exchange.stream_hub import StreamHub
from microservices.paper_exchange.venue import Venue
from microservices.runtime import Clock, Context, Loop, Refused

logger = logging.getLogger(__name__)

SLICE_S = 0.2  # how long the thread serves before it looks whether it should stop
MATCH_EVERY_S = 1.0
WARM_CANDLES = 300  # what every client asks for first
WARM_PAUSE_S = 0.002  # between two symbols, so that clients are served in between


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
            self._venue = build_venue(self._settings, self._clock)
            self._serving.run_until_complete(self._listen(self._venue))
        except (BadMarketFile, BadStateFile) as error:
            raise Refused(str(error)) from None
        except OSError as error:
            raise Refused(f"cannot listen on {self._address()}: {error.strerror}") from None
        symbols, alias, wallet = len(self._venue.info.instruments), self._venue.alias, self._venue.account.wallet
        logger.info(
            "Paper exchange on http://%s: %d symbols, account %s, %s USDT", self._address(), symbols, alias, wallet
        )

    def loops(self) -> Sequence[Loop]:
        """Serve, a slice at a time."""
        return [Loop("http", self.serve)]

    def serve(self) -> float:
        """Serve for one slice."""
        self._serving.run_until_complete(asyncio.sleep(SLICE_S))
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

    async def _listen(self, venue: Venue) -> None:
        hub = StreamHub(venue, self._settings.paper_update_ms)
        self._runner = web.AppRunner(make_app(venue, Journal(), hub), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._settings.paper_host, self._settings.paper_port).start()
        venue.later = lambda seconds, what: _discard(asyncio.get_running_loop().call_later(seconds, what))
        self._chores = [asyncio.create_task(chore) for chore in (_match(venue), _warm(venue), hub.run())]


def build_venue(settings: Settings, clock: Clock) -> Venue:
    """Put the exchange together from its files.

    Raises:
        BadMarketFile: the exchangeInfo or a recording cannot be used.
        BadStateFile: the saved state cannot be used.
    """
    path = settings.paper_exchange_info
    info = ExchangeInfo(builtin_exchange_info()) if path is None else load_exchange_info(path)
    state = _saved_state(settings, clock)
    _refuse_unknown(state, info)
    recordings = _recordings(settings.paper_klines_dir, info)
    return Venue(
        clock=clock,
        info=info,
        market=Market(make_paths(info, recordings, settings.paper_seed, state.anchor_minute)),
        account=Account(state.wallet, state.positions),
        orders=OrderBook(state.orders, state.next_order_id),
        credentials=Credentials(settings.paper_api_key.reveal(), settings.paper_api_secret.reveal()),
        alias=state.alias,
        anchor_minute=state.anchor_minute,
        weight_per_min=settings.paper_weight_per_min,
        state_file=settings.paper_state_file,
    )


def make_paths(
    info: ExchangeInfo, recordings: Mapping[str, Recording], seed: int, anchor_minute: int
) -> dict[str, PricePath]:
    """Give every symbol its price path: recorded where there is a recording, else simulated."""
    paths: dict[str, PricePath] = {}
    for symbol, instrument in info.instruments.items():
        if symbol in recordings:
            paths[symbol] = RecordedPath(recordings[symbol], instrument, anchor_minute)
        else:
            known = BASE_PRICES.get(symbol)
            base = plausible_base_price(seed, instrument) if known is None else float(known)
            paths[symbol] = SimulatedPath(seed, instrument, base)
    return paths


def _saved_state(settings: Settings, clock: Clock) -> State:
    """Give the saved state, or a new account's, whose recorded candles end now."""
    state = None if settings.paper_state_file is None else load_state(settings.paper_state_file)
    return state or State(
        alias=alias_of(settings.paper_api_key.reveal()),
        anchor_minute=int(clock.now() * 1000) // MINUTE_MS,
        wallet=settings.paper_balance_usdt,
    )


def _refuse_unknown(state: State, info: ExchangeInfo) -> None:
    """Refuse a saved account whose positions or resting orders are in symbols that this market does not have.

    Raises:
        BadStateFile: it names them.
    """
    held = {symbol for symbol, position in state.positions.items() if position.amount}
    held |= {order.symbol for order in state.orders if order.status is Status.NEW}
    unknown = sorted(held - info.instruments.keys())
    if unknown:
        raise BadStateFile(f"the saved account holds {', '.join(unknown)}, not in this exchangeInfo")


def _recordings(folder: Path | None, info: ExchangeInfo) -> dict[str, Recording]:
    if folder is None:
        return {}
    recordings, skipped = read_recordings(folder, info.symbols())
    logger.info("%d symbols have recorded candles in %s, %d tables left out", len(recordings), folder, len(skipped))
    for left_out in skipped:
        logger.debug("left out: %s: %s", left_out.what, left_out.why)
    return recordings


async def _match(venue: Venue) -> None:
    while True:
        await asyncio.sleep(MATCH_EVERY_S)
        venue.match_resting()


async def _warm(venue: Venue) -> None:
    """Make the candles that clients ask for first before they do, a symbol at a time."""
    for symbol in venue.info.instruments:
        venue.market.klines(symbol, venue.now_ms(), limit=WARM_CANDLES, start_ms=None, end_ms=None)
        await asyncio.sleep(WARM_PAUSE_S)


def _discard(_handle: object) -> None:
    """Forget the handle: nothing scheduled is ever called off."""
