"""The publisher's one loop: read closes, compute states, publish; and say what was not published and why."""

import json
import logging
from collections.abc import Mapping, Sequence

from redis import Redis

from ai_engine.market_state import MarketState
from ai_engine.uncertainty import Interval, mu_interval
from microservices.contracts.market_state import MarketStateRow, PublisherStatus, Source
from microservices.contracts.universe_reader import UniverseReader
from microservices.market_state_publisher import metrics, publication
from microservices.market_state_publisher.candle_window import Skipped, Window
from microservices.market_state_publisher.keeper import StateKeeper
from microservices.market_state_publisher.schedule import until_next_cycle_s
from microservices.market_state_publisher.settings import Settings
from microservices.market_state_publisher.sources import CandleSource, PriceSource, SyntheticSource
from microservices.market_state_publisher.writer import StateWriter
from microservices.runtime import Clock, Context, Loop

_log = logging.getLogger(__name__)

UNIT = "quantum-marketstate"
_LINE_PER_SYMBOL_UP_TO = 20
_WARM_UP_EVERY_S = 1.0
_WARM_UP_S = 120.0
"""So long after the start, symbols whose candles arrive late are published as they come, not an interval later."""


def build(context: Context[Settings]) -> "Publisher":
    """Make the service from its settings and connections."""
    return Publisher(context.settings, context.redis, context.clock)


