"""Close prices in: what is wrong with them, and their logarithms."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Prices = Sequence[Any] | npt.NDArray[Any]
"""Closes, oldest first: anything numpy reads as a 1-D array of numbers."""


def price_fault(prices: Prices) -> str | None:
    """Say what makes these prices unusable, or None: the first value that is not finite or not above 0.

    Too few prices are no fault. A caller asks this beforehand, so that one bad symbol never costs the others theirs.
    """
    try:
        values = _as_floats(prices)
    except ValueError as error:
        return str(error)
    return _first_bad(values)


def checked(symbol: str, prices: Prices) -> Floats:
    """Return the prices as float64.

    Raises:
        ValueError: they are unusable; names the symbol and, for a bad price, its index.
    """
    try:
        values = _as_floats(prices)
    except ValueError as error:
        raise ValueError(f"{symbol}: {error}") from None
    fault = _first_bad(values)
    if fault is not None:
        raise ValueError(f"{symbol}: {fault}")
    return values


def log_prices(prices: Floats, eps: float) -> Floats:
    """Take ln(p + eps).

    Always numpy's own logarithm: the C library's differs in the last bit, and equal prices must keep equal logarithms
    on every path.
    """
    return np.log(prices + eps)


def _as_floats(prices: Prices) -> Floats:
    try:
        values = np.asarray(prices, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"prices cannot be read as numbers: {error}") from None
    if values.ndim != 1:
        raise ValueError(f"prices have {values.ndim} dimensions, expected a 1-D sequence, oldest first")
    return values


def _first_bad(values: Floats) -> str | None:
    good = np.isfinite(values) & (values > 0)
    if good.all():
        return None
    index = int(np.argmin(good))
    return f"price at index {index} is {float(values[index])!r}, expected a finite number above 0"
