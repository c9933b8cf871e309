"""MarketState v1.0: one symbol's closes in, robust volatility, robust trend and regime probabilities out.

A pure calculator of the locked specification: same closes, same numbers, whichever way they are asked for.
Units: sigma and mu are log return per candle; everything else is dimensionless.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ai_engine import engine, formulas
from ai_engine.formulas import FIELDS
from ai_engine.live import LiveEngine
from ai_engine.measures import measure
from ai_engine.prices import Floats, Prices, checked, log_prices, price_fault
from ai_engine.regime import dominant_regime
from ai_engine.theta import DEFAULT_THETA, check, merged, read_only

__all__ = ["DEFAULT_THETA", "FIELDS", "LiveEngine", "MarketState", "dominant_regime", "price_fault"]


class MarketState:
    """The calculator for one set of parameters.

    Args:
        theta: parameters to change, merged over `DEFAULT_THETA` key by key at every level.

    Raises:
        ValueError: an unknown key or an impossible value; names the key.
    """

    price_fault = staticmethod(price_fault)

    def __init__(self, theta: Mapping[str, Any] | None = None) -> None:
        complete = merged(theta)
        self._theta = check(complete)
        self.theta: Mapping[str, Any] = read_only(complete)

    @property
    def min_prices(self) -> int:
        """Closes that one state needs; 257 with the defaults."""
        return self._theta.min_prices

    def get_state(self, symbol: str, prices: Prices) -> dict[str, Any] | None:
        """Compute the state of one symbol, or None where there are fewer prices than needed.

        Args:
            symbol: names the prices in an error.
            prices: closes, oldest first.

        Raises:
            ValueError: a price is not finite or not above 0; names the symbol and the index.
        """
        return self.get_states({symbol: prices})[symbol]

    def get_states(self, prices_by_symbol: Mapping[str, Prices]) -> dict[str, dict[str, Any] | None]:
        """Compute the states of many symbols in one call; the same numbers as `get_state`.

        Raises:
            ValueError: as `get_state`, for the first symbol at fault; ask `price_fault` beforehand to spare the others.
        """
        needed = self.min_prices
        closes = {symbol: checked(symbol, prices) for symbol, prices in prices_by_symbol.items()}
        ready = [symbol for symbol, values in closes.items() if len(values) >= needed]
        out: dict[str, dict[str, Any] | None] = dict.fromkeys(closes)
        if ready:
            logs = log_prices(np.stack([closes[symbol][-needed:] for symbol in ready]), self._theta.eps)
            columns = formulas.compute(measure(logs, self._theta), formulas.trend(logs, self._theta), self._theta)
            out.update(zip(ready, formulas.states(columns, self._theta), strict=True))
        return out

    def live(self, symbols: Iterable[str]) -> LiveEngine:
        """Make an engine that keeps the state of these symbols and takes one new close of each at a time.

        Raises:
            ValueError: a symbol stands twice.
        """
        return LiveEngine(symbols, self._theta)

    def replay(self, prices: Prices | Mapping[str, Prices]) -> dict[str, Any]:
        """Compute the state at every candle of a history: what `get_state` says of each prefix.

        Args:
            prices: closes of one history, or of several by symbol.

        Returns:
            Float64 arrays by the names of `FIELDS`; row i belongs to the prefix that ends at index
            min_prices − 1 + i. Empty arrays where the history is too short. By symbol where several were given.

        Raises:
            ValueError: as `get_state`.
        """
        if isinstance(prices, Mapping):
            closes = {symbol: checked(symbol, history) for symbol, history in prices.items()}
            return {symbol: self._replay(history) for symbol, history in closes.items()}
        return self._replay(checked("prices", prices))

    def _replay(self, closes: Floats) -> dict[str, Floats]:
        needed = self.min_prices
        if len(closes) < needed:
            return {name: np.empty(0) for name in FIELDS}
        logs = log_prices(closes, self._theta.eps)
        windows = sliding_window_view(logs, needed)
        mu = self._moving_trend(logs, windows)
        measures = engine.moving_measures(windows, self._theta)
        return dict(formulas.compute(measures, mu, self._theta))

    def _moving_trend(self, logs: Floats, windows: Floats) -> Floats:
        if self._theta.trend_method != "theil_sen":
            return formulas.trend(windows, self._theta)
        slopes = [
            engine.moving_median_slopes(logs[self.min_prices - window :], window)
            for window in self._theta.trend_windows
        ]
        return formulas.weighted(slopes, self._theta)
