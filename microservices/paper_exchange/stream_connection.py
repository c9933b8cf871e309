"""One WebSocket connection: what it listens to, what waits to be sent, and how it ends.

Rules: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from aiohttp import WSMsgType, web

from microservices.paper_exchange.stream_faults import StreamRules
from microservices.paper_exchange.stream_frames import Subscriptions

GOING_AWAY, BROKE_RULES = 1001, 1008
WAITING_MAX = 20_000
"""Messages that may wait for a client that does not read: half an hour of 10 symbols, or 30 closes of 600."""

CLOSE_WAIT_S = 10.0
"""How long a client may take over a close before its connection is broken off."""


class Frame(bytes):
    """A message to be sent as text."""

    __slots__ = ()


class BinaryFrame(Frame):
    """A message to be sent as bytes."""

    __slots__ = ()


class PingFrame(Frame):
    """What a ping carries."""

    __slots__ = ()


class Ending(NamedTuple):
    """With which code and reason a connection is closed."""

    code: int
    reason: str


class Connection:
    """A client's end of the streams; made in the event loop, and used in it alone.

    Args:
        socket: prepared.
        request: whose connection can be broken off.
        subscriptions: what it listens to.
        path: where it came in.
        now: monotonic seconds.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        subscriptions: Subscriptions,
        path: str,
        now: float,
    ) -> None:
        self.subscriptions = subscriptions
        self.path = path
        self.opened_at = now
        self._pinged_at = now
        self._heard_at = now
        self._socket = socket
        self._request = request
        self._waiting: deque[Frame] = deque()
        self._wake = asyncio.Event()
        self._ending: Ending | None = None
        self._received: deque[float] = deque()

    @property
    def under_market(self) -> bool:
        """Whether it came in where klines belong since the exchange's streams moved."""
        return self.path.startswith("/market/")

    def push(self, frame: Frame) -> None:
        """Have a message sent; a client that does not read loses its connection, not the exchange its memory."""
        if self._ending is not None:
            return
        self._waiting.append(frame)
        self._wake.set()
        if len(self._waiting) > WAITING_MAX:
            self.abort()

    def end(self, code: int, reason: str) -> None:
        """Have it closed with a close frame; what waits is not sent any more."""
        if self._ending is None:
            self._ending = Ending(code, reason)
            self._waiting.clear()
            self._wake.set()
            asyncio.get_running_loop().call_later(CLOSE_WAIT_S, self.abort)

    def abort(self) -> None:
        """Break it off: no close frame, nothing sent any more."""
        self._waiting.clear()
        if self._request.transport is not None:
            self._request.transport.abort()

    def received(self, now: float, rules: StreamRules) -> None:
        """Count a message of the client's, pings and pongs included, and end the connection of one that sends more
        than it may.
        """
        while self._received and self._received[0] <= now - 1.0:
            self._received.popleft()
        self._received.append(now)
        if len(self._received) > rules.messages_per_s:
            self.end(BROKE_RULES, "Too many requests")

    def ponged(self, now: float) -> None:
        """Note that the client lives."""
        self._heard_at = now

    def keep_rules(self, now: float, now_ms: int, rules: StreamRules) -> None:
        """Ping it, and end it where it is too old or has not answered."""
        if now - self.opened_at >= rules.life_s:
            self.end(GOING_AWAY, "24 hours")
        elif now - self._heard_at >= rules.pong_s:
            self.end(BROKE_RULES, "Pong timeout")
        elif now - self._pinged_at >= rules.ping_s:
            self._pinged_at = now
            self.push(PingFrame(str(now_ms).encode()))

    async def write(self) -> None:
        """Send what is pushed until the connection ends; nobody else waits for a client that does not read."""
        while self._ending is None:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                frame = self._waiting.popleft()
                await self._socket.send_frame(frame, _KINDS.get(type(frame), WSMsgType.TEXT))
        await self._socket.close(code=self._ending.code, message=self._ending.reason.encode())


_KINDS: Mapping[type[Frame], WSMsgType] = MappingProxyType({BinaryFrame: WSMsgType.BINARY, PingFrame: WSMsgType.PING})
