"""consume.lua against a real Redis: every refusal, and that none of them writes anything."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from microservices.apply_layer.scripts import (
    Broken,
    Claimed,
    ConsumeAnswer,
    Denied,
    Exists,
    LeaseLost,
    Missing,
    OurRefusal,
    Ready,
)
from microservices.contracts import account, claim, control, permit, position
from microservices.contracts.claim import ClaimState, OpenClaim
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Action
from tests.support.apply_bench import ALL, INSTANCE, P33, Bench
from tests.support.apply_world import SYMBOL, redis_ms


@pytest.fixture
def bench(redis_client: Redis) -> Bench:
    """A fresh bench."""
    return Bench(redis_client)


def test_a_permitted_exit_is_claimed(bench: Bench) -> None:
    """I-02: claim, open line and the permit's deletion are one step; the event stream is not asked."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id, safe_qty="0.00200")
    before_ms = redis_ms(bench.redis)
    assert bench.consume(entry_id) == Claimed(Decimal("0.002"))
    made = bench.world.claim("p1")
    assert made is not None
    assert (made.state, made.symbol, made.qty) == (ClaimState.CLAIMED, SYMBOL, Decimal("0.002"))
    assert (made.client_order_id, made.plan_entry_id) == (claim.client_order_id("p1"), entry_id)
    assert made.claimed_at_ms is not None
    assert before_ms <= made.claimed_at_ms <= redis_ms(bench.redis)
    assert bench.redis.ttl(claim.key("p1")) == -1
    assert bench.redis.exists(permit.key(Gate.P33, "p1")) == 0
    raw: Any = bench.redis.hget(claim.OPEN_KEY, "p1")
    assert claim.decode_open(raw, "p1") == OpenClaim(SYMBOL, Action.FULL_CLOSE_PROPOSED, ClaimState.CLAIMED, entry_id)


def test_the_smallest_safe_quantity_of_all_gates_counts(bench: Bench) -> None:
    """I-08: every permit is read and every one consumed; digits beyond a double's are compared as digits."""
    entry_id = bench.world.add_open("p1", qty="1")
    for gate, safe_qty in zip(ALL, ("0.0030000000000000002", "0.0030000000000000001", "00.0031"), strict=True):
        bench.world.permit(entry_id, gate, safe_qty=safe_qty)
    assert bench.consume(entry_id, ALL) == Claimed(Decimal("0.0030000000000000001"))
    assert not any(bench.redis.exists(permit.key(gate, "p1")) for gate in ALL)


@pytest.mark.parametrize(("qty", "claimed"), [("0.001", "0.001"), ("0.01", "0.002"), ("0", "0.002")])
def test_never_more_than_the_plan_wanted(bench: Bench, qty: str, claimed: str) -> None:
    """An exit's quantity is an upper bound where it is given, whatever a gate says."""
    entry_id = bench.world.add("p1", qty=qty)
    bench.world.permit(entry_id)
    assert bench.consume(entry_id) == Claimed(Decimal(claimed))


def test_a_name_in_any_script_is_a_name(bench: Bench) -> None:
    """The exchange lists such symbols, and a position in one must close; JSON may write them either way."""
    entry_id = bench.world.add("p1", symbol="币安人生USDT")
    document = bench.world.permit(entry_id)
    bench.redis.set(permit.key(Gate.P33, "p1"), json.dumps(document, ensure_ascii=True))
    assert bench.consume(entry_id) == Claimed(Decimal("0.002"))


