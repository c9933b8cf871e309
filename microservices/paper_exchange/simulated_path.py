"""A simulated price: seeded, a function of seed, symbol and minute alone, with regimes that change over time.

The path is made from coarse to fine, so that any minute costs the same however far away it is:
a *season* of 32 phases (about eleven days) runs between two anchors near the symbol's base price; within it every
*phase* of 480 minutes makes a step that its regime decides; within a phase the minutes join its two ends by noise.
However long it runs, a phase begins within a third of the base price, so that a quantity keeps about its worth.
Symbols change regime at different times.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from microservices.paper_exchange.candles import Candles
from microservices.paper_exchange.instruments import Instrument
from microservices.paper_exchange.noise import Floats, normals, stream_key, uniforms

PHASE_MINUTES = 480
SEASON_PHASES = 32
FIRST_MINUTE = 26_297_280  # 2020-01-01 00:00 UTC
_ANCHOR_SPREAD = 0.10  # standard deviation of an anchor's log price around the base
_ANCHOR_LIMIT = 2.5  # standard deviations
_LOG_BOUND = 0.29  # a phase begins at most this far from the base price, in log price: 0.75 to 1.34 times it
_TREND_SHARE, _SWINGS_SHARE = 0.4, 0.7  # cumulative shares of the regimes
_SWING_KERNEL = np.hanning(17)[1:-1] / np.sqrt((np.hanning(17)[1:-1] ** 2).sum())
_PHASES_KEPT = 4  # as many as 1,500 candles reach over
_MINUTE_NOTIONAL_USDT = 150_000.0  # a quiet symbol's turnover in a minute


class Regime(IntEnum):
    """How a phase moves."""

    TREND = 0
    SWINGS = 1
    CHOP = 2


class SimulatedPath:
    """One symbol's simulated candles.

    Args:
        seed: the run's seed; another seed is another market.
        instrument: gives symbol, tick and decimals.
        base_price: around what price it moves.
    """

    def __init__(self, seed: int, instrument: Instrument, base_price: float) -> None:
        name = instrument.symbol
        self._tick_units = int(instrument.tick.scaleb(instrument.price_decimals))
        self._decimals = instrument.price_decimals
        self._volume_decimals = instrument.quantity_decimals
        self._log_base = float(np.log(base_price))
        self._base = base_price
        self._keys = {part: stream_key(seed, name, part) for part in ("anchor", "regime", "step", "minute", "wick")}
        character = uniforms(stream_key(seed, name, "character"), np.arange(3))
        self._offset = int(character[0] * PHASE_MINUTES * SEASON_PHASES)
        self._sigma = 0.0005 + 0.0007 * float(character[1])  # standard deviation of a log return in a minute
        self._recent: dict[int, Floats] = {}
        self._season, self._season_bounds = -1, list[float]()
        self._turnover = _MINUTE_NOTIONAL_USDT * float(np.exp(3.0 * character[2]))

    def first_minute(self) -> int:
        """Give the earliest minute there is a candle of."""
        return FIRST_MINUTE

    def candles(self, first: int, count: int) -> Candles:
        """Give `count` candles from minute `first` on."""
        start = first + self._offset
        phases = range(start // PHASE_MINUTES, (start + count - 1) // PHASE_MINUTES + 1)
        logs = np.concatenate([self._phase(phase) for phase in phases])
        skip = start - phases.start * PHASE_MINUTES
        # A phase's column begins with the price it opens at, which is the one the phase before closed at.
        width = PHASE_MINUTES + 1
        opens = np.delete(logs, np.arange(width - 1, len(logs), width))[skip : skip + count]
        closes = np.delete(logs, np.arange(0, len(logs), width))[skip : skip + count]
        return self._columns(first, opens, closes)

    def regime(self, minute: int) -> Regime:
        """Tell how the phase of a minute moves."""
        return self._regimes(np.array([(minute + self._offset) // PHASE_MINUTES]))[0]

    def _columns(self, first: int, opens: Floats, closes: Floats) -> Candles:
        draws = normals(self._keys["wick"], np.arange(first * 3, (first + len(opens)) * 3))
        high_wick, low_wick = np.abs(draws[0::3]) * self._sigma * 0.6, np.abs(draws[1::3]) * self._sigma * 0.6
        busy = np.exp(0.8 * draws[2::3])
        return Candles(
            first=first,
            decimals=self._decimals,
            tick=self._tick_units,
            volume_decimals=self._volume_decimals,
            opens=self._units(opens),
            highs=self._units(np.maximum(opens, closes) + high_wick),
            lows=self._units(np.minimum(opens, closes) - low_wick),
            closes=self._units(closes),
            volume=np.round(self._turnover * busy / self._base, self._volume_decimals),
        )

    def _units(self, logs: Floats) -> NDArray[np.int64]:
        ticks = np.rint(np.exp(logs) * 10.0**self._decimals / self._tick_units).astype(np.int64)
        units: NDArray[np.int64] = np.maximum(ticks, 1) * self._tick_units
        return units

    def _phase(self, phase: int) -> Floats:
        """Give the log prices at the phase's minute bounds, both ends included; the last few asked for are kept."""
        if phase not in self._recent:
            if len(self._recent) >= _PHASES_KEPT:
                self._recent.clear()
            self._recent[phase] = self._made_phase(phase)
        return self._recent[phase]

    def _made_phase(self, phase: int) -> Floats:
        start, end = self._bounds(phase)
        regime = self._regimes(np.array([phase]))[0]
        noise = self._noise(phase, regime)
        steps = np.linspace(0.0, 1.0, PHASE_MINUTES + 1)
        noise -= noise[0] + (noise[-1] - noise[0]) * steps
        path = start + (end - start) * steps + noise
        path[0], path[-1] = start, end
        return path

    def _noise(self, phase: int, regime: Regime) -> Floats:
        counters = np.arange(phase * (PHASE_MINUTES + 16), (phase + 1) * (PHASE_MINUTES + 16))
        draws = normals(self._keys["minute"], counters)
        if regime is Regime.SWINGS:  # stationary around the line: what rises falls back within the half hour
            swings: Floats = 2.0 * self._sigma * np.convolve(draws, _SWING_KERNEL, "valid")[: PHASE_MINUTES + 1]
            return swings
        quiet = 0.30 if regime is Regime.TREND else 1.0
        walk: Floats = np.cumsum(draws[: PHASE_MINUTES + 1]) * self._sigma * quiet
        return walk

    def _bounds(self, phase: int) -> tuple[float, float]:
        """Give the log prices at which a phase begins and ends."""
        season, within = divmod(phase, SEASON_PHASES)
        if season != self._season:
            self._season, self._season_bounds = season, self._made_season(season)
        return self._season_bounds[within], self._season_bounds[within + 1]

    def _made_season(self, season: int) -> list[float]:
        """Give the log prices between a season's phases, its two anchors first and last."""
        begin, end = (self._anchor(season + i) for i in (0, 1))
        steps = self._steps(season)
        drift = (end - begin - float(steps.sum())) / SEASON_PHASES
        inner = np.concatenate([[begin], begin + np.cumsum(steps + drift)[:-1], [end]]) - self._log_base
        bounded: list[float] = (self._log_base + _LOG_BOUND * np.tanh(inner / _LOG_BOUND)).tolist()
        return bounded

    def _anchor(self, season: int) -> float:
        draw = float(normals(self._keys["anchor"], np.array([season]))[0])
        return self._log_base + _ANCHOR_SPREAD * min(max(draw, -_ANCHOR_LIMIT), _ANCHOR_LIMIT)

    def _steps(self, season: int) -> Floats:
        """Give the log step of each of a season's phases."""
        phases = np.arange(season * SEASON_PHASES, (season + 1) * SEASON_PHASES)
        regimes = np.array(self._regimes(phases))
        draws = normals(self._keys["step"], phases)
        slope = np.where(draws < 0, -0.16, 0.16) + np.clip(0.03 * draws, -0.06, 0.06)  # sigmas a minute
        trend = slope * self._sigma * PHASE_MINUTES
        wander = draws * self._sigma * np.sqrt(PHASE_MINUTES) * 0.5
        steps: Floats = np.where(regimes == Regime.TREND, trend, wander)
        return steps

    def _regimes(self, phases: NDArray[np.int64]) -> list[Regime]:
        draws = uniforms(self._keys["regime"], phases)
        return [
            Regime.TREND if draw < _TREND_SHARE else Regime.SWINGS if draw < _SWINGS_SHARE else Regime.CHOP
            for draw in draws
        ]


def plausible_base_price(seed: int, instrument: Instrument) -> float:
    """Choose a price for a symbol of which nothing is known but its filters.

    Between 2,000 and 40,000 ticks, as most contracts are quoted, and well inside the price filter.
    """
    draw = float(uniforms(stream_key(seed, instrument.symbol, "base"), np.arange(1))[0])
    price: float = float(instrument.tick) * 2_000.0 * 20.0**draw
    return min(max(price, float(instrument.min_price) * 2), float(instrument.max_price) / 2)
