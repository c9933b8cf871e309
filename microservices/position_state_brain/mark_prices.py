"""Keeps the mark prices of all symbols, for opens: the account's own answer has none for symbols that are flat."""

import logging
from collections import Counter

import msgspec

from microservices.exchange import ExchangeError, PublicClient
from microservices.position_state_brain.board import Board
from microservices.position_state_brain.schedule import DEMAND_DEADLINE_S
from microservices.runtime import Clock

_log = logging.getLogger(__name__)


class MarkPrices:
    """Asks for mark prices now and then; used by the snapshot loop's thread alone.

    Args:
        client: the exchange.
        clock: for the pause between two requests.
        board: where they are published.
        every_s: between two requests.
    """

    def __init__(self, client: PublicClient, clock: Clock, board: Board, every_s: float) -> None:
        self._client = client
        self._clock = clock
        self._board = board
        self._every_s = every_s
        self._due_s = float("-inf")
        self._fault = ""

    def is_due(self) -> bool:
        """Tell whether it is time to ask again."""
        return self._clock.monotonic() >= self._due_s

    def refresh(self, requested_ms: int) -> None:
        """Ask; without an answer the prices before stay, and age. A symbol with two prices has none.

        Args:
            requested_ms: now, on Redis's clock.
        """
        self._due_s = self._clock.monotonic() + self._every_s
        try:
            rows = self._client.premium_index(timeout_s=DEMAND_DEADLINE_S)
        except ExchangeError as error:
            if not self._fault:
                _log.warning("no mark prices: %s", error)
            self._fault = str(error)
            return
        self._fault = ""
        times_named = Counter(row.symbol for row in rows)
        prices = {row.symbol: row.mark_price for row in rows if row.mark_price > 0 and times_named[row.symbol] == 1}
        view = self._board.view
        self._board.publish(
            msgspec.structs.replace(
                view, mark_prices=prices, mark_prices_ts_ms=requested_ms, sequence=view.sequence + 1
            )
        )