NO_PERMIT: list[dict[str, Any]] = [
    {"v": 2},
    {"gate": "governor"},
    {"plan_id": "p2"},
    {"plan_digest": "0" * 64},
    {"symbol": "ETHUSDT"},
    {"mode": "mainnet"},
    {"allow": "true"},
    {"allow": "false"},
    {"allow": 1},
    {"allow": None},
    {"expires_at_ms": 1},
    {"expires_at_ms": "99999999999999"},
    {"expires_at_ms": None},
    {"expires_at_ms": 1e300},
    {"safe_qty": "0"},
    {"safe_qty": "0.000"},
    {"safe_qty": ""},
    {"safe_qty": "-0.002"},
    {"safe_qty": "+0.002"},
    {"safe_qty": "1e3"},
    {"safe_qty": ".5"},
    {"safe_qty": "5."},
    {"safe_qty": "0x10"},
    {"safe_qty": " 1"},
    {"safe_qty": "1\n"},
    {"safe_qty": "1.0.0"},
    {"safe_qty": "NaN"},
    {"safe_qty": "inf"},
    {"safe_qty": "9" * 50},
    {"safe_qty": 0.002},
    {"safe_qty": None},
    {"safe_qty": ["0.002"]},
]


@pytest.mark.parametrize("change", NO_PERMIT, ids=json.dumps)
def test_a_permit_that_does_not_fit_is_no_permit(bench: Bench, change: dict[str, Any]) -> None:
    """I-42: anything unreadable, of another plan, mode or time, or without a quantity, lets nothing through."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id, **change)
    assert bench.consume(entry_id) == Missing(P33, is_expired=False)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{",
        "null",
        "true",
        "[]",
        '["allow"]',
        "1",
        '"allow"',
        "{}",
        "\xff\xfe",
        "NaN",
        '{"v":1,"allow":true}',
        "[" * 2000,
    ],
)
def test_what_is_no_json_object_is_no_permit(bench: Bench, raw: str) -> None:
    """The script never raises, whatever stands there."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id)
    bench.redis.set(permit.key(Gate.P33, "p1"), raw.encode("latin-1"))
    assert bench.consume(entry_id) == Missing(P33, is_expired=False)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_are_none_are_no_expiry(bench: Bench, number: str) -> None:
    """The server's JSON reader takes them; a permit without an end does not."""
    entry_id = bench.world.add("p1")
    document = bench.world.permit(entry_id)
    raw = json.dumps(document | {"expires_at_ms": 0}).replace('"expires_at_ms": 0', f'"expires_at_ms": {number}')
    bench.redis.set(permit.key(Gate.P33, "p1"), raw)
    assert bench.consume(entry_id) == Missing(P33, is_expired=False)


def test_a_permit_of_another_type_is_no_permit(bench: Bench) -> None:
    """I-06: a hash under a permit's name stops nobody but its plan."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id)
    bench.redis.delete(permit.key(Gate.P33, "p1"))
    bench.redis.hset(permit.key(Gate.P33, "p1"), "allow", "true")
    assert bench.consume(entry_id) == Missing(P33, is_expired=False)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_value_makes_the_script_raise(bench: Bench, raw: bytes) -> None:
    """Bytes and JSON of any kind: never an error, never a claim."""
    entry_id = bench.world.add("p1")
    bench.world.mark(bench.world.plan(entry_id))
    bench.redis.set(permit.key(Gate.P33, "p1"), raw)
    assert bench.consume(entry_id) == Missing(P33, is_expired=False)


def test_the_missing_gates_are_named(bench: Bench) -> None:
    """All of them, in the order they are configured in."""
    entry_id = bench.world.add_open("p1")
    assert bench.consume(entry_id, ALL) == Missing(ALL, is_expired=False)
    bench.world.permit(entry_id, Gate.P26)
    assert bench.consume(entry_id, ALL) == Missing((Gate.GOVERNOR, Gate.P33), is_expired=False)


def test_a_deny_ends_the_plan_and_burns_no_other_permit(bench: Bench) -> None:
    """I-08: the other gates' permits stay as they are, and the deny itself too."""
    entry_id = bench.world.add_open("p1")
    for gate in (Gate.GOVERNOR, Gate.P26):
        bench.world.permit(entry_id, gate)
    bench.world.permit(entry_id, allow=False, safe_qty="0", reason="cooldown_in_flight")
    assert bench.consume(entry_id, ALL) == Denied(Gate.P33, "cooldown_in_flight")


