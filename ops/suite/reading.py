"""What the board shows, read from Redis into plain values. Reading never fails: what cannot be read is said."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec
from redis import Redis

from microservices.contracts import candles, claim, decision, hashes, market_state, permit, position, result
from microservices.contracts.control import Mode
from microservices.contracts.decision import Window
from microservices.contracts.fields import RawHash, Unreadable
from microservices.contracts.market_state import MarketStateRow
from microservices.contracts.position import AccountRow
from microservices.contracts.result import Result
from microservices.contracts.universe_reader import Allowlist, Tier, UniverseReader
from microservices.runtime import streams
from ops.suite.orders import OrdersLine, orders_line
from ops.suite.positions import PositionLine, compare

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

RECENT_S = 300
EVENTS_MAX = 5_000
TOP_REASONS = 6
FEED_MAX_AGE_S = 15
"""The feed writes its status every 10 s, and besides after each round of requests, which takes a few."""


@dataclass(frozen=True)
class ServiceLine:
    """One service: whether its sign of life is young enough, and what it says of itself."""

    name: str
    ready: bool
    says: str


@dataclass(frozen=True)
class SuiteView:
    """Everything the board shows, at one moment."""

    at: float
    tier: Tier
    universe_count: int
    universe_age_s: int
    refused: tuple[str, ...]
    services: tuple[ServiceLine, ...]
    states: dict[str, MarketStateRow]
    permits_allowed: int
    permits_denied: Counter[str]
    orders: OrdersLine
    positions: tuple[PositionLine, ...]
    decisions: dict[str, int]
    reasons: tuple[tuple[str, int], ...]
    faults: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether every service gives its sign of life."""
        return all(service.ready for service in self.services)


