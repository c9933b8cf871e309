"""The codec of hashes: writing and reading are inverse, and nothing half-readable gets through."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.contracts import claim, hashes, position, result
from microservices.contracts.control import Mode
from microservices.contracts.fields import Unreadable
from microservices.contracts.plan import Decision, Side

SNAPSHOT = {
    "symbol": "BTCUSDT",
    "position_amt": "-0.5",
    "side": "SHORT",
    "entry_price": "60000.1",
    "mark_price": "60100",
    "unrealized_pnl": "-50",
    "leverage": "5",
    "ts_epoch": "1800000000",
    "ts_ms": "1800000000123",
}


def raw(fields: dict[str, str]) -> dict[bytes, bytes]:
    """Give fields as Redis answers them."""
    return {name.encode(): value.encode() for name, value in fields.items()}


def test_a_snapshot_reads_and_writes_back_the_same() -> None:
    """No field is lost or changed on the way."""
    row = position.decode_snapshot(raw(SNAPSHOT), "BTCUSDT")
    assert row is not None
    assert row.position_amt == Decimal("-0.5")
    assert hashes.encode(row) == SNAPSHOT


@pytest.mark.parametrize("name", sorted(SNAPSHOT))
def test_a_snapshot_without_one_of_its_fields_is_unreadable(name: str) -> None:
    """A missing field has no default."""
    with pytest.raises(Unreadable, match=name):
        position.decode_snapshot(raw({key: value for key, value in SNAPSHOT.items() if key != name}), "BTCUSDT")


@pytest.mark.parametrize("name", ["position_amt", "entry_price", "mark_price", "ts_ms", "side"])
@pytest.mark.parametrize("rubbish", ["NaN", "Infinity", "1e3", "x", " "])
def test_a_snapshot_with_rubbish_in_it_is_unreadable(name: str, rubbish: str) -> None:
    """A number that is none, or a side that is none, is not passed on (I-18)."""
    with pytest.raises(Unreadable):
        position.decode_snapshot(raw(SNAPSHOT | {name: rubbish}), "BTCUSDT")


def test_an_empty_hash_is_absence() -> None:
    """HGETALL of a missing key is None, not a row of defaults."""
    assert position.decode_snapshot({}, "BTCUSDT") is None
    assert claim.decode({}, "p1") is None


def test_fields_that_the_schema_does_not_name_are_ignored() -> None:
    """Adding a field to the schema is allowed."""
    assert position.decode_snapshot(raw(SNAPSHOT | {"added": "later"}), "BTCUSDT") is not None


@given(
    executed=st.booleans(),
    quantity=st.decimals(min_value=0, max_value=10**12, places=8),
    side=st.sampled_from([None, *Side]),
    reduce_only=st.sampled_from([None, True, False]),
    error=st.text(alphabet="abcdefghijklmnopqrstuvwxyz_0123456789", max_size=40),
)
def test_a_result_reads_back_as_it_was_written(
    executed: bool, quantity: Decimal, side: Side | None, reduce_only: bool | None, error: str
) -> None:
    """Encode and decode are inverse for every combination of present and absent fields."""
    written = result.Result(
        plan_entry_id="5-0",
        decision=Decision.EXECUTE,
        executed=executed,
        quantity=quantity,
        side=side,
        reduce_only=reduce_only,
        error=error,
        mode=Mode.PAPER,
        timestamp=1,
    )
    assert result.decode(raw(result.encode(written)), "result") == written


def test_a_result_has_every_field_of_the_schema() -> None:
    """Readers find each name, empty where it does not apply."""
    fields = result.encode(
        result.Result(plan_entry_id="5-0", decision=Decision.SKIP, executed=False, mode=Mode.PAPER, timestamp=1)
    )
    names = "plan_id plan_entry_id symbol decision executed error gate retryable order_id client_order_id side quantity"
    assert set(fields) == {*names.split(), "price", "reduceOnly", "source", "mode", "wait_ms", "timestamp"}
