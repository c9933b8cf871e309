"""How plans end: every code has its decision, and says whether a new plan can succeed."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.apply_layer.endings import (
    Ending,
    Subject,
    came_as,
    denied,
    ended,
    result_of,
    subject_of,
    subject_of_header,
    subject_of_invalid,
)
from microservices.contracts import plan as plans
from microservices.contracts import result
from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Decision, InvalidPlan, PlanHeader, Side
from microservices.contracts.reason import Reason
from tests.unit.apply_layer.plans import a_plan

SKIP = {"no_position", "not_in_allowlist", "duplicate_plan", "dry_run"}
ERROR = {"invalid_plan", "order_not_placed", "order_rejected"}
NEVER_AN_END = {Reason.ALLOWED, Reason.PLAN_ENDED, Reason.PLAN_SKIP, Reason.PLAN_BLOCKED, Reason.PLAN_ERROR}


@pytest.mark.parametrize("reason", sorted(set(Reason) - NEVER_AN_END))
def test_every_code_has_the_decision_of_the_spec(reason: Reason) -> None:
    """SKIP where there was nothing to do, ERROR where something went wrong, BLOCKED for every other no."""
    wanted = Decision.SKIP if reason in SKIP else Decision.ERROR if reason in ERROR else Decision.BLOCKED
    ending = ended(reason)
    assert (ending.decision, ending.error, ending.executed) == (wanted, reason.value, False)
    assert ":" not in ending.error


@pytest.mark.parametrize("code", ["permit_timeout", "mark_lost", "order_not_placed", "plan_expired"])
def test_what_passes_by_itself_is_retryable(code: str) -> None:
    """A strategy may send the same intent again under a new id."""
    assert denied(Gate.P33, code).retryable


@pytest.mark.parametrize("code", ["invalid_plan", "duplicate_plan", "kill_switch", "max_notional"])
def test_what_somebody_must_change_is_not_retryable(code: str) -> None:
    """Sending it again would end the same way."""
    assert not denied(Gate.P33, code).retryable


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("symbol_not_allowed:WAVESUSDT", "symbol_not_allowed"),
        ("Kill Score!", "kill_score_"),
        ("", "gate_denied"),
        ("  :x", "gate_denied"),
        ("no_position: flat since 12:00", "no_position"),
    ],
)
def test_a_gates_own_words_become_one_plain_code(reason: str, error: str) -> None:
    """A reason we do not know is BLOCKED, and names its gate."""
    ending = denied(Gate.GOVERNOR, reason)
    assert (ending.error, ending.gate) == (error, "governor")
    assert ending.decision is (Decision.SKIP if error == "no_position" else Decision.BLOCKED)


@given(st.text())
def test_whatever_a_gate_writes_the_code_is_plain(reason: str) -> None:
    """No reason can smuggle a second code, a line break or a colon into a result."""
    ending = denied(Gate.P26, reason)
    assert ending.error
    assert set(ending.error) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-")
    assert len(ending.error) <= 64


def header(decision: Decision, reason_codes: str | None) -> PlanHeader:
    """Give a plan's header that came with these reasons."""
    fields = {} if reason_codes is None else {"reason_codes": reason_codes}
    return PlanHeader("1-0", "p1", "BTCUSDT", decision, fields)


@pytest.mark.parametrize(
    ("decision", "reason_codes", "error"),
    [
        (Decision.SKIP, "action_hold", "action_hold"),
        (Decision.BLOCKED, "kill_score_critical,kill_score_warning", "kill_score_critical"),
        (Decision.BLOCKED, "Symbol_Not_In_Allowlist:WAVESUSDT", "symbol_not_in_allowlist"),
        (Decision.ERROR, ",, : ,second", "second"),
        (Decision.SKIP, None, "plan_skip"),
        (Decision.BLOCKED, "", "plan_blocked"),
        (Decision.ERROR, " , ", "plan_error"),
    ],
)
def test_a_plan_that_came_decided_keeps_its_decision(decision: Decision, reason_codes: str | None, error: str) -> None:
    """Its first reason that is one becomes the code."""
    assert came_as(header(decision, reason_codes)) == Ending(decision=decision, error=error)


def test_a_result_carries_all_that_is_known_of_its_plan() -> None:
    """Ledger and counts live from these fields."""
    fill = Ending(decision=Decision.EXECUTE, order_id="7", quantity=Decimal("0.0100"), price=Decimal(50_000))
    end = result_of(
        subject_of(a_plan()), fill, mode=Mode.PAPER, wait_ms=12, timestamp=1_800_000_001, client_order_id="q1"
    )
    written = result.encode(end)
    assert written == {
        "plan_id": "p1", "plan_entry_id": "1800000000000-0", "symbol": "BTCUSDT", "decision": "EXECUTE",
        "executed": "true", "error": "", "gate": "", "retryable": "false", "order_id": "7", "client_order_id": "q1",
        "side": "SELL", "quantity": "0.01", "price": "50000", "reduceOnly": "true", "source": "test", "mode": "paper",
        "wait_ms": "12", "timestamp": "1800000001",
    }  # fmt: skip


def test_what_could_not_be_read_of_an_entry_is_left_empty() -> None:
    """A result tells what it knows and nothing else."""
    fault = InvalidPlan("symbol is missing", "p1")
    assert subject_of_invalid("1-0", fault) == Subject(entry_id="1-0", plan_id="p1")
    raw = {b"plan_id": b"p1", b"symbol": b"btcusdt", b"decision": b"SKIP", b"side": b"sell", b"source": b"s"}
    known = subject_of_header(plans.decode_header("1-0", raw))
    assert known == Subject(entry_id="1-0", plan_id="p1", symbol="BTCUSDT", side=Side.SELL, source="s")
    raw[b"side"] = b"UP"
    assert subject_of_header(plans.decode_header("1-0", raw)).side is None
