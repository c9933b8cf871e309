"""Results to count, decision intelligence to count them, and a recount that knows nothing of either."""

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from redis import Redis
from redis.exceptions import RedisError

from microservices.contracts import decision, result
from microservices.contracts.decision import P35Status
from microservices.decision_intelligence.service import DecisionIntelligence
from microservices.decision_intelligence.settings import Settings
from tests.support.clock import FakeClock

STREAM = result.STREAM
GROUP = result.GROUP_DECISION_INTELLIGENCE
REASONS = ("duplicate_plan", "kill_score_close_ok", "permit_timeout", "no_exchange_snapshot", "not_in_allowlist")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "TRXUSDT", "币安人生USDT")

Fields = dict[Any, Any]


class Counts(NamedTuple):
    """All buckets added up, by kind of field."""

    decisions: Counter[str]
    reasons: Counter[str]
    symbol_reasons: Counter[str]


def some_results(count: int, rng: random.Random, now_s: float) -> list[Fields]:
    """Make results in the shapes and shares that a live stream showed."""
    return [_result(number, rng, now_s) for number in range(count)]


def expected(results: Iterable[Fields]) -> Counts:
    """Count what `some_results` made, by what it meant when it made it."""
    counts = Counts(Counter(), Counter(), Counter())
    for fields in results:
        word, reason, symbol = str(fields["meant"]).split(" ")
        counts.decisions[word] += 1
        counts.reasons[reason] += 1
        counts.symbol_reasons[f"{symbol}:{reason}"] += 1
    return counts


def recount(redis: Redis) -> Counts:
    """Count the stream itself, entry by entry, by what each was meant to be."""
    counts = Counts(Counter(), Counter(), Counter())
    after = "-"
    while True:
        entries: Any = redis.xrange(STREAM, after, "+", count=5_000)
        if not entries:
            return counts
        for total, part in zip(
            counts, expected({"meant": fields[b"meant"].decode()} for _, fields in entries), strict=True
        ):
            total.update(part)
        after = f"({entries[-1][0].decode()}"


def add(redis: Redis, results: Iterable[Fields]) -> list[str]:
    """Add results to the stream; return their ids."""
    pipeline = redis.pipeline(transaction=False)
    for fields in results:
        pipeline.xadd(STREAM, fields)
    return [entry_id.decode() for entry_id in pipeline.execute()]


def counted(redis: Redis) -> Counts:
    """Add up all buckets there are."""
    counts = Counts(Counter(), Counter(), Counter())
    by_kind = {"decision": counts.decisions, "reason": counts.reasons, "symbol_reason": counts.symbol_reasons}
    for key in redis.scan_iter("quantum:p35:bucket:*", count=1000):
        bucket: Any = redis.hgetall(key)
        for field, count in bucket.items():
            kind, _, name = field.decode().partition(":")
            by_kind[kind][name] += int(count)
    return counts


def status(redis: Redis) -> P35Status:
    """Read the status hash; all zeros where there is none."""
    return decision.decode_status(redis.hgetall(decision.STATUS_KEY)) or P35Status()


def service(
    redis: Redis, clock: FakeClock, consumer: str = "one", *, reads_ahead: bool = False, **settings: float | bool
) -> DecisionIntelligence:
    """Make an instance that hardly waits for messages and, unless told to, reads no further than it counts."""
    chosen = Settings(**{"p35_block_ms": 1} | settings)  # type: ignore[arg-type] # each by the name of its field
    made = DecisionIntelligence(chosen, redis, clock, consumer, reads_ahead=reads_ahead)
    made.prepare()
    return made


def run_dry(redis: Redis, clock: FakeClock, *instances: DecisionIntelligence, rounds: int = 300) -> None:
    """Let instances tick in turn until all is read and settled, and once more, so that the books are judged.

    An error is met as the runner meets it: the loop ticks again.

    Raises:
        AssertionError: they were not done after so many rounds.
    """
    for _ in range(rounds):
        done = is_settled(redis)
        for instance in instances:
            clock.advance(2)
            try:
                instance.consume()
            except RedisError:
                done = False
        if done:
            return
    raise AssertionError(f"still busy after {rounds} rounds")


def is_settled(redis: Redis) -> bool:
    """Tell whether the group has read all there is, and nothing is pending."""
    group = next((row for row in redis.xinfo_groups(STREAM) if row["name"] == GROUP.encode()), None)
    unread = group is None or redis.xrange(STREAM, b"(" + group["last-delivered-id"], "+", count=1)
    return group is not None and not unread and group["pending"] == 0


def _result(number: int, rng: random.Random, now_s: float) -> Fields:
    symbol = rng.choice(SYMBOLS)
    reason = rng.choice(REASONS)
    fields: Fields = {"plan_id": f"{rng.getrandbits(64):016x}", "symbol": symbol, "meant": f"SKIP {reason} {symbol}"}
    fields["timestamp"] = rng.choice([f"{now_s:.0f}", f"{now_s:.6f}", f"{now_s * 1000:.0f}"])
    shape = number % 4
    if shape == 0:
        return fields | {"decision": "SKIP", "executed": "False", "error": reason, "steps_results": "[]"}
    if shape == 1:
        meant = f"BLOCKED {reason} {symbol}"
        return fields | {"executed": "false", "error": f"{reason}:{symbol}", "meant": meant}
    if shape == 2:
        details = f'{{"decision": "BLOCKED", "error": "{reason}", "qty": 0.5}}'
        return fields | {"details": details, "meant": f"BLOCKED {reason} {symbol}"}
    return fields | {"executed": "true", "order_id": str(number), "meant": f"EXECUTE none {symbol}"}
