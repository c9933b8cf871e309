"""What tests share: a real Redis for whoever asks for one, and properties that no busy machine or day can fail."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from redis import Redis
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.support import scale
from tests.support.redis_server import RedisServer

# By default an example that takes 200 ms, or slow generation, is a failure: on a loaded machine that says nothing.
# The examples are the same in every run of the suite, and others where it is made larger.
settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=not scale.is_scaled()
)
settings.load_profile("busy machine")


MACHINE = "tests/system"


class OneMachine(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
    """`--dist loadfile`, but for the system tests: one worker runs them all, on the one machine that it boots."""

    def _split_scope(self, nodeid: str) -> str:
        return MACHINE if nodeid.startswith(f"{MACHINE}/") else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Deal out by `OneMachine` where files are asked for."""
    return OneMachine(config, log) if config.getvalue("dist") == "loadfile" else None


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
