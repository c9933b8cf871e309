"""Price histories that have broken robust statistics before: by name, from a seed, and as a hypothesis strategy."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Floats = npt.NDArray[np.float64]


def random_walk(rng: np.random.Generator, count: int) -> Floats:
    """Walk with steps of 0.1 %."""
    return np.asarray(100 * np.exp(np.cumsum(rng.normal(0, 0.001, count))))


def trending(rng: np.random.Generator, count: int) -> Floats:
    """Drift 0.2 % a candle with half as much noise."""
    return np.asarray(100 * np.exp(np.cumsum(rng.normal(0.002, 0.001, count))))


def exponential(rng: np.random.Generator, count: int) -> Floats:
    """Grow by the same factor every candle: all slopes equal but for the last bits."""
    return np.asarray(100 * np.exp(rng.uniform(-0.002, 0.002) * np.arange(count)))


def flat(rng: np.random.Generator, count: int) -> Floats:
    """Stay where it is."""
    return np.full(count, rng.uniform(0.1, 100))


def ticks(rng: np.random.Generator, count: int) -> Floats:
    """Move between a few ticks, often not at all: most slopes are tied."""
    return np.asarray(0.9995 + 0.0001 * rng.integers(0, 3, count).astype(float))


def rare_ticks(rng: np.random.Generator, count: int) -> Floats:
    """Stand still but for a tick now and then."""
    steps = rng.choice([-1.0, 0.0, 1.0], count, p=[0.01, 0.98, 0.01])
    return np.asarray(1 + 0.001 * np.cumsum(steps))


def spiked(rng: np.random.Generator, count: int) -> Floats:
    """Walk, with single candles far off."""
    prices = random_walk(rng, count)
    prices[rng.integers(0, count, max(1, count // 100))] *= rng.choice([0.5, 0.8, 1.2, 3.0])
    return prices


def jumping(rng: np.random.Generator, count: int) -> Floats:
    """Stand still on one level, jump, and stand still on another."""
    level = np.where(np.arange(count) < rng.integers(1, count), 1.0, rng.choice([0.5, 1.001, 2.0]))
    return np.asarray(100 * level)


def alternating(rng: np.random.Generator, count: int) -> Floats:
    """Go up and down by turns."""
    return np.asarray(100 + rng.uniform(0.001, 1) * (np.arange(count) % 2))


def tiny(rng: np.random.Generator, count: int) -> Floats:
    """Walk around 1e-7, where eps shows."""
    return random_walk(rng, count) * 1e-9


def huge(rng: np.random.Generator, count: int) -> Floats:
    """Walk around 1e5 with steps of 1e-7."""
    return np.asarray(1e5 * np.exp(np.cumsum(rng.normal(0, 1e-7, count))))


def reverting(rng: np.random.Generator, count: int) -> Floats:
    """Return to a mean."""
    prices, price = np.empty(count), 100.0
    for index, noise in enumerate(rng.normal(0, 0.05, count)):
        price += 0.05 * (100 - price) + noise
        prices[index] = price
    return prices


PATHS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    path.__name__: path
    for path in (
        random_walk, trending, exponential, flat, ticks, rare_ticks, spiked, jumping, alternating, tiny, huge, reverting
    )
}  # fmt: skip


def mixed(rng: np.random.Generator, count: int) -> Floats:
    """Join pieces of all kinds, each going on where the one before ended."""
    pieces: list[Floats] = []
    last = 100.0
    while sum(map(len, pieces)) < count:
        piece = PATHS[str(rng.choice(list(PATHS)))](rng, int(rng.integers(2, 600)))
        pieces.append(piece * (last / piece[0]))
        last = float(np.clip(pieces[-1][-1], 1e-7, 1e6))
    return np.asarray(np.concatenate(pieces)[:count])


@st.composite
def price_paths(draw: st.DrawFn, least: int = 257, most: int = 320) -> Floats:
    """Draw a history of any kind and length."""
    path: Callable[[np.random.Generator, int], Floats] = draw(st.sampled_from([*PATHS.values(), mixed]))
    seed = draw(st.integers(0, 2**32 - 1))
    return path(np.random.default_rng(seed), draw(st.integers(least, most)))
