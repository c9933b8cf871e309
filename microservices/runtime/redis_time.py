"""Redis's own clock: the one by which plans age, permits expire and snapshots are dated."""

from redis import Redis


def redis_ms(redis: Redis) -> int:
    """Ask Redis for its time, in epoch ms.

    Raises:
        redis.exceptions.RedisError: Redis did not answer.
    """
    seconds, microseconds = redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000
