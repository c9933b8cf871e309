"""A week of results with gaps, late ones and midnights: every window against a model that counts message by message."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import pytest
from redis import Redis

from microservices.contracts import decision
from microservices.contracts.decision import COUNTED_DECISIONS, TOP_MAX, Window
from tests.support.clock import FakeClock
from tests.support.counting import STREAM, Fields, service, status
from tests.support.scale import scaled

BEGIN_S = datetime(2027, 1, 14, 11, 58, 30, tzinfo=UTC).timestamp()
WEEK_S = 7 * 86_400
HOUR_S = 3_600
SYMBOLS = ("BTCUSDT", "ETHUSDT", "币安人生USDT")
REASONS = ("none", *(f"reason_{number}" for number in range(70)))


class Sent(NamedTuple):
    """What the model knows of a message."""

    minute: int
    decision: str
    reason: str
    symbol: str


def stamps(rng: random.Random, now_s: float) -> tuple[str, float]:
    """A timestamp, and the moment that it must count under: its own where it can be believed, else the id's."""
    kind = rng.random()
    if kind < 0.6:
        return f"{now_s:.3f}", now_s
    if kind < 0.8:
        late_s = now_s - rng.choice([60, 300, 900, HOUR_S, 2 * HOUR_S, 40 * HOUR_S]) * rng.random()
        return f"{late_s * 1000:.0f}", int(late_s * 1000) / 1000
    return rng.choice([f"{now_s + 61:.0f}", f"{now_s - 49 * HOUR_S:.0f}", "", "yesterday"]), now_s


def message(rng: random.Random, now_s: float) -> tuple[Fields, Sent]:
    """One result, and what it is to count as."""
    stamp, counts_at_s = stamps(rng, now_s)
    word, reason, symbol = rng.choice([*COUNTED_DECISIONS, "HOLD"]), rng.choice(REASONS), rng.choice(SYMBOLS)
    fields: Fields = {"decision": word, "error": reason, "symbol": symbol, "timestamp": stamp}
    return fields, Sent(int(counts_at_s // 60), "UNKNOWN" if word == "HOLD" else word, reason, symbol)


def moments(rng: random.Random) -> Iterator[tuple[float, int]]:
    """Times of a week, and how much comes with each: bursts, quiet minutes, hours of nothing, every midnight."""
    now_s, midnight_s = BEGIN_S, datetime(2027, 1, 15, tzinfo=UTC).timestamp()
    while now_s < BEGIN_S + WEEK_S:
        now_s += rng.choice([7, 20, 61, 300, 600, 2_000, 10_000, 30_000])
        if now_s > midnight_s:
            yield midnight_s - 1, 5
            yield midnight_s + 1, 5
            now_s, midnight_s = midnight_s + 20, midnight_s + 86_400
        yield now_s, rng.choice([0, 1, 3, 40])


def top(names: list[str]) -> dict[str, int]:
    """The most frequent, of equals the first by name."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0].encode()))[:TOP_MAX])


def shown(redis: Redis, window: Window) -> dict[str, dict[str, int]]:
    """Read a window as an operator does."""
    hashes = (decision.counts_key(window), decision.trend_key(window))
    counts, trend = ({name.decode(): int(value) for name, value in redis.hgetall(key).items()} for key in hashes)  # type: ignore[union-attr] # a client that waits
    tops: Any = [
        redis.zrange(key, 0, -1, withscores=True)
        for key in (decision.reasons_key(window), decision.symbol_reasons_key(window))
    ]
    reasons, pairs = ({name.decode(): int(score) for name, score in each} for each in tops)
    by_symbol: Any = redis.hgetall(decision.by_symbol_key(window))
    named = {symbol.decode(): msgspec.json.decode(raw) for symbol, raw in by_symbol.items()}
    leading = {f"{symbol}:{reason}": count for symbol, row in named.items() for reason, count in row.items()}
    return {"counts": counts, "trend": trend, "reasons": reasons, "pairs": pairs, "by_symbol": leading}


def modelled(sent: list[Sent], minute: int, window: Window) -> dict[str, dict[str, int]]:
    """Count the same from every message that was ever sent."""
    inside = [each for each in sent if minute - window.minutes < each.minute <= minute]
    before = [each for each in sent if minute - 2 * window.minutes < each.minute <= minute - window.minutes]
    reasons, reasons_before = (
        top([each.reason for each in part if each.reason != "none"]) for part in (inside, before)
    )
    counts = dict.fromkeys(COUNTED_DECISIONS, 0) | Counter(each.decision for each in inside)
    words = counts.keys() | {each.decision for each in before}
    trend = Counter(
        {f"decision:{word}": 0 for word in words} | {f"reason:{name}": 0 for name in reasons | reasons_before}
    )
    for sign, part in ((1, inside), (-1, before)):
        for each in part:
            for field in (f"decision:{each.decision}", f"reason:{each.reason}"):
                if field in trend:
                    trend[field] += sign
    by_symbol: dict[str, int] = {}
    for symbol in SYMBOLS:
        own = top([each.reason for each in inside if each.symbol == symbol and each.reason != "none"])
        by_symbol |= {f"{symbol}:{reason}": count for reason, count in list(own.items())[:10]}
    pairs = top([f"{each.symbol}:{each.reason}" for each in inside if each.reason != "none"])
    return {"counts": counts, "trend": trend, "reasons": reasons, "pairs": pairs, "by_symbol": by_symbol}


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(scaled(1)))
def test_every_window_of_a_week_is_what_its_messages_say(redis_client: Redis, seed: int) -> None:
    """Whenever it is looked at: in the middle of a burst, after an hour of nothing, a second past midnight."""
    rng = random.Random(seed)
    clock = FakeClock(now=BEGIN_S)
    instance = service(redis_client, clock)
    sent: list[Sent] = []
    for now_s, count in moments(rng):
        clock.advance(now_s - clock.now())
        for number in range(count):
            fields, meant = message(rng, now_s)
            redis_client.xadd(STREAM, fields, id=f"{now_s * 1000:.0f}-{number + 1}")
            sent.append(meant)
        instance.consume()
        instance.snapshot()
        minute = int(now_s // 60)
        near = [each for each in sent if each.minute > minute - 120]
        for window in Window:
            assert shown(redis_client, window) == modelled(near, minute, window), f"{window} at {now_s}"
    assert status(redis_client).processed_total == len(sent) > 500
    assert status(redis_client).late_total > 10
