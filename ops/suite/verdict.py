"""Whether a run of the suite worked: one open and one exit followed from plan to result, every result counted."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from redis import Redis

from microservices.contracts import claim, decision, permit, plan, position, result
from microservices.contracts.fields import Unreadable
from microservices.contracts.result import Result
from microservices.exchange import ExchangeError, SignedClient
from microservices.runtime import streams

RESULTS_MAX = 5_000
EVENTS_MAX = 20_000
COUNT_DEADLINE_S = 5.0
COUNT_POLL_S = 0.1


@dataclass(frozen=True)
class Check:
    """One thing that had to be true, whether it was, and what was seen."""

    what: str
    ok: bool
    seen: str

    def __str__(self) -> str:
        """Write it as one line for the operator."""
        return f"{'ok  ' if self.ok else 'FAIL'}  {self.what}: {self.seen}"


def followed(redis: Redis, exchange: SignedClient) -> list[Check]:
    """Follow the newest executed open and the newest executed exit from plan to order and result."""
    executed = list(_executed(redis))
    wanted = {"an open": False, "an exit": True}
    return [_follow(redis, exchange, name, executed, is_exit=is_exit) for name, is_exit in wanted.items()]


def counted_once(redis: Redis) -> Check:
    """Recount the results and compare with what decision intelligence counted, once it has caught up."""
    deadline = time.monotonic() + COUNT_DEADLINE_S
    while True:
        in_stream, counted = redis.xlen(result.STREAM), _counted(redis)
        if in_stream == counted or time.monotonic() > deadline:
            return Check(
                "every result counted once", in_stream == counted > 0, f"{in_stream} results, {counted} counted"
            )
        time.sleep(COUNT_POLL_S)


def _executed(redis: Redis) -> Iterator[Result]:
    for entry in streams.newest_entries(redis, result.STREAM, count=RESULTS_MAX):
        ended = result.decode(entry.fields or {}, result.STREAM)
        if ended.executed:
            yield ended


def _follow(redis: Redis, exchange: SignedClient, name: str, executed: Iterable[Result], *, is_exit: bool) -> Check:
    what = f"{name} from plan to result"
    for ended in executed:
        try:
            planned = _plan_of(redis, ended)
            if planned is not None and planned.is_exit is is_exit:
                return Check(what, *_trace(redis, exchange, planned, ended))
        except (Unreadable, ExchangeError) as fault:
            return Check(what, ok=False, seen=str(fault))
    return Check(what, ok=False, seen="none was executed")


def _plan_of(redis: Redis, ended: Result) -> plan.Plan | None:
    entry = streams.entry_of(redis, plan.STREAM, ended.plan_entry_id)
    return None if entry is None else plan.decode(plan.decode_header(entry.id, entry.fields or {}))


def _trace(redis: Redis, exchange: SignedClient, planned: plan.Plan, ended: Result) -> tuple[bool, str]:
    verdict = position.decode_verdict(redis.hgetall(position.verdict_key(planned.plan_id)), planned.plan_id)
    order = exchange.query_order(planned.symbol, claim.client_order_id(planned.plan_id))
    good = (
        verdict is not None
        and verdict.allow
        and verdict.digest == planned.digest
        and _permitted(redis, planned)
        and str(order.order_id) == ended.order_id
        and order.executed_qty == ended.quantity > 0
    )
    permitted = "no verdict" if verdict is None else f"permit {verdict.reason}"
    steps = (
        f"plan {planned.plan_id}",
        permitted,
        f"order {order.order_id} {order.status} {order.executed_qty}",
        f"result {ended.decision} {ended.quantity} @ {ended.price}",
    )
    return good, " → ".join(steps)


def _permitted(redis: Redis, planned: plan.Plan) -> bool:
    for entry in streams.newest_entries(redis, permit.EVENTS, count=EVENTS_MAX):
        event = permit.decode_event(entry.fields or {}, permit.EVENTS)
        if event.plan_entry_id == planned.entry_id:
            return event.allow
    return False


def _counted(redis: Redis) -> int:
    prefix = decision.decision_field("").encode()
    pipeline = redis.pipeline(transaction=False)
    for key in redis.scan_iter(f"{decision.BUCKET_PREFIX}*", count=1000):
        pipeline.hgetall(key)
    return sum(int(count) for bucket in pipeline.execute() for name, count in bucket.items() if name.startswith(prefix))
