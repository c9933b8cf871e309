"""Candles of many symbols, kept in blocks and ready for the wire, so that a request costs a few slices.

Rows: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Kline-Candlestick-Data
"""

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np

from microservices.paper_exchange.candles import MINUTE_MS, Candle, Candles, PricePath
from microservices.paper_exchange.noise import stream_key

BLOCK_MINUTES = 120
MAX_BLOCKS = 3_000
"""About 80 MB when all are full: 700 symbols' newest 400 candles, or deeper history of fewer."""

_USDT_A_TRADE = 1_000.0  # decides the number of trades shown


class KlineBlocks:
    """Each symbol's candles in blocks of two hours; the oldest used give way.

    A candle is a function of its minute alone, so that a block may hold minutes still to come: who asks decides what
    is shown. Blocks of different symbols begin at different minutes, so that not all are made at once.
    """

    def __init__(self, paths: Mapping[str, PricePath]) -> None:
        self._paths = paths
        self._offsets = {symbol: stream_key(0, symbol, "block") % BLOCK_MINUTES for symbol in paths}
        self._blocks: OrderedDict[tuple[str, int], _Block] = OrderedDict()

    def first_minute(self, symbol: str) -> int:
        """Give the earliest minute that the symbol has a candle of."""
        return self._paths[symbol].first_minute()

    def candle(self, symbol: str, minute: int) -> Candle:
        """Give one minute's candle, complete whether the minute has passed or not."""
        return self._block(symbol, self._number(symbol, minute)).candles.row(minute)

    def rows(self, symbol: str, first: int, last: int) -> list[bytes]:
        """Give the wire's rows of minutes `first` to `last`, as pieces to be joined with commas."""
        numbers = range(self._number(symbol, first), self._number(symbol, last) + 1)
        return [self._block(symbol, number).wire(first, last) for number in numbers]

    def _number(self, symbol: str, minute: int) -> int:
        return (minute + self._offsets[symbol]) // BLOCK_MINUTES

    def _block(self, symbol: str, number: int) -> "_Block":
        key = (symbol, number)
        block = self._blocks.get(key)
        if block is None:
            path = self._paths[symbol]
            begin = number * BLOCK_MINUTES - self._offsets[symbol]
            first = max(begin, path.first_minute())
            block = self._blocks[key] = _Block(path.candles(first, begin + BLOCK_MINUTES - first))
            if len(self._blocks) > MAX_BLOCKS:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(key)
        return block


class _Block:
    """Candles and, once asked for, their rows in one piece with the place of each."""

    def __init__(self, candles: Candles) -> None:
        self.candles = candles
        self._text = b""
        self._starts: list[int] = []

    def wire(self, first: int, last: int) -> bytes:
        """Give the rows of those minutes from `first` to `last` that are in the block."""
        if not self._starts:
            rows = wire_rows(self.candles)
            self._text = b",".join(rows)
            self._starts = np.cumsum([0, *(len(row) + 1 for row in rows)]).tolist()
        begin = max(first - self.candles.first, 0)
        end = min(last - self.candles.first + 1, len(self.candles))
        return self._text[self._starts[begin] : self._starts[end] - 1]


def wire_rows(candles: Candles) -> list[bytes]:
    """Write candles as the exchange does, a row each."""
    scale = 10.0**-candles.decimals
    opens, highs, lows, closes = (
        column * scale for column in (candles.opens, candles.highs, candles.lows, candles.closes)
    )
    open_ms = (np.arange(len(candles)) + candles.first) * MINUTE_MS
    quote = candles.volume * (opens + closes) / 2
    columns = (
        open_ms, opens, highs, lows, closes, candles.volume, open_ms + MINUTE_MS - 1, quote,
        np.ceil(quote / _USDT_A_TRADE).astype(np.int64), candles.volume / 2, quote / 2,
    )  # fmt: skip
    template = _template(candles.decimals, candles.volume_decimals)
    return [(template % row).encode() for row in zip(*(column.tolist() for column in columns), strict=True)]


def wire_row(candle: Candle) -> bytes:
    """Write one candle, such as the one still running."""
    single = Candles(
        first=candle.minute,
        decimals=candle.decimals,
        tick=candle.tick,
        volume_decimals=candle.volume_decimals,
        opens=np.array([candle.opened]),
        highs=np.array([candle.high]),
        lows=np.array([candle.low]),
        closes=np.array([candle.close]),
        volume=np.array([candle.volume]),
    )
    return wire_rows(single)[0]


def _template(decimals: int, volume_decimals: int) -> str:
    price, amount = f'"%.{decimals}f"', f'"%.{volume_decimals}f"'
    return f'[%d,{price},{price},{price},{price},{amount},%d,"%.5f",%d,{amount},"%.5f","0"]'
