"""The stream's books in Redis: look at stream, group and status in one moment, judge, write down."""

import logging
from typing import Any

import msgspec
from redis import Redis
from redis.exceptions import ResponseError

from microservices.contracts import decision, fields, result
from microservices.contracts.decision import P35Status
from microservices.contracts.fields import WrittenFields
from microservices.decision_intelligence.lost import (
    START,
    Books,
    Group,
    Judgement,
    Seen,
    StreamId,
    books_of,
    judge,
    undelivered_at_most,
)
from microservices.runtime import LuaScript

logger = logging.getLogger(__name__)

RECORD = LuaScript.load(__package__, "record.lua")
MOST_LOOKS = 10
"""How often another instance may be faster; each time it has done this one's work."""


class Look(msgspec.Struct, frozen=True):
    """What was seen, and what the books say of it."""

    status: P35Status
    """As it stood before the judgement."""
    seen: Seen
    judgement: Judgement
    pending: int
    lag: int


def look(redis: Redis) -> Look:
    """Look at stream, group and status in one moment, and record what the books say of it.

    Raises:
        Unreadable: the status hash holds what nobody of us wrote.
        ResponseError: a key is of another type.
    """
    found, books = _seen(redis)
    for _ in range(MOST_LOOKS):
        if _recorded(redis, found, books):
            _tell(found)
            break
        found, books = _seen(redis)
    return found


def heartbeat(redis: Redis, found: Look, *, consumer: str, started_s: float, now_s: float) -> None:
    """Write who counts, that it lives, and how far behind it is."""
    row: WrittenFields = {"last_ts": int(now_s), "consumer_name": consumer, "service_start_ts": int(started_s)}
    row |= {"pending_estimate": found.pending, "lag": found.lag}
    redis.hset(decision.STATUS_KEY, mapping=row)


def _seen(redis: Redis) -> tuple[Look, Books]:
    with redis.pipeline(transaction=True) as unit:
        unit.xinfo_stream(result.STREAM)
        unit.xinfo_groups(result.STREAM)
        unit.xpending(result.STREAM, result.GROUP_DECISION_INTELLIGENCE)
        unit.hgetall(decision.STATUS_KEY)
        stream, groups, pending, raw_status = (_present(answer) for answer in unit.execute(raise_on_error=False))
    status = decision.decode_status(raw_status or {}) or P35Status()
    books = books_of(status, _id(status.stream_last_id), _id(status.settled_through))
    group = next((row for row in groups or () if row["name"] == result.GROUP_DECISION_INTELLIGENCE.encode()), None)
    seen = _seen_of(stream, group, pending)
    lag = undelivered_at_most(seen, books) if group is None or group["lag"] is None else int(group["lag"])
    open_count = seen.group.pending if seen.group else 0
    return Look(status, seen, judge(seen, books), open_count, lag), books


def _recorded(redis: Redis, found: Look, books: Books) -> bool:
    judged, seen = found.judgement, found.seen
    base = "" if books.base is None else str(books.base)
    new_base = "" if judged.base is None else str(judged.base)
    args: list[str | int] = [base, str(found.status.lost_total), new_base, judged.lost]
    args += [seen.added, _text(seen.last_generated), _text(judged.settled_through), int(judged.replaced)]
    return bool(RECORD(redis, [decision.STATUS_KEY], args) == 1)


def _tell(found: Look) -> None:
    judged = found.judgement
    if judged.replaced:
        logger.warning("%s was deleted or replaced; counting goes on with what is there now", result.STREAM)
    if judged.lost:
        logger.error(
            "%d results are lost: gone from %s before they were counted (lost_total was %d)",
            judged.lost,
            result.STREAM,
            found.status.lost_total,
        )
    if judged.excess:
        logger.error(
            "%d results more were settled than %s says were added: it was replaced, or its figures were set by hand",
            judged.excess,
            result.STREAM,
        )


def _present(answer: Any) -> Any:  # noqa: ANN401 - redis-py leaves its answers' types open
    """Give an answer, or None where stream or group do not exist."""
    if not isinstance(answer, Exception):
        return answer
    if isinstance(answer, ResponseError) and ("no such key" in str(answer) or str(answer).startswith("NOGROUP")):
        return None
    raise answer


def _seen_of(stream: dict[str, Any] | None, group: dict[str, Any] | None, pending: dict[str, Any] | None) -> Seen:
    if stream is None:
        return Seen()
    first, newest = stream["first-entry"], stream["last-entry"]
    return Seen(
        added=int(stream["entries-added"]),
        length=int(stream["length"]),
        last_generated=_id(stream["last-generated-id"]),
        first=_id(first[0]) if first else None,
        newest=_id(newest[0]) if newest else None,
        group=None if group is None or pending is None else _group_of(group, pending),
    )


def _group_of(group: dict[str, Any], pending: dict[str, Any]) -> Group:
    first_pending = _id(pending["min"]) if pending["pending"] else None
    return Group(_id(group["last-delivered-id"]), int(pending["pending"]), first_pending)


def _id(raw: bytes | str) -> StreamId:
    text = fields.text(raw, "stream id")
    return fields.stream_id(text, "stream id") if text else START


def _text(stream_id: StreamId) -> str:
    return f"{stream_id[0]}-{stream_id[1]}"
