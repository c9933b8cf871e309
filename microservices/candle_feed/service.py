"""The candle feed: what is missing is planned, asked for, examined and stored, newest candles of all symbols first."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from microservices.candle_feed import metrics, planning
from microservices.candle_feed.budget import WeightBudget
from microservices.candle_feed.fetching import Fetcher, Pass, Task
from microservices.candle_feed.history import History
from microservices.candle_feed.planning import Request, Window
from microservices.candle_feed.settings import Settings
from microservices.candle_feed.store import CandleStore
from microservices.candle_feed.symbols import FollowedSymbols
from microservices.candle_feed.validation import Examined
from microservices.contracts.candles import INTERVAL_MS, FeedStatus
from microservices.contracts.control import BACKOFF_KEY
from microservices.exchange import ExchangeError, PublicClient, SharedBackoff, Throttled
from microservices.runtime import Context, Loop

UNIT = "quantum-candle-feed"
UNIVERSE_EVERY_S = 10.0
UNIVERSE_AWAITED_EVERY_S = 0.5
HEARTBEAT_S = 10.0
# A newest candle that is not there so long after its close counts as lagging.
LAGGING_AFTER_MS = 15_000

_log = logging.getLogger(__name__)


def build(context: Context[Settings]) -> "CandleFeed":
    """Make the service from its settings and connections."""
    settings = context.settings
    backoff = SharedBackoff(context.redis, BACKOFF_KEY, UNIT)
    client = PublicClient(settings.base_url, clock=context.clock, backoff=backoff)
    return CandleFeed(context, client, backoff)


class CandleFeed:
    """Keeps the newest candles of every followed symbol in Redis.

    Args:
        context: settings, Redis, clock and the sign to stop.
        client: the exchange.
        backoff: the back-off that all services share; the client tells it of throttling.
    """

    def __init__(self, context: Context[Settings], client: PublicClient, backoff: SharedBackoff) -> None:
        settings = context.settings
        self._keep = settings.candles_keep
        self._clock = context.clock
        self._client = client
        self._store = CandleStore(context.redis, settings.candles_keep)
        self._followed = FollowedSymbols(context.redis, settings.trading_mode, settings.candles_symbols)
        self._budget = WeightBudget(settings.candles_weight_per_min)
        self._fetcher = Fetcher(client, backoff, self._budget, context.clock, context.stop)
        self._histories: dict[str, History] = {}
        self._troubles: dict[str, str] = {}
        self._gaps_filled = 0
        self._newest_ms = 0
        self._status = FeedStatus(0, 0, 0, 0, 0, 0)
        self._candles = Loop("candles", self.tick_candles, shortfall=self.shortfall)
        self._universe = Loop("universe", self.tick_universe)

    def prepare(self) -> None:
        """Need nothing: symbols, exchange and stored candles are all met in the loops."""

    def loops(self) -> Sequence[Loop]:
        """Give the loop that follows the universe and the one that follows the candles."""
        return (self._universe, self._candles)

    def status_line(self) -> str:
        """Say how many symbols are followed, how many lag, and how new the newest candle is."""
        if not self._followed.symbols:
            return "waiting for the universe"
        status = self._status
        close = _clock_time(status.last_close_epoch) if status.last_close_epoch else "-"
        held_s = self._fetcher.held_s()
        held = f", held up by the exchange for {held_s:.0f} s" if held_s else ""
        return f"{status.symbols} symbols, {status.lagging} lagging, newest close {close}{held}"

    def close(self) -> None:
        """Let go of threads and connections."""
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

    def tick_candles(self) -> float:
        """Fetch what is missing, for about two seconds at most, and return when to go on.

        Raises:
            ExchangeError: the exchange is away.
            redis.exceptions.RedisError: Redis is away.
        """
        self._follow()
        if not self._histories:
            self._report(None)
            return HEARTBEAT_S
        window = planning.wanted(self._client.exchange_time_ms(), self._keep)
        done = self._fetch(window)
        now_ms = self._client.exchange_time_ms()
        self._report(now_ms)
        return self._pause_s(done, now_ms)

    def _follow(self) -> None:
        """Take up symbols that came, with what is stored of them, and forget those that went."""
        symbols = self._followed.symbols
        for symbol in symbols:
            if symbol not in self._histories:
                history = History(self._store.stored_minutes(symbol))
                self._histories[symbol] = history
                self._newest_ms = max(self._newest_ms, history.newest_ms() or 0)
        for symbol in self._histories.keys() - set(symbols):
            del self._histories[symbol]
            self._troubles.pop(symbol, None)

    def _fetch(self, window: Window) -> Pass:
        now = self._clock.monotonic()
        missing = {
            symbol: history.missing(window, now) for symbol, history in self._histories.items() if history.ask_at <= now
        }
        # Deeper history leaves room for the next minute's candles of all symbols.
        keep_free = len(self._histories)
        tasks = [
            Task(request, keep_free if planning.is_deep(request, window) else None)
            for request in planning.plan(missing, window)
        ]
        done = self._fetcher.run(tasks, lambda request, examined: self._take(request, examined, window))
        for symbol, error in done.failures:
            if not isinstance(error, Throttled):  # that is no symbol's own trouble
                self._failed(symbol, error)
        return done

    def _take(self, request: Request, examined: Examined, window: Window) -> None:
        """Store the candles of an answer."""
        for fault, count in examined.faults.items():
            metrics.REFUSED.labels(fault=fault.value).inc(count)
        history = self._histories[request.symbol]
        stored = {candle.open_ms for candle in examined.candles}
        if examined.candles:
            held = self._store.store(request.symbol, examined.candles)
            metrics.STORED.inc(len(stored))
            self._newest_ms = max(self._newest_ms, *stored)
        else:
            held = len(history.stored)
        gaps = history.answered(request, stored, window.last_ms, self._clock.monotonic())
        self._gaps_filled += gaps
        metrics.GAPS_FILLED.inc(gaps)
        if held < len(history.stored):
            _log.warning("%s: candles were taken out of Redis, reading again what is there", request.symbol)
            history.stored = self._store.stored_minutes(request.symbol)
        self._tell_trouble(request.symbol, ", ".join(sorted(examined.faults)))

    def _failed(self, symbol: str, error: ExchangeError) -> None:
        self._histories[symbol].postpone(self._clock.monotonic())
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
        """Write the status hash and the gauges; nothing lags where nothing is followed (`now_ms` None)."""
        lagging = 0
        if now_ms is not None:
            expected_ms = planning.newest_settled_ms(now_ms - LAGGING_AFTER_MS)
            lagging = sum(expected_ms not in history.stored for history in self._histories.values())
        self._status = FeedStatus(
            symbols=len(self._histories),
            lagging=lagging,
            last_close_epoch=(self._newest_ms + INTERVAL_MS) // 1000 if self._newest_ms else 0,
            gaps_filled_total=self._gaps_filled,
            reconnects_total=0,
            updated_at=int(self._clock.now()),
        )
        self._store.write_status(self._status)
        metrics.SYMBOLS.set(self._status.symbols)
        metrics.LAGGING.set(lagging)
        metrics.LAST_CLOSE.set(self._status.last_close_epoch)
        metrics.WEIGHT_USED.set(self._budget.used)
        metrics.EXCHANGE_WEIGHT.set(self._client.used_weight or 0)

    def _pause_s(self, done: Pass, now_ms: int) -> float:
        """Return the seconds until the next candle settles, a symbol may be asked again, or a hold-up ends."""
        now = self._clock.monotonic()
        settles_s = (planning.next_settled_at_ms(now_ms) - now_ms) / 1000
        again_s = (history.ask_at - now for history in self._histories.values() if history.ask_at > now)
        if done.left:
            return min(done.wait_s, settles_s, HEARTBEAT_S)
        return min(settles_s, HEARTBEAT_S, *again_s)


def _clock_time(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%H:%M UTC")
