"""What a crash or a rollback can leave of one plan: claim, line, order, each put there by itself."""

import contextlib
import time
from decimal import Decimal
from typing import Any

from redis.exceptions import ResponseError

from microservices.apply_layer.sent_log import SentLog, SentOrder
from microservices.contracts import claim, plan
from microservices.contracts.claim import ClaimState, OpenClaim
from microservices.contracts.plan import Action, Side
from tests.support.apply_paper import SOL, Desk
from tests.support.apply_world import redis_ms


class Left:
    """What a crash has left of one exit of 1 unit: pieces are put there one by one.

    Args:
        desk: where.
        plan_id: its plan's.
        symbol: what it closes.
        age_s: how long ago the plan was made.
    """

    def __init__(self, desk: Desk, *, plan_id: str = "", symbol: str = SOL, age_s: float = 1.0) -> None:
        self.desk = desk
        self.symbol = symbol
        redis = desk.redis
        made_ms = redis_ms(redis) - int(age_s * 1000)
        self.entry_id = f"{made_ms}-0"
        fields: Any = {
            "plan_id": plan_id or f"left-{made_ms}", "symbol": symbol, "decision": "EXECUTE", "side": "SELL",
            "action": "FULL_CLOSE_PROPOSED", "timestamp": f"{made_ms / 1000:.3f}", "source": "test",
        }  # fmt: skip
        self.plan_id = fields["plan_id"]
        redis.xadd(plan.STREAM, fields, id=self.entry_id)
        with contextlib.suppress(ResponseError):  # another was left before
            redis.xgroup_create(plan.STREAM, plan.GROUP_APPLY, "0")
        redis.xreadgroup(plan.GROUP_APPLY, plan.CONSUMER_APPLY, {plan.STREAM: ">"})

    @property
    def client_order_id(self) -> str:
        """The order's name."""
        return claim.client_order_id(self.plan_id)

    def claim(self, state: ClaimState) -> None:
        """Leave an open claim."""
        fields: dict[Any, Any] = {
            "state": state.value, "client_order_id": self.client_order_id, "symbol": self.symbol, "qty": "1",
            "claimed_at_ms": redis_ms(self.desk.redis), "plan_entry_id": self.entry_id,
        }  # fmt: skip
        if state is ClaimState.SENT:
            fields["sent_at_ms"] = redis_ms(self.desk.redis)
        self.desk.redis.hset(claim.key(self.plan_id), mapping=fields)
        line = claim.encode_open(OpenClaim(self.symbol, Action.FULL_CLOSE_PROPOSED, state, self.entry_id))
        self.desk.redis.hset(claim.OPEN_KEY, self.plan_id, line)

    def line(self) -> SentLog:
        """Leave a line in `sent.log`."""
        log = SentLog(self.desk.directory)
        log.open()
        log.append(
            SentOrder(
                plan_id=self.plan_id, plan_entry_id=self.entry_id, symbol=self.symbol, side=Side.SELL,
                action=Action.FULL_CLOSE_PROPOSED, quantity=Decimal(1), reduce_only=True,
                client_order_id=self.client_order_id, sent_at_ms=round(time.time() * 1000),
                source="test", wait_ms=4,
            )
        )  # fmt: skip
        return log

    def order(self) -> None:
        """Leave the order at the exchange."""
        answer = self.desk.paper.order(
            self.symbol, "SELL", "1", reduceOnly="true", newClientOrderId=self.client_order_id
        )
        assert answer.status == 200, answer.json

    def end(self) -> Any:
        """Give the one result, once nothing is open any more; nobody sent an order but the test."""
        end = self.desk.world.await_result(self.entry_id, 20)
        self.desk.await_no_claims()
        self.desk.world.assert_settled(1)
        made = self.desk.world.claim(self.plan_id)
        assert made is not None
        assert made.state is ClaimState.DONE
        return end
