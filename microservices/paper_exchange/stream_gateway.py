"""WebSocket in front of the hub: takes connections, reads their frames.

Raw streams are at `/ws/<stream>`, several with slashes between, or at `/ws` to subscribe by frame; combined ones at
`/stream?streams=<stream>/<stream>`. Since 2026 the exchange has them under `/market`, `/public` and `/private`; the
paths without are its old form:
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Important-WebSocket-Change-Notice
"""

import asyncio
import contextlib
import time
from urllib.parse import unquote

from aiohttp import WSMessage, WSMsgType, web

from microservices.paper_exchange.journal import Entry, Journal
from microservices.paper_exchange.stream_connection import BROKE_RULES, Connection, Frame
from microservices.paper_exchange.stream_frames import Subscriptions, TooManyStreams
from microservices.paper_exchange.stream_hub import StreamHub
from microservices.paper_exchange.struck import NoAnswer, as_response, break_off, delay, instead, names
from microservices.paper_exchange.venue import Answer, Call, Venue

CLASSES = ("", "/market", "/public", "/private")
MAX_FRAME_BYTES = 65_536
_RAW, _COMBINED = "/ws", "/stream"


def add_streams(app: web.Application, venue: Venue, journal: Journal, hub: StreamHub) -> None:
    """Have an application take stream connections, and end them when it is shut down."""

    async def stream(request: web.Request) -> web.StreamResponse:
        return await serve_stream(request, venue, journal, hub)

    async def shut(_app: web.Application) -> None:
        hub.end_all("close")
        await asyncio.sleep(0)

    for prefix in CLASSES:
        app.router.add_get(f"{prefix}{_RAW}", stream)
        app.router.add_get(f"{prefix}{_RAW}/{{streams:.*}}", stream)
        app.router.add_get(f"{prefix}{_COMBINED}", stream)
    app.on_shutdown.append(shut)


async def serve_stream(request: web.Request, venue: Venue, journal: Journal, hub: StreamHub) -> web.StreamResponse:
    """Take a connection and serve it until it ends; refuse it, late or not at all, where a fault says so."""
    began = time.perf_counter()
    streams = requested(request.raw_path)
    call = _handshake(request, streams, venue)
    entry = journal.arrive(venue.now_ms(), call.method, call.path, call.parameters, names(call.faults))
    try:
        await delay(call.faults, "arrival")
        refused = instead(call) or _refusal(request, hub, venue.monotonic())
        await delay(call.faults, "reply")
    except NoAnswer:
        break_off(request)
        return web.Response()
    if refused is not None:
        entry.status = refused.status
        return as_response(refused)
    socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=MAX_FRAME_BYTES)
    entry.status = 101
    await socket.prepare(request)
    is_combined = any(request.path == prefix + _COMBINED for prefix in CLASSES)
    try:
        subscriptions = Subscriptions(streams, combined=is_combined, limit=hub.trouble.rules.streams)
    except TooManyStreams:
        await socket.close(code=BROKE_RULES, message=b"Too many streams")
        return socket
    connection = Connection(socket, request, subscriptions, request.path, venue.monotonic())
    await _serve(socket, connection, _Reader(venue, journal, hub, connection))
    entry.took_ms = (time.perf_counter() - began) * 1000
    return socket


def requested(target: str) -> list[str]:
    """Read the streams that a connection's path and query name, as the client sent them.

    Args:
        target: path and query, percent-encoded.
    """
    path, _, query = target.partition("?")
    _, raw, named = path.partition(f"{_RAW}/")
    given = [named] if raw else [part.removeprefix("streams=") for part in query.split("&") if part[:8] == "streams="]
    return [name for part in given for name in unquote(part).split("/") if name]


def _handshake(request: web.Request, streams: list[str], venue: Venue) -> Call:
    """Take the faults that strike a handshake: those whose path is a stream's."""
    parameters = {"streams": "/".join(streams)}
    faults = venue.faults.take("GET", request.path, parameters)
    return Call("GET", request.path, "", "", None, parameters, faults)


def _refusal(request: web.Request, hub: StreamHub, now: float) -> Answer | None:
    status = hub.trouble.refused(now)
    if status is None and request.headers.get("Upgrade", "").lower() != "websocket":
        status = 400
    return None if status is None else Answer(b"", status)


async def _serve(socket: web.WebSocketResponse, connection: Connection, reader: "_Reader") -> None:
    """Read a connection to its end, whichever side ends it."""
    reader.hub.add(connection)
    writing = asyncio.create_task(connection.write())
    try:
        async for message in socket:
            await reader.take(socket, message)
    finally:
        reader.hub.remove(connection)
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await writing


class _Reader:
    """Takes what a client sends."""

    def __init__(self, venue: Venue, journal: Journal, hub: StreamHub, connection: Connection) -> None:
        self.hub = hub
        self._venue = venue
        self._journal = journal
        self._connection = connection

    async def take(self, socket: web.WebSocketResponse, message: WSMessage) -> None:
        """Count a message and do what it asks."""
        now = self._venue.monotonic()
        self._connection.received(now, self.hub.trouble.rules)
        if message.type is WSMsgType.PING:
            await socket.pong(message.data)
        elif message.type is WSMsgType.PONG:
            self._connection.ponged(now)
        elif message.type is WSMsgType.TEXT:
            self._answer(message.data)

    def _answer(self, frame: str) -> None:
        """Change the subscriptions, and note it among the requests."""
        before = tuple(self._connection.subscriptions.names)
        entry = self._note(frame)
        try:
            reply = self._connection.subscriptions.answer(frame)
        except TooManyStreams:
            self._connection.end(BROKE_RULES, "Too many streams")
            return
        entry.status = 200
        self.hub.relisten(self._connection, before)
        if not self.hub.trouble.silent(self._venue.monotonic()):
            self._connection.push(Frame(reply))

    def _note(self, frame: str) -> Entry:
        return self._journal.arrive(
            self._venue.now_ms(), "FRAME", self._connection.path, {"frame": frame[:10_000]}, iter(())
        )
