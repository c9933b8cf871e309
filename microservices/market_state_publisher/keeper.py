"""Computes states cycle after cycle: only what is new where a window moved by one candle, else from its closes."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ai_engine.market_state import LiveEngine, MarketState

Closes = npt.NDArray[np.float64]


class StateKeeper:
    """Keeps the live engine and which closes it stands on; a window that is not its continuation is begun anew.

    The states are those of `get_states` on the same closes: what the candle store says now counts, corrections of old
    candles included.

    Args:
        market_state: the calculator.
    """

    def __init__(self, market_state: MarketState) -> None:
        self._market_state = market_state
        self._engine: LiveEngine = market_state.live(())
        self._symbols: frozenset[str] = frozenset()
        self._closes: dict[str, Closes] = {}
        self._states: dict[str, dict[str, Any]] = {}

    def states(self, closes: Mapping[str, Closes], symbols: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Compute the state of each symbol's closes.

        Args:
            closes: as many as one state needs or more, oldest first, without fault.
            symbols: all symbols of this time; the engine is made for them.
        """
        self._serve(frozenset(symbols) | closes.keys())
        needed = self._market_state.min_prices
        new = {
            symbol: values[-needed:].copy() for symbol, values in closes.items() if not self._stands_on(symbol, values)
        }
        for symbol, values in new.items():
            if not self._continues(symbol, values):
                self._engine.seed(symbol, values[:-1])
        pushed = self._engine.push({symbol: float(values[-1]) for symbol, values in new.items()})
        self._states |= {symbol: state for symbol, state in pushed.items() if state is not None}
        self._closes |= new
        return {symbol: self._states[symbol] for symbol in closes}

    def _serve(self, symbols: frozenset[str]) -> None:
        if symbols != self._symbols:
            self._symbols = symbols
            self._engine = self._market_state.live(sorted(symbols))
            self._closes, self._states = {}, {}

    def _stands_on(self, symbol: str, closes: Closes) -> bool:
        kept = self._closes.get(symbol)
        return kept is not None and np.array_equal(kept, closes[-len(kept) :])

    def _continues(self, symbol: str, closes: Closes) -> bool:
        kept = self._closes.get(symbol)
        return kept is not None and np.array_equal(kept[1:], closes[:-1])
