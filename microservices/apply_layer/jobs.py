"""A claimed plan on its way to its order and its result."""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Self

from microservices.apply_layer.endings import Ending, Subject
from microservices.apply_layer.sent_log import SentOrder
from microservices.contracts import claim
from microservices.contracts.fields import stream_id
from microservices.contracts.plan import Action, Plan, Side
from microservices.contracts.result import Result


class PlanTimes(NamedTuple):
    """The two times a plan's age is judged by, its maker's and its entry's, in order, epoch ms."""

    oldest_ms: int
    newest_ms: int

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Take them from a plan."""
        made_ms = int(plan.timestamp * 1000)
        added_ms = stream_id(plan.entry_id, "entry id")[0]
        return cls(min(made_ms, added_ms), max(made_ms, added_ms))


@dataclass(slots=True, eq=False)
class Job:
    """One claim of ours that is not done; `sent_at_ms` is exchange time."""

    plan_id: str
    entry_id: str
    symbol: str
    action: Action
    side: Side | None
    """None where the plan's body is gone from the stream: then no order is sent any more."""
    quantity: Decimal
    source: str
    wait_ms: int
    times: PlanTimes | None
    """None where the order was, or may have been, sent already: its age decides nothing any more."""
    sent_at_ms: int | None = None
    """Set as soon as the order may have been sent."""
    ending: Ending | None = None
    """How it ended, once that is known and only the result is still to be written."""
    result: Result | None = None
    """The result, kept as it was first tried, so that trying again writes the same."""

    @classmethod
    def of_plan(cls, plan: Plan, quantity: Decimal, wait_ms: int) -> Self:
        """Begin with a plan that was just claimed."""
        return cls(
            plan_id=plan.plan_id,
            entry_id=plan.entry_id,
            symbol=plan.symbol,
            action=plan.action,
            side=plan.side,
            quantity=quantity,
            source=plan.source,
            wait_ms=wait_ms,
            times=PlanTimes.of(plan),
        )

    @classmethod
    def of_sent(cls, order: SentOrder) -> Self:
        """Go on with an order that was, or may have been, sent."""
        return cls(
            plan_id=order.plan_id,
            entry_id=order.plan_entry_id,
            symbol=order.symbol,
            action=order.action,
            side=order.side,
            quantity=order.quantity,
            source=order.source,
            wait_ms=order.wait_ms,
            times=None,
            sent_at_ms=order.sent_at_ms,
        )

    @property
    def client_order_id(self) -> str:
        """The order's name at the exchange."""
        return claim.client_order_id(self.plan_id)

    @property
    def is_exit(self) -> bool:
        """Whether it makes a position smaller."""
        return self.action.is_exit

    @property
    def subject(self) -> Subject:
        """What its result is about."""
        return Subject(
            entry_id=self.entry_id,
            plan_id=self.plan_id,
            symbol=self.symbol,
            side=self.side,
            reduce_only=self.is_exit,
            source=self.source,
        )

    @property
    def is_unsent(self) -> bool:
        """Whether the order certainly was not sent."""
        return self.sent_at_ms is None
