"""Ways in which a symbol's candles can be told wrong on demand: they stop, some are missing, the newest comes twice."""

from collections.abc import Iterator


class CandleFaults:
    """What is wrong with whose candles; a symbol of None stands for all."""

    def __init__(self) -> None:
        self._stopped: dict[str | None, int] = {}
        self._missing: dict[str | None, set[int]] = {}
        self._repeated: set[str | None] = set()

    def stop(self, symbol: str | None, after_minute: int) -> None:
        """Show no candle later than `after_minute`."""
        self._stopped[symbol] = after_minute

    def skip(self, symbol: str | None, minutes: range) -> None:
        """Leave these minutes out of every answer."""
        self._missing.setdefault(symbol, set()).update(minutes)

    def repeat(self, symbol: str | None) -> None:
        """Show the newest closed candle twice in every answer."""
        self._repeated.add(symbol)

    def clear(self) -> None:
        """Tell everything right again."""
        self._stopped.clear()
        self._missing.clear()
        self._repeated.clear()

    def last_minute(self, symbol: str, last: int) -> int:
        """Give the last minute that may be shown where `last` would be."""
        return min([last, *(self._stopped[name] for name in (symbol, None) if name in self._stopped)])

    def shows(self, symbol: str, minute: int) -> bool:
        """Tell whether one minute is shown."""
        missing = any(minute in self._missing.get(name, ()) for name in (symbol, None))
        return not missing and self.last_minute(symbol, minute) == minute

    def repeats(self, symbol: str) -> bool:
        """Tell whether the newest closed candle is shown twice."""
        return not self._repeated.isdisjoint((symbol, None))

    def runs(self, symbol: str, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Split minutes `first` to `last` into the runs that are shown."""
        missing = self._missing.get(symbol, set()) | self._missing.get(None, set())
        for minute in sorted(minute for minute in missing if first <= minute <= last):
            if first < minute:
                yield first, minute - 1
            first = minute + 1
        if first <= last:
            yield first, last
