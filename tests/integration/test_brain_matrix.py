"""Fail-closed, exhaustively: every input × every way to be wrong, an open and an exit, on the real reading path.

A real Redis holds the keys, the exchange answers in bytes, and a whole brain decides. The table is
`tests/support/brain_faults.py`; plans themselves, field by field, are at the end of this file.
"""

from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from microservices.contracts import hashes, permit, plan, position
from microservices.contracts.permit import Gate
from microservices.contracts.reason import Reason
from microservices.position_state_brain.settings import AllowlistSource
from tests.support.brain import BASELINE, SYMBOL, exit_fields, plan_fields
from tests.support.brain_faults import ALLOWED, FAULTS, HUGE, HUGE_NUMBER, INPUTS, NOT_UTF8, Cell
from tests.support.brain_world import WireExchange, World

CELLS = [
    pytest.param(given, fault, cell, id=f"{given}, {fault}")
    for given, table in INPUTS.items()
    for fault, cell in table.cells.items()
    if isinstance(cell, Cell)
]


@pytest.fixture
def world(redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A brain whose account holds 0.5 of the symbol and was adopted long ago; it has not started."""
    ready = World(redis_client, tmp_path, monkeypatch, WireExchange())
    ready.exchange.positions[SYMBOL] = "0.5"
    redis_client.hset(position.BASELINE_KEY, mapping=hashes.encode(BASELINE))
    fields = {"position_amt": "0.5", "last_exec_ts_ms": str(ready.now_ms() - 60_000)}
    redis_client.hset(position.ledger_key(SYMBOL), mapping=dict(fields.items()))
    return ready


def reason(world: World, plan_id: str) -> str:
    """Give the one answer to a plan: at once, or when it has waited in vain."""
    reasons = [said for of, said in world.answer() if of == plan_id]
    if not reasons:
        world.clock.advance(10.1)
        reasons = [said for of, said in world.answer() if of == plan_id]
    (only,) = reasons
    document = world.redis.get(permit.key(Gate.P33, plan_id))
    allowed = document is not None and permit.decode(document, plan_id).allow
    assert allowed is (only == ALLOWED)
    assert world.redis.xpending(plan.STREAM, plan.GROUP_BRAIN)["pending"] == 0
    return only


@pytest.mark.parametrize("given", INPUTS)
def test_every_fault_of_an_input_is_tried_or_cannot_be(given: str) -> None:
    """Thirteen ways to be wrong, each with its expected answers or the reason why there is no such thing."""
    assert sorted(INPUTS[given].cells) == sorted(FAULTS)


@pytest.mark.parametrize(("given", "fault", "cell"), CELLS)
def test_what_is_wrong_denies_with_the_exact_reason(
    world: World, monkeypatch: pytest.MonkeyPatch, given: str, fault: str, cell: Cell
) -> None:
    """No permit, and the reason that names it; an exit goes on where only opens must stop (I-12, I-21, I-26)."""
    early = INPUTS[given].early
    if early:
        cell.put(world, monkeypatch)
    world.begin()
    for kind, add in (("exit", world.close), ("open", world.open)):
        if kind == "open":  # the mark that the exit's own permit has left is none of the fault's
            world.redis.delete(position.inflight_key(SYMBOL))
        if not early:
            cell.put(world, monkeypatch)
        plan_id = "in" if kind == "open" else "out"
        add(plan_id, symbol=INPUTS[given].open_symbol if kind == "open" else SYMBOL)
        assert reason(world, plan_id) == getattr(cell, kind), kind
        permitted = world.permit(plan_id)
        if permitted is not None and permitted.allow:
            assert permitted.context["allowlist_source"] == cell.source


@pytest.mark.parametrize(
    ("listed", "reasons"),
    [
        ((), ("no_allowlist", "no_allowlist")),
        ((SYMBOL, SYMBOL), (ALLOWED, ALLOWED)),
        ((HUGE,), ("not_in_allowlist", ALLOWED)),
        (("NaN",), ("not_in_allowlist", ALLOWED)),
        ((SYMBOL.lower(),), ("not_in_allowlist", ALLOWED)),
    ],
    ids=["empty", "duplicated", "huge", "NaN", "another spelling"],
)
def test_the_environments_list_is_taken_at_its_word(
    redis_client: Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    listed: tuple[str, ...],
    reasons: tuple[str, str],
) -> None:
    """The third tier, alone: what it does not name is not opened, and without a name nothing is permitted."""
    env = AllowlistSource.ENV
    world = World(redis_client, tmp_path, monkeypatch, p33_allowlist_source=env, p33_allowlist=listed)
    world.exchange.positions[SYMBOL] = "0.5"
    world.begin()
    world.close("out")
    assert reason(world, "out") == reasons[1]
    world.redis.delete(position.inflight_key(SYMBOL))
    world.open("in")
    assert reason(world, "in") == reasons[0]


INVALID = Reason.INVALID_PLAN.value
EXPIRED = Reason.PLAN_EXPIRED.value
WRONG: dict[str, dict[str, str | bytes]] = {
    "symbol": {"NaN": "N/A", "empty": "", "huge": HUGE, "not UTF-8": NOT_UTF8, "negative": "-BTC"},
    "side": {"NaN": "NaN", "empty": "", "huge": HUGE, "not UTF-8": NOT_UTF8, "wrong type": "LONG"},
    "decision": {"NaN": "NaN", "empty": "", "huge": HUGE, "not UTF-8": NOT_UTF8, "wrong type": "yes"},
    "action": {"NaN": "NaN", "empty": "", "huge": HUGE, "not UTF-8": NOT_UTF8, "wrong type": "CLOSE"},
    "reduceOnly": {"NaN": "NaN", "huge": HUGE, "not UTF-8": NOT_UTF8, "wrong type": "1"},
    "qty": {
        "NaN": "NaN", "infinity": "Infinity", "negative": "-1", "huge": HUGE_NUMBER, "not UTF-8": NOT_UTF8,
        "wrong type": "1e3",
    },
    "timestamp": {
        "NaN": "NaN", "infinity": "inf", "negative": "-1", "empty": "", "huge": HUGE_NUMBER, "not UTF-8": NOT_UTF8,
        "wrong type": "now",
    },
    "expected_position": {
        "NaN": "NaN", "infinity": "-Infinity", "huge": HUGE_NUMBER, "not UTF-8": NOT_UTF8, "wrong type": "all",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_plans_field_that_is_wrong_makes_it_invalid(world: World, name: str) -> None:
    """Each in turn, of an open and of an exit; the answer stands under the plan's own id, and only there (I-03)."""
    world.begin()
    for fault, value in WRONG[name].items():
        for fields in (plan_fields, exit_fields):
            plan_id = f"{fields.__name__}-{fault.replace(' ', '-')}"
            good = fields(plan_id=plan_id, timestamp=f"{world.now_ms() / 1000:.3f}")
            world.redis.xadd(plan.STREAM, dict((good | {name: value}).items()))
            assert reason(world, plan_id) == INVALID, (name, fault)


@pytest.mark.parametrize(
    ("name", "open_reason", "exit_reason"),
    [
        ("symbol", INVALID, INVALID),
        ("side", INVALID, INVALID),
        ("decision", INVALID, INVALID),
        ("action", INVALID, INVALID),
        ("timestamp", INVALID, INVALID),
        ("reduceOnly", INVALID, ALLOWED),
        ("qty", INVALID, ALLOWED),
        ("expected_position", ALLOWED, ALLOWED),
    ],
)
def test_a_plans_field_that_is_missing(world: World, name: str, open_reason: str, exit_reason: str) -> None:
    """I-14: an open without an explicit word is none; an exit needs neither quantity nor reduceOnly to be one."""
    world.begin()
    for plan_id, fields, expected in (("out", exit_fields, exit_reason), ("in", plan_fields, open_reason)):
        world.redis.delete(position.inflight_key(SYMBOL))
        good = fields(plan_id=plan_id, timestamp=f"{world.now_ms() / 1000:.3f}")
        good.pop(name, None)
        world.add(good)
        assert reason(world, plan_id) == expected


@pytest.mark.parametrize("off_s", [-61.0, 60.0])
def test_a_plan_of_another_time_is_expired(world: World, off_s: float) -> None:
    """Stale, or from the future: an open and an exit alike."""
    world.begin()
    for plan_id, fields in (("out", exit_fields), ("in", plan_fields)):
        world.add(fields(plan_id=plan_id, timestamp=f"{world.now_ms() / 1000 + off_s:.3f}"))
        assert reason(world, plan_id) == EXPIRED


def test_a_field_that_stands_twice_is_read_alike_by_all(world: World) -> None:
    """Redis keeps both; every part of the suite reads the last, and the digest ties the permit to that reading."""
    world.begin()
    fields = plan_fields(plan_id="in", timestamp=f"{world.now_ms() / 1000:.3f}", qty="0.02")
    flat = ["qty", "7", *(part for pair in fields.items() for part in pair)]
    entry_id: Any = world.redis.execute_command("XADD", plan.STREAM, "*", *flat)  # type: ignore[no-untyped-call]
    assert reason(world, "in") == ALLOWED
    permitted = world.permit("in")
    assert permitted is not None
    last = plan.decode(plan.decode_header(entry_id.decode(), fields))
    assert (permitted.safe_qty, permitted.plan_digest) == ("0.02", last.digest)