def test_a_deny_counts_though_other_permits_are_missing(bench: Bench) -> None:
    """Waiting for them would change nothing."""
    entry_id = bench.world.add_open("p1")
    bench.world.permit(entry_id, Gate.P26, allow=False, safe_qty="0", side=None, reason="over_budget")
    assert bench.consume(entry_id, ALL) == Denied(Gate.P26, "over_budget")


def test_a_deny_of_another_plan_is_no_deny(bench: Bench) -> None:
    """What does not fit decides nothing, in either direction."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id, allow=False, reason="no_position", plan_digest="0" * 64)
    assert bench.consume(entry_id) == Missing(P33, is_expired=False)


@pytest.mark.parametrize("reason", [None, 7, {"a": 1}])
def test_a_deny_without_words_is_a_deny(bench: Bench, reason: object) -> None:
    """It ends the plan with an empty reason."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id, allow=False, reason=reason)
    assert bench.consume(entry_id) == Denied(Gate.P33, "")


@pytest.mark.parametrize(
    ("value", "open_stops", "exit_stops"),
    [
        ("off", False, False),
        (" OFF\n", False, False),
        ("no_new_risk", True, False),
        ("No_New_Risk ", True, False),
        ("full_stop", True, True),
        ("on", True, True),
        ("", True, True),
        ("0", True, True),
        (None, True, False),
    ],
)
def test_the_kill_switch_in_all_its_values(bench: Bench, value: str | None, open_stops: bool, exit_stops: bool) -> None:
    """I-35, I-39: one key, read in the script that claims; the contract's reader says the same."""
    key = control.KILL_SWITCH_KEY
    bench.redis.delete(key)
    if value is not None:
        bench.redis.set(key, value)
    state, _ = control.decode_kill_switch(bench.redis.get(key))
    assert (state.stops_opens, state.stops_exits) == (open_stops, exit_stops)
    for entry_id, stops in ((bench.world.add_open("o1"), open_stops), (bench.world.add("e1"), exit_stops)):
        bench.world.permit(entry_id)
        answer = bench.consume(entry_id)
        assert answer == (OurRefusal("kill_switch") if stops else Claimed(Decimal("0.002")))


def test_a_kill_switch_of_another_type_stops_everything(bench: Bench) -> None:
    """Nobody knows what was meant."""
    bench.redis.delete(control.KILL_SWITCH_KEY)
    bench.redis.hset(control.KILL_SWITCH_KEY, "off", "off")
    entry_id = bench.world.add("e1")
    bench.world.permit(entry_id)
    assert bench.consume(entry_id) == OurRefusal("kill_switch")


@pytest.mark.parametrize(
    ("hold", "exit_stops"), [("brain:qty", False), ("", False), ("by hand", False), ("all:", True), ("all: stop", True)]
)
def test_a_hold_stops_opens_and_exits_only_where_it_says_so(bench: Bench, hold: str, exit_stops: bool) -> None:
    """I-21: a hold must not block the very close that ends its cause."""
    bench.redis.set(control.hold_key(SYMBOL), hold)
    assert control.hold_stops(hold.encode(), is_exit=True) is exit_stops
    opening, exiting = bench.world.add_open("o1"), bench.world.add("e1")
    bench.world.permit(opening)
    assert bench.consume(opening) == OurRefusal("reconcile_hold_active")
    bench.world.permit(exiting)
    assert isinstance(bench.consume(exiting), OurRefusal if exit_stops else Claimed)


def test_a_hold_of_another_type_stops_both(bench: Bench) -> None:
    """Something was meant, and it is not known what."""
    bench.redis.lpush(control.hold_key(SYMBOL), "x")
    entry_id = bench.world.add("e1")
    bench.world.permit(entry_id)
    assert bench.consume(entry_id) == OurRefusal("reconcile_hold_active")


