"""Prices for proof runs: a walk per symbol, the same for the same symbol on every machine. Never mixed with candles."""

import hashlib

import numpy as np
import numpy.typing as npt

from microservices.contracts import candles
from microservices.market_state_publisher.candle_window import Window

_CANDLE_S = candles.INTERVAL_MS // 1000
_STEP_SIGMA = 0.001
_DRIFT_SIGMA = 0.0002


class SyntheticMarket:
    """Grow one close per symbol and minute, keeping the newest `window` of them.

    Args:
        window: closes kept for each symbol.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._walks: dict[str, _Walk] = {}

    def closes(self, symbol: str, now: float) -> Window:
        """Give the closes up to the last whole minute; the first call starts the symbol's walk."""
        minute = int(now) // _CANDLE_S
        walk = self._walks.setdefault(symbol, _Walk(symbol, self._window, minute))
        walk.advance(minute)
        return Window(walk.prices.copy(), minute * _CANDLE_S)


class _Walk:
    """A geometric random walk with a drift and a start of the symbol's own."""

    def __init__(self, symbol: str, window: int, minute: int) -> None:
        # Not hash(): it differs from process to process.
        seed = int.from_bytes(hashlib.sha256(symbol.encode()).digest()[:8])
        self._rng = np.random.default_rng(seed)
        self._drift = self._rng.normal(0, _DRIFT_SIGMA)
        self._window = window
        self._minute = minute
        self.prices = self._continued(10 ** self._rng.uniform(-2, 4), window)

    def advance(self, minute: int) -> None:
        """Add a close for every minute since the last call; time that goes backwards adds nothing."""
        steps = min(minute - self._minute, self._window)
        if steps > 0:
            grown = np.concatenate((self.prices, self._continued(float(self.prices[-1]), steps)))
            self.prices = grown[-self._window :]
            self._minute = minute

    def _continued(self, price: float, steps: int) -> npt.NDArray[np.float64]:
        returns = self._rng.normal(self._drift, _STEP_SIGMA, steps)
        return np.asarray(price * np.exp(np.cumsum(returns)))
