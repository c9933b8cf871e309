"""The exchange's rules for quantities, asked just before an order is logged and sent."""

import logging
from decimal import Decimal

from redis import Redis
from redis.exceptions import ResponseError

from microservices.contracts import universe
from microservices.contracts.fields import Unreadable
from microservices.runtime import is_wrong_type

logger = logging.getLogger(__name__)


class Instruments:
    """Cuts what the gates allow to what the exchange takes.

    The brain's own quantity is a multiple of the step already; the smallest of several gates', or a plan's upper bound,
    need not be.

    Args:
        redis: a client whose answers are bytes.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def floored(self, symbol: str, quantity: Decimal) -> Decimal:
        """Cut a quantity down to a multiple of the symbol's market step; 0 where that is below its minimum.

        Where the rules are not known it is left as it is: trouble in the universe stops no exit, and the exchange
        refuses what it does not take.

        Raises:
            redis.exceptions.RedisError: Redis is away.
        """
        try:
            raw = self._redis.hget(universe.INSTRUMENTS_KEY, symbol)
            if raw is not None:
                return universe.decode_instrument(raw, symbol).floored(quantity)
            why = f"{universe.INSTRUMENTS_KEY} does not know it"
        except Unreadable as fault:
            why = str(fault)
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            why = f"{universe.INSTRUMENTS_KEY} is no hash"
        logger.debug("%s: the quantity %s is not cut to the step: %s", symbol, quantity, why)
        return quantity
