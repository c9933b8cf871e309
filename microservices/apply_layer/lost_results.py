"""Write the results of orders again that Redis has lost: a failover or a rollback knows nothing of them any more."""

import logging
from itertools import islice

from redis import Redis
from redis.exceptions import ResponseError

from microservices.apply_layer import metrics
from microservices.apply_layer.scripts import Done, LeaseLost, Scripts
from microservices.apply_layer.sent_log import OrderEnd, SentLog
from microservices.contracts import claim, hashes, position, result
from microservices.contracts.fields import Unreadable, integer, stream_id, text
from microservices.contracts.position import Baseline
from microservices.runtime import Away, is_wrong_type, progress, redis_ms

logger = logging.getLogger(__name__)

CHUNK = 100
LOG_KEPT_H = 48
StreamId = tuple[int, int]


class LostResults:
    """Compares the ends in `sent.log` with the stream of results.

    A result that is missing there is written again, under a new id, unless it need not or must not be: its claim is
    done, it may have been trimmed away, or the ledger has it already. What the ledger has is told by its cursor and its
    baseline: were Redis rolled back to before the result, the cursor would be too. So a stream that somebody deleted
    does not make the ledger count its fills a second time.

    Args:
        redis: a client whose answers are bytes.
        scripts: what is written.
        sent_log: what ended, and how.
        stream_keep_h: how long results are kept.
    """

    def __init__(self, redis: Redis, scripts: Scripts, sent_log: SentLog, *, stream_keep_h: int) -> None:
        self._redis = redis
        self._scripts = scripts
        self._sent_log = sent_log
        self._keep_ms = min(stream_keep_h, LOG_KEPT_H) * 3_600_000

    def rewrite(self) -> None:
        """Write again what is lost: always the newest, so the search ends where none is missing.

        Raises:
            redis.exceptions.RedisError: Redis is away; it can be called again.
            Away: the lease is not ours.
        """
        after = max((redis_ms(self._redis) - self._keep_ms, 0), self._ledger_cursor())
        adopted = self._baseline()
        ends = (end for end in self._sent_log.ended_newest_first() if end.result_id and end.fields)
        while chunk := list(islice(ends, CHUNK)):
            missing = [end for end in self._missing(chunk) if stream_id(end.result_id, "result id") > after]
            lost = [end for end in missing if adopted is None or not _is_in(adopted, end)]
            for end in lost:
                self.rewrite_one(end)
            if not lost:
                return
            progress()

    def _missing(self, chunk: list[OrderEnd]) -> list[OrderEnd]:
        pipeline = self._redis.pipeline(transaction=False)
        for end in chunk:
            pipeline.xrange(result.STREAM, end.result_id, end.result_id)
        return [end for end, found in zip(chunk, pipeline.execute(), strict=True) if not found]

    def rewrite_one(self, end: OrderEnd) -> None:
        """Write one result again, unless its claim is done.

        Raises:
            redis.exceptions.RedisError: Redis is away; it can be called again.
            Away: the lease is not ours.
        """
        try:
            written = result.decode(end.fields, f"the lost result of plan {end.plan_id}")
        except Unreadable as fault:
            logger.error("%s: it is not written again", fault)  # noqa: TRY400 (the line says it all)
            return
        answer = self._scripts.finish(written, has_claim=True, was_sent=True)
        if isinstance(answer, LeaseLost):
            raise Away(f"the lease {claim.LEASE_KEY}")
        if isinstance(answer, Done):
            self._sent_log.end(OrderEnd(plan_id=end.plan_id, result_id=answer.result_id, fields=end.fields))
            metrics.REWRITTEN.inc()
            logger.warning("Redis had lost the result of plan %s: it is written again", end.plan_id)

    def _ledger_cursor(self) -> StreamId:
        """Tell up to which result the ledger has them all; what cannot be read says nothing."""
        try:
            raw = self._redis.get(position.LEDGER_CURSOR_KEY)
            return (0, 0) if raw is None else stream_id(text(raw, "cursor"), position.LEDGER_CURSOR_KEY)
        except (Unreadable, ResponseError) as fault:
            _say_unread(fault, position.LEDGER_CURSOR_KEY)
            return (0, 0)

    def _baseline(self) -> Baseline | None:
        """Tell from what the account was adopted; what cannot be read says nothing."""
        try:
            raw = self._redis.hgetall(position.BASELINE_KEY)
            return hashes.decode_or_absent(raw, Baseline, position.BASELINE_KEY)
        except (Unreadable, ResponseError) as fault:
            _say_unread(fault, position.BASELINE_KEY)
            return None


def _is_in(adopted: Baseline, end: OrderEnd) -> bool:
    """Tell whether an adopted position has an order's fill; one that does not say when it ended is never in it."""
    try:
        return adopted.includes(end.fields.get("plan_entry_id", ""), integer(end.fields.get("timestamp", ""), "end"))
    except Unreadable:
        return False


def _say_unread(fault: Exception, key: str) -> None:
    if isinstance(fault, ResponseError) and not is_wrong_type(fault):
        raise fault
    logger.error("%s: %s", key, fault)
