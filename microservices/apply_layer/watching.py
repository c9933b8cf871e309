"""Watch what keeps orders from going out besides the plans, and say so; the scripts read it by themselves."""

import logging
import math

from redis import Redis
from redis.exceptions import ResponseError

from microservices.apply_layer import metrics
from microservices.contracts.control import KILL_SWITCH_KEY, KillSwitch, decode_kill_switch
from microservices.exchange import BackoffLevel, BackoffUnreadable, SharedBackoff

logger = logging.getLogger(__name__)


class Watch:
    """The kill switch and the shared back-off, as an operator must see them.

    Args:
        redis: a client whose answers are bytes.
        backoff: the back-off that all services share.
    """

    def __init__(self, redis: Redis, backoff: SharedBackoff) -> None:
        self._redis = redis
        self._backoff = backoff
        self._kill_switch: KillSwitch | None = None
        self._level = logging.INFO

    def kill_switch(self) -> KillSwitch:
        """Look at the kill switch; log every change, and a value that is none as an alarm.

        Raises:
            redis.exceptions.RedisError: Redis is away.
        """
        try:
            state, alarm = decode_kill_switch(self._redis.get(KILL_SWITCH_KEY))
        except ResponseError as error:
            state, alarm = KillSwitch.FULL_STOP, f"{KILL_SWITCH_KEY}: {error}: everything stops"
        metrics.KILL_SWITCH.set(list(KillSwitch).index(state))
        if state is not self._kill_switch:
            self._kill_switch = state
            if alarm:
                logger.error("%s", alarm)
            else:
                logger.log(logging.INFO if state is KillSwitch.OFF else logging.WARNING, "Kill switch: %s", state)
        return state

    def held_up(self) -> str:
        """Say why the exchange gets no order now, empty where it may; log when that begins and ends.

        Raises:
            redis.exceptions.RedisError: Redis is away.
        """
        try:
            remaining_s = self._backoff.remaining_s(BackoffLevel.NEW_ORDERS)
            why, level = f"by the exchange for {remaining_s:.0f} s", logging.WARNING
        except BackoffUnreadable as fault:
            remaining_s, why, level = math.inf, f"and none is asked for: {fault}", logging.ERROR
        if remaining_s <= 0:
            why, level = "", logging.INFO
        if level != self._level:
            self._level = level
            logger.log(level, "Orders are %s", f"held up {why}" if why else "sent again")
        metrics.HELD_UP.set(bool(why))
        return why
