"""One request at a time over kept-alive connections: bounded in time and size, never repeated, never redirected."""

import logging
import threading
from http.cookiejar import DefaultCookiePolicy

import requests
from redis.exceptions import RedisError
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.util.timeout import Timeout

from microservices.exchange.answers import CUT_LATE, Answer, body_or_error, used_weight
from microservices.exchange.backoff import SharedBackoff, tell_throttled
from microservices.exchange.connection import DeadlineAdapter, deadline
from microservices.exchange.errors import Throttled, Unreachable
from microservices.runtime import Clock

BODY_LIMIT_BYTES = 32 * 1024 * 1024
TIMEOUT_DEFAULT_S = 10.0

_CHUNK_BYTES = 65_536
_HEADERS = {"User-Agent": "quantum-trader", "Accept": "application/json", "Accept-Encoding": "gzip"}

_log = logging.getLogger(__name__)

# urllib3 writes whole URLs into its log, and ours carry signatures.
logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)


class Transport:
    """Sends requests to one base URL and turns what comes back into a body or an error.

    May be used by several threads: each has a session, and so a kept-alive connection, of its own.
    The deadline covers connecting, sending, headers and body; only the system's name resolution is outside it.

    Args:
        base_url: scheme, host and port.
        timeout_s: deadline of one request, unless the request brings its own.
        clock: wall time for "banned until".
        backoff: told of every throttling and of used weight over 80 %; None: nobody is told.
    """

    def __init__(self, base_url: str, *, timeout_s: float, clock: Clock, backoff: SharedBackoff | None) -> None:
        if timeout_s <= 0:
            raise ValueError(f"timeout_s is {timeout_s}, expected more than 0")
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._clock = clock
        self._backoff = backoff
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()
        self.used_weight: int | None = None

    def send(
        self, method: str, path: str, query: str = "", *, api_key: str = "", timeout_s: float | None = None
    ) -> bytes:
        """Send one request and return the body of its success.

        Args:
            method: GET, POST, PUT or DELETE.
            path: from the slash on.
            query: encoded; sent as it is.
            api_key: sent as X-MBX-APIKEY where given.
            timeout_s: this request's deadline.

        Raises:
            ExchangeError: one of its kinds; nothing is ever sent twice.
        """
        request = f"{method} {path}"
        url = f"{self._base_url}{path}?{query}" if query else f"{self._base_url}{path}"
        headers = {"X-MBX-APIKEY": api_key} if api_key else {}
        answer = self._exchange(request, method, url, headers, timeout_s or self._timeout_s)
        self.used_weight = used_weight(answer.headers) or self.used_weight
        self._tell_weight(used_weight(answer.headers))
        try:
            return body_or_error(request, answer, now_s=self._clock.now())
        except Throttled as error:
            tell_throttled(self._backoff, error)
            raise

    def close(self) -> None:
        """Close the kept connections; a request under way ends by its deadline."""
        with self._lock:
            for session in self._sessions:
                session.close()

    def _exchange(self, request: str, method: str, url: str, headers: dict[str, str], timeout_s: float) -> Answer:
        # An error of requests or urllib3 names the whole URL: it must not live on as the cause of ours.
        failure: Unreachable
        try:
            with deadline(timeout_s):
                response = self._session().request(
                    method,
                    url,
                    headers=headers,
                    # The stubs know floats alone; requests hands urllib3's own type through.
                    timeout=Timeout(total=timeout_s),  # type: ignore[arg-type]
                    stream=True,
                    allow_redirects=False,
                )
                with response:
                    body, cut = _read(response)
            return Answer(response.status_code, response.headers, body, cut)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            failure = _unreachable(request, error, timeout_s)
        raise failure

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _new_session()
            self._local.session = session
            with self._lock:
                self._sessions.append(session)
        return session

    def _tell_weight(self, weight: int | None) -> None:
        if self._backoff is not None and weight is not None:
            try:
                self._backoff.note_weight(weight)
            except RedisError as error:
                _log.warning("used weight %d could not be shared: %s", weight, error)


def _new_session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.headers.clear()
    session.headers.update(_HEADERS)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = DeadlineAdapter()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _read(response: requests.Response) -> tuple[bytes, str]:
    """Read the body as far as it comes; what cut it short is told beside it, because the status stands by itself."""
    body = bytearray()
    try:
        for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > BODY_LIMIT_BYTES:
                return b"", f"over {BODY_LIMIT_BYTES} bytes"
    except (ReadTimeoutError, TimeoutError):
        return bytes(body), CUT_LATE
    except DecodeError:
        return bytes(body), "cannot be decompressed"
    except (HTTPError, OSError):
        return bytes(body), f"truncated after {len(body)} bytes"
    return bytes(body), ""


def _unreachable(request: str, error: Exception, timeout_s: float) -> Unreachable:
    """Describe a failure by its kinds alone, and tell whether a connection had been made."""
    cause: object = error.args[0] if error.args else error
    if isinstance(cause, MaxRetryError):
        cause = cause.reason
    sent = not isinstance(cause, NewConnectionError | ConnectTimeoutError)
    if isinstance(error, requests.Timeout) or isinstance(cause, TimeoutError | ReadTimeoutError):
        return Unreachable(request, f"no answer within {timeout_s:g} s", sent=sent)
    kind = type(cause if isinstance(cause, Exception) else error).__name__
    return Unreachable(request, f"connection failed ({kind})", sent=sent)
