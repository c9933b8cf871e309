"""What the exchange was asked: the newest requests with what was answered."""

from collections import deque
from collections.abc import Iterator, Mapping

import msgspec

REQUESTS_KEPT = 20_000


class Entry(msgspec.Struct, gc=False):
    """One request; `status` is null while it is under way, and for good where no answer was sent.

    Nothing in it can be part of a cycle: 20,000 of them are none of the garbage collector's business.
    """

    seq: int
    time_ms: int
    method: str
    path: str
    parameters: Mapping[str, str]
    faults: tuple[str, ...]
    status: int | None = None
    took_ms: float | None = None


class Journal:
    """The newest requests, in the order of arrival."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=REQUESTS_KEPT)
        self._seq = 0

    def arrive(
        self, time_ms: int, method: str, path: str, parameters: Mapping[str, str], faults: Iterator[str]
    ) -> Entry:
        """Note a request on arrival; its signature is left out."""
        self._seq += 1
        shown = {name: value for name, value in parameters.items() if name != "signature"}
        entry = Entry(self._seq, time_ms, method, path, shown, tuple(faults))
        self._entries.append(entry)
        return entry

    def select(self, *, after: int = 0, method: str = "", path: str = "") -> list[Entry]:
        """List requests later than number `after`, of one method, with paths that begin with `path`."""
        return [
            entry
            for entry in self._entries
            if entry.seq > after and entry.path.startswith(path) and method in ("", entry.method)
        ]
