"""What the loops share in memory: the newest view of the account, what plans need of the next, and known symbols."""

import threading
from collections.abc import Mapping

from microservices.position_state_brain.snapshot import AccountView


class Board:
    """The newest view of the account: the snapshot loop publishes it, the others read it. One assignment, never a mix.

    Args:
        wake: ends the permit loop's pause, which plans that wait for a snapshot make short anyway.
    """

    def __init__(self, wake: threading.Event) -> None:
        self.wake = wake
        self.view = AccountView()

    def publish(self, view: AccountView) -> None:
        """Put a view in place of the one before."""
        self.view = view
        self.wake.set()


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
        self._marked: dict[str, int] = {}
        self._added = 0
        self._held = set[str]()

    def add(
        self, *, ledger: set[str] | None = None, marked: set[str] | None = None, held: set[str] | None = None
    ) -> None:
        """Remember symbols."""
        with self._lock:
            self._ledger |= ledger or set()
            self._added += 1
            self._marked |= dict.fromkeys(marked or (), self._added)
            self._held |= held or set()

    def forget_marks(self, gone: Mapping[str, int]) -> None:
        """Forget marks that are gone, but for those that were added again since `marked` gave them."""
        with self._lock:
            for symbol, added in gone.items():
                if self._marked.get(symbol) == added:
                    del self._marked[symbol]

    @property
    def marked(self) -> dict[str, int]:
        """Symbols that have, or had a moment ago, a mark; each with a number that changes when it is added again."""
        with self._lock:
            return dict(self._marked)

    @property
    def booked(self) -> frozenset[str]:
        """Symbols with a ledger row or a hold."""
        with self._lock:
            return frozenset(self._ledger | self._held)
