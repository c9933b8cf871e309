"""The proxy does to connections what it says it does; other tests rest on it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from tests.support.redis_server import RedisServer
from tests.support.tcp_proxy import Fault, TcpProxy
from tests.support.waiting import wait_until


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[TcpProxy]:
    """A proxy before the tests' Redis."""
    with TcpProxy(redis_server.port) as standing:
        yield standing


@pytest.fixture
def through(proxy: TcpProxy) -> Iterator[Redis]:
    """A client that goes through it and never sends a command twice."""
    with Redis(port=proxy.port, protocol=2, socket_timeout=5, retry=Retry(NoBackoff(), 0)) as client:
        yield client


@pytest.mark.parametrize(("fault", "done"), [(Fault.SWALLOW_REPLY, 3), (Fault.DROP, 0), (Fault.CUT, 1)])
def test_a_fault_is_an_error_to_the_client_whatever_the_server_did(
    redis_client: Redis, proxy: TcpProxy, through: Redis, fault: Fault, done: int
) -> None:
    """Of three commands in a pipeline all, none or the first ran; the client cannot tell, and the next one works."""
    proxy.next_request(fault, containing=b"INCR")
    pipeline = through.pipeline(transaction=False)
    for _ in range(3):
        pipeline.incr("counter")
    with pytest.raises(RedisConnectionError):
        pipeline.execute()
    assert int(redis_client.get("counter") or 0) == done
    assert through.incr("counter") == done + 1
    assert proxy.injected[fault] == 1


def test_without_faults_it_is_not_there(through: Redis) -> None:
    """A large answer comes whole."""
    through.set("large", b"x" * 3_000_000)
    assert through.get("large") == b"x" * 3_000_000


def test_a_reset_ends_every_connection(redis_client: Redis, proxy: TcpProxy, through: Redis) -> None:
    """A command that waits for its answer is cut off; the next one finds a new connection."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(through.blpop, ["nothing"], timeout=30)
        wait_until(lambda: redis_client.info("clients")["blocked_clients"] == 1)
        proxy.reset_all()
        with pytest.raises(RedisConnectionError):
            waiting.result(5)
    assert through.ping()