class SuiteReader:
    """Read the suite's Redis for the board.

    Args:
        redis: a client whose answers are bytes.
        publish_interval_s: how often market state is published, to judge whether it is late.
    """

    def __init__(self, redis: Redis, publish_interval_s: float) -> None:
        self._redis = redis
        self._publish_interval_s = publish_interval_s
        self._universe = UniverseReader(redis, Mode.PAPER)
        self._faults: list[str] = []

    def read(self) -> SuiteView:
        """Read it all once.

        Raises:
            redis.exceptions.RedisError: Redis is away.
        """
        now = time.time()
        self._faults = []
        self._universe.refresh()
        allowlist = self._universe.current(now)
        allowed, denied = self._permits(now)
        return SuiteView(
            at=now,
            tier=allowlist.source,
            universe_count=allowlist.count,
            universe_age_s=allowlist.age_s(now),
            refused=allowlist.refused,
            services=tuple(self._services(now, allowlist)),
            states=self._states(allowlist.symbols),
            permits_allowed=allowed,
            permits_denied=denied,
            orders=orders_line(list(self._results(now)), self._status(claim.STATUS_KEY, claim.ApplyStatus)),
            positions=self._positions(),
            decisions=self._decisions(),
            reasons=self._reasons(),
            faults=tuple(self._faults),
        )

    def _readable(self, read: Callable[[], T | None]) -> T | None:
        """Return what could be read, or None with the fault kept for the board."""
        try:
            return read()
        except Unreadable as fault:
            self._faults.append(str(fault))
            return None

    def _services(self, now: float, allowlist: Allowlist) -> Iterable[ServiceLine]:
        yield ServiceLine("universe", allowlist.source is Tier.UNIVERSE, f"{allowlist.count} symbols")
        yield self._feed(now)
        yield self._publisher(now)
        yield self._brain(now)
        yield self._apply_layer(now)
        yield self._decision_intelligence(now)

    def _feed(self, now: float) -> ServiceLine:
        row = self._status(candles.STATUS_KEY, candles.FeedStatus)
        if row is None or row.symbols == 0:
            return _silent("candles")
        return _heartbeat(
            "candles",
            f"{row.symbols} symbols, {row.live} by stream, {row.lagging} lagging",
            now - row.updated_at,
            FEED_MAX_AGE_S,
        )

    def _publisher(self, now: float) -> ServiceLine:
        row = self._status(market_state.STATUS_KEY, market_state.PublisherStatus)
        if row is None or row.published == 0:
            return _silent("marketstate")
        says = f"{row.published} published, {row.skipped} skipped in {row.cycle_ms} ms"
        return _heartbeat("marketstate", says, now - row.last_cycle_epoch, 3 * self._publish_interval_s)

    def _brain(self, now: float) -> ServiceLine:
        row = self._status(position.STATUS_KEY, position.BrainStatus)
        if row is None or row.snapshot_age_ms < 0:
            return _silent("brain")
        says = f"allowlist {row.allowlist_source}, snapshot {row.snapshot_age_ms} ms old"
        return _heartbeat("brain", says, now - row.last_ts, position.HEARTBEAT_S)

    def _apply_layer(self, now: float) -> ServiceLine:
        row = self._status(claim.STATUS_KEY, claim.ApplyStatus)
        if row is None:
            return _silent("apply")
        says = f"{row.waiting} waiting, {row.open_claims} open claims"
        return _heartbeat("apply", says, now - row.last_ts, claim.HEARTBEAT_S)

    def _decision_intelligence(self, now: float) -> ServiceLine:
        row = self._status(decision.STATUS_KEY, decision.P35Status)
        if row is None or not row.last_ts:
            return _silent("decisions")
        says = f"{row.processed_total} counted, {row.lost_total} lost"
        return _heartbeat("decisions", says, now - row.last_ts, decision.HEARTBEAT_S)

    def _status(self, key: str, kind: type[S]) -> S | None:
        return self._readable(lambda: hashes.decode_or_absent(self._redis.hgetall(key), kind, key))

    def _states(self, symbols: Iterable[str]) -> dict[str, MarketStateRow]:
        ordered = sorted(symbols)
        answers = self._hashes(market_state.key(symbol) for symbol in ordered)
        states = {}
        for symbol, raw in zip(ordered, answers, strict=True):
            row = self._readable(partial(market_state.decode, raw, symbol))
            if row is not None:
                states[symbol] = row
        return states

    def _permits(self, now: float) -> tuple[int, Counter[str]]:
        since = f"{int((now - RECENT_S) * 1000)}-0"
        allowed, denied = 0, Counter[str]()
        for entry in streams.newest_entries(self._redis, permit.EVENTS, count=EVENTS_MAX, since=since):
            event = self._readable(partial(permit.decode_event, entry.fields or {}, permit.EVENTS))
            if event is None or not event.plan_entry_id:  # the brain also tells of adoptions, which are no verdicts
                continue
            if event.allow:
                allowed += 1
            else:
                denied[event.reason] += 1
        return allowed, denied

    def _results(self, now: float) -> Iterable[Result]:
        since = f"{int((now - RECENT_S) * 1000)}-0"
        for entry in streams.newest_entries(self._redis, result.STREAM, count=EVENTS_MAX, since=since):
            ended = self._readable(partial(result.decode, entry.fields or {}, f"{result.STREAM} {entry.id}"))
            if ended is not None:
                yield ended

    def _positions(self) -> tuple[PositionLine, ...]:
        symbols = sorted(self._symbols_of(position.ledger_key("")) | self._symbols_of(position.snapshot_key("")))
        account = self._readable(lambda: position.decode_account(self._redis.hgetall(position.ACCOUNT_KEY)))
        snapshots = self._hashes(position.snapshot_key(symbol) for symbol in symbols)
        ledgers = self._hashes(position.ledger_key(symbol) for symbol in symbols)
        lines = []
        for symbol, snapshot, ledger in zip(symbols, snapshots, ledgers, strict=True):
            line = self._readable(partial(_position_line, symbol, account, snapshot, ledger))
            if line is not None and not line.is_flat:
                lines.append(line)
        return tuple(lines)

    def _symbols_of(self, prefix: str) -> set[str]:
        keys = self._redis.scan_iter(f"{prefix}*", count=1000)
        return {bytes(key).decode("utf-8", "backslashreplace").removeprefix(prefix) for key in keys}

    def _decisions(self) -> dict[str, int]:
        counts = self._hashes([decision.counts_key(Window.M5)])[0]
        return {name.decode(): int(count) for name, count in counts.items()}

    def _reasons(self) -> tuple[tuple[str, int], ...]:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zrevrange(decision.reasons_key(Window.M5), 0, TOP_REASONS - 1, withscores=True)
        return tuple((name.decode(), int(count)) for name, count in pipeline.execute()[0])

    def _hashes(self, keys: Iterable[str]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.hgetall(key)
        return pipeline.execute()


def _position_line(symbol: str, account: AccountRow | None, snapshot: RawHash, ledger: RawHash) -> PositionLine:
    return compare(symbol, account, position.decode_snapshot(snapshot, symbol), position.decode_ledger(ledger, symbol))


def _silent(name: str) -> ServiceLine:
    return ServiceLine(name, ready=False, says="no sign of life yet")


def _heartbeat(name: str, says: str, age_s: float, max_age_s: float) -> ServiceLine:
    """Judge a heartbeat; two seconds are allowed for the way it takes."""
    return ServiceLine(name, ready=age_s <= max_age_s + 2, says=f"{says}, {max(age_s, 0):.0f} s ago")
