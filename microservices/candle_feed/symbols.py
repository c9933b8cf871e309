"""Which symbols the feed follows."""

import logging
from collections.abc import Sequence

from redis import Redis

from microservices.contracts.control import Mode
from microservices.contracts.universe_reader import Tier, UniverseReader

_log = logging.getLogger(__name__)


class FollowedSymbols:
    """The operator's own list, or else the universe's.

    Where the universe has no valid list, the last one is followed on: candles decide nothing, and a hole in them would
    outlast the outage by hours. Whoever trades judges the universe's age for itself.

    Args:
        redis: a client whose answers are bytes.
        mode: lists of another mode do not count.
        fixed: the operator's list; empty follows the universe.
    """

    def __init__(self, redis: Redis, mode: Mode, fixed: Sequence[str]) -> None:
        self._reader = None if fixed else UniverseReader(redis, mode)
        self.symbols = tuple(sorted(set(fixed)))
        self.source = "CANDLES_SYMBOLS" if fixed else Tier.NONE.value

    def refresh(self, now: float) -> bool:
        """Read the universe and tell whether the symbols changed.

        Raises:
            redis.exceptions.RedisError: Redis did not answer; the symbols stay.
        """
        if self._reader is None:
            return False
        self._reader.refresh()
        current = self._reader.current(now)
        self._name_source(current.source.value, current.refused)
        if current.source is Tier.NONE:
            return False
        before, self.symbols = self.symbols, tuple(sorted(current.symbols))
        if before == self.symbols:
            return False
        came, went = set(self.symbols) - set(before), set(before) - set(self.symbols)
        _log.info("Following %d symbols from %s (+%d −%d)", len(self.symbols), self.source, len(came), len(went))
        return True

    def _name_source(self, source: str, refused: Sequence[str]) -> None:
        if source == self.source:
            return
        self.source = source
        if source == Tier.NONE.value:
            why = "; ".join(refused)
            _log.warning("No valid universe (%s): following the %d symbols before", why, len(self.symbols))
