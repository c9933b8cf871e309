"""Every input of the brain in every way it can be wrong, and what an open and an exit are answered then.

The inputs are what the brain really reads: keys in Redis, and the exchange's answers as bytes. An entry that is a plain
sentence says why that fault cannot befall that input.
"""

import json
import math
from collections.abc import Callable, Mapping
from itertools import cycle
from typing import NamedTuple

import pytest

from microservices.contracts import claim, control, position, universe
from microservices.contracts.universe_reader import Tier
from microservices.position_state_brain import snapshots
from microservices.runtime import redis_ms
from tests.support.brain import SYMBOL
from tests.support.brain_world import MODE_PATH, POSITIONS_PATH, PRICES_PATH, WireExchange, World

FAULTS = (
    "missing", "stale", "future", "wrong type", "wrong mode", "NaN", "infinity", "negative", "empty", "huge",
    "not UTF-8", "duplicated", "expired",
)  # fmt: skip
ALLOWED = "allowed"
OTHER = "ETHUSDT"
PLAN_IDS = ("in", "out")
NOT_UTF8 = b"\xff\xfe"
HUGE = "9" * 1_000_000
HUGE_NUMBER = "9" * 40
WORDS: Mapping[str, str | bytes] = {
    "NaN": "NaN", "infinity": "Infinity", "negative": "-1", "empty": "", "huge": HUGE, "not UTF-8": NOT_UTF8,
}  # fmt: skip
"""What may stand in place of any text."""

Put = Callable[[World, pytest.MonkeyPatch], object]


class Cell(NamedTuple):
    """One fault: how it comes about, and what it ends in."""

    put: Put
    open: str
    exit: str
    source: Tier = Tier.UNIVERSE
    """Of the allowlist that an allow is made on."""


class Input(NamedTuple):
    """One input with all its faults; `early`: they are there before the brain starts, not only after its first look."""

    cells: Mapping[str, Cell | str]
    early: bool = False
    open_symbol: str = SYMBOL


def text_at(key: str, value: str | bytes | None) -> Put:
    """Put a string under a key, or remove it."""

    def put(world: World, _: pytest.MonkeyPatch) -> None:
        world.redis.delete(key)
        if value is not None:
            world.redis.set(key, value)

    return put


def list_at(*keys: str) -> Put:
    """Put a list under keys that are none."""

    def put(world: World, _: pytest.MonkeyPatch) -> None:
        world.redis.delete(*keys)
        for key in keys:
            world.redis.rpush(key, "x")

    return put


def fields_at(key: str, **fields: str | bytes | None) -> Put:
    """Set fields of a hash; None removes one."""

    def put(world: World, _: pytest.MonkeyPatch) -> None:
        for name, value in fields.items():
            if value is None:
                world.redis.hdel(key, name)
            else:
                world.redis.hset(key, name, value)

    return put


def for_plans(key: Callable[[str], str], make: Callable[[str], Put]) -> Put:
    """Do the same for the key of each plan."""

    def put(world: World, patch: pytest.MonkeyPatch) -> None:
        for plan_id in PLAN_IDS:
            make(key(plan_id))(world, patch)

    return put


def lists(*keys: str, age_s: int = 20, raw: bytes | None = None, **changes: object) -> Put:
    """Write the universe's documents of this age with changes, or these bytes; JSON may hold NaN and Infinity here."""

    def put(world: World, _: pytest.MonkeyPatch) -> None:
        asof = world.now_ms() // 1000 - age_s
        document: dict[str, object] = {"asof_epoch": asof, "source": universe.SOURCE, "mode": "paper"}
        document |= {"symbols": [SYMBOL, OTHER], "filters": universe.FILTERS}
        for key in keys:
            world.redis.delete(key)
            world.redis.set(key, json.dumps(document | changes) if raw is None else raw)
        read_again(world)

    return put


