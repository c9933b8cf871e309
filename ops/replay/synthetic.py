"""Synthetic prices of three regimes, by numpy's legacy generator, so that a seed means the same prices for ever."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def trend(noise: Floats) -> Floats:
    """Drift 0.2 % a candle with 1 % of noise."""
    return np.asarray(100 * np.exp(np.cumsum(noise * 0.01 + 0.002)))


def mean_revert(noise: Floats) -> Floats:
    """Return to 100 by a twentieth of the distance each candle."""
    prices, price = np.empty(len(noise)), 100.0
    for index, shock in enumerate(noise):
        price += 0.05 * (100.0 - price) + shock * 0.015
        prices[index] = price
    return prices


def chop(noise: Floats) -> Floats:
    """Walk in steps of 0.02 around 100."""
    return np.asarray(100 + np.cumsum(noise * 0.02))


REGIMES: dict[str, Callable[[Floats], Floats]] = {"trend": trend, "mean_revert": mean_revert, "chop": chop}


def synthetic_prices(regime: str, seed: int, count: int) -> Floats:
    """Make `count` prices of a regime; the same for the same seed everywhere."""
    return REGIMES[regime](np.random.RandomState(seed).randn(count))
