"""The universe service as a process: its start, its end in the middle of anything, and an absent Redis."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from microservices.contracts import account, universe
from tests.support.daemon import ROOT, Daemon
from tests.support.exchange_info import answer, entry, listing
from tests.support.http_server import HttpServer, Request
from tests.support.metrics import scraped
from tests.support.paper import PaperExchange
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

PACKAGE = "universe_service"
STOP_S = 2.0


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """An exchange that answers well."""
    with HttpServer() as running:
        running.say(answer([entry("BTCUSDT"), entry("ETHUSDT")]))
        yield running


def environment(server: HttpServer, redis_port: int, **more: str) -> dict[str, str]:
    """Give the settings of a paper service."""
    return {
        "UNIVERSE_MODE": "paper",
        "BINANCE_FUTURES_BASE_URL": server.url,
        "REDIS_PORT": str(redis_port),
    } | more


def meta(redis: Redis, field: str) -> str:
    """Give a field of the meta hash."""
    return (redis.hget(universe.META_KEY, field) or b"").decode()  # type: ignore[union-attr] # this client gives bytes


def is_fresh(redis: Redis) -> bool:
    """Whether a list is published."""
    return meta(redis, "stale") == "0"


def test_the_first_list_is_there_soon_after_the_start(
    server: HttpServer, redis_server: RedisServer, redis_client: Redis
) -> None:
    """From exec to 800 symbols in Redis; the benchmark measures it, this test only knows what is far too long."""
    server.say(listing(800))
    with Daemon(PACKAGE, environment=environment(server, redis_server.port)) as daemon:
        began = time.monotonic()
        wait_until(lambda: is_fresh(redis_client), 40, what="the first list")
        assert time.monotonic() - began < 20
        assert meta(redis_client, "count") == "800"
        assert daemon.end()[0] == 0


def test_the_paper_exchange_s_market_becomes_the_list(redis_server: RedisServer, redis_client: Redis) -> None:
    """Beside the paper exchange itself: its market, then an outage of it, then the list again."""
    with PaperExchange() as paper:
        settings = {"UNIVERSE_MODE": "paper", "BINANCE_FUTURES_BASE_URL": paper.base_url}
        daemon = Daemon(PACKAGE, "--once", environment=settings | {"REDIS_PORT": str(redis_server.port)})
        assert daemon.run().returncode == 0
        document = universe.decode_document(redis_client.get(universe.ACTIVE_KEY), universe.ACTIVE_KEY)
        assert "BTCUSDT" in document.symbols
        assert redis_client.hlen(universe.INSTRUMENTS_KEY) >= len(document.symbols)
        paper.fault({"fault": "status", "status": 503, "path": "/fapi/v1/exchangeInfo", "times": 1})
        assert daemon.run().returncode == 1
        assert "HTTP 503" in meta(redis_client, "error")
        assert daemon.run().returncode == 0
        assert is_fresh(redis_client)


def test_it_ends_in_time_in_the_middle_of_a_fetch(
    server: HttpServer, redis_server: RedisServer, redis_client: Redis
) -> None:
    """SIGTERM while the exchange lets it wait: gone within 2 s, and what is in Redis stays as it is."""
    asked = threading.Event()

    def hang(_: Request, connection: socket.socket) -> None:
        asked.set()
        connection.recv(1)

    server.handler = hang
    with Daemon(PACKAGE, environment=environment(server, redis_server.port, HTTP_TIMEOUT_SEC="60")) as daemon:
        assert asked.wait(10)
        before = redis_client.hgetall(universe.META_KEY)
        code, took_s = daemon.end()
        assert (code, redis_client.hgetall(universe.META_KEY)) == (0, before)
        assert took_s < STOP_S


def test_it_ends_in_time_while_the_answer_drips(
    server: HttpServer, redis_server: RedisServer, redis_client: Redis
) -> None:
    """An answer that comes byte by byte holds up no end."""
    asked = threading.Event()

    def drip(_: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        asked.set()
        while True:
            connection.sendall(b" ")
            time.sleep(0.05)

    server.handler = drip
    with Daemon(PACKAGE, environment=environment(server, redis_server.port)) as daemon:
        assert asked.wait(10)
        code, took_s = daemon.end()
        assert code == 0
        assert took_s < STOP_S


def test_it_ends_in_time_in_the_middle_of_a_wait(
    server: HttpServer, redis_server: RedisServer, redis_client: Redis
) -> None:
    """SIGTERM between two refreshes: `stale` stays 0."""
    with Daemon(PACKAGE, environment=environment(server, redis_server.port)) as daemon:
        wait_until(lambda: is_fresh(redis_client), 30, what="the first list")
        code, took_s = daemon.end()
        assert code == 0
        assert took_s < STOP_S
        assert is_fresh(redis_client)
        assert "Universe published: 2 symbols, 0 dropped, 2 instruments" in daemon.log()


def test_a_redis_that_is_away_is_waited_for(server: HttpServer) -> None:
    """Started before Redis, it asks the exchange nothing, publishes once Redis is there, and outlives its end."""
    redis = RedisServer()
    with Daemon(PACKAGE, environment=environment(server, redis.port)) as daemon:
        wait_until(lambda: "Connection refused" in daemon.log(), 30, what="the first attempt")
        assert server.requests == []
        with redis, redis.client() as client:
            wait_until(lambda: is_fresh(client), 15, what="the list after Redis came")
        assert daemon.is_running
        code, took_s = daemon.end()
        assert code == 0
        assert took_s < STOP_S


def test_a_redis_that_goes_and_comes_back_empty_is_filled_again(
    server: HttpServer, refreshed_by: Callable[[RedisServer], Callable[[], float]]
) -> None:
    """A refresh without Redis raises to the runner, which tries again; the next one publishes everything anew."""
    with RedisServer() as redis:
        refresh = refreshed_by(redis)
        refresh()
        redis.stop()
        with pytest.raises(ConnectionError):
            refresh()
        redis.start()
        refresh()
        with redis.client() as client:
            assert meta(client, "count") == "2"
            assert client.hlen(universe.INSTRUMENTS_KEY) == 2


@pytest.fixture
def refreshed_by(server: HttpServer) -> Callable[[RedisServer], Callable[[], float]]:
    """Make a service of a given Redis in this process, and give its refresh; Redis's errors as the built-in one."""
    from redis.exceptions import RedisError

    from tests.support.universe_world import World

    def make(redis: RedisServer) -> Callable[[], float]:
        service = World(redis.client(), server).started()

        def refresh() -> float:
            try:
                return service.refresh()
            except RedisError as error:
                raise ConnectionError(str(error)) from error

        return refresh

    return make