def read_again(world: World) -> None:
    """Let the time pass after which the brain reads its list anew."""
    world.clock.advance(world.settings.p33_allowlist_refresh_s + 1)


def then_read(put: Put) -> Put:
    """Do something to the universe's keys, and have them read."""

    def both(world: World, patch: pytest.MonkeyPatch) -> None:
        put(world, patch)
        read_again(world)

    return both


def executed(age_ms: int) -> Put:
    """Date the symbol's last execution."""

    def put(world: World, _: pytest.MonkeyPatch) -> None:
        world.redis.hset(position.ledger_key(SYMBOL), "last_exec_ts_ms", world.now_ms() - age_ms)

    return put


def instrument(off_s: int = 0, **changes: object) -> Put:
    """Change the symbol's rules, and by how many seconds it was seen after the list."""

    def put(world: World, _: pytest.MonkeyPatch) -> None:
        world.publish_universe(age_s=20)
        raw = world.redis.hget(universe.INSTRUMENTS_KEY, SYMBOL)
        assert isinstance(raw, bytes)
        rules = json.loads(raw)
        changed = rules | changes | {"seen_epoch": rules["seen_epoch"] + off_s}
        world.redis.hset(universe.INSTRUMENTS_KEY, SYMBOL, json.dumps(changed))

    return put


def said(path: str, body: bytes) -> Put:
    """Have the exchange answer this."""

    def put(world: World, _: pytest.MonkeyPatch) -> None:
        wire(world).bodies[path] = body

    return put


def rows(path: str, *changed: dict[str, object], of: str = SYMBOL) -> Put:
    """Have the exchange answer with these changes in place of a symbol's one row: none leaves it out."""

    def put(world: World, _: pytest.MonkeyPatch) -> None:
        well = wire(world).position_rows() if path == POSITIONS_PATH else wire(world).price_rows()
        own = next(row for row in well if row["symbol"] == of)
        others = [row for row in well if row["symbol"] != of]
        wire(world).bodies[path] = json.dumps(others + [own | change for change in changed]).encode()

    return put


def dated(*offsets_ms: int) -> Put:
    """Date the exchange's answers by a clock that is off: the account's, then the mark prices', again and again."""

    def put(_: World, patch: pytest.MonkeyPatch) -> None:
        offsets = cycle(offsets_ms)
        patch.setattr(snapshots, "redis_ms", lambda redis: redis_ms(redis) + next(offsets))

    return put


def wire(world: World) -> WireExchange:
    """The exchange that answers in bytes."""
    assert isinstance(world.exchange, WireExchange)
    return world.exchange


def worded(make: Callable[[str | bytes], Put], open_reason: str, exit_reason: str, *faults: str) -> dict[str, Cell]:
    """Make the cells of faults that are a word in place of another."""
    return {fault: Cell(make(WORDS[fault]), open_reason, exit_reason) for fault in faults or WORDS}


BOTH_LISTS = (universe.ACTIVE_KEY, universe.LAST_OK_KEY)
NO_AGE = "it has no date"
NO_MODE = "it has no mode: the whole Redis has one, which is checked at start"
ONE_FIELD = "a hash has each field once"


def list_cells(keys: tuple[str, ...], reason: str, source: Tier) -> dict[str, Cell | str]:
    """Make the cells of the universe's documents."""
    puts: dict[str, Put] = {
        "missing": then_read(lambda world, _: world.redis.delete(*keys)),
        "stale": lists(*keys, age_s=301),
        "future": lists(*keys, age_s=-60),
        "wrong type": then_read(list_at(*keys)),
        "wrong mode": lists(*keys, mode="testnet"),
        "NaN": lists(*keys, asof_epoch=math.nan),
        "infinity": lists(*keys, asof_epoch=math.inf),
        "negative": lists(*keys, asof_epoch=-1),
        "empty": lists(*keys, symbols=[]),
        "huge": lists(*keys, asof_epoch=10**30),
        "not UTF-8": lists(*keys, raw=NOT_UTF8),
        "duplicated": lists(*keys, symbols=[SYMBOL, SYMBOL]),
        "expired": lists(*keys, age_s=300),
    }
    return {fault: Cell(put, reason, reason, source) for fault, put in puts.items()}