class Publisher:
    """Publishes market state of all symbols, phase-locked to the wall clock.

    Args:
        settings: the environment.
        redis: a client whose answers are bytes.
        clock: wall and monotonic time.
    """

    def __init__(self, settings: Settings, redis: Redis, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        market_state = MarketState(settings.theta)
        self._keeper = StateKeeper(market_state)
        self._source = _make_source(settings, redis, market_state.min_prices)
        self._universe = UniverseReader(redis, settings.trading_mode) if settings.follows_universe else None
        self._interval_s = settings.marketstate_publish_interval
        self._writer = StateWriter(redis, self._interval_s)
        self._started_s = clock.monotonic()
        self._next_cycle_epoch = 0.0
        self._last_cycle_epoch = 0.0
        self._published: set[str] = set()
        self._skipped: dict[str, Skipped] = {}
        self._skips_said: dict[str, str] = {}
        self._universe_said: tuple[int, str] | None = None

    def prepare(self) -> None:
        """Say what will be published."""
        symbols = ",".join(self._settings.marketstate_symbols)
        _log.info("Initialized with symbols=%s interval=%g source=%s", symbols, self._interval_s, self._source.source)

    def loops(self) -> Sequence[Loop]:
        """The one loop."""
        return [Loop("publish", self.tick, shortfall=self.shortfall)]

    def shortfall(self) -> str:
        """Say why the last cycle published nothing; empty where it published at least one symbol."""
        if self._published:
            return ""
        return publication.skipped_line(self._skipped) if self._skipped else "Not published: no symbols"

    def status_line(self) -> str:
        """Say in one line how many symbols are published and how old that is."""
        if not self._last_cycle_epoch:
            return "no cycle yet"
        age_s = self._clock.now() - self._last_cycle_epoch
        return f"{len(self._published)} symbols published, {len(self._skipped)} skipped, {age_s:.0f} s old"

    def close(self) -> None:
        """Nothing to give back: what is published expires by itself."""

    def tick(self) -> float:
        """Publish all symbols where a cycle is due, else those not published so far; return the pause in seconds.

        Raises:
            redis.exceptions.RedisError: Redis did not answer; the cycle stays due.
        """
        now = self._clock.now()
        symbols = self._symbols(now)
        # A wall clock that was set back must not silence the service until it has caught up.
        if not 0 < self._next_cycle_epoch - now <= self._interval_s:
            self._published, self._skipped = set(), {}
            self._publish(symbols, symbols, now)
            self._next_cycle_epoch = now + until_next_cycle_s(now, self._interval_s)
        else:
            late = [symbol for symbol in symbols if symbol not in self._published]
            self._publish(late, symbols, now, only_if_any=True)
        pause_s = max(0.0, self._next_cycle_epoch - self._clock.now())
        return min(pause_s, _WARM_UP_EVERY_S) if self._is_warming_up() else pause_s

    def _is_warming_up(self) -> bool:
        """Whether the feed may still be filling: nothing is published, or not all and the start is not long ago."""
        if not self._published:
            return True
        return bool(self._skipped) and self._clock.monotonic() - self._started_s < _WARM_UP_S

    def _symbols(self, now: float) -> list[str]:
        if self._universe is None:
            return list(dict.fromkeys(self._settings.marketstate_symbols))
        self._universe.refresh()
        allowed = self._universe.current(now)
        why = f" ({'; '.join(allowed.refused)})" if allowed.refused else ""
        line = f"Universe: {allowed.count} symbols from {allowed.source}{why}"
        if (allowed.count, allowed.source) != self._universe_said:
            self._universe_said = (allowed.count, allowed.source)
            _log.log(logging.INFO if allowed.count else logging.WARNING, "%s", line)
        return sorted(allowed.symbols)

    def _publish(self, due: Sequence[str], symbols: Sequence[str], now: float, *, only_if_any: bool = False) -> None:
        started_s = self._clock.monotonic()
        windows: dict[str, Window] = {}
        skipped: dict[str, Skipped] = {}
        for symbol, judged in self._source.windows(due, now):
            if isinstance(judged, Window):
                windows[symbol] = judged
            else:
                skipped[symbol] = judged
        if only_if_any and not windows:
            return
        rows = self._rows(windows, symbols, now)
        skipped |= self._writer.write(rows)
        self._note(rows, skipped)
        cycle_s = self._clock.monotonic() - started_s
        self._last_cycle_epoch = now
        self._report(rows, round(cycle_s * 1000))
        metrics.count_cycle(len(rows), self._skipped, cycle_s, now)

    def _rows(self, windows: Mapping[str, Window], symbols: Sequence[str], now: float) -> dict[str, MarketStateRow]:
        states = self._keeper.states({symbol: window.closes for symbol, window in windows.items()}, symbols)
        return {
            symbol: publication.row_of(
                state, windows[symbol], self._source.source, now, self._interval_of_mu(windows[symbol])
            )
            for symbol, state in states.items()
        }

    def _interval_of_mu(self, window: Window) -> Interval | None:
        confidence = self._settings.marketstate_mu_confidence
        return mu_interval(window.closes, confidence, self._settings.theta) if confidence else None

    def _note(self, rows: Mapping[str, MarketStateRow], skipped: Mapping[str, Skipped]) -> None:
        self._published |= rows.keys() - skipped.keys()
        self._skipped = {symbol: skip for symbol, skip in self._skipped.items() if symbol not in rows}
        self._skipped |= skipped

    def _report(self, rows: Mapping[str, MarketStateRow], cycle_ms: int) -> None:
        reasons = publication.count_reasons(self._skipped)
        self._writer.write_status(
            PublisherStatus(
                published=len(self._published),
                skipped=len(self._skipped),
                skipped_reasons=json.dumps(reasons),
                cycle_ms=cycle_ms,
                last_cycle_epoch=int(self._last_cycle_epoch),
            )
        )
        is_few = len(self._published) + len(self._skipped) <= _LINE_PER_SYMBOL_UP_TO
        for symbol, row in rows.items():
            _log.log(logging.INFO if is_few else logging.DEBUG, "%s", publication.symbol_line(symbol, row))
        if not is_few:
            _log.info("%s", publication.summary_line(len(self._published), self._skipped, cycle_ms))
        said = {symbol: skip.reason.value for symbol, skip in self._skipped.items()}
        if said != self._skips_said:
            self._skips_said = said
            if said:
                _log.warning("%s", publication.skipped_line(self._skipped))


def _make_source(settings: Settings, redis: Redis, needed: int) -> PriceSource:
    window = settings.marketstate_window_size
    if settings.marketstate_source is Source.SYNTHETIC:
        return SyntheticSource(window)
    return CandleSource(redis, window=window, needed=needed, max_age_s=settings.marketstate_max_age_sec)
