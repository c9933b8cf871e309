"""Permits, claims, candles, market state, decision keys and reasons: names and codecs of the remaining families."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.contracts import candles, claim, decision, market_state, permit, position, reason
from microservices.contracts.candles import Candle
from microservices.contracts.claim import ClaimState, OpenClaim
from microservices.contracts.decision import Window
from microservices.contracts.fields import Unreadable, plain
from microservices.contracts.market_state import MarketStateRow, Regime, Source
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Action
from microservices.contracts.position import VerdictRow
from microservices.contracts.universe import Instrument

PERMIT = {
    "gate": "p33",
    "plan_id": "p1",
    "plan_digest": "d",
    "symbol": "BTCUSDT",
    "mode": "paper",
    "allow": True,
    "safe_qty": "0.5",
    "side": "SELL",
    "reason": "allowed",
    "context": {"mark_price": "60000"},
}


def dated(undated: bytes) -> bytes:
    """Finish a permit as the committing script does."""
    return undated + b',"created_at":1800000000,"expires_at_ms":1800000060000}'


@pytest.mark.parametrize(
    ("gate", "key"),
    [
        (Gate.GOVERNOR, "quantum:permit:p1"),
        (Gate.P26, "quantum:permit:p26:p1"),
        (Gate.P33, "quantum:permit:p33:p1"),
    ],
)
def test_each_gate_has_its_own_key(gate: Gate, key: str) -> None:
    """The three sources of permits by the names that operators know."""
    assert permit.key(gate, "p1") == key


def test_an_undated_permit_becomes_one_by_its_two_dates() -> None:
    """The script only appends; what comes out is the whole contract."""
    document = permit.decode(dated(permit.encode_undated(PERMIT)), "permit")
    assert (document.allow, document.v, document.expires_at_ms) == (True, 1, 1800000060000)
    assert document.context == {"mark_price": "60000"}


@pytest.mark.parametrize(
    "change",
    [
        {"allow": "true"},
        {"allow": 1},
        {"allow": None},
        {"safe_qty": "-1"},
        {"safe_qty": "NaN"},
        {"safe_qty": ""},
        {"safe_qty": 0.5},
        {"gate": "p34"},
        {"mode": "demo"},
        {"side": "LONG"},
        {"context": "none"},
        {"v": 2},
    ],
)
def test_what_is_not_exactly_a_permit_is_none(change: dict[str, object]) -> None:
    """Near enough is not enough (I-08)."""
    with pytest.raises(Unreadable):
        permit.decode(dated(permit.encode_undated(PERMIT | change)), "permit")


def test_a_deny_of_a_plan_without_a_side_has_none() -> None:
    """An invalid plan is answered too, and its permit does not make up what the plan did not say."""
    document = permit.decode(dated(permit.encode_undated(PERMIT | {"side": None, "allow": False})), "permit")
    assert (document.side, document.allow) == (None, False)


def test_an_event_of_no_plan_is_readable() -> None:
    """An adoption, and a plan without an id, stand in the same stream as all others."""
    fields = {"gate": "p33", "plan_id": "", "plan_entry_id": "", "symbol": "", "allow": "false", "safe_qty": "0"}
    event = permit.decode_event(
        {
            name.encode(): value.encode()
            for name, value in (
                fields | {"reason": "ledger_adopted", "context": "{}", "issued_at_ms": "1800000000000"}
            ).items()
        },
        "event",
    )
    assert (event.plan_id, event.plan_entry_id, event.symbol) == ("", "", "")


def test_the_verdict_on_an_invalid_plan_has_no_digest() -> None:
    """What cannot be read has nothing to tie a permit to."""
    raw = {b"plan_entry_id": b"1-0", b"digest": b"", b"allow": b"false", b"reason": b"invalid_plan"}
    assert position.decode_verdict(raw, "p1") == VerdictRow("1-0", allow=False, reason="invalid_plan")


def test_an_event_names_its_plan_whatever_else_it_holds() -> None:
    """A waiting executor reads only the plan id of a wake-up."""
    assert permit.event_plan_id({b"plan_id": b"p1", b"context": b"\xff"}, "event") == "p1"
    with pytest.raises(Unreadable):
        permit.event_plan_id({b"context": b"{}"}, "event")


@given(st.text(alphabet="abcXYZ019:_.-", min_size=1, max_size=128))
def test_a_client_order_id_is_short_and_of_the_plan_alone(plan_id: str) -> None:
    """Binance takes at most 36 of [.A-Z:/a-z0-9_-]; the same plan always gives the same id (I-11)."""
    assert claim.client_order_id(plan_id) == claim.client_order_id(plan_id)
    assert len(claim.client_order_id(plan_id)) == 33


def test_a_claim_names_the_entry_and_the_result_it_belongs_to() -> None:
    """Another entry under the same plan id is told from the same entry given again, and a done claim shows its end."""
    raw = {b"state": b"done", b"plan_entry_id": b"5-0", b"result_id": b"7-0", b"done_at_ms": b"9"}
    read = claim.decode(raw, "p1")
    assert read is not None
    assert (read.state, read.plan_entry_id, read.result_id, read.qty) == (ClaimState.DONE, "5-0", "7-0", None)


def test_an_open_claim_reads_back() -> None:
    """What the claim's scripts keep of an open claim."""
    open_claim = OpenClaim("BTCUSDT", Action.OPEN, ClaimState.SENT, "5-0")
    assert claim.decode_open(claim.encode_open(open_claim), "p1") == open_claim
    assert claim.decode_open(b'{"symbol":"A","action":"OPEN","state":"sent"}', "p1").plan_entry_id == ""


