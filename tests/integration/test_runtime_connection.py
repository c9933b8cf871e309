"""The connection to a real Redis: what is said when it is made, and that nothing is ever sent twice."""

from collections.abc import Iterator

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from microservices.runtime import CommonSettings, connect, load_settings
from microservices.runtime.redis_connection import require_version
from tests.support.redis_server import RedisServer
from tests.support.tcp_proxy import Fault, TcpProxy


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[TcpProxy]:
    with TcpProxy(redis_server.port) as between:
        yield between


def client_of(port: int, **environ: str) -> Redis:
    return connect(load_settings(CommonSettings, {"REDIS_PORT": str(port)} | environ), "quantum-test")


def test_a_connection_says_only_its_name_and_database(redis_server: RedisServer, redis_client: Redis) -> None:
    """No handshake that an access list would have to allow besides."""
    with client_of(redis_server.port, REDIS_DB="3") as client:
        redis_client.config_resetstat()
        assert client.ping()
        names = {name.removeprefix("cmdstat_") for name in redis_client.info("commandstats")}
        assert names - {"config|resetstat", "info"} == {"client|setname", "select", "ping"}
        (ours,) = [row for row in redis_client.client_list() if row["name"] == "quantum-test"]
        assert (ours["db"], ours["resp"], ours["lib-name"]) == ("3", "2", "") if "lib-name" in ours else ("3", "2", "")
        require_version(client)


@pytest.mark.parametrize("fault", [Fault.SWALLOW_REPLY, Fault.DROP])
def test_a_command_without_an_answer_is_never_sent_again(redis_client: Redis, proxy: TcpProxy, fault: Fault) -> None:
    """Whether it was done or not: the caller is told, and the next command makes a new connection."""
    with client_of(proxy.port) as client:
        assert client.incr("n") == 1
        proxy.next_request(fault, b"INCR")
        with pytest.raises((RedisConnectionError, RedisTimeoutError)):
            client.incr("n")
        assert redis_client.get("n") == (b"2" if fault is Fault.SWALLOW_REPLY else b"1")
        assert client.get("n") == redis_client.get("n")


def test_a_restarted_server_costs_an_idle_connection_no_error() -> None:
    """A connection that the server has closed is seen to be closed before a command is lost on it."""
    with RedisServer() as server, client_of(server.port) as client:
        assert client.ping()
        server.stop()
        server.start()
        assert client.ping()