def meta_cells() -> dict[str, Cell | str]:
    """Make the cells of the universe's meta hash: whatever is wrong with it, the second tier stands in."""
    puts: dict[str, Put] = {
        "missing": text_at(universe.META_KEY, None),
        "stale": fields_at(universe.META_KEY, stale="1"),
        "wrong type": list_at(universe.META_KEY),
        "duplicated": fields_at(universe.META_KEY, count="4"),
        **{fault: fields_at(universe.META_KEY, count=word) for fault, word in WORDS.items()},
    }
    cells: dict[str, Cell | str] = {
        fault: Cell(then_read(put), ALLOWED, ALLOWED, Tier.LAST_OK) for fault, put in puts.items()
    }
    of_the_document = "that is the document's to say"
    return cells | {"future": of_the_document, "wrong mode": of_the_document, "expired": of_the_document}


KILL, HOLD, NO_BASELINE, SIDE, SIZE = (
    "kill_switch", "reconcile_hold_active", "no_baseline", "reconcile_required_side_mismatch",
    "reconcile_required_qty_mismatch",
)  # fmt: skip
OUTSTANDING, DUPLICATE, UNKNOWN = "permit_outstanding", "duplicate_plan", "instrument_unknown"
NO_SNAPSHOT, STALE, HEDGE, COOLDOWN = (
    "no_exchange_snapshot", "stale_exchange_state", "hedge_mode_unsupported", "cooldown_in_flight"
)  # fmt: skip
HOLD_KEY, LEDGER_KEY, MARK_KEY = control.hold_key(SYMBOL), position.ledger_key(SYMBOL), position.inflight_key(SYMBOL)


def hold(word: str | bytes) -> Put:
    """Put a hold on the symbol."""
    return text_at(HOLD_KEY, word)


def mark(**changes: str | bytes) -> Put:
    """Put another plan's mark on the symbol: by default of an open of long ago whose permit is gone."""
    fields: dict[str, str | bytes | None] = {"plan_id": "p0", "plan_entry_id": "1-0", "action": "OPEN"}
    return fields_at(MARK_KEY, **(fields | changes))


def open_claim(value: str | bytes) -> Put:
    """Put an open claim of another plan."""
    return fields_at(claim.OPEN_KEY, p0=value)


CLAIM = json.dumps({"symbol": SYMBOL, "action": "OPEN", "state": "sent"})
VERDICT: dict[str, str | bytes | None] = {"plan_entry_id": "1-0", "allow": "true", "reason": "allowed", "digest": ""}


def verdict(**changes: str | bytes | None) -> Put:
    """Put a verdict on each plan id, made on another entry."""
    return for_plans(position.verdict_key, lambda key: fields_at(key, **(VERDICT | changes)))


def own_claim(state: str | bytes) -> Put:
    """Put a claim of each plan id."""
    return for_plans(claim.key, lambda key: fields_at(key, state=state))


def amount(word: str | bytes) -> Put:
    """Change the ledger's amount."""
    return fields_at(LEDGER_KEY, position_amt=word)


def last_execution(word: str | bytes) -> Put:
    """Change the date of the symbol's last execution."""
    return fields_at(LEDGER_KEY, last_exec_ts_ms=word)


