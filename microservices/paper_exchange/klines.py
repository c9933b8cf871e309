"""Candles of many symbols, kept in blocks and ready for the wire, so that a request costs a few slices.

Rows: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Kline-Candlestick-Data
"""

from collections import OrderedDict
from collections.abc import Mapping
from math import ceil

import numpy as np

from microservices.paper_exchange.candles import MINUTE_MS, Candle, Candles, PricePath
from microservices.paper_exchange.noise import stream_key

BLOCK_MINUTES = 60
MAX_BLOCKS = 6_000
"""About 80 MB when all are full: 700 symbols' newest 400 candles, or deeper history of fewer."""

_USDT_A_TRADE = 1_000.0  # decides the number of trades shown


class KlineBlocks:
    """Each symbol's candles in blocks of an hour; the oldest used give way.

    A candle is a function of its minute alone, so that a block may hold minutes still to come: who asks decides what
    is shown. Blocks of different symbols begin at different minutes, so that not all are made at once.
    """

    def __init__(self, paths: Mapping[str, PricePath]) -> None:
        self._paths = dict(paths)
        self._offsets = {symbol: stream_key(0, symbol, "block") % BLOCK_MINUTES for symbol in paths}
        self._blocks: OrderedDict[tuple[str, int], _Block] = OrderedDict()

    def first_minute(self, symbol: str) -> int:
        """Give the earliest minute that the symbol has a candle of."""
        return self._paths[symbol].first_minute()

    def candle(self, symbol: str, minute: int) -> Candle:
        """Give one minute's candle, complete whether the minute has passed or not."""
        number = self._number(symbol, minute)
        self._make_missing(symbol, range(number, number + 1))
        return self._blocks[symbol, number].candles.row(minute)

    def rows(self, symbol: str, first: int, last: int) -> list[bytes]:
        """Give the wire's rows of minutes `first` to `last`, as pieces to be joined with commas."""
        numbers = range(self._number(symbol, first), self._number(symbol, last) + 1)
        self._make_missing(symbol, numbers)
        return [self._blocks[symbol, number].wire(first, last) for number in numbers]

    def change(self, symbol: str, path: PricePath, first: int) -> None:
        """Take a symbol's candles from another path from minute `first` on; those before must be the same."""
        self._paths[symbol] = path
        for number in [number for name, number in self._blocks if name == symbol]:
            if number >= self._number(symbol, first):
                del self._blocks[symbol, number]

    def path(self, symbol: str) -> PricePath:
        """Give where the symbol's candles come from."""
        return self._paths[symbol]

    def _number(self, symbol: str, minute: int) -> int:
        return (minute + self._offsets[symbol]) // BLOCK_MINUTES

    def _is_kept(self, symbol: str, number: int) -> bool:
        """Tell whether a block is there, and count it as used now."""
        if (symbol, number) not in self._blocks:
            return False
        self._blocks.move_to_end((symbol, number))
        return True

    def _make_missing(self, symbol: str, numbers: range) -> None:
        """Make the blocks that are not kept, from one piece of the path; as many of the oldest used are dropped."""
        missing = [number for number in numbers if not self._is_kept(symbol, number)]
        if not missing:
            return
        path, offset = self._paths[symbol], self._offsets[symbol]
        begin = max(missing[0] * BLOCK_MINUTES - offset, path.first_minute())
        end = (missing[-1] + 1) * BLOCK_MINUTES - offset
        candles = path.candles(begin, end - begin)
        for number in missing:
            edge = number * BLOCK_MINUTES - offset
            self._blocks[symbol, number] = _Block(candles.part(edge, edge + BLOCK_MINUTES))
        while len(self._blocks) > MAX_BLOCKS:
            self._blocks.popitem(last=False)


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
    return (_template(candle.decimals, candle.volume_decimals) % wire_values(candle)).encode()


def wire_values(candle: Candle) -> tuple[int, float, float, float, float, float, int, float, int, float, float]:
    """Give one candle's columns in the order of a row, as `wire_rows` works them out."""
    scale = 10.0**-candle.decimals
    opened, high, low, close = (units * scale for units in (candle.opened, candle.high, candle.low, candle.close))
    open_ms = candle.minute * MINUTE_MS
    quote = candle.volume * (opened + close) / 2
    trades = ceil(quote / _USDT_A_TRADE)
    half = candle.volume / 2
    return open_ms, opened, high, low, close, candle.volume, open_ms + MINUTE_MS - 1, quote, trades, half, quote / 2


def _template(decimals: int, volume_decimals: int) -> str:
    price, amount = f'"%.{decimals}f"', f'"%.{volume_decimals}f"'
    return f'[%d,{price},{price},{price},{price},{amount},%d,"%.5f",%d,{amount},"%.5f","0"]'
