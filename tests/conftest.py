"""What tests share: a real Redis for whoever asks for one."""

from collections.abc import Iterator

import pytest
from redis import Redis

from tests.support.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One real redis-server for the whole run of this worker."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_client(redis_server: RedisServer) -> Iterator[Redis]:
    """A client of that server, emptied before the test."""
    with redis_server.client() as client:
        client.flushall()
        yield client
