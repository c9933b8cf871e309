"""Plans, orders and jobs for the pure tests."""

from decimal import Decimal
from typing import Any

import msgspec

from microservices.apply_layer.jobs import Job
from microservices.contracts.plan import Action, Plan, Side
from microservices.exchange import Order
from microservices.exchange import Side as OrderSide

PLAN = Plan(
    entry_id="1800000000000-0",
    plan_id="p1",
    symbol="BTCUSDT",
    action=Action.FULL_CLOSE_PROPOSED,
    side=Side.SELL,
    qty=Decimal(0),
    expected_position=None,
    source="test",
    timestamp=Decimal(1_800_000_000),
)
ORDER = Order(
    order_id=7,
    client_order_id="q1",
    symbol="BTCUSDT",
    status="FILLED",
    side=OrderSide.SELL,
    reduce_only=True,
    orig_qty=Decimal("0.010"),
    executed_qty=Decimal("0.010"),
    avg_price=Decimal("50000.1"),
    update_time=1,
)


def a_plan(**changes: Any) -> Plan:
    """Give an exit of BTCUSDT, changed as said."""
    return msgspec.structs.replace(PLAN, **changes)


def an_open(**changes: Any) -> Plan:
    """Give an open of BTCUSDT, changed as said."""
    return a_plan(**({"action": Action.OPEN, "side": Side.BUY, "qty": Decimal("0.01")} | changes))


def an_order(**changes: Any) -> Order:
    """Give a filled order, changed as said."""
    return msgspec.structs.replace(ORDER, **changes)


def a_job(plan: Plan = PLAN) -> Job:
    """Give the job of a plan."""
    return Job.of_plan(plan, Decimal("0.01"), 5)
