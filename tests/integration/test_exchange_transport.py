"""The transport against a server that misbehaves in every way a network can."""

import gzip
import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from microservices.exchange import BadAnswer, ExchangeError, PublicClient, Rejected, ServerFault, Throttled, Unreachable
from microservices.exchange.transport import BODY_LIMIT_BYTES
from microservices.runtime import SystemClock
from tests.support.http_server import HttpServer, Request, answer
from tests.support.ports import free_port
from tests.support.waiting import wait_until

TIME = b'{"serverTime":1800000000000}'


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """A server of the test's own."""
    with HttpServer() as running:
        running.say(TIME)
        yield running


def client_of(server: HttpServer, timeout_s: float = 5.0) -> PublicClient:
    """A client of that server."""
    return PublicClient(server.url, clock=SystemClock(), timeout_s=timeout_s)


def test_a_good_answer_and_its_weight(server: HttpServer) -> None:
    """The body is read, and the weight header by whatever capitals it comes in."""
    client = client_of(server)
    assert client_of(server).used_weight is None
    server.say(TIME, x_mbx_used_weight_1m="41")
    assert client.server_time_ms() == 1_800_000_000_000
    assert client.used_weight == 41
    server.say(TIME)
    client.ping()
    assert client.used_weight == 41


def test_connections_are_kept(server: HttpServer) -> None:
    """Many requests of one thread use one connection, answers of errors included."""
    client = client_of(server)
    for _ in range(5):
        client.ping()
        server.say(b'{"code":-1121,"msg":"Invalid symbol."}', 400)
        with pytest.raises(Rejected):
            client.ping()
        server.say(TIME)
    assert server.connections == 1


def test_threads_have_connections_of_their_own(server: HttpServer) -> None:
    """Requests of several threads do not wait for one another."""
    together = threading.Barrier(3, timeout=20)

    def handler(_: Request, connection: socket.socket) -> None:
        together.wait()
        connection.sendall(answer(TIME))

    server.handler = handler
    client = client_of(server)
    threads = [threading.Thread(target=client.server_time_ms) for _ in range(2)]
    for thread in threads:
        thread.start()
    client.server_time_ms()
    for thread in threads:
        thread.join(5)
    assert server.connections == 3


def drip(head: bytes) -> Callable[[Request, socket.socket], None]:
    """Send a beginning, then one byte at a time for longer than any test waits."""

    def handler(_: Request, connection: socket.socket) -> None:
        connection.sendall(head)
        for _byte in range(1_000):
            connection.sendall(b"x")
            time.sleep(0.02)

    return handler


def silence(_: Request, connection: socket.socket) -> None:
    """Never answer."""
    connection.recv(1)


@pytest.mark.parametrize(
    "handler",
    [
        silence,
        drip(b"HTTP/1.1 200 OK\r\nX-Long: "),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{"),
        drip(b"HTTP/1."),
    ],
    ids=["silence", "slow headers", "slow body", "slow status line"],
)
def test_the_deadline_is_for_the_whole_request(
    server: HttpServer, handler: Callable[[Request, socket.socket], None]
) -> None:
    """A server that is silent, or drips a byte now and then, ends at the deadline, and the outcome is open."""
    server.handler = handler
    client = client_of(server, timeout_s=0.3)
    begun = time.monotonic()
    with pytest.raises(Unreachable) as failure:
        client.ping()
    assert 0.25 < time.monotonic() - begun < 5
    assert not failure.value.not_executed
    server.say(TIME)
    assert client.server_time_ms() == 1_800_000_000_000


def test_a_deadline_of_one_call_leaves_the_next_alone(server: HttpServer) -> None:
    """A kept connection does not keep an earlier call's short deadline."""

    def handler(request: Request, connection: socket.socket) -> None:
        if request.path.endswith("exchangeInfo"):
            time.sleep(1.2)
        connection.sendall(answer(TIME))

    server.handler = handler
    client = client_of(server)
    assert client.server_time_ms(timeout_s=1.0) > 0
    assert client.exchange_info() == TIME
    assert server.connections == 1


def test_nobody_there() -> None:
    """A refused connection proves that nothing was sent."""
    client = PublicClient(f"http://127.0.0.1:{free_port()}", clock=SystemClock(), timeout_s=2)
    with pytest.raises(Unreachable) as failure:
        client.ping()
    assert failure.value.not_executed


def test_no_such_name() -> None:
    """A name that does not resolve proves that nothing was sent."""
    client = PublicClient("http://nowhere.invalid", clock=SystemClock(), timeout_s=2)
    with pytest.raises(Unreachable) as failure:
        client.ping()
    assert failure.value.not_executed


def test_tls_against_a_plain_server(server: HttpServer) -> None:
    """A failed TLS handshake is an unreachable exchange."""
    client = PublicClient(server.url.replace("http:", "https:"), clock=SystemClock(), timeout_s=0.5)
    with pytest.raises(Unreachable):
        client.ping()


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", Unreachable),
        (b"HTTP/1.1 200 OK\r\nContent-Le", BadAnswer),
        (b"garbage\r\n\r\n", Unreachable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", BadAnswer),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}", BadAnswer),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}", BadAnswer),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!", BadAnswer),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>no</html>", BadAnswer),
        (b"HTTP/1.1 302 Found\r\nLocation: /fapi/v1/time\r\nContent-Length: 0\r\n\r\n", BadAnswer),
        (b"HTTP/1.1 429 Slow\r\nRetry-After: 3\r\nContent-Length: 50\r\n\r\n{", Throttled),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 50\r\n\r\n<html>", ServerFault),
    ],
    ids=[
        "hang up", "cut in the headers", "not HTTP", "cut body", "cut chunk", "bad chunk", "bad gzip", "HTML",
        "redirect", "cut 429", "cut 502",
    ],
)  # fmt: skip
def test_broken_answers(server: HttpServer, raw: bytes, kind: type[ExchangeError]) -> None:
    """A connection that ends early or an answer that is none is its own error, and is asked for exactly once."""
    server.send(raw, then_close=True)
    with pytest.raises(ExchangeError) as failure:
        client_of(server).ping()
    assert type(failure.value) is kind
    assert len(server.requests) == 1


