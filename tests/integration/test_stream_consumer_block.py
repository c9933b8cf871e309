"""A consumer that has something else to look after waits less for the next entry."""

import time

import pytest
from redis import Redis

from microservices.runtime import StreamConsumer


def consumer_of(redis_client: Redis) -> StreamConsumer:
    """A consumer that by itself would wait two seconds."""
    return StreamConsumer(redis_client, "s", "g", "c", batch=10, block_ms=2_000, start_id=lambda: "0")


@pytest.mark.parametrize("block_ms", [0, 20])
def test_one_read_may_wait_less_than_the_others(redis_client: Redis, block_ms: int) -> None:
    """An empty stream is left after the time of this read, not after the consumer's own."""
    consumer = consumer_of(redis_client)
    started_s = time.monotonic()
    with consumer.batch(block_ms) as entries:
        assert entries == []
    assert time.monotonic() - started_s < 1.9


def test_a_read_waits_no_longer_than_any_may(redis_client: Redis) -> None:
    """A stop must not wait for a read."""
    with pytest.raises(ValueError, match="block_ms"), consumer_of(redis_client).batch(2_001):
        pass
