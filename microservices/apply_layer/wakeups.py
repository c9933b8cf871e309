"""Read the permit events, as a wake-up only: the permit keys decide."""

from collections.abc import Callable

from redis import Redis

from microservices.apply_layer.recovery import Recovery
from microservices.apply_layer.register import Register
from microservices.contracts import permit
from microservices.contracts.fields import Unreadable
from microservices.runtime import Entry
from microservices.runtime.streams import entries_after, last_id

COUNT = 1_000
BLOCK_MS = 1_000
NOT_YET_S = 0.05


class Wakeups:
    """Name the plans that a gate has just decided on.

    Args:
        redis: a client whose answers are bytes.
        register: told which plans to judge.
        recovery: after each of its runs the reading begins anew: another server has other ids.
        wake_judge: called where one of the plans waits.
    """

    def __init__(self, redis: Redis, register: Register, recovery: Recovery, wake_judge: Callable[[], None]) -> None:
        self._redis = redis
        self._register = register
        self._recovery = recovery
        self._wake_judge = wake_judge
        self._after = ""
        self._run = 0

    def tick(self) -> float:
        """Wait up to a second for events; return the seconds to pause.

        Raises:
            redis.exceptions.RedisError: Redis is away; the judge looks by itself meanwhile.
        """
        if self._recovery.is_due:
            return NOT_YET_S
        if self._run != self._recovery.runs:
            self._after = last_id(self._redis, permit.EVENTS)
            self._run = self._recovery.runs
        entries = entries_after(self._redis, permit.EVENTS, self._after, count=COUNT, block_ms=BLOCK_MS)
        if entries:
            self._after = entries[-1].id
            if self._register.name(filter(None, map(_plan_id, entries))):
                self._wake_judge()
        return 0.0


def _plan_id(entry: Entry) -> str:
    try:
        return permit.event_plan_id(entry.fields or {}, permit.EVENTS)
    except Unreadable:
        return ""
