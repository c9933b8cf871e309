"""MarketState v1.0: one symbol's closes in, robust volatility, robust trend and regime probabilities out.

A pure calculator of the locked specification: same closes, same numbers, whichever way they are asked for.
Units: sigma and mu are log return per candle; everything else is dimensionless.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ai_engine import fits, regime, theil_sen, volatility
from ai_engine.prices import Floats, Prices, checked, log_prices, price_fault
from ai_engine.regime import dominant_regime
from ai_engine.theta import DEFAULT_THETA, Theta, check, merged, read_only

__all__ = ["DEFAULT_THETA", "FIELDS", "MarketState", "dominant_regime", "price_fault"]

FIELDS = ("sigma", "mu", "ts", "p_trend", "p_mr", "p_chop", "dp", "vr", "spike_proxy")
"""The numbers of one state, as `replay` names them."""

_ROWS_AT_ONCE = 1024
_SLOPES = {
    "theil_sen": theil_sen.median_slopes,
    "ols": fits.least_squares_slopes,
    "huber": fits.huber_slopes,
}


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
        states: dict[str, dict[str, Any] | None] = dict.fromkeys(closes)
        if ready:
            windows = np.stack([closes[symbol][-needed:] for symbol in ready])
            columns = compute(log_prices(windows, self._theta.eps), self._theta)
            for row, symbol in enumerate(ready):
                states[symbol] = state_dict({name: float(columns[name][row]) for name in FIELDS}, self._theta)
        return states

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
            return {symbol: self._replay(symbol, history) for symbol, history in prices.items()}
        return self._replay("prices", prices)

    def _replay(self, symbol: str, prices: Prices) -> dict[str, Floats]:
        closes = checked(symbol, prices)
        count = max(0, len(closes) - self.min_prices + 1)
        out = {name: np.empty(count) for name in FIELDS}
        if count:
            windows = sliding_window_view(log_prices(closes, self._theta.eps), self.min_prices)
            for start in range(0, count, _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                for name, column in compute(windows[rows], self._theta).items():
                    out[name][rows] = column
        return out


def compute(logs: Floats, theta: Theta) -> dict[str, Floats]:
    """Evaluate the formulas on rows of log prices.

    Args:
        logs: ln(p + eps), oldest first; shape (rows, theta.min_prices).
        theta: the parameters.

    Returns:
        One array of shape (rows,) for each of `FIELDS`.
    """
    logs = np.ascontiguousarray(logs)
    returns = np.diff(logs, axis=1)
    sigma, spike_proxy = volatility.sigma_and_spike(returns[:, -theta.vol_window :], theta)
    slope_of = _SLOPES[theta.trend_method]
    mu = np.zeros(len(logs))
    for window, weight in zip(theta.trend_windows, theta.trend_weights, strict=True):
        mu += weight * slope_of(logs[:, -window:])
    ts = np.abs(mu) / (sigma + theta.eps)
    recent = returns[:, -theta.regime_window :]
    dp = regime.directional_persistence(recent)
    vr = regime.variance_ratio(recent, theta.vr_k, theta.eps)
    probabilities = regime.probabilities(ts, dp, vr, theta)
    return dict(zip(FIELDS, (sigma, mu, ts, *probabilities.T, dp, vr, spike_proxy), strict=True))


def state_dict(numbers: Mapping[str, float], theta: Theta) -> dict[str, Any]:
    """Arrange one state's numbers as `get_state` returns them."""
    return {
        "sigma": numbers["sigma"],
        "mu": numbers["mu"],
        "ts": numbers["ts"],
        "regime_probs": {name: numbers[f"p_{name}"] for name in regime.REGIMES},
        "features": {name: numbers[name] for name in ("dp", "vr", "spike_proxy")},
        "windows": {
            "returns_n": theta.vol_window,
            "trend_windows": list(theta.trend_windows),
            "regime_window": theta.regime_window,
        },
        "ts_components": {"mu_abs": abs(numbers["mu"]), "sigma_used": numbers["sigma"]},
    }