@pytest.mark.parametrize("compressed", [False, True])
def test_a_body_has_a_limit(server: HttpServer, compressed: bool) -> None:
    """Neither a huge answer nor a small one that unpacks to a huge one is taken in."""
    body = b"[" + b" " * (BODY_LIMIT_BYTES + 1)
    if compressed:
        server.say(gzip.compress(body), Content_Encoding="gzip")
    else:
        server.say(body)
    with pytest.raises(BadAnswer, match="over 33554432 bytes"):
        client_of(server, timeout_s=20).exchange_info()


def test_a_packed_answer_is_unpacked(server: HttpServer) -> None:
    """gzip, as Binance answers, is read."""
    server.say(gzip.compress(TIME), Content_Encoding="gzip")
    assert client_of(server).server_time_ms() == 1_800_000_000_000
    assert "gzip" in server.requests[0].headers["accept-encoding"]


def test_the_environment_and_cookies_change_nothing(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy or credentials in the environment are not used, and no cookie is sent back."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    server.say(TIME, Set_Cookie="session=1; Path=/")
    client = client_of(server)
    client.ping()
    client.ping()
    assert len(server.requests) == 2
    assert "cookie" not in server.requests[1].headers
    assert "authorization" not in server.requests[1].headers


def test_a_connection_closed_meanwhile_is_replaced(server: HttpServer) -> None:
    """A kept connection that the exchange closed while idle costs no request."""
    server.send(answer(TIME), then_close=True)
    client = client_of(server)
    client.ping()
    server.say(TIME)
    wait_until(lambda: server.hung_up == 1)
    client.ping()
    assert server.connections == 2


def test_the_libraries_log_no_url(server: HttpServer) -> None:
    """With everything logged at DEBUG, no query reaches the log, also where an answer's headers are broken."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        client = client_of(server)
        server.send(b"HTTP/1.1 200 OK\r\nbroken header\r\nContent-Length: 2\r\n\r\n[]", then_close=True)
        assert client.klines("BTCUSDT", limit=7) == []
    finally:
        root.setLevel(before)
        root.removeHandler(handler)
    assert "BTCUSDT" not in written.getvalue()


def test_klines_are_asked_for_as_documented(server: HttpServer) -> None:
    """Symbol, interval, limit and the bounds stand in the query, whatever letters the symbol has."""
    server.say(b"[]")
    assert client_of(server).klines("币安人生USDT", limit=300, start_ms=1, end_ms=2) == []
    assert server.requests[0].query == {
        "symbol": "币安人生USDT",
        "interval": "1m",
        "limit": "300",
        "startTime": "1",
        "endTime": "2",
    }
    with pytest.raises(ValueError, match="limit"):
        client_of(server).klines("BTCUSDT", limit=1_501)


def test_mark_prices(server: HttpServer) -> None:
    """One symbol's answer is an object, all symbols' a list, and another symbol's answer is refused."""
    row = b'{"symbol":"BTCUSDT","markPrice":"11793.63104562","time":1597370495002}'
    server.say(row)
    assert str(client_of(server).premium_index("BTCUSDT")[0].mark_price) == "11793.63104562"
    with pytest.raises(BadAnswer, match="ETHUSDT"):
        client_of(server).premium_index("ETHUSDT")
    server.say(b"[" + row + b"]")
    assert len(client_of(server).premium_index()) == 1


@pytest.mark.parametrize("symbol", [None, "BTCUSDT"])
def test_mark_prices_may_have_a_deadline_of_their_own(server: HttpServer, symbol: str | None) -> None:
    """Whoever has plans waiting does not wait for a slow answer about prices."""
    server.handler = drip(b"")
    started_s = time.monotonic()
    with pytest.raises(Unreachable, match=r"0\.2 s"):
        client_of(server).premium_index(symbol, timeout_s=0.2)
    assert time.monotonic() - started_s < 5
