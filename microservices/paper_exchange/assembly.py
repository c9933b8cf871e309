"""Puts the exchange together from its settings and files."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from microservices.paper_exchange.account import Account
from microservices.paper_exchange.builtin_market import (
    BASE_PRICES,
    BUILTIN_SYMBOLS,
    INVENTED_PRICES,
    builtin_exchange_info,
)
from microservices.paper_exchange.calendar import Calendar
from microservices.paper_exchange.candles import MINUTE_MS, PricePath
from microservices.paper_exchange.changed_path import ChangedPath
from microservices.paper_exchange.instruments import ExchangeInfo, load_exchange_info
from microservices.paper_exchange.market import Market
from microservices.paper_exchange.orders import OrderBook, Status
from microservices.paper_exchange.recorded_files import Recording, read_recordings
from microservices.paper_exchange.recorded_path import RecordedPath
from microservices.paper_exchange.schedule import Schedule
from microservices.paper_exchange.settings import Settings
from microservices.paper_exchange.signature import Credentials
from microservices.paper_exchange.simulated_path import SimulatedPath, plausible_base_price
from microservices.paper_exchange.state_file import BadStateFile, State, alias_of, load_state
from microservices.paper_exchange.venue import Venue
from microservices.runtime import Clock

logger = logging.getLogger(__name__)


class Exchange(NamedTuple):
    """The exchange, and what happens to its symbols by itself."""

    venue: Venue
    calendar: Calendar


def build_exchange(settings: Settings, clock: Clock) -> Exchange:
    """Put the exchange together from its files.

    Raises:
        BadMarketFile: the exchangeInfo or a recording cannot be used.
        BadStateFile: the saved state cannot be used.
    """
    path = settings.paper_exchange_info
    info = ExchangeInfo(builtin_exchange_info(settings.paper_symbols)) if path is None else load_exchange_info(path)
    state = _saved_state(settings, clock)
    _refuse_unknown(state, info)
    recordings = _recordings(settings.paper_klines_dir, info)
    schedules = _schedules(settings, info, recordings)
    anchor = state.anchor_minute + settings.paper_replay_minutes
    venue = Venue(
        clock=clock,
        info=info,
        market=Market(make_paths(info, recordings, schedules, settings.paper_seed, anchor)),
        account=Account(state.wallet, state.positions),
        orders=OrderBook(state.orders, state.next_order_id),
        credentials=Credentials(settings.paper_api_key.reveal(), settings.paper_api_secret.reveal()),
        alias=state.alias,
        anchor_minute=state.anchor_minute,
        weight_per_min=settings.paper_weight_per_min,
        state_file=settings.paper_state_file,
    )
    calendar = Calendar(venue, schedules)
    calendar.keep()
    return Exchange(venue, calendar)


def make_paths(
    info: ExchangeInfo,
    recordings: Mapping[str, Recording],
    schedules: Mapping[str, Schedule],
    seed: int,
    anchor_minute: int,
) -> dict[str, PricePath]:
    """Give every symbol its price path: recorded where there is a recording, else simulated and scheduled.

    Args:
        info: the symbols.
        recordings: by symbol.
        schedules: what happens to whose price.
        seed: of the simulated market.
        anchor_minute: when the minute after the recordings' last begins.
    """
    paths: dict[str, PricePath] = {}
    for symbol, instrument in info.instruments.items():
        if symbol in recordings:
            paths[symbol] = RecordedPath(recordings[symbol], instrument, anchor_minute)
        else:
            known = (INVENTED_PRICES if symbol in schedules else BASE_PRICES).get(symbol)
            base = plausible_base_price(seed, instrument) if known is None else float(known)
            simulated = SimulatedPath(seed, instrument, base)
            paths[symbol] = ChangedPath(simulated, schedules[symbol]) if symbol in schedules else simulated
    return paths


def _schedules(settings: Settings, info: ExchangeInfo, recordings: Mapping[str, Recording]) -> dict[str, Schedule]:
    """Give every simulated symbol beyond the built-in ones its schedule; those stay listed, and calm but by a fault."""
    if settings.paper_exchange_info is not None:
        return {}
    eventful = list(info.instruments)[BUILTIN_SYMBOLS:]
    return {symbol: Schedule(settings.paper_seed, symbol) for symbol in eventful if symbol not in recordings}


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
