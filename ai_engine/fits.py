"""The other slopes a trend can be measured by: least squares and Huber's M-estimator. Rows are independent windows."""

import numpy as np

from ai_engine.prices import Floats

HUBER_DELTA = 1.35
"""Residuals beyond this count linearly; in log price, so it is a factor of e^1.35 ≈ 3.9 away from the line."""
_HUBER_STEPS = 500
_HUBER_TOLERANCE = 1e-14


def least_squares_slopes(y: Floats) -> Floats:
    """Compute the least-squares slope of each row against 0 … n − 1; shape (rows,)."""
    x = _centred_x(y.shape[1])
    out: Floats = ((y - y.mean(axis=1, keepdims=True)) * x).sum(axis=1) / np.square(x).sum()
    return out


def huber_slopes(y: Floats) -> Floats:
    """Compute the slope that minimises the summed Huber loss of each row, slope and intercept free; shape (rows,).

    Huber (1964), "Robust estimation of a location parameter". Where no residual of the least-squares fit exceeds the
    delta, that fit is the minimiser; only the other rows are iterated.
    """
    x = _centred_x(y.shape[1])
    slopes = least_squares_slopes(y)
    levels = y.mean(axis=1)
    far = np.abs(y - levels[:, None] - slopes[:, None] * x).max(axis=1) > HUBER_DELTA
    for row in np.flatnonzero(far):
        slopes[row] = _huber_slope(x, y[row], float(slopes[row]), float(levels[row]))
    return slopes


def _centred_x(count: int) -> Floats:
    return np.arange(count, dtype=np.float64) - 0.5 * (count - 1)


def _huber_slope(x: Floats, y: Floats, slope: float, level: float) -> float:
    """Iterate reweighted least squares: the loss falls at every step, and the loss is convex."""
    for _ in range(_HUBER_STEPS):
        size = np.abs(y - level - slope * x)
        weight = HUBER_DELTA / np.maximum(size, HUBER_DELTA)
        x_mean, y_mean = np.average(x, weights=weight), np.average(y, weights=weight)
        offset = weight * (x - x_mean)
        next_slope = float(offset @ (y - y_mean) / (offset @ (x - x_mean)))
        next_level = float(y_mean - next_slope * x_mean)
        moved = abs(next_slope - slope) * len(x) + abs(next_level - level)
        slope, level = next_slope, next_level
        if moved < _HUBER_TOLERANCE:
            break
    return slope
