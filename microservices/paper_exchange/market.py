"""The market as clients see it: klines, mark prices, and the faults in its candles."""

from collections.abc import Mapping
from decimal import Decimal

from microservices.paper_exchange.candle_faults import CandleFaults
from microservices.paper_exchange.candles import MINUTE_MS, Candle, PricePath
from microservices.paper_exchange.changed_path import ChangedPath, DoneByHand
from microservices.paper_exchange.klines import KlineBlocks, wire_row

FOR_EVER = 2**62
"""A minute that no clock reaches."""


class Market:
    """Prices of every symbol with a path, at any moment.

    Args:
        paths: where each symbol's candles come from.
    """

    def __init__(self, paths: Mapping[str, PricePath]) -> None:
        self._blocks = KlineBlocks(paths)
        self.faults = CandleFaults()
        self.stream_faults = CandleFaults()
        self._by_hand: dict[str, DoneByHand] = {}
        self._bounds: dict[str, tuple[int, int]] = {}
        self._corrected: dict[str, dict[int, Candle]] = {}

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
        earliest, latest = self._bounds_of(symbol)
        last = min(running, latest) if end_ms is None else min(running, latest, end_ms // MINUTE_MS)
        last = self.faults.last_minute(symbol, last)
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
        """Give the candle that the stream tells of a minute: whole, or as it stands now; None where it tells none.

        A running candle in which nothing is traded is not told.
        """
        earliest, latest = self._bounds_of(symbol)
        if not earliest <= minute <= latest or not self.stream_faults.shows(symbol, minute):
            return None
        candle = self._blocks.candle(symbol, minute)
        if closed:
            return self._corrected.get(symbol, {}).get(minute, candle)
        return candle.so_far(now_ms % MINUTE_MS) if candle.volume else None

    def bound(self, symbol: str, first: int | None, last: int | None) -> None:
        """Show a symbol's candles from minute `first` to minute `last` alone; None: no bound."""
        self._bounds[symbol] = (0 if first is None else first, FOR_EVER if last is None else last)

    def move(self, symbol: str, first: int, minutes: int, log_share: float) -> None:
        """Move a symbol's price over so many minutes from minute `first` on, for good."""
        self._done_by_hand(symbol).move(first, minutes, log_share)
        self._blocks.change(symbol, self._blocks.path(symbol), first)

    def halt(self, symbol: str, first: int) -> None:
        """Let nothing be traded from minute `first` on."""
        self._done_by_hand(symbol).halt(first)
        self._blocks.change(symbol, self._blocks.path(symbol), first)

    def resume(self, symbol: str, first: int) -> None:
        """Let trading go on from minute `first` on."""
        if symbol in self._by_hand:
            self._by_hand[symbol].resume(first)
            self._blocks.change(symbol, self._blocks.path(symbol), first - 1)

    def corrected(self, symbol: str, minute: int, share: float) -> Candle | None:
        """Give the candle of a closed minute with other values; None where there is no candle."""
        earliest, latest = self._bounds_of(symbol)
        known = self._corrected.get(symbol, {}).get(minute) or self._blocks.candle(symbol, max(minute, earliest))
        return known.corrected(share) if earliest <= minute <= latest else None

    def correct(self, symbol: str, candle: Candle) -> None:
        """Answer a corrected candle from now on."""
        self._corrected.setdefault(symbol, {})[candle.minute] = candle

    def _done_by_hand(self, symbol: str) -> DoneByHand:
        """Give what was done to a symbol by faults, and let its path follow it."""
        if symbol not in self._by_hand:
            self._by_hand[symbol] = DoneByHand()
            self._blocks.change(symbol, ChangedPath(self._blocks.path(symbol), self._by_hand[symbol]), FOR_EVER)
        return self._by_hand[symbol]

    def _bounds_of(self, symbol: str) -> tuple[int, int]:
        first, last = self._bounds.get(symbol, (0, FOR_EVER))
        return max(first, self._blocks.first_minute(symbol)), last

    def _closed(self, symbol: str, first: int, last: int) -> list[bytes]:
        pieces: list[bytes] = []
        end = None
        for begin, end in self.faults.runs(symbol, first, last):
            pieces += self._rows(symbol, begin, end)
        if end is not None and self.faults.repeats(symbol):
            pieces += self._rows(symbol, end, end)
        return pieces

    def _rows(self, symbol: str, first: int, last: int) -> list[bytes]:
        """Give the rows of some minutes, those that were corrected with their later values."""
        pieces: list[bytes] = []
        corrected = self._corrected.get(symbol, {})
        for minute in sorted(minute for minute in corrected if first <= minute <= last):
            if first < minute:
                pieces += self._blocks.rows(symbol, first, minute - 1)
            pieces.append(wire_row(corrected[minute]))
            first = minute + 1
        return pieces + self._blocks.rows(symbol, first, last) if first <= last else pieces
