"""One WebSocket connection to market streams: bounded in time and size, its failures as the types of this package."""

import logging
from contextlib import ExitStack

from requests.structures import CaseInsensitiveDict
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import connect

from microservices.exchange.answers import Answer, body_or_error
from microservices.exchange.backoff import BackoffLevel, SharedBackoff, tell_throttled
from microservices.exchange.errors import BadAnswer, Throttled, Unreachable, clean_text
from microservices.runtime import Clock

OPEN_TIMEOUT_S = 4.0  # under the 5 s in which a stopped unit must be gone
CLOSE_TIMEOUT_S = 0.5
# Binance pings every 3 minutes, which the library answers. Our own pings find out in 40 s that the other side is gone
# without a word, and are far from the 10 messages a second that it takes.
PING_EVERY_S = 20.0
PONG_WITHIN_S = 20.0
MESSAGE_LIMIT_BYTES = 64 * 1_024  # a candle takes 400
QUEUED_MESSAGES = 1_024  # beyond these the socket's own buffer fills, and the exchange waits

_REQUEST = "GET /stream"
# The library tells of every lost connection in its own words; ours are enough.
logging.getLogger("websockets").setLevel(logging.CRITICAL + 1)


class StreamConnection:
    """A connection that is open from the start; pings of the exchange are answered while it is.

    Args:
        url: made by `combined_url`.
        clock: wall time for "banned until".
        backoff: told of 429 and 418, and asked whether this address is banned; None: neither.

    Raises:
        Unreachable: no connection, or none in time, or this address is banned.
        Throttled: 429 or 418 in place of the handshake.
        ExchangeError: another answer in its place.
        redis.exceptions.RedisError: whether this address is banned could not be read.
    """

    def __init__(self, url: str, *, clock: Clock, backoff: SharedBackoff | None = None) -> None:
        self._clock = clock
        self._backoff = backoff
        self._open = ExitStack()
        self._refuse_while_banned()
        try:
            self._socket = self._open.enter_context(
                connect(
                    url,
                    compression=None,  # costs more here than the bytes it saves
                    proxy=None,
                    open_timeout=OPEN_TIMEOUT_S,
                    close_timeout=CLOSE_TIMEOUT_S,
                    ping_interval=PING_EVERY_S,
                    ping_timeout=PONG_WITHIN_S,
                    max_size=MESSAGE_LIMIT_BYTES,
                    max_queue=QUEUED_MESSAGES,
                )
            )
        except InvalidStatus as refused:
            response = refused.response
            answer = Answer(
                response.status_code, CaseInsensitiveDict(response.headers.raw_items()), bytes(response.body or b"")
            )
            self._refused(answer)
        except (InvalidHandshake, InvalidURI) as fault:
            raise BadAnswer(_REQUEST, f"no WebSocket handshake ({type(fault).__name__})") from None
        except OSError as fault:
            raise Unreachable(_REQUEST, f"no connection ({type(fault).__name__})", sent=False) from None

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next message; None where none came in time.

        Raises:
            Unreachable: the connection is lost, or the exchange closed it.
        """
        try:
            return self._socket.recv(timeout=timeout_s, decode=False)
        except TimeoutError:
            return None
        except ConnectionClosed as closed:
            raise Unreachable(_REQUEST, _why(closed), sent=True) from None

    def close(self) -> None:
        """Close it, within half a second."""
        self._open.close()

    def _refuse_while_banned(self) -> None:
        """Leave a banned address alone; used weight and 429 are the REST interface's own."""
        banned_s = self._backoff.remaining_s(BackoffLevel.ORDERS) if self._backoff is not None else 0.0
        if banned_s:
            raise Unreachable(_REQUEST, f"this address is banned for {banned_s:.0f} s more", sent=False)

    def _refused(self, answer: Answer) -> None:
        """Raise what the answer means; a handshake has no body that could be a success."""
        try:
            body_or_error(_REQUEST, answer, now_s=self._clock.now())
        except Throttled as error:
            tell_throttled(self._backoff, error)
            raise
        raise BadAnswer(_REQUEST, f"HTTP {answer.status} in place of a WebSocket")


def _why(closed: ConnectionClosed) -> str:
    if closed.rcvd is None:
        return "the connection was lost"
    return clean_text(f"closed by the exchange: {closed.rcvd.code} {closed.rcvd.reason}")
