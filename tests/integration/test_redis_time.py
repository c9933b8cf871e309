"""Redis's clock as the services read it."""

import time

from redis import Redis

from microservices.runtime import redis_ms


def test_the_time_is_in_whole_milliseconds_of_the_epoch(redis_client: Redis) -> None:
    """On this machine Redis and we have one clock."""
    before_ms = int(time.time() * 1000)
    told_ms = redis_ms(redis_client)
    assert before_ms <= told_ms <= int(time.time() * 1000) + 1
