"""The service around the exchange: what happens to its chores."""

import asyncio
import gc
import threading
from typing import cast

import pytest
from redis import Redis

from microservices.paper_exchange.service import PaperService
from microservices.paper_exchange.settings import Settings
from microservices.runtime import Context, Secret
from tests.support.clock import FakeClock
from tests.support.ports import free_port


async def fail() -> None:
    """A chore with a bug."""
    raise LookupError("no such candle")


def test_a_chore_that_fails_fails_the_loop() -> None:
    """Else candles would stop without a word while requests are answered as ever."""
    settings = Settings(paper_api_key=Secret("k"), paper_api_secret=Secret("s"))
    unused = cast("Redis", None)
    service = PaperService(Context(settings, unused, FakeClock(), threading.Event(), "test"))
    service._chores = [service._serving.create_task(asyncio.sleep(3600)), service._serving.create_task(fail())]
    with pytest.raises(LookupError, match="no such candle"):
        service.serve()
    service.close()


def test_the_first_client_finds_all_candles_made() -> None:
    """No symbol's first answer costs more than a later one: no block of candles is still to be made."""
    settings = Settings(paper_api_key=Secret("k"), paper_api_secret=Secret("s"), paper_port=free_port())
    clock = FakeClock(1_800_000_030)
    service = PaperService(Context(settings, cast("Redis", None), clock, threading.Event(), "test"))
    try:
        service.prepare()
        venue = service._venue
        assert venue is not None
        made = set(venue.market._blocks._blocks)
        for symbol in venue.info.instruments:
            venue.market.klines(symbol, venue.now_ms(), limit=300, start_ms=None, end_ms=None)
        assert set(venue.market._blocks._blocks) == made
        assert {symbol for symbol, _ in made} == set(venue.info.instruments)
    finally:
        service.close()
        gc.unfreeze()  # the process of the tests is none that serves for days