def test_another_symbols_hold_is_another_matter(bench: Bench) -> None:
    """The hold is on the symbol."""
    bench.redis.set(control.hold_key("ETHUSDT"), "all: stop")
    entry_id = bench.world.add("e1")
    bench.world.permit(entry_id)
    assert isinstance(bench.consume(entry_id), Claimed)


@pytest.mark.parametrize("lease", [None, "lock:two", ""])
def test_without_the_lease_nothing_is_even_looked_at(bench: Bench, lease: str | None) -> None:
    """I-10: two executors started by mistake are one executor."""
    bench.redis.delete(claim.LEASE_KEY)
    if lease is not None:
        bench.redis.set(claim.LEASE_KEY, lease)
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id)
    assert bench.consume(entry_id) == LeaseLost()


def test_a_lease_of_another_type_is_nobodys(bench: Bench) -> None:
    """It is not ours."""
    bench.redis.delete(claim.LEASE_KEY)
    bench.redis.hset(claim.LEASE_KEY, "a", INSTANCE)
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id)
    assert bench.consume(entry_id) == LeaseLost()


@pytest.mark.parametrize("change", [{"plan_id": "p9"}, {"plan_entry_id": "9-9"}, None])
def test_the_symbols_mark_must_be_this_entrys(bench: Bench, change: dict[Any, Any] | None) -> None:
    """Another plan is on its way, or this one was displaced: no order."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id)
    if change is None:
        bench.redis.delete(position.inflight_key(SYMBOL))
    else:
        bench.redis.hset(position.inflight_key(SYMBOL), mapping=change)
    assert bench.consume(entry_id) == OurRefusal("mark_lost")


def test_a_mark_of_another_type_is_nobodys(bench: Bench) -> None:
    """It is not this plan's."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id, mark=False)
    bench.redis.set(position.inflight_key(SYMBOL), "p1")
    assert bench.consume(entry_id) == OurRefusal("mark_lost")


@pytest.mark.parametrize("change", [{"mode": "mainnet"}, {"host": "fapi.binance.com"}, {"account": "other"}, None])
def test_a_redis_of_another_account_gets_no_order(bench: Bench, change: dict[Any, Any] | None) -> None:
    """The account was swapped, or its binding is gone, while we run."""
    if change is None:
        bench.redis.delete(account.KEY)
    else:
        bench.redis.hset(account.KEY, mapping=change)
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id)
    assert bench.consume(entry_id) == OurRefusal("account_mismatch")


@pytest.mark.parametrize("age_s", [61, 3600, -6, -3600])
def test_a_plan_too_old_or_from_the_future_is_not_executed(bench: Bench, age_s: int) -> None:
    """By its own timestamp, on Redis's clock, although its permit still stands."""
    made_s = redis_ms(bench.redis) / 1000 - age_s
    entry_id = bench.world.add("p1", timestamp=f"{made_s:.3f}")
    assert bench.consume(entry_id) == Missing(P33, is_expired=True)
    bench.world.permit(entry_id)
    assert bench.consume(entry_id) == OurRefusal("plan_expired")


def test_a_plan_whose_entry_is_too_old_is_not_executed(bench: Bench) -> None:
    """By the older of timestamp and stream id: a fresh timestamp on an old entry is no fresh plan."""
    plan_ = bench.world.plan(bench.world.add("p1"))
    old_ms = redis_ms(bench.redis) - 61_000
    answer = bench.scripts.consume(msgspec.structs.replace(plan_, entry_id=f"{old_ms}-0"), P33, may_claim=True)
    assert answer == Missing(P33, is_expired=True)


