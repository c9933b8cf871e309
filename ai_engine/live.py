"""An engine that keeps its state: one new close per symbol in, the states of all of them out."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ai_engine import engine, formulas
from ai_engine.formulas import Columns
from ai_engine.prices import Floats, Prices, checked, log_prices, price_fault
from ai_engine.theta import Theta


class LiveEngine:
    """Keeps the newest closes of its symbols and their trend windows in order; made by `MarketState.live`.

    The numbers are those of `get_state` on the same closes, however many were pushed: nothing is accumulated. One
    thread at a time.

    Args:
        symbols: every symbol that will ever be pushed.
        theta: the parameters.

    Raises:
        ValueError: a symbol stands twice.
    """

    def __init__(self, symbols: Iterable[str], theta: Theta) -> None:
        names = list(symbols)
        self._lanes = {symbol: lane for lane, symbol in enumerate(names)}
        if len(self._lanes) < len(names):
            raise ValueError("symbols holds a name twice")
        self._theta = theta
        self._logs = np.full((len(names), theta.min_prices), np.nan)
        self._spare = self._logs.copy()
        self._filled = np.zeros(len(names), dtype=np.int64)
        self._returns = engine.return_windows(len(names), theta)
        trend_windows = theta.trend_windows if theta.trend_method == "theil_sen" else ()
        self._slopes = [engine.slope_windows(len(names), window) for window in trend_windows]

    def seed(self, symbol: str, prices: Prices) -> None:
        """Begin a symbol anew with these closes, oldest first; fewer than needed are kept until more are pushed.

        Raises:
            ValueError: an unknown symbol, or a price as in `get_state`.
        """
        lane = self._lane(symbol)
        logs = log_prices(checked(symbol, prices)[-self._theta.min_prices :], self._theta.eps)
        self._logs[lane] = np.nan
        self._logs[lane, self._logs.shape[1] - len(logs) :] = logs
        self._filled[lane] = len(logs)
        self._returns.forget(lane)
        for slopes in self._slopes:
            slopes.fill(lane, logs)

    def push(self, closes: Mapping[str, float]) -> dict[str, dict[str, Any] | None]:
        """Add one closed candle per symbol; return the state of each of these symbols, None while it has too few.

        Raises:
            ValueError: an unknown symbol or a close that is not finite or not above 0; nothing is pushed then.
        """
        columns, ready = self.push_columns(closes)
        states = formulas.states(columns, self._theta)
        return {symbol: next(states) if is_ready else None for symbol, is_ready in zip(closes, ready, strict=True)}

    def push_columns(self, closes: Mapping[str, float]) -> tuple[Columns, list[bool]]:
        """Do what `push` does and give arrays: a row for each symbol that has enough, and which these are."""
        lanes = np.array([self._lane(symbol) for symbol in closes], dtype=np.int64)
        logs = self._checked_logs(closes)
        everything = len(lanes) == len(self._logs) and bool((lanes[1:] > lanes[:-1]).all())
        kept = self._shift_all(logs) if everything else self._shift_some(lanes, logs)
        self._filled[lanes] += 1
        ready = self._filled[lanes] >= self._theta.min_prices
        slopes = [windows.push(lanes, logs)[ready] for windows in self._slopes]
        rows = kept if ready.all() else kept[ready]
        measures = self._returns.push(lanes[ready], rows)
        mu = formulas.weighted(slopes, self._theta) if slopes else formulas.trend(rows, self._theta)
        return formulas.compute(measures, mu, self._theta), ready.tolist()

    def _lane(self, symbol: str) -> int:
        try:
            return self._lanes[symbol]
        except KeyError:
            raise ValueError(f"{symbol} is not one of the engine's symbols") from None

    def _checked_logs(self, closes: Mapping[str, float]) -> Floats:
        if price_fault([*closes.values()]) is not None:
            for symbol, close in closes.items():
                checked(symbol, [close])
        return log_prices(np.array([*closes.values()], dtype=np.float64), self._theta.eps)

    def _shift_all(self, logs: Floats) -> Floats:
        # Two buffers take turns: fresh memory each time costs more than the copy.
        self._spare[:, :-1] = self._logs[:, 1:]
        self._spare[:, -1] = logs
        self._logs, self._spare = self._spare, self._logs
        return self._logs

    def _shift_some(self, lanes: npt.NDArray[np.int64], logs: Floats) -> Floats:
        moved = np.concatenate((self._logs[lanes, 1:], logs[:, None]), axis=1)
        self._logs[lanes] = moved
        return moved
