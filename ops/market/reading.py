"""Reads what the publisher has published. Nothing is assumed: what cannot be read is said."""

import time
from collections.abc import Iterator
from itertools import islice

from redis import Redis

from microservices.contracts import hashes, market_state
from microservices.contracts.fields import Unreadable, shown
from microservices.contracts.market_state import MarketStateRow, PublisherStatus
from ops.market.view import Market

SYMBOLS_MAX = 5_000
_PER_READ = 500


def read_market(redis: Redis) -> Market:
    """Read every symbol's state and the publisher's status.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    states: dict[str, MarketStateRow] = {}
    faults: list[str] = []
    names = islice(_symbols(redis), SYMBOLS_MAX)
    while some := list(islice(names, _PER_READ)):
        pipeline = redis.pipeline(transaction=False)
        for symbol in some:
            pipeline.hgetall(market_state.key(symbol))
        for symbol, raw in zip(some, pipeline.execute(), strict=True):
            try:
                row = market_state.decode(raw, market_state.key(symbol))
            except Unreadable as fault:
                faults.append(str(fault))
                continue
            if row is not None:  # else it expired meanwhile
                states[symbol] = row
    return Market(time.time(), states, _status(redis, faults), tuple(faults))


def _symbols(redis: Redis) -> Iterator[str]:
    prefix = market_state.key("")
    seen = set[str]()
    for key in redis.scan_iter(f"{prefix}*", count=1_000, _type="HASH"):
        symbol = bytes(key).decode("utf-8", "backslashreplace").removeprefix(prefix)
        if symbol not in seen:
            seen.add(symbol)
            yield symbol


def _status(redis: Redis, faults: list[str]) -> PublisherStatus | None:
    raw = redis.hgetall(market_state.STATUS_KEY)
    try:
        return hashes.decode_or_absent(raw, PublisherStatus, market_state.STATUS_KEY)
    except Unreadable as fault:
        faults.append(shown(str(fault)))
        return None
