"""What the loops share in memory: the newest view of the account, what plans need of the next, and known symbols."""

import threading

from microservices.position_state_brain.snapshot import AccountView


class Board:
    """The newest view of the account: the snapshot loop pins it up, the others read it. One assignment, never a mix."""

    def __init__(self) -> None:
        self.view = AccountView()


class Demand:
    """Tells the snapshot loop that plans wait, and from when on an answer would help them.

    Args:
        wake: ends the snapshot loop's pause.
    """

    def __init__(self, wake: threading.Event) -> None:
        self.wake = wake
        self.from_ms: int | None = None
        """Epoch ms on Redis's clock; None where nobody waits."""

    def set(self, from_ms: int | None) -> None:
        """Say what is needed now."""
        if from_ms == self.from_ms:
            return
        self.from_ms = from_ms
        if from_ms is not None:
            self.wake.set()


class KnownSymbols:
    """Symbols with a ledger row, a mark, or a hold; grows as the loops meet them. May be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ledger = set[str]()
        self._marked = set[str]()
        self._held = set[str]()

    def add(
        self, *, ledger: set[str] | None = None, marked: set[str] | None = None, held: set[str] | None = None
    ) -> None:
        """Remember symbols."""
        with self._lock:
            self._ledger |= ledger or set()
            self._marked |= marked or set()
            self._held |= held or set()

    def unmark(self, symbols: set[str]) -> None:
        """Forget marks that are gone."""
        with self._lock:
            self._marked -= symbols

    @property
    def marked(self) -> frozenset[str]:
        """Symbols that have, or had a moment ago, a mark."""
        with self._lock:
            return frozenset(self._marked)

    @property
    def booked(self) -> frozenset[str]:
        """Symbols with a ledger row or a hold."""
        with self._lock:
            return frozenset(self._ledger | self._held)