def test_a_candle_has_the_schemas_letters() -> None:
    """Other people's programs read these names."""
    assert candles.encode(Candle(60_000, "1", "2", "0.5", "1.5", "10")) == (
        b'{"t":60000,"o":"1","h":"2","l":"0.5","c":"1.5","v":"10"}'
    )


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"{}",
        b'{"t":1,"o":1,"h":"1","l":"1","c":"1","v":"1"}',
        b'{"t":1,"o":"NaN","h":"1","l":"1","c":"1","v":"1"}',
    ],
)
def test_what_is_no_candle_is_refused(rubbish: bytes) -> None:
    """A float or a NaN is not a price."""
    with pytest.raises(Unreadable):
        candles.decode(rubbish, "candle")


@pytest.mark.parametrize(
    "rubbish", [b"", b"{}", b"\xff", b'{"t":1,"c":1.5}', b'{"t":1,"c":"NaN"}', b'{"t":9e99,"c":"1"}']
)
def test_a_close_alone_is_read_as_strictly_as_the_whole_candle(rubbish: bytes) -> None:
    """Whoever reads closes for statistics meets the same refusals."""
    assert candles.decode_close(candles.encode(Candle(60_000, "1", "2", "0.5", "1.5", "10")), "candle") == (60_000, 1.5)
    with pytest.raises(Unreadable):
        candles.decode_close(rubbish, "candle")


def test_market_state_keeps_the_schemas_decimals() -> None:
    """Sigma and mu with 8 decimals, the rest with 6; the event holds the schema's six fields."""
    row = MarketStateRow(
        0.0113981, -2e-9, 0.2454, 0.2, 0.25, 0.55, 0.5, 1.1, 1.0, 7, 300, Regime.CHOP, Source.CANDLES, 5
    )
    written = market_state.encode(row)
    assert (written["sigma"], written["mu"], written["ts"]) == ("0.01139810", "-0.00000000", "0.245400")
    assert set(market_state.encode_event("BTCUSDT", row)) == {"symbol", "ts", "sigma", "mu", "regime", "timestamp"}
    read = market_state.decode({name.encode(): value.encode() for name, value in written.items()}, "state")
    assert read is not None
    assert (read.regime, read.source, read.buffer_size) == (Regime.CHOP, Source.CANDLES, 300)
    assert (written["mu_low"], read.mu_low, read.gap_count) == ("", None, None)


def test_buckets_are_named_by_the_utc_minute() -> None:
    """2027-01-15 08:00 UTC."""
    assert decision.bucket_key(1_800_000_000 // 60) == "quantum:p35:bucket:202701150800"
    assert [window.minutes for window in Window] == [1, 5, 15, 60]


def test_a_status_without_recorded_figures_knows_no_base() -> None:
    """Absent figures are absent: nothing is judged lost against a base of zero."""
    assert decision.decode_status({}) is None
    status = decision.decode_status({b"processed_total": b"7", b"last_id": b"5-0"})
    assert status is not None
    assert (status.processed_total, status.entries_base, status.settled_through) == (7, None, "")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("symbol_not_in_allowlist:WAVESUSDT", "symbol_not_in_allowlist"),
        ("P33 Permit Denied", "p33_permit_denied"),
        ("", ""),
        (":detail", ""),
        ("é" * 70, "_" * 64),
    ],
)
def test_reasons_are_normalised_to_codes(raw: str, code: str) -> None:
    """What follows the first colon is detail; foreign letters become underscores; at most 64."""
    assert reason.normalised(raw) == code


@given(st.text(max_size=100))
def test_a_code_is_its_own_normal_form(raw: str) -> None:
    """Normalising twice changes nothing."""
    assert reason.normalised(reason.normalised(raw)) == reason.normalised(raw)


def test_every_reason_is_a_code_and_has_its_line() -> None:
    """The documentation's table is generated from these."""
    for member in reason.Reason:
        assert reason.normalised(member) == member.value
        assert member.line.endswith(".")


@pytest.mark.parametrize(
    ("quantity", "step", "min_qty", "floored"),
    [
        ("0.0019999", "0.001", "0.001", "0.001"),
        ("0.0009", "0.001", "0.001", "0"),
        ("7.9", "1", "1", "7"),
        ("7", "5", "5", "5"),
        ("0.3", "0.1", "0.1", "0.3"),
        ("3", "1", "5", "0"),
        (
            "12345678901234567890.12345678901234567890",
            "0.00000000000000000001",
            "1",
            "12345678901234567890.1234567890123456789",
        ),
        ("9" * 41, "0.00000000000000000001", "1", "9" * 41),
    ],
)
def test_a_quantity_is_floored_to_the_step(quantity: str, step: str, min_qty: str, floored: str) -> None:
    """I-45: never up, in exact digits; below the minimum nothing can be ordered."""
    rules = Instrument("TRADING", 1, "0.1", step, min_qty, "1000", "5", 1, 1)
    assert rules.floored(Decimal(quantity)) == Decimal(floored)


@given(
    st.decimals("0", "1e15", places=15, allow_nan=False, allow_infinity=False),
    st.decimals("1e-8", "1e3", places=8, allow_nan=False, allow_infinity=False).filter(bool),
)
def test_whatever_is_floored_is_a_multiple_and_never_more(quantity: Decimal, step: Decimal) -> None:
    """I-45: at most what was allowed, and less than a step below it."""
    floored = Instrument("TRADING", 1, "1", plain(step), plain(step), "1", "5", 1, 1).floored(quantity)
    with localcontext(prec=60):
        assert floored % step == 0
        assert 0 <= quantity - floored < step
