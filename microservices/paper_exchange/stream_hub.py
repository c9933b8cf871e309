"""Tells every connection the candles it listens to: the running one again and again, each closed one once.

Update speed of the exchange: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Kline-Candlestick-Streams
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from microservices.paper_exchange.candles import MINUTE_MS, Candle
from microservices.paper_exchange.changing_faults import Changing
from microservices.paper_exchange.kline_event import combined, kline_event, stream_name
from microservices.paper_exchange.stream_connection import GOING_AWAY, Connection, Frame
from microservices.paper_exchange.stream_faults import DropStreams
from microservices.paper_exchange.stream_trouble import StreamTrouble, spoilt
from microservices.paper_exchange.venue import Venue

TICK_S = 0.1
MAX_BEHIND = 120
"""Closed minutes that are told late where the process was held up; of a longer pause only the newest is told."""


class StreamHub:
    """All stream connections.

    Args:
        venue: its clock, market and symbols.
        update_ms: how often the running candle is told, in this machine's time; the exchange's own is 250.
    """

    def __init__(self, venue: Venue, update_ms: int) -> None:
        self.trouble = StreamTrouble()
        self.connections: dict[Connection, None] = {}
        self._venue = venue
        self._listeners: defaultdict[str, dict[Connection, None]] = defaultdict(dict)
        self._symbols = {stream_name(symbol): symbol for symbol in venue.info.instruments}
        self._buckets = max(round(update_ms / 1000 / TICK_S), 1)
        self._ticks = 0
        self._minute: int | None = None

    def add(self, connection: Connection) -> None:
        """Begin to tell a connection what it listens to."""
        self.connections[connection] = None
        self.relisten(connection, ())

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.pop(connection, None)
        self._unlisten(connection, connection.subscriptions.names)

    def relisten(self, connection: Connection, before: Iterable[str]) -> None:
        """Take up what a connection listens to after its subscriptions have changed."""
        self._unlisten(connection, before)
        for name in connection.subscriptions.names:
            self._listeners[name][connection] = None

    def _unlisten(self, connection: Connection, names: Iterable[str]) -> None:
        for name in names:
            self._listeners[name].pop(connection, None)
            if not self._listeners[name]:
                del self._listeners[name]

    def begin(self, fault: Changing) -> None:
        """Begin a fault of the streams."""
        if isinstance(fault, DropStreams):
            self.end_all(fault.how)
        else:
            self.trouble.begin(fault, self._venue.monotonic())

    def end_all(self, how: str) -> None:
        """End every connection."""
        for connection in list(self.connections):
            if how == "abort":
                connection.abort()
            else:
                connection.end(GOING_AWAY, "going away")

    def clock_stepped(self) -> None:
        """Go on from where the clock stands now: minutes jumped over are not told, those lived twice are told twice."""
        self._minute = self._venue.now_ms() // MINUTE_MS

    async def run(self) -> None:
        """Tell candles until cancelled."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)

    def tick(self) -> None:
        """Keep the rules, tell the minutes that have closed, and then a share of the running ones."""
        now, now_ms = self._venue.monotonic(), self._venue.now_ms()
        for connection in list(self.connections):
            connection.keep_rules(now, now_ms, self.trouble.rules)
        minute = now_ms // MINUTE_MS
        begun = minute if self._minute is None else self._minute
        for closed in range(begun if minute - begun <= MAX_BEHIND else minute - 1, minute):
            self._tell(self._streams(), closed, now_ms, closed=True)
        self._minute = minute
        self._ticks += 1
        self._tell(self._streams()[self._ticks % self._buckets :: self._buckets], minute, now_ms, closed=False)

    def tell_again(self, symbol: str, candle: Candle) -> None:
        """Tell a closed candle once more, with other values."""
        name = stream_name(symbol)
        if name in self._listeners:
            event = kline_event(symbol, candle, event_ms=self._venue.now_ms(), closed=True)
            self._send(name, Frame(event), closed=True)

    def _streams(self) -> list[tuple[str, str]]:
        """List what is listened to and can be told: stream and symbol."""
        return [(name, self._symbols[name]) for name in self._listeners if name in self._symbols]

    def _tell(self, streams: list[tuple[str, str]], minute: int, now_ms: int, *, closed: bool) -> None:
        market = self._venue.market
        for name, symbol in streams:
            if not self._venue.info.listed(symbol):
                continue
            candle = market.streamed(symbol, minute, now_ms, closed=closed)
            if candle is None:
                continue
            event = kline_event(symbol, candle, event_ms=now_ms, closed=closed)
            for _ in range(2 if closed and market.stream_faults.repeats(symbol) else 1):
                self._send(name, Frame(event), closed=closed)

    def _send(self, name: str, event: Frame, *, closed: bool) -> None:
        garble = self.trouble.garble(closed=closed)
        wrapped = Frame(combined(name, event))
        if garble is not None:
            event, wrapped = spoilt(event, garble.how), spoilt(wrapped, garble.how)
        if self.trouble.silent(self._venue.monotonic()):
            return
        for connection in self._listeners[name]:
            if not self.trouble.routed or connection.under_market:
                frame = wrapped if connection.subscriptions.combined else event
                if self.trouble.delay_s:
                    asyncio.get_running_loop().call_later(self.trouble.delay_s, connection.push, frame)
                else:
                    connection.push(frame)
