"""A recorded price, re-timed: its last candle closes when the anchor minute begins, and it goes on from there.

What follows the recording is the recording itself, played backwards and forwards in turn: real moves, no seam in the
price, and never a price that the market did not have. A candle played backwards opens at its close. Before its first
candle there is nothing, as for a symbol listed then.
"""

import numpy as np

from microservices.paper_exchange.candles import Candles
from microservices.paper_exchange.instruments import Instrument
from microservices.paper_exchange.recorded_files import Recording


class RecordedPath:
    """One symbol's recorded candles, placed in time.

    Args:
        recording: the candles.
        instrument: prices are shown with at least its decimals.
        anchor: the minute after the recording's last; its start is the "now" the recording was re-timed to.
    """

    def __init__(self, recording: Recording, instrument: Instrument, anchor: int) -> None:
        self._decimals = max(recording.price_decimals, instrument.price_decimals)
        self._volume_decimals = max(recording.volume_decimals, instrument.quantity_decimals)
        self._units = np.rint(recording.prices * 10.0**self._decimals).astype(np.int64)
        tick = int(instrument.tick.scaleb(self._decimals))
        self._tick = tick if (self._units % tick == 0).all() else 1  # a recording finer than today's tick stays exact
        self._volume = recording.volume
        self._anchor = anchor

    def first_minute(self) -> int:
        """Give the minute of the recording's first candle."""
        return self._anchor - len(self._units)

    def candles(self, first: int, count: int) -> Candles:
        """Give `count` candles from minute `first` on, none before `first_minute()`."""
        length = len(self._units)
        place = np.arange(first, first + count) - self.first_minute()
        lap, within = np.divmod(place, length)
        backwards = lap % 2 == 1
        rows = np.where(backwards, length - 1 - within, within)
        opens, highs, lows, closes = (self._units[rows, column] for column in range(4))
        return Candles(
            first=first,
            decimals=self._decimals,
            tick=self._tick,
            volume_decimals=self._volume_decimals,
            opens=np.where(backwards, closes, opens),
            highs=highs,
            lows=lows,
            closes=np.where(backwards, opens, closes),
            volume=self._volume[rows],
        )
