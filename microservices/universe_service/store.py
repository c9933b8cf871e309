"""The universe's keys in Redis: read together, changed together."""

import logging
from collections.abc import Mapping

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from microservices.contracts import hashes, universe
from microservices.contracts.fields import RawHash, Unreadable, WrittenFields
from microservices.contracts.universe import Instrument, UniverseDocument, UniverseMeta
from microservices.runtime import is_wrong_type
from microservices.universe_service.filters import first_of
from microservices.universe_service.publication import Active, Start, Stored, merged_instruments

_log = logging.getLogger(__name__)


class Store:
    """Read and write the four keys. Every write is one transaction, and what stands under a wrong type is replaced.

    Args:
        redis: a client whose answers are bytes.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def read(self) -> Stored:
        """Read list, last good list and meta as they stand together.

        Raises:
            redis.exceptions.RedisError: Redis did not answer.
        """
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.get(universe.ACTIVE_KEY)
        pipeline.get(universe.LAST_OK_KEY)
        pipeline.hgetall(universe.META_KEY)
        active, last_ok, meta = pipeline.execute(raise_on_error=False)
        return Stored(_document(active, universe.ACTIVE_KEY), _document(last_ok, universe.LAST_OK_KEY), _meta(meta))

    def start(self, start: Start) -> None:
        """Write what a start, or the loss of the meta hash, asks for.

        Raises:
            redis.exceptions.RedisError: Redis did not take it.
        """
        pipeline = self._redis.pipeline(transaction=True)
        if start.active is Active.COPY_LAST_OK:
            pipeline.copy(universe.LAST_OK_KEY, universe.ACTIVE_KEY, replace=True)
        elif start.active is Active.DELETE:
            pipeline.delete(universe.ACTIVE_KEY)
        if start.drop_instruments:
            pipeline.delete(universe.INSTRUMENTS_KEY)
        pipeline.delete(universe.META_KEY)
        pipeline.hset(universe.META_KEY, mapping=hashes.encode(start.meta))
        pipeline.execute()

    def fail(self, error: str, attempted_epoch: int | None) -> None:
        """Mark the list stale; nothing else changes.

        Args:
            error: why.
            attempted_epoch: when the exchange was asked; None where it was not.

        Raises:
            redis.exceptions.RedisError: Redis did not take it.
        """
        changed: WrittenFields = {"stale": "1", "error": error}
        if attempted_epoch is not None:
            changed["last_attempt_epoch"] = str(attempted_epoch)
        self._redis.hset(universe.META_KEY, mapping=changed)

    def publish(self, document: UniverseDocument, dropped: int, seen: Mapping[str, Instrument]) -> int:
        """Put a new list in force.

        Returns:
            How many instruments are kept.

        Raises:
            redis.exceptions.RedisError: Redis did not take it; then nothing has changed, or the reply was lost.
        """
        instruments, left = merged_instruments(self._instruments(), seen, document.asof_epoch)
        meta = UniverseMeta(
            asof_epoch=document.asof_epoch,
            last_ok_epoch=document.asof_epoch,
            count=len(document.symbols),
            stale=0,
            mode=document.mode,
            dropped=dropped,
            last_attempt_epoch=document.asof_epoch,
        )
        encoded = universe.encode_document(document)
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.set(universe.ACTIVE_KEY, encoded)
        pipeline.set(universe.LAST_OK_KEY, encoded)
        pipeline.delete(universe.META_KEY, universe.INSTRUMENTS_KEY)
        pipeline.hset(universe.META_KEY, mapping=hashes.encode(meta))
        pipeline.hset(universe.INSTRUMENTS_KEY, mapping=instruments)
        pipeline.execute()
        if left:
            _log.info("Instruments: %d rows left: %s", len(left), first_of(left))
        return len(instruments)

    def _instruments(self) -> RawHash:
        try:
            return self._redis.hgetall(universe.INSTRUMENTS_KEY)
        except ResponseError as fault:
            _fault(fault, universe.INSTRUMENTS_KEY)
            return {}


def _fault(error: RedisError, key: str) -> str:
    """Turn a wrongly typed key into a sentence.

    Raises:
        redis.exceptions.RedisError: it is another error.
    """
    if not is_wrong_type(error):
        raise error
    _log.warning("%s is of a wrong type and will be replaced", key)
    return f"{key}: {error}"


def _document(raw: object, key: str) -> UniverseDocument | str | None:
    if raw is None:
        return None
    if isinstance(raw, RedisError):
        return _fault(raw, key)
    try:
        document = universe.decode_document(raw, key)
    except Unreadable as fault:
        return str(fault)
    return document if document.symbols else f"{key}: holds no symbols"


def _meta(raw: object) -> UniverseMeta | None:
    if isinstance(raw, RedisError):
        _fault(raw, universe.META_KEY)
        return None
    try:
        return universe.decode_meta(raw) if isinstance(raw, dict) else None
    except Unreadable:
        return None
