"""Where the fields that are read stand in an entry: a stream has few layouts, told apart by the names in turn."""

import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

FIELDS = (b"decision", b"executed", b"error", b"reason", b"details", b"symbol")
TIMESTAMP = b"timestamp"
ABSENT: list[bytes | None] = [None]
"""Put behind an entry's values, so that a field that is not there has a place as well."""
_KNOWN_MAX = 64
_KNOWN_NAMES_MAX = 64
_LAST = -1

Raw: TypeAlias = tuple[bytes | None, bytes | None, bytes | None, bytes | None, bytes | None, bytes | None]
"""The values of `FIELDS`."""


class Layout(NamedTuple):
    """What one order of names says of where the values stand."""

    names: list[bytes]
    pick: Callable[[Sequence[bytes | None]], Raw]
    """Takes the values of `FIELDS` out of names and values in turn, followed by `ABSENT`."""
    timestamp_at: int


class Layouts:
    """Finds the layout of an entry's names, and remembers it."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, ...], Layout] = {}

    def of(self, names: list[bytes]) -> Layout:
        """Give the layout; of a name that stands there twice the last counts."""
        key = tuple(names)
        found = self._known.get(key)
        if found is None:
            at = {name: 2 * index + 1 for index, name in enumerate(names)}
            pick = operator.itemgetter(*(at.get(name, _LAST) for name in FIELDS))
            found = Layout(names, pick, at.get(TIMESTAMP, _LAST))
            if len(names) <= _KNOWN_NAMES_MAX:
                if len(self._known) >= _KNOWN_MAX:
                    self._known.clear()
                self._known[key] = found
        return found
