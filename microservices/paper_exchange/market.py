"""The market as clients see it: klines, mark prices, and the faults in its candles."""

from collections.abc import Mapping
from decimal import Decimal

from microservices.paper_exchange.candle_faults import CandleFaults
from microservices.paper_exchange.candles import MINUTE_MS, Candle, PricePath
from microservices.paper_exchange.klines import KlineBlocks, wire_row


class Market:
    """Prices of every symbol with a path, at any moment.

    Args:
        paths: where each symbol's candles come from.
    """

    def __init__(self, paths: Mapping[str, PricePath]) -> None:
        self._blocks = KlineBlocks(paths)
        self.faults = CandleFaults()
        self.stream_faults = CandleFaults()

    def mark(self, symbol: str, now_ms: int) -> Decimal:
        """Give the mark price, which is also the index and the price that orders fill at."""
        minute, elapsed_ms = divmod(now_ms, MINUTE_MS)
        candle = self._blocks.candle(symbol, minute)
        return Decimal(candle.price_at(elapsed_ms)).scaleb(-candle.decimals)

    def klines(self, symbol: str, now_ms: int, *, limit: int, start_ms: int | None, end_ms: int | None) -> bytes:
        """Answer 1-minute klines, oldest first, the running one last.

        Args:
            symbol: a symbol with a path.
            now_ms: the exchange's time.
            limit: how many rows at most; the first ones from `start_ms` on where it is given, else the newest.
            start_ms: no row opens earlier.
            end_ms: no row opens later.
        """
        running = now_ms // MINUTE_MS
        last = self.faults.last_minute(symbol, running if end_ms is None else min(running, end_ms // MINUTE_MS))
        earliest = self._blocks.first_minute(symbol)
        if start_ms is None:
            first = max(last - limit + 1, earliest)
        else:
            first = max(-(-start_ms // MINUTE_MS), earliest)
            last = min(last, first + limit - 1)
        pieces = self._closed(symbol, first, min(last, running - 1))
        if first <= running == last:
            pieces.append(wire_row(self._blocks.candle(symbol, running).so_far(now_ms % MINUTE_MS)))
        return b"[" + b",".join(pieces) + b"]"

    def streamed(self, symbol: str, minute: int, now_ms: int, *, closed: bool) -> Candle | None:
        """Give the candle that the stream tells of a minute: whole, or as it stands now; None where it tells none."""
        if not self.stream_faults.shows(symbol, minute) or minute < self._blocks.first_minute(symbol):
            return None
        candle = self._blocks.candle(symbol, minute)
        return candle if closed else candle.so_far(now_ms % MINUTE_MS)

    def _closed(self, symbol: str, first: int, last: int) -> list[bytes]:
        pieces: list[bytes] = []
        end = None
        for begin, end in self.faults.runs(symbol, first, last):
            pieces += self._blocks.rows(symbol, begin, end)
        if end is not None and self.faults.repeats(symbol):
            pieces += self._blocks.rows(symbol, end, end)
        return pieces
