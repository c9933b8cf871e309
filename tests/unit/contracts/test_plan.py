"""Plans: which are valid, which are not and why, and the digest that ties permits to them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.contracts import plan
from microservices.contracts.plan import Action, InvalidPlan, Plan, Side

OPEN = {
    "plan_id": "p1",
    "symbol": "BTCUSDT",
    "decision": "EXECUTE",
    "action": "OPEN",
    "side": "BUY",
    "reduceOnly": "false",
    "qty": "0.010",
    "timestamp": "1800000000",
}
EXIT = {
    "plan_id": "p2",
    "symbol": "BTCUSDT",
    "decision": "EXECUTE",
    "action": "FULL_CLOSE_PROPOSED",
    "side": "SELL",
    "timestamp": "1800000000.5",
}


def read(fields: dict[str, str]) -> Plan:
    """Read a plan as Redis answers it."""
    raw = {name.encode(): value.encode() for name, value in fields.items()}
    return plan.decode(plan.decode_header("5-0", raw))


def test_the_schemas_example_has_the_schemas_digest() -> None:
    """The one digest that redis-schema prints."""
    assert read(EXIT).digest == "208e3a05b20c36dee8c77e7e594eb9d9cce497baef1a5552890d7a8aedeec1fd"


def test_a_valid_open_is_read_whole() -> None:
    """Every field arrives as its type."""
    assert read(OPEN) == Plan(
        "5-0", "p1", "BTCUSDT", Action.OPEN, Side.BUY, Decimal("0.010"), None, "", Decimal(1800000000)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"qty": "0.01"},
        {"qty": "0.0100"},
        {"symbol": "btcusdt"},
        {"action": "open"},
    ],
)
def test_the_digest_does_not_hang_on_how_a_value_is_written(change: dict[str, str]) -> None:
    """Trailing zeros and capitals make no other plan."""
    assert read(OPEN | change).digest == read(OPEN).digest


@pytest.mark.parametrize(
    "change",
    [{"plan_id": "p9"}, {"symbol": "ETHUSDT"}, {"side": "SELL"}, {"qty": "0.011"}],
)
def test_another_plan_has_another_digest(change: dict[str, str]) -> None:
    """A permit for one plan cannot serve another."""
    assert read(OPEN | change).digest != read(OPEN).digest


@pytest.mark.parametrize("name", ["plan_id", "symbol", "decision", "action", "side", "reduceOnly", "qty", "timestamp"])
def test_an_open_needs_every_field(name: str) -> None:
    """Nothing stands in for a missing field."""
    with pytest.raises(InvalidPlan):
        read({key: value for key, value in OPEN.items() if key != name})


@pytest.mark.parametrize(
    "change",
    [
        {"plan_id": "p26:x"},
        {"plan_id": "p33:x"},
        {"plan_id": "a b"},
        {"plan_id": "x" * 129},
        {"plan_id": "a\n"},
        {"symbol": "BTC USDT"},
        {"symbol": "BTC:USDT"},
        {"decision": "MAYBE"},
        {"action": "PARTIAL_10"},
        {"side": "LONG"},
        {"reduceOnly": "true"},
        {"reduceOnly": "False"},
        {"qty": "0"},
        {"qty": "-1"},
        {"qty": "1e-3"},
        {"qty": "NaN"},
        {"qty": "1234567890123456"},
        {"timestamp": "yesterday"},
        {"timestamp": "1.8e9"},
    ],
)
def test_an_open_with_a_wrong_value_is_invalid(change: dict[str, str]) -> None:
    """One wrong value is enough."""
    with pytest.raises(InvalidPlan):
        read(OPEN | change)


def test_an_exit_that_says_it_may_open_is_invalid() -> None:
    """reduceOnly=false on a close would turn it into an order the other way (failures.md, I-14 and I-42)."""
    with pytest.raises(InvalidPlan):
        read(EXIT | {"reduceOnly": "false"})


def test_an_exit_without_reduce_only_is_reduce_only() -> None:
    """A missing word never makes an exit more than an exit (failures.md, I-14)."""
    assert read(EXIT).reduce_only


def test_a_position_with_a_name_in_another_script_can_be_closed() -> None:
    """The exchange lists perpetuals whose names are not ASCII."""
    assert read(EXIT | {"symbol": "币安人生USDT"}).symbol == "币安人生USDT"


def test_an_invalid_plan_keeps_the_id_it_can_be_answered_under() -> None:
    """Rubbish in another field does not take the plan's own name away; an unusable id is not kept."""
    with pytest.raises(InvalidPlan) as usable:
        plan.decode_header("5-0", {b"plan_id": b"p1", b"symbol": b"\xff"})
    with pytest.raises(InvalidPlan) as unusable:
        plan.decode_header("5-0", {b"plan_id": b"bad id", b"symbol": b"BTCUSDT"})
    assert (usable.value.plan_id, unusable.value.plan_id) == ("p1", "")


@given(st.dictionaries(st.sampled_from([name.encode() for name in OPEN]), st.binary(max_size=30)))
def test_any_bytes_are_a_plan_or_invalid(raw: dict[bytes, bytes]) -> None:
    """No content of an entry raises anything but InvalidPlan."""
    try:
        read_plan = plan.decode(plan.decode_header("5-0", raw))
    except InvalidPlan as fault:
        assert fault.plan_id == "" or plan.is_plan_id(fault.plan_id)
    else:
        assert read_plan.is_exit or read_plan.qty > 0


def test_encode_writes_what_decode_reads() -> None:
    """A strategy that writes with encode() is understood."""
    written = plan.encode(
        {
            "plan_id": "p1",
            "symbol": "BTCUSDT",
            "decision": plan.Decision.EXECUTE,
            "action": Action.OPEN,
            "side": Side.BUY,
        }
        | {"reduceOnly": False, "qty": Decimal("0.0100"), "timestamp": 1800000000, "expected_position": None}
    )
    assert read(written).digest == read(OPEN).digest