@pytest.mark.parametrize("as_file", [False, True], ids=["module", "file"])
def test_once_publishes_and_ends(
    server: HttpServer, redis_server: RedisServer, redis_client: Redis, *, as_file: bool
) -> None:
    """By its module's name or as a file from anywhere: one refresh, exit 0."""
    done = Daemon(PACKAGE, "--once", environment=environment(server, redis_server.port), as_file=as_file).run()
    assert done.returncode == 0, done.stderr
    assert is_fresh(redis_client)


def test_once_says_so_where_nothing_was_published(
    server: HttpServer, redis_server: RedisServer, redis_client: Redis
) -> None:
    """A fetch that fails is marked in Redis, and is exit 1."""
    server.say(b"", 503)
    done = Daemon(PACKAGE, "--once", environment=environment(server, redis_server.port)).run()
    assert done.returncode == 1
    assert "HTTP 503" in done.stderr
    assert meta(redis_client, "stale") == "1"


def test_a_redis_of_another_account_ends_the_start(
    server: HttpServer, redis_server: RedisServer, redis_client: Redis
) -> None:
    """One line, exit 1."""
    redis_client.hset(account.KEY, mapping={"mode": "mainnet", "host": "fapi.binance.com", "account": "x"})
    with Daemon(PACKAGE, environment=environment(server, redis_server.port)) as daemon:
        assert daemon.wait() == 1
        errors = [line for line in daemon.log().splitlines() if "[ERROR]" in line]
    assert len(errors) == 1
    assert "belongs to another account" in errors[0]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("UNIVERSE_MODE", "demo", "one of: testnet, mainnet, paper"),
        ("UNIVERSE_REFRESH_SEC", "9.9", "at least 10"),
        ("UNIVERSE_REFRESH_SEC", "nan", "a finite number"),
        ("UNIVERSE_MAX", "2001", "at most 2000"),
        ("UNIVERSE_MIN_RATIO", "1.5", "at most 1"),
        ("HTTP_TIMEOUT_SEC", "0", "above 0"),
        ("UNIVERSE_SYMBOL_REGEX", "[A-Z", "a valid regular expression"),
        ("BINANCE_FUTURES_BASE_URL", "https://fapi.binance.com", "a URL of mode paper"),
        ("BINANCE_FUTURES_BASE_URL", "paper", "a URL of mode paper"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_line(server: HttpServer, name: str, value: str, says: str) -> None:
    """Name, value, what is allowed; exit 78."""
    done = Daemon(PACKAGE, environment=environment(server, free_port(), **{name: value})).run()
    assert done.returncode == 78
    [line] = done.stderr.splitlines()
    assert line.startswith(f"{name}='{value}': allowed is ")
    assert says in line


@pytest.mark.parametrize("mode", ["testnet", "mainnet"])
def test_a_host_of_another_mode_ends_the_start(server: HttpServer, mode: str) -> None:
    """Testnet's list never comes from mainnet, nor the other way round, nor either from a machine of somebody's."""
    other = {"testnet": "https://fapi.binance.com", "mainnet": "https://testnet.binancefuture.com"}[mode]
    for url in (other, server.url):
        settings = environment(server, free_port(), UNIVERSE_MODE=mode, BINANCE_FUTURES_BASE_URL=url)
        done = Daemon(PACKAGE, "--check-config", environment=settings).run()
        assert done.returncode == 78
        assert "is not allowed in mode" in done.stderr


def test_metrics_are_served_where_asked_for(server: HttpServer, redis_server: RedisServer, redis_client: Redis) -> None:
    """Off by default; with a port, the list's size, age and the refreshes by outcome."""
    port = free_port()
    settings = environment(server, redis_server.port, UNIVERSE_METRICS_PORT=str(port))
    with Daemon(PACKAGE, environment=settings) as daemon:
        wait_until(lambda: is_fresh(redis_client), 30, what="the first list")
        counted = 'universe_refreshes_total{outcome="published"} 1.0'
        wait_until(lambda: counted in scraped(port), 20, what="the refresh to be counted")
        said = scraped(port)
        assert "Metrics server started" in daemon.log()
    assert "universe_symbols 2.0" in said
    assert "universe_stale 0.0" in said


def test_the_service_does_not_import_what_it_does_not_need() -> None:
    """It computes nothing, so it does not pay for numpy: a third of the memory that it may have."""
    code = "import sys, microservices.universe_service.main; print(*sorted({'numpy', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_a_list_that_was_lost_is_published_again_at_once(
    server: HttpServer, redis_server: RedisServer, redis_client: Redis
) -> None:
    """An emptied Redis has no list, and without one not even exits are permitted: it is not waited for a minute."""
    with Daemon(PACKAGE, environment=environment(server, redis_server.port)) as daemon:
        wait_until(lambda: is_fresh(redis_client), 15, what="the first list")
        for _ in range(2):
            redis_client.flushall()
            wait_until(lambda: is_fresh(redis_client), 30, what="the list again")
        assert redis_client.exists(universe.ACTIVE_KEY, universe.LAST_OK_KEY, universe.INSTRUMENTS_KEY) == 3
        assert daemon.end()[0] == 0