@pytest.mark.parametrize(
    ("safe_qty", "mark_price", "answer"),
    [
        ("0.004", "50000", Claimed(Decimal("0.004"))),
        ("0.0041", "50000", OurRefusal("max_notional")),
        ("1000000000000000", "0.0000001", OurRefusal("max_notional")),
        ("0.004", "0", Missing(P33, is_expired=False)),
        ("0.004", "", Missing(P33, is_expired=False)),
        ("0.004", "1e4", Missing(P33, is_expired=False)),
        ("0.004", "NaN", Missing(P33, is_expired=False)),
        ("0.004", 50000, Missing(P33, is_expired=False)),
        ("0.004", None, Missing(P33, is_expired=False)),
    ],
)
def test_an_open_has_a_largest_notional(bench: Bench, safe_qty: str, mark_price: object, answer: ConsumeAnswer) -> None:
    """I-16: whatever the gates say; without a price there is no notional, and no permit."""
    entry_id = bench.world.add_open("p1", qty="999999999999999")
    bench.world.permit(entry_id, safe_qty=safe_qty, context={"mark_price": mark_price})
    assert bench.consume(entry_id) == answer


@pytest.mark.parametrize("context", [None, "", [], {}])
def test_an_exit_is_not_stopped_by_budget_or_price(bench: Bench, context: object) -> None:
    """I-12: neither notional nor number of positions nor a price that is not there."""
    bench.world.show_account(open_positions=99)
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id, safe_qty="1000", context=context)
    assert bench.consume(entry_id) == Claimed(Decimal(1000))


def test_positions_are_counted_with_what_is_on_its_way(bench: Bench) -> None:
    """I-15: the account's positions, open OPEN claims, and opens done since the account was seen."""
    bench.world.show_account(open_positions=7)
    bench.redis.hset(claim.OPEN_KEY, "a", claim.encode_open(OpenClaim("AUSDT", Action.OPEN, ClaimState.SENT)))
    bench.redis.hset(claim.OPEN_KEY, "x", claim.encode_open(OpenClaim("XUSDT", Action.PARTIAL_50, ClaimState.SENT)))
    bench.redis.zadd(claim.OPENS_KEY, {"old": redis_ms(bench.redis) - 5_000, "new": redis_ms(bench.redis) + 1})
    ninth = bench.world.add_open("p1")
    bench.world.permit(ninth)
    assert bench.consume(ninth, may_claim=False) == Ready(0)
    bench.redis.hset(claim.OPEN_KEY, "b", "rubbish")
    assert bench.consume(ninth) == OurRefusal("max_positions")


def test_an_open_that_the_account_may_not_show_yet_is_counted(bench: Bench) -> None:
    """An open done just before the account was seen: its position may be missing there, so it counts for itself."""
    bench.world.show_account(open_positions=9)
    bench.redis.zadd(claim.OPENS_KEY, {"just before": redis_ms(bench.redis) - 1_000})
    entry_id = bench.world.add_open("p1")
    bench.world.permit(entry_id)
    assert bench.consume(entry_id) == OurRefusal("max_positions")


@pytest.mark.parametrize("count", [10, 11, 500])
def test_a_full_account_gets_no_further_position(bench: Bench, count: int) -> None:
    """The limit is the number of positions, not one more."""
    bench.world.show_account(open_positions=count)
    entry_id = bench.world.add_open("p1")
    bench.world.permit(entry_id)
    assert bench.consume(entry_id) == OurRefusal("max_positions")


def test_an_open_needs_a_fresh_count_of_positions(bench: Bench) -> None:
    """Absent, older than 10 s, from the future, or rubbish: nobody knows how many there are."""
    entry_id = bench.world.add_open("p1")
    bench.world.permit(entry_id)
    for age_ms in (10_100, -2_000):
        bench.world.show_account(age_ms=age_ms)
        assert bench.consume(entry_id) == OurRefusal("stale_exchange_state")
    bench.world.show_account()
    for name in ("open_positions", "ts_ms"):
        bench.redis.hset(position.ACCOUNT_KEY, name, "-1")
        assert bench.consume(entry_id) == OurRefusal("stale_exchange_state")
        bench.world.show_account()
    bench.redis.delete(position.ACCOUNT_KEY)
    assert bench.consume(entry_id) == OurRefusal("stale_exchange_state")
    bench.redis.set(position.ACCOUNT_KEY, "10")
    assert bench.consume(entry_id) == OurRefusal("stale_exchange_state")