def answers(path: str, field: str, of: str, open_reason: str, exit_reason: str) -> dict[str, Cell | str]:
    """Make the cells that any table of the exchange has: an answer or a number that cannot be read."""
    return {
        "wrong type": Cell(said(path, b'{"rows": 1}'), open_reason, exit_reason),
        "NaN": Cell(rows(path, {field: "NaN"}, of=of), open_reason, exit_reason),
        "infinity": Cell(rows(path, {field: "Infinity"}, of=of), open_reason, exit_reason),
        "empty": Cell(said(path, b"[]"), open_reason, exit_reason),
        "huge": Cell(rows(path, {field: "1e400"}, of=of), open_reason, exit_reason),
        "not UTF-8": Cell(said(path, b'[{"symbol": "\xff"}]'), open_reason, exit_reason),
        "missing": Cell(rows(path, of=of), open_reason, exit_reason),
        "duplicated": Cell(rows(path, {}, {}, of=of), open_reason, exit_reason),
    }


INPUTS: dict[str, Input] = {
    "universe: active and last_ok": Input(list_cells(BOTH_LISTS, "no_allowlist", Tier.NONE)),
    "universe: active alone": Input(list_cells((universe.ACTIVE_KEY,), ALLOWED, Tier.LAST_OK)),
    "universe: meta": Input(meta_cells()),
    "kill switch": Input(
        {
            "missing": Cell(text_at(control.KILL_SWITCH_KEY, None), KILL, ALLOWED),
            "stale": NO_AGE,
            "future": NO_AGE,
            "wrong type": Cell(list_at(control.KILL_SWITCH_KEY), KILL, KILL),
            "wrong mode": Cell(text_at(control.KILL_SWITCH_KEY, "testnet"), KILL, KILL),
            "duplicated": Cell(text_at(control.KILL_SWITCH_KEY, "off off"), KILL, KILL),
            "expired": Cell(lambda world, _: world.redis.pexpireat(control.KILL_SWITCH_KEY, 1), KILL, ALLOWED),
            **worded(lambda word: text_at(control.KILL_SWITCH_KEY, word), KILL, KILL),
        }
    ),
    "hold": Input(
        {
            "missing": Cell(text_at(HOLD_KEY, None), ALLOWED, ALLOWED),
            "stale": NO_AGE,
            "future": NO_AGE,
            "wrong type": Cell(list_at(HOLD_KEY), HOLD, HOLD),
            "wrong mode": Cell(hold("testnet"), HOLD, ALLOWED),
            "duplicated": Cell(hold("all: all: twice"), HOLD, HOLD),
            "expired": "it has no TTL: whoever set it ends it",
            **worded(hold, HOLD, ALLOWED, "NaN", "infinity", "negative", "empty", "huge"),
            **worded(hold, HOLD, HOLD, "not UTF-8"),
        }
    ),
    "baseline": Input(
        {
            "missing": Cell(text_at(position.BASELINE_KEY, None), NO_BASELINE, ALLOWED),
            "stale": "an account is adopted once, however long ago",
            "future": "a clock that was set back: adopted all the same",
            "wrong type": Cell(list_at(position.BASELINE_KEY), NO_BASELINE, ALLOWED),
            "wrong mode": NO_MODE,
            "duplicated": ONE_FIELD,
            "expired": "it has no TTL",
            **worded(lambda word: fields_at(position.BASELINE_KEY, adopted_at_ms=word), NO_BASELINE, ALLOWED),
        }
    ),
    "ledger": Input(
        {
            "missing": Cell(text_at(LEDGER_KEY, None), SIDE, ALLOWED),
            "stale": "it stands until the next fill",
            "future": "it stands until the next fill",
            "wrong type": Cell(list_at(LEDGER_KEY), SIZE, ALLOWED),
            "wrong mode": NO_MODE,
            "duplicated": ONE_FIELD,
            "expired": "it has no TTL",
            **worded(amount, SIZE, ALLOWED, "NaN", "infinity", "empty", "huge", "not UTF-8"),
            **worded(amount, SIDE, ALLOWED, "negative"),
        }
    ),
    "last execution (cooldown)": Input(
        {
            "missing": Cell(fields_at(LEDGER_KEY, last_exec_ts_ms=None), ALLOWED, ALLOWED),
            "stale": Cell(executed(60_000), ALLOWED, ALLOWED),
            "future": Cell(executed(-3_600_000), COOLDOWN, ALLOWED),
            "wrong type": Cell(fields_at(LEDGER_KEY, last_exec_ts_ms="1.5"), SIZE, ALLOWED),
            "wrong mode": NO_MODE,
            "duplicated": ONE_FIELD,
            "expired": Cell(executed(1_000), COOLDOWN, STALE),  # the snapshot in hand may not show it yet
            **worded(last_execution, SIZE, ALLOWED, "NaN", "infinity", "negative", "huge", "not UTF-8"),
            **worded(last_execution, ALLOWED, ALLOWED, "empty"),
        }
    ),
    "in-flight mark": Input(
        {
            "missing": Cell(text_at(MARK_KEY, None), ALLOWED, ALLOWED),
            "stale": Cell(mark(), OUTSTANDING, ALLOWED),
            "future": Cell(mark(plan_entry_id="9999999999999-0"), OUTSTANDING, ALLOWED),
            "wrong type": Cell(list_at(MARK_KEY), OUTSTANDING, OUTSTANDING),
            "wrong mode": NO_MODE,
            "duplicated": ONE_FIELD,
            "expired": Cell(mark(), OUTSTANDING, ALLOWED),  # no meaning by age: the sweeper ends it
            **worded(lambda word: mark(action=word), OUTSTANDING, OUTSTANDING),
        }
    ),
    "open claims": Input(
        {
            "missing": Cell(text_at(claim.OPEN_KEY, None), ALLOWED, ALLOWED),
            "stale": Cell(open_claim(CLAIM), OUTSTANDING, ALLOWED),
            "future": NO_AGE,
            "wrong type": Cell(list_at(claim.OPEN_KEY), OUTSTANDING, OUTSTANDING),
            "wrong mode": NO_MODE,
            "duplicated": Cell(fields_at(claim.OPEN_KEY, p0=CLAIM, p9=CLAIM), OUTSTANDING, ALLOWED),
            "expired": "it has no TTL while open",
            **worded(open_claim, OUTSTANDING, OUTSTANDING),
        }
    ),
    "verdict": Input(
        {
            "missing": Cell(for_plans(position.verdict_key, lambda key: text_at(key, None)), ALLOWED, ALLOWED),
            "stale": Cell(verdict(), DUPLICATE, DUPLICATE),
            "future": Cell(verdict(plan_entry_id="9999999999999-0"), DUPLICATE, DUPLICATE),
            "wrong type": Cell(for_plans(position.verdict_key, list_at), DUPLICATE, DUPLICATE),
            "wrong mode": NO_MODE,
            "duplicated": ONE_FIELD,
            "expired": "after 24 h it is gone: then the plan is long expired",
            **worded(lambda word: verdict(allow=word), DUPLICATE, DUPLICATE),
        }
    ),
    "the plan's own claim": Input(
        {
            "missing": Cell(for_plans(claim.key, lambda key: text_at(key, None)), ALLOWED, ALLOWED),
            "stale": Cell(own_claim("done"), DUPLICATE, DUPLICATE),
            "future": NO_AGE,
            "wrong type": Cell(for_plans(claim.key, list_at), DUPLICATE, DUPLICATE),
            "wrong mode": NO_MODE,
            "duplicated": ONE_FIELD,
            "expired": "10 min or 24 h after its end it is gone: then the plan is long expired",
            **worded(own_claim, DUPLICATE, DUPLICATE),
        }
    ),
    "instrument": Input(
        {
            "missing": Cell(fields_at(universe.INSTRUMENTS_KEY, **{SYMBOL: None}), UNKNOWN, UNKNOWN),
            "stale": Cell(instrument(off_s=-1), UNKNOWN, ALLOWED),
            "future": Cell(instrument(off_s=+1), UNKNOWN, ALLOWED),
            "wrong type": Cell(list_at(universe.INSTRUMENTS_KEY), UNKNOWN, UNKNOWN),
            "wrong mode": NO_MODE,
            "NaN": Cell(instrument(step_size="NaN"), UNKNOWN, UNKNOWN),
            "infinity": Cell(instrument(max_qty="Infinity"), UNKNOWN, UNKNOWN),
            "negative": Cell(instrument(min_qty="-0.001"), UNKNOWN, UNKNOWN),
            "empty": Cell(instrument(step_size=""), UNKNOWN, UNKNOWN),
            "huge": Cell(instrument(step_size=HUGE_NUMBER), UNKNOWN, UNKNOWN),
            "not UTF-8": Cell(fields_at(universe.INSTRUMENTS_KEY, **{SYMBOL: NOT_UTF8}), UNKNOWN, UNKNOWN),
            "duplicated": ONE_FIELD,
            "expired": Cell(instrument(status="SETTLING"), UNKNOWN, ALLOWED),
        }
    ),
    "account's answer": Input(
        {
            **answers(POSITIONS_PATH, "positionAmt", SYMBOL, NO_SNAPSHOT, NO_SNAPSHOT),
            "stale": Cell(dated(-11_000), STALE, STALE),
            "future": Cell(dated(+60_000), STALE, STALE),
            "wrong mode": Cell(rows(POSITIONS_PATH, {"positionSide": "LONG"}, {"positionSide": "SHORT"}), HEDGE, HEDGE),
            "negative": Cell(rows(POSITIONS_PATH, {"positionAmt": "-0.5"}), HOLD, "side_mismatch"),
            "expired": Cell(dated(-10_001), STALE, STALE),
        },
        early=True,
    ),
    "mark price": Input(
        {
            **answers(PRICES_PATH, "markPrice", OTHER, NO_SNAPSHOT, ALLOWED),
            "stale": Cell(dated(0, -11_000), NO_SNAPSHOT, ALLOWED),
            "future": Cell(dated(0, +60_000), NO_SNAPSHOT, ALLOWED),
            "wrong mode": NO_MODE,
            "negative": Cell(rows(PRICES_PATH, {"markPrice": "-1"}, of=OTHER), NO_SNAPSHOT, ALLOWED),
            "expired": Cell(dated(0, -10_001), NO_SNAPSHOT, ALLOWED),
        },
        early=True,
        open_symbol=OTHER,
    ),
    "position mode": Input(
        {
            "missing": Cell(said(MODE_PATH, b"{}"), NO_SNAPSHOT, NO_SNAPSHOT),
            "stale": "what was answered once stands while the exchange does not answer again",
            "future": NO_AGE,
            "wrong mode": Cell(said(MODE_PATH, b'{"dualSidePosition": true}'), HEDGE, HEDGE),
            "wrong type": Cell(said(MODE_PATH, b'{"dualSidePosition": "false"}'), NO_SNAPSHOT, NO_SNAPSHOT),
            "NaN": Cell(said(MODE_PATH, b'{"dualSidePosition": NaN}'), NO_SNAPSHOT, NO_SNAPSHOT),
            "infinity": Cell(said(MODE_PATH, b'{"dualSidePosition": Infinity}'), NO_SNAPSHOT, NO_SNAPSHOT),
            "negative": Cell(said(MODE_PATH, b'{"dualSidePosition": -1}'), NO_SNAPSHOT, NO_SNAPSHOT),
            "empty": Cell(said(MODE_PATH, b""), NO_SNAPSHOT, NO_SNAPSHOT),
            "huge": Cell(said(MODE_PATH, HUGE.encode()), NO_SNAPSHOT, NO_SNAPSHOT),
            "not UTF-8": Cell(said(MODE_PATH, b'{"dualSidePosition": "\xff"}'), NO_SNAPSHOT, NO_SNAPSHOT),
            "duplicated": "the last of two words counts, as every reader of JSON has it; the exchange writes one",
            "expired": "asked every five minutes; see stale",
        },
        early=True,
    ),
}
