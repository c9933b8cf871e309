"""The candle feed: live candles are stored as they come; what they leave out is planned, asked for and stored."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from microservices.candle_feed import metrics, planning
from microservices.candle_feed.book import Book
from microservices.candle_feed.budget import WeightBudget
from microservices.candle_feed.fetching import Fetcher, Pass, Task
from microservices.candle_feed.live import Live, LiveCandles
from microservices.candle_feed.live_intake import LiveIntake
from microservices.candle_feed.planning import Request, Window
from microservices.candle_feed.settings import Settings
from microservices.candle_feed.shards import Shard
from microservices.candle_feed.store import CandleStore
from microservices.candle_feed.symbols import FollowedSymbols
from microservices.candle_feed.validation import Examined
from microservices.contracts.candles import INTERVAL_MS, FeedStatus
from microservices.contracts.control import BACKOFF_KEY
from microservices.exchange import (
    ExchangeError,
    PublicClient,
    SharedBackoff,
    Throttled,
    combined_url,
    kline_stream,
)
from microservices.exchange.stream_connection import StreamConnection
from microservices.runtime import Context, Loop

UNIT = "quantum-candle-feed"
UNIVERSE_EVERY_S = 10.0
UNIVERSE_AWAITED_EVERY_S = 0.5
HEARTBEAT_S = 10.0
LIVE_WAIT_S = 0.5
REPORT_EVERY_S = 1.0  # while candles come by stream
# Of the weight, what is left for asking the exchange's time: three attempts of one measurement.
TIME_ROOM = 3
# A newest candle that is not there so long after its close counts as lagging.
LAGGING_AFTER_MS = 15_000

_log = logging.getLogger(__name__)


def build(context: Context[Settings]) -> "CandleFeed":
    """Make the service from its settings and connections."""
    settings = context.settings
    backoff = SharedBackoff(context.redis, BACKOFF_KEY, UNIT)
    client = PublicClient(settings.base_url, clock=context.clock, backoff=backoff)

    def open_stream(symbols: Shard) -> StreamConnection:
        url = combined_url(settings.stream_url, [kline_stream(symbol) for symbol in sorted(symbols)])
        return StreamConnection(url, clock=context.clock, backoff=backoff)

    return CandleFeed(context, client, backoff, LiveCandles(open_stream, context.clock))


class CandleFeed:
    """Keeps the newest candles of every followed symbol in Redis.

    Args:
        context: settings, Redis, clock and the sign to stop.
        client: the exchange.
        backoff: the back-off that all services share; the client tells it of throttling.
        live: the streams.
    """

    def __init__(self, context: Context[Settings], client: PublicClient, backoff: SharedBackoff, live: Live) -> None:
        settings = context.settings
        self._keep = settings.candles_keep
        self._clock = context.clock
        self._client = client
        self._store = CandleStore(context.redis, settings.candles_keep)
        self._followed = FollowedSymbols(context.redis, settings.trading_mode, settings.candles_symbols)
        self._budget = WeightBudget(settings.candles_weight_per_min - TIME_ROOM)
        self._fetcher = Fetcher(client, backoff, self._budget, context.clock, context.stop)
        self._book = Book(self._store, settings.candles_keep, context.clock)
        self._live = live
        self._intake = LiveIntake(client, context.clock)
        self._covered = Shard()
        self._troubles: dict[str, str] = {}
        self._status = FeedStatus(0, 0, 0, 0, 0, 0)
        self._reported_at = float("-inf")
        self._candles = Loop("candles", self.tick_candles, shortfall=self.shortfall)
        self._universe = Loop("universe", self.tick_universe)
        self._streams = Loop("live", self.tick_live)

    def prepare(self) -> None:
        """Need nothing: symbols, exchange and stored candles are all met in the loops."""

    def loops(self) -> Sequence[Loop]:
        """Give the loops that follow the universe, ask for candles, and store live ones."""
        return (self._universe, self._candles, self._streams)

    def status_line(self) -> str:
        """Say how many symbols are followed, how many lag, and how new the newest candle is."""
        if not self._followed.symbols:
            return "waiting for the universe"
        status = self._status
        close = _clock_time(status.last_close_epoch) if status.last_close_epoch else "-"
        held_s = self._fetcher.held_s()
        held = f", held up by the exchange for {held_s:.0f} s" if held_s else ""
        return f"{status.symbols} symbols, {status.live} live, {status.lagging} lagging, newest close {close}{held}"

    def close(self) -> None:
        """Let go of threads and connections."""
        self._live.close()
        self._fetcher.close()
        self._client.close()

    def shortfall(self) -> str:
        """Say in one line what the last round of candles left undone; empty where every newest candle is there."""
        status = self._status
        if not status.symbols:
            return "no symbols: CANDLES_SYMBOLS is empty, and there is no valid universe"
        return f"{status.lagging} of {status.symbols} symbols lack their newest candle" if status.lagging else ""

    def tick_universe(self) -> float:
        """Read which symbols are followed; wake the candles' loop where they changed.

        Raises:
            redis.exceptions.RedisError: Redis did not answer.
        """
        if self._followed.refresh(self._clock.now()):
            self._candles.wake.set()
        return UNIVERSE_EVERY_S if self._followed.symbols else UNIVERSE_AWAITED_EVERY_S

    def tick_live(self) -> float:
        """Store the closed candles that the streams have brought; wait half a second for the first of them.

        Raises:
            ExchangeError: the exchange's time is not known, so that no candle can be told to be closed.
            redis.exceptions.RedisError: Redis is away; what it did not take is asked for later.
        """
        self._live.follow(self._followed.symbols)
        events = self._live.take(LIVE_WAIT_S)
        is_left = self._book.take_live(self._intake.candles(events)) if events else False
        reopened, covered = self._live.reopened(), self._live.covered()
        if is_left or reopened or covered != self._covered:
            self._candles.wake.set()
        self._covered = covered
        if reopened:
            # While nobody listened a candle may have been corrected; one that is missing is asked for anyhow.
            self._book.verify(reopened)
            # A machine that slept lost its connections, and its monotonic clock stood still meanwhile.
            self._client.sync_time()
        if events and self._clock.monotonic() - self._reported_at >= REPORT_EVERY_S:
            self._report(self._client.exchange_time_ms())
        return 0.0

    def tick_candles(self) -> float:
        """Fetch what is missing, for about two seconds at most, and return when to go on.

        Raises:
            ExchangeError: the exchange is away.
            redis.exceptions.RedisError: Redis is away.
        """
        if not self._followed.symbols:
            self._book.follow((), 0)
            self._report(None)
            return HEARTBEAT_S
        now_ms = None
        try:
            planned_ms = now_ms = self._client.exchange_time_ms()
            self._book.follow(self._followed.symbols, planning.newest_settled_ms(planned_ms, 0))
            done = self._fetch(planned_ms)
            now_ms = self._client.exchange_time_ms()
        finally:
            self._report(now_ms)
        return self._pause_s(done, planned_ms, now_ms)

    def _fetch(self, now_ms: int) -> Pass:
        window = planning.wanted(now_ms, self._keep)
        graced = planning.wanted(now_ms, self._keep, planning.STREAM_GRACE_MS)
        needs = self._book.needs({False: window, True: graced}, self._covered)
        requests = planning.plan(needs.missing, window)
        fresh = [Task(request, None) for request in requests if not planning.is_deep(request, window)]
        # What can wait leaves room for the next minute's candles of all symbols.
        later = [*needs.verify, *(request for request in requests if planning.is_deep(request, window))]
        tasks = [*fresh, *(Task(request, len(self._book)) for request in later)]
        done = self._fetcher.run(tasks, partial(self._take, window))
        for symbol, error in done.failures:
            if not isinstance(error, Throttled):  # that is no symbol's own trouble
                self._failed(symbol, error)
        return done

    def _take(self, window: Window, request: Request, examined: Examined) -> None:
        """Store the candles of an answer."""
        for fault, count in examined.faults.items():
            metrics.REFUSED.labels(fault=fault.value).inc(count)
        self._book.take_answer(request, examined.candles, window.last_ms)
        self._tell_trouble(request.symbol, ", ".join(sorted(examined.faults)))

    def _failed(self, symbol: str, error: ExchangeError) -> None:
        self._book.postpone(symbol)
        self._tell_trouble(symbol, error.why)

    def _tell_trouble(self, symbol: str, trouble: str) -> None:
        """Log what is wrong with a symbol's answers when it changes."""
        before = self._troubles.get(symbol, "")
        if trouble == before:
            return
        if trouble:
            self._troubles[symbol] = trouble
            _log.warning("%s: %s", symbol, trouble)
        else:
            del self._troubles[symbol]
            _log.info("%s: candles are good again (before: %s)", symbol, before)

    def _report(self, now_ms: int | None) -> None:
        """Write the status hash and the gauges; where the exchange's time is not known every symbol lags."""
        symbols = len(self._book)
        lagging = symbols
        if now_ms is not None:
            lagging = self._book.lagging(planning.newest_settled_ms(now_ms - LAGGING_AFTER_MS))
        newest_ms = self._book.newest_ms
        self._status = FeedStatus(
            symbols=symbols,
            lagging=lagging,
            last_close_epoch=(newest_ms + INTERVAL_MS) // 1000 if newest_ms else 0,
            gaps_filled_total=self._book.gaps_filled,
            reconnects_total=self._live.reconnects,
            updated_at=int(self._clock.now()),
            live=len(self._covered),
        )
        self._store.write_status(self._status)
        self._reported_at = self._clock.monotonic()
        metrics.SYMBOLS.set(symbols)
        metrics.LAGGING.set(lagging)
        metrics.COVERED.set(self._status.live)
        metrics.LAST_CLOSE.set(self._status.last_close_epoch)
        metrics.WEIGHT_USED.set(self._budget.used)
        metrics.EXCHANGE_WEIGHT.set(self._client.used_weight or 0)

    def _pause_s(self, done: Pass, planned_ms: int, now_ms: int) -> float:
        """Return the seconds until the next candle settles, a symbol may be asked again, or a hold-up ends.

        A candle that settled while the round was under way is none of what it was planned for: 0 then.
        """
        graces = (planning.SETTLE_MS, planning.STREAM_GRACE_MS) if self._covered else (planning.SETTLE_MS,)
        settles_ms = min(planning.next_settled_at_ms(planned_ms, grace) for grace in graces)
        settles_s = max(0, settles_ms - now_ms) / 1000
        if done.left:
            return min(done.wait_s, settles_s, HEARTBEAT_S)
        return min(settles_s, HEARTBEAT_S, self._book.next_ask_s())


def _clock_time(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%H:%M UTC")
