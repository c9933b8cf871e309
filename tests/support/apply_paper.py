"""An apply layer over a paper exchange: positions to close, orders that were asked for, a world of its own account."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from redis import Redis

from microservices.apply_layer.outcome import ABSENCE_FINAL_AFTER_MS
from microservices.apply_layer.sent_log import FILE_NAME
from microservices.contracts import claim
from microservices.contracts.account import AccountBinding
from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate
from microservices.contracts.result import Result
from tests.support.apply_world import RunningLayer, World, client_for, running, settings_for
from tests.support.paper import PaperExchange
from tests.support.waiting import wait_until

ORDER_PATH = "/fapi/v1/order"
SOL = "SOLUSDT"
SOL_PRICE = "140"


class Desk:
    """Redis, exchange and state directory of one account; the layer itself is started by the test.

    Args:
        redis: a client whose answers are bytes.
        paper: the exchange; its faults are cleared and its positions closed.
        directory: the apply layer's state directory.
        variables: settings that differ from those of `settings_for`.
    """

    def __init__(self, redis: Redis, paper: PaperExchange, directory: Path, **variables: str) -> None:
        self.redis = redis
        self.paper = paper
        self.directory = directory
        self.settings = settings_for(paper, directory, **variables)
        paper.clear_faults()
        self._flatten()
        with_key = client_for(self.settings, redis)
        self.world = World(redis, AccountBinding(Mode.PAPER, "127.0.0.1", with_key.account_alias()))
        with_key.close()
        self.world.set_up()
        self._seen = self._last_request()

    @contextmanager
    def running(self) -> Iterator[RunningLayer]:
        """Run the layer while this lasts."""
        with running(self.redis, self.settings) as layer:
            yield layer

    def hold(self, symbol: str, quantity: str) -> None:
        """Open a position by hand; negative is short."""
        amount = Decimal(quantity)
        answer = self.paper.order(symbol, "BUY" if amount > 0 else "SELL", abs(amount))
        assert answer.status == 200, answer.json
        self._seen = self._last_request()

    def exit(self, symbol: str = SOL, quantity: str = "1", plan_id: str = "", **fields: object) -> str:
        """Add an exit of a long position and permit it."""
        entry_id = self.world.add(plan_id, symbol=symbol, **fields)
        self.world.permit(entry_id, safe_qty=quantity)
        return entry_id

    def open(self, symbol: str = SOL, quantity: str = "1", plan_id: str = "", *, price: str = SOL_PRICE) -> str:
        """Add an OPEN and permit it."""
        self.world.show_account()
        entry_id = self.world.add_open(plan_id, symbol=symbol, qty=quantity)
        self.world.permit(entry_id, Gate.P33, safe_qty=quantity, context={"mark_price": price})
        return entry_id

    def posts(self, symbol: str = "") -> list[dict[str, Any]]:
        """List the orders that the layer has sent, by the exchange's own journal."""
        asked = self.paper.requests(method="POST", path=ORDER_PATH, after=self._seen)
        return [request for request in asked if symbol in ("", request["parameters"].get("symbol"))]

    def queries(self, symbol: str = "") -> list[dict[str, Any]]:
        """List the questions for orders."""
        asked = self.paper.requests(method="GET", path=ORDER_PATH, after=self._seen)
        return [request for request in asked if symbol in ("", request["parameters"].get("symbol"))]

    def log_lines(self) -> list[str]:
        """List the lines of `sent.log`."""
        path = self.directory / FILE_NAME
        return path.read_text().splitlines() if path.exists() else []

    def assert_told_the_truth(self, symbol: str, end: Result, held_before: str = "0") -> None:
        """Assert that one order went out, and that the position is what its result says."""
        assert len(self.posts(symbol)) <= 1
        moved = end.quantity if end.side is not None and end.side.value == "BUY" else -end.quantity
        assert end.executed is (end.quantity > 0)
        assert self.paper.position(symbol) == Decimal(held_before) + moved

    def await_no_claims(self) -> None:
        """Wait until nothing is on its way."""
        wait_until(lambda: self.redis.hlen(claim.OPEN_KEY) == 0, 30, what="no open claim")

    def let_absences_be_final(self) -> None:
        """Have the exchange's clock pass the time from which on an order that is not there will never be.

        A layer that starts afterwards measures the clock, and need not wait for it.
        """
        self.paper.fault({"fault": "skew_clock", "seconds": ABSENCE_FINAL_AFTER_MS / 1000 + 1})

    def _last_request(self) -> int:
        asked = self.paper.requests()
        return int(asked[-1]["seq"]) if asked else 0

    def _flatten(self) -> None:
        for row in self.paper.signed("GET", "/fapi/v2/positionRisk").json:
            amount = Decimal(row["positionAmt"])
            if amount:
                side = "SELL" if amount > 0 else "BUY"
                self.paper.order(row["symbol"], side, abs(amount), reduceOnly="true")
