"""Keeps the allowlist fresh, and says in the log what it is. Used by the permit loop's thread alone."""

import logging
from typing import Any

from redis import Redis

from microservices.contracts.universe_reader import Allowlist, Tier, UniverseKeys, UniverseReader
from microservices.position_state_brain import allowlist
from microservices.position_state_brain.allowlist import AllowlistLog
from microservices.position_state_brain.settings import AllowlistSource, Settings
from microservices.runtime import Clock

_log = logging.getLogger(__name__)

META_FIELDS = ("asof_epoch", "stale", "count")
"""What tells that the universe has published again; read with every plan, so that a list and the instruments agree."""


class AllowlistWatch:
    """The reader of the universe, with its schedule.

    Args:
        redis: a client whose answers are bytes.
        clock: tells ages and times.
        settings: tiers, keys and ages.
    """

    def __init__(self, redis: Redis, clock: Clock, settings: Settings) -> None:
        self._redis = redis
        self._clock = clock
        self._refresh_s = settings.p33_allowlist_refresh_s
        self._env_only = settings.p33_allowlist_source is AllowlistSource.ENV
        self._keys = UniverseKeys(
            settings.p33_universe_key_active, settings.p33_universe_key_last_ok, settings.p33_universe_key_meta
        )
        self._reader = UniverseReader(
            redis,
            settings.trading_mode,
            max_age_s=settings.p33_universe_max_age_s,
            env_symbols=settings.p33_allowlist,
            env_only=self._env_only,
            keys=self._keys,
        )
        self._spoken = AllowlistLog()
        self._read_at_s = float("-inf")
        self._seen_meta: Any = None
        self.latest = Allowlist(Tier.NONE)
        """As it was at the last use, for status and metrics."""

    @property
    def meta_key(self) -> str:
        """Where the universe service says what it published."""
        return self._keys.meta

    def start(self) -> None:
        """Read the list for the first time, and warn where there is none.

        Raises:
            redis.exceptions.RedisError: Redis did not answer.
        """
        self.refresh()
        if self.latest.source is Tier.NONE:
            _log.error("%s", allowlist.NONE_AT_START)

    def refresh_if_due(self) -> None:
        """Judge the list at this moment, and read it anew where its time has come.

        Raises:
            redis.exceptions.RedisError: Redis did not answer; the list before stays, and ages.
        """
        latest = self.current(self._clock.now())
        wait_s = allowlist.refresh_after_s(latest, self._refresh_s, env_only=self._env_only)
        if self._clock.monotonic() >= self._read_at_s + wait_s:
            self.refresh()

    def refresh_if_published(self, meta: object) -> bool:
        """Read the list anew where these fields of the meta hash are not those of the last reading.

        Returns:
            Whether it was read anew.

        Raises:
            redis.exceptions.RedisError: Redis did not answer.
        """
        if self._env_only or _comparable(meta) == self._seen_meta:
            return False
        self.refresh()
        return True

    def refresh(self) -> None:
        """Read the list anew.

        Raises:
            redis.exceptions.RedisError: Redis did not answer; the list before stays, and ages.
        """
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hmget(self._keys.meta, META_FIELDS)
        self._seen_meta = _comparable(pipeline.execute(raise_on_error=False)[0])
        self._reader.refresh()
        self._read_at_s = self._clock.monotonic()
        self.current(self._clock.now())

    def current(self, now: float) -> Allowlist:
        """Give the list in force at this moment, and say what has changed."""
        self.latest = self._reader.current(now)
        if self._spoken.due(self.latest, self._clock.monotonic()):
            level = logging.ERROR if self.latest.source is Tier.NONE else logging.INFO
            for line in allowlist.lines(self.latest, now):
                _log.log(level, "%s", line)
            if self.latest.refused and not self._env_only:
                _log.warning("Better tiers of the allowlist were refused: %s", "; ".join(self.latest.refused))
        return self.latest


def _comparable(meta: object) -> object:
    return str(meta) if isinstance(meta, Exception) else meta
