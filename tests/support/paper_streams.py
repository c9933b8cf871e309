"""A client of the paper exchange's streams, with aiohttp: what a bot would do, without a bot's patience."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.support.paper import PaperExchange

WAIT_S = 20


class Stream:
    """One connection.

    Args:
        socket: open; pings reach `receive` only where it was opened with `autoping=False`.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def receive(self) -> aiohttp.WSMessage:
        """Wait for a message of any kind, the end included."""
        return await self.socket.receive(timeout=WAIT_S)

    async def event(self, fits: Callable[[Any], bool] = lambda _event: True) -> Any:
        """Wait for the next JSON message that fits, and decode it; messages before it are passed over."""
        async with asyncio.timeout(WAIT_S):
            while True:
                message = await self.receive()
                assert message.type is aiohttp.WSMsgType.TEXT, message
                document = json.loads(message.data)
                if fits(document):
                    return document

    async def closed_candle(self) -> Any:
        """Wait for an event of a closed candle, wrapped or not, and give what the event says."""
        return kline(await self.event(lambda event: kline(event).get("k", {}).get("x") is True))

    async def ask(self, method: str, *params: object, number: int = 1) -> Any:
        """Send a frame and wait for its reply."""
        await self.socket.send_json({"method": method, "params": list(params), "id": number})
        return await self.event(lambda reply: reply.get("id") == number)

    async def end(self) -> int | None:
        """Wait until the connection is over, and give the close code; 1006 is a connection broken off."""
        async with asyncio.timeout(WAIT_S):
            while (await self.receive()).type not in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                pass
        return self.socket.close_code


def kline(event: Any) -> Any:
    """Unwrap an event of a combined connection."""
    return event.get("data", event)


@asynccontextmanager
async def listening(paper: PaperExchange, target: str, **options: Any) -> AsyncIterator[Stream]:
    """Open a connection at a path such as `/ws/btcusdt@kline_1m`."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://127.0.0.1:{paper.port}{target}", **options) as socket,
    ):
        yield Stream(socket)


async def handshake_status(paper: PaperExchange, target: str) -> int:
    """Try to connect, and give the status of the refusal, 101 where there is none."""
    try:
        async with listening(paper, target):
            return 101
    except aiohttp.WSServerHandshakeError as refused:
        return refused.status


def run(story: Coroutine[Any, Any, None]) -> None:
    """Run what a test tells as a coroutine."""
    asyncio.run(story)
