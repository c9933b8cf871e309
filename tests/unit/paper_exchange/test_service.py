"""The service around the exchange: what happens to its chores."""

import asyncio
import threading
from typing import cast

import pytest
from redis import Redis

from microservices.paper_exchange.service import PaperService
from microservices.paper_exchange.settings import Settings
from microservices.runtime import Context, Secret
from tests.support.clock import FakeClock


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
