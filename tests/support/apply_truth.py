"""What must be true after whatever has happened: one order at most, one result, a claim and a position that agree."""

import re
from collections import Counter
from decimal import Decimal
from typing import Any

from microservices.contracts import claim, plan
from microservices.contracts.claim import ClaimState
from microservices.contracts.plan import Decision, Side
from microservices.contracts.reason import Reason
from microservices.contracts.result import Result
from tests.support.apply_paper import Desk

CODE = re.compile(r"|exchange_error_[0-9]+|" + "|".join(reason.value for reason in Reason))


def assert_all_true(desk: Desk, held_before: dict[str, str], *, own_codes: frozenset[str] = frozenset()) -> None:
    """Assert the four invariants over everything that is in Redis and at the exchange.

    Args:
        desk: nothing is on its way any more.
        held_before: positions that were opened by hand.
        own_codes: codes that plans came with.
    """
    results = desk.world.results()
    _one_result_each(desk, results)
    _one_order_each(desk, results)
    for end in results:
        _claim_tells_the_truth(desk, end, results)
        assert CODE.fullmatch(end.error) or end.error in own_codes, end
    for symbol in {end.symbol for end in results if end.symbol} | set(held_before):
        held = Decimal(held_before.get(symbol, "0"))
        moved = sum((_moved(end) for end in results if end.symbol == symbol), Decimal(0))
        assert desk.paper.position(symbol) == held + moved, (symbol, results)


def _moved(end: Result) -> Decimal:
    return end.quantity if end.side is Side.BUY else -end.quantity


def _one_result_each(desk: Desk, results: list[Result]) -> None:
    answered = Counter(end.plan_entry_id for end in results)
    assert [entry for entry, count in answered.items() if count > 1] == []
    entries: Any = desk.redis.xrange(plan.STREAM)
    assert [entry for entry, _ in entries if answered[entry.decode()] != 1] == []
    assert desk.world.pending() == 0


def _one_order_each(desk: Desk, results: list[Result]) -> None:
    """At most one order of a name was taken, and it filled what the one result of its plan says."""
    posts = desk.posts()
    taken = Counter(post["parameters"]["newClientOrderId"] for post in posts if post["status"] in (200, None))
    assert [name for name, count in taken.items() if count > 1] == []
    filled = {claim.client_order_id(end.plan_id): end for end in results if end.executed}
    assert len(filled) == len([end for end in results if end.executed]), "a plan was executed twice"
    for post in posts:
        name, symbol = post["parameters"]["newClientOrderId"], post["parameters"]["symbol"]
        answer = desk.paper.signed("GET", "/fapi/v1/order", symbol=symbol, origClientOrderId=name)
        at_exchange = Decimal(answer.json["executedQty"]) if answer.status == 200 else Decimal(0)
        told = filled[name].quantity if name in filled else Decimal(0)
        assert at_exchange == told, (name, answer, filled.get(name))
    assert set(filled) <= {post["parameters"]["newClientOrderId"] for post in posts}


def _claim_tells_the_truth(desk: Desk, end: Result, results: list[Result]) -> None:
    """It is done, and is that of the entry that was not a duplicate."""
    assert end.executed is (end.quantity > 0) is (end.decision is Decision.EXECUTE), end
    assert desk.redis.hlen(claim.OPEN_KEY) == 0
    if not end.plan_id:
        return
    made = desk.world.claim(end.plan_id)
    assert made is not None, end
    assert made.state is ClaimState.DONE
    owners = [other.plan_entry_id for other in results if _owns(other, end.plan_id)]
    assert owners in ([made.plan_entry_id], []), (made, owners)
    if end.executed:
        assert (made.plan_entry_id, made.client_order_id) == (end.plan_entry_id, end.client_order_id)
        assert desk.redis.ttl(claim.key(end.plan_id)) > claim.DONE_WITHOUT_ORDER_TTL_S


def _owns(end: Result, plan_id: str) -> bool:
    return end.plan_id == plan_id and end.error != Reason.DUPLICATE_PLAN