@pytest.mark.parametrize("name", ["complete", "one_way", "mode", "account"])
@pytest.mark.parametrize("value", [None, "", "false", "another"])
def test_an_open_needs_a_count_of_this_very_account_that_is_complete(
    bench: Bench, name: str, value: str | None
) -> None:
    """A fresh row that is incomplete, of hedge mode, or of another account says nothing about our positions."""
    entry_id = bench.world.add_open("p1")
    bench.world.permit(entry_id)
    if value is None:
        bench.redis.hdel(position.ACCOUNT_KEY, name)
    else:
        bench.redis.hset(position.ACCOUNT_KEY, name, value)
    assert bench.consume(entry_id) == OurRefusal("stale_exchange_state")


def test_a_ban_holds_the_claim_back_and_no_lesser_back_off_does(bench: Bench) -> None:
    """Orders obey 418 alone; a throttled exit waits for its one POST with its permits unburnt."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id)
    later_ms = redis_ms(bench.redis) + 5_000
    bench.redis.hset(control.BACKOFF_KEY, "banned_until_ms", later_ms)
    assert bench.consume(entry_id) == Ready(later_ms)
    bench.redis.hset(control.BACKOFF_KEY, "banned_until_ms", "soon")
    assert isinstance(bench.consume(entry_id), Ready)
    bench.redis.delete(control.BACKOFF_KEY)
    bench.redis.set(control.BACKOFF_KEY, "x")
    assert isinstance(bench.consume(entry_id), Ready)
    bench.redis.delete(control.BACKOFF_KEY)
    bench.redis.hset(control.BACKOFF_KEY, mapping={"weight_until_ms": later_ms, "throttled_until_ms": later_ms})
    bench.redis.hset(control.BACKOFF_KEY, "banned_until_ms", redis_ms(bench.redis) - 1)
    assert bench.consume(entry_id) == Claimed(Decimal("0.002"))


def test_judging_alone_claims_nothing(bench: Bench) -> None:
    """While no worker is free the permits stay; a deny or a refusal is found all the same."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id)
    assert bench.consume(entry_id, may_claim=False) == Ready(0)
    bench.redis.set(control.KILL_SWITCH_KEY, "full_stop")
    assert bench.consume(entry_id, may_claim=False) == OurRefusal("kill_switch")


def test_a_plan_with_a_claim_is_never_claimed_again(bench: Bench) -> None:
    """Whoever asks learns whose claim it is and how far it has come."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id)
    assert isinstance(bench.consume(entry_id), Claimed)
    bench.world.permit(entry_id)
    assert bench.consume(entry_id) == Exists("claimed", entry_id)
    second = bench.world.add("p1")
    assert bench.consume(second) == Exists("claimed", entry_id)


@pytest.mark.parametrize("key", [claim.key("p1"), claim.OPEN_KEY, claim.OPENS_KEY])
def test_our_own_keys_of_another_type_stop_the_claim(bench: Bench, key: str) -> None:
    """Found before anything is written: there is no half-made claim."""
    entry_id = bench.world.add_open("p1")
    bench.world.permit(entry_id)
    bench.redis.set(key, "x")
    answer = bench.consume(entry_id)
    assert answer == (Exists("unreadable", "") if key == claim.key("p1") else Broken(key))


def test_a_claim_without_its_state_is_a_claim(bench: Bench) -> None:
    """A hash that somebody else wrote under the claim's name."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id)
    bench.redis.hset(claim.key("p1"), "x", "y")
    assert bench.consume(entry_id) == Exists("unreadable", "")


def test_a_full_server_refuses_the_claim_whole(bench: Bench) -> None:
    """noeviction: the first write is refused, so that no permit is burnt without a claim."""
    entry_id = bench.world.add("p1")
    bench.world.permit(entry_id)
    before = bench.dump()
    bench.redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(Exception, match=r"OOM|maxmemory"):
            bench.consume(entry_id)
    finally:
        bench.redis.config_set("maxmemory", "0")
    assert bench.dump() == before
