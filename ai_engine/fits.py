"""The other slopes a trend can be measured by: least squares and Huber's M-estimator. Rows are independent windows."""

import math

import numpy as np

from ai_engine.prices import Floats

HUBER_DELTA = 1.35
"""Residuals beyond this count linearly; in log price, so it is a factor of e^1.35 ≈ 3.9 away from the line."""
_HUBER_STEPS = 2000
"""A bound: a handful end on the minimum, the most hostile of some thousand histories took 1,100."""
_ROUNDING = 1e-14
"""Share of a loss or of a log price below which a difference is no more than rounding."""


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
    """Take Newton's step while it lowers the loss, else one of reweighted least squares, which always does.

    The loss is convex and quadratic piece by piece: Newton's step from the right piece ends on the minimum, but may
    lead astray from afar; reweighting comes near soon, and creeps where few points lie within the delta.
    """
    least_step = _ROUNDING * (1.0 + float(np.abs(y).max()))
    for _ in range(_HUBER_STEPS):
        residuals = y - level - slope * x
        size = np.abs(residuals)
        turn, lift = _step(x, residuals, (size <= HUBER_DELTA).astype(np.float64))
        if not _loss(residuals - lift - turn * x) <= _loss(residuals) * (1.0 + _ROUNDING):  # NaN is no fall either
            turn, lift = _step(x, residuals, HUBER_DELTA / np.maximum(size, HUBER_DELTA))
        slope, level = slope + turn, level + lift
        if abs(turn) * len(x) + abs(lift) < least_step:
            break
    return slope


def _loss(residuals: Floats) -> float:
    size = np.abs(residuals)
    near = np.minimum(size, HUBER_DELTA)
    return float((near * (size - 0.5 * near)).sum())


def _step(x: Floats, residuals: Floats, weight: Floats) -> tuple[float, float]:
    """Solve for the change of slope and level that these curvatures ask for; NaN where they lie on one point."""
    pull = np.clip(residuals, -HUBER_DELTA, HUBER_DELTA)
    if np.count_nonzero(weight) < 2:
        return math.nan, math.nan
    x_mean = float((weight * x).sum() / weight.sum())
    offset = x - x_mean
    turn = float((pull * offset).sum() / (weight * np.square(offset)).sum())
    return turn, float(pull.sum() / weight.sum()) - turn * x_mean
