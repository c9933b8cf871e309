"""The judging alone, on any bytes: a verdict always, and a good one only for what is good."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.contracts import claim, decision, market_state, permit, position, result, universe
from microservices.contracts.control import Mode
from microservices.contracts.decision import Window
from microservices.contracts.market_state import Regime, Source
from microservices.contracts.permit import Gate
from microservices.contracts.reason import Reason
from microservices.contracts.universe_reader import Tier
from microservices.decision_intelligence import service as decisions_service
from microservices.market_state_publisher import service as publisher_service
from microservices.position_state_brain import allowlist
from microservices.position_state_brain import service as brain_service
from microservices.universe_service import service as universe_service
from ops.lib import (
    decision_windows,
    decisions_proof,
    market_state_proof,
    market_state_row,
    order_proof,
    p33_events,
    p33_source,
    permit_audit,
    report,
    universe_proof,
)
from ops.lib.redis_cli import Answer, CannotTell, Fault

NOW = 1_800_000_000.0
DOCUMENT: dict[str, Any] = {
    "asof_epoch": int(NOW) - 40,
    "source": universe.SOURCE,
    "mode": "paper",
    "symbols": ["BTCUSDT", "ETHUSDT"],
    "filters": universe.FILTERS,
}
META: list[Answer] = [b"stale", b"0", b"count", b"2", b"mode", b"paper", b"last_ok_epoch", b"1799999960", b"error", b""]


def judge(active: Answer, meta: Answer, max_age_s: int = 300) -> report.Verdict:
    """Judge as the script does on a machine without units."""
    return universe_proof.judged(active, meta, NOW, max_age_s=max_age_s, unit_state="not installed")


def document(**change: object) -> bytes:
    """Make the document of `active`."""
    return json.dumps(DOCUMENT | change).encode()


def test_the_scripts_use_the_contracts_names() -> None:
    """The scripts run without the package, so they name keys and bounds again: here they are held together."""
    assert (universe_proof.ACTIVE_KEY, universe_proof.META_KEY) == (universe.ACTIVE_KEY, universe.META_KEY)
    assert universe_proof.SOURCE == universe.SOURCE
    assert universe_proof.MODES == permit_audit.MODES == tuple(Mode)
    assert order_proof.STREAM == result.STREAM
    assert permit_audit.EVENTS == permit.EVENTS
    assert permit_audit.PERMIT_MAX_TTL_S == permit.TTL_S
    assert [gate.prefix + "x" for gate in permit_audit.GATES] == [permit.key(gate, "x") for gate in Gate]
    assert permit_audit.GATES[2].heartbeat_key == position.STATUS_KEY
    assert claim.HEARTBEAT_S < permit_audit.HEARTBEAT_MAX_AGE_S
    assert universe_proof.LAST_OK_KEY == universe.LAST_OK_KEY
    assert universe_proof.UNIT == universe_service.UNIT


def test_the_proofs_of_services_use_the_contracts_names() -> None:
    """Units, keys, streams, groups and words of the brain, the publisher and decision intelligence."""
    assert p33_source.UNIT == brain_service.UNIT == permit_audit.GATES[2].unit
    assert p33_source.STATUS_KEY == position.STATUS_KEY
    assert tuple(p33_source.WORDS) == tuple(p33_source.CODES) == tuple(Tier)
    assert p33_source.HEARTBEAT_MAX_AGE_S > 2 * position.HEARTBEAT_S
    assert p33_source.JOURNAL_MAX_AGE_S > allowlist.REPEAT_S
    assert (p33_events.STREAM, p33_events.GATE) == (permit.EVENTS, Gate.P33)
    assert p33_events.NOT_LISTED == Reason.NOT_IN_ALLOWLIST
    assert market_state_proof.UNIT == publisher_service.UNIT
    assert (market_state_proof.STREAM, market_state_proof.STATUS_KEY) == (market_state.STREAM, market_state.STATUS_KEY)
    assert market_state.key("S") == market_state_row.PREFIX + "S"
    assert tuple(Regime) == market_state_row.REGIMES
    assert tuple(Source) == market_state_row.SOURCES
    assert decisions_proof.UNIT == decisions_service.UNIT
    assert (decisions_proof.STREAM, decisions_proof.GROUP) == (result.STREAM, result.GROUP_DECISION_INTELLIGENCE)
    assert decisions_proof.STATUS_KEY == decision.STATUS_KEY
    assert decisions_proof.HEARTBEAT_MAX_AGE_S > 2 * decision.HEARTBEAT_S
    assert decision_windows.bucket_key(29_000_000) == decision.bucket_key(29_000_000)
    assert {window.value: window.minutes for window in Window} == decision_windows.WINDOWS
    assert (decision_windows.COUNTED, decision_windows.UNKNOWN) == (decision.COUNTED_DECISIONS, decision.UNKNOWN)
    assert (decision_windows.TOP_MAX, decision_windows.NO_REASON) == (decision.TOP_MAX, decision.NO_REASON)
    assert list(decision_windows.window_keys("5m").values()) == [
        decision.counts_key(Window.M5),
        decision.reasons_key(Window.M5),
        decision.symbol_reasons_key(Window.M5),
    ]


def test_a_fresh_universe_is_fresh() -> None:
    """The one case in which it says so."""
    verdict = judge(document(), META)
    assert (verdict.exit_code, verdict.status, verdict.problems) == (0, "FRESH", [])


@pytest.mark.parametrize(
    ("change", "sees"),
    [
        ({"asof_epoch": int(NOW) + 6}, "in the future"),
        ({"asof_epoch": -1}, "asof_epoch is -1"),
        ({"asof_epoch": 10**400}, "asof_epoch is 1000"),
        ({"asof_epoch": 1.5}, "asof_epoch is 1.5"),
        ({"asof_epoch": True}, "asof_epoch is true"),
        ({"asof_epoch": None}, "asof_epoch is null"),
        ({"source": "elsewhere"}, "source is"),
        ({"mode": "demo"}, "mode is"),
        ({"mode": ["paper"]}, "mode is"),
        ({"mode": "testnet"}, "mode is paper, the list's is testnet"),
        ({"symbols": []}, "symbols is []"),
        ({"symbols": ["A", "A"]}, "symbols is"),
        ({"symbols": ["A", 1]}, "symbols is"),
        ({"symbols": {"A": 1}}, "symbols is"),
        ({"symbols": ["A"]}, "count is 2, the list holds 1"),
    ],
)
def test_an_invalid_document_is_never_fresh(change: dict[str, Any], sees: str) -> None:
    """Each wrong field is enough for exit 3, and the line says what was seen."""
    verdict = judge(document(**change), META)
    assert (verdict.exit_code, verdict.status) == (3, "INVALID")
    assert any(sees in problem for problem in verdict.problems)


@pytest.mark.parametrize(
    ("active", "meta", "status"),
    [
        (None, META, "MISSING"),
        (document(), [], "MISSING"),
        (None, [], "MISSING"),
        (b"", META, "INVALID"),
        (b"[]", META, "INVALID"),
        (b"\xff", META, "INVALID"),
        (b"[" * 100_000, META, "INVALID"),
        (Fault("WRONGTYPE"), META, "INVALID"),
        (document(), Fault("WRONGTYPE"), "INVALID"),
        (document(), [b"stale", b"2", b"count", b"2"], "INVALID"),
        (document(), [b"stale", b"0", b"count", b"two"], "INVALID"),
        (document(), [b"stale", b"0", b"count", b"9" * 5000], "INVALID"),
        (document(), [b"count", b"2"], "INVALID"),
    ],
)
def test_what_is_missing_or_of_a_wrong_kind_is_exit_three(active: Answer, meta: Answer, status: str) -> None:
    """Nothing stands in for a key."""
    assert (judge(active, meta).exit_code, judge(active, meta).status) == (3, status)


def test_a_stale_or_old_list_is_exit_two() -> None:
    """stale=1 with its error, or an age at the limit; one second less is fresh."""
    stale = [b"stale", b"1", *META[2:-1], b"HTTP 503"]
    assert judge(document(), stale).exit_code == 2
    assert "HTTP 503" in judge(document(), stale).problems[0]
    assert judge(document(), META, max_age_s=40).exit_code == 2
    assert judge(document(), META, max_age_s=41).exit_code == 0


ANSWERS = st.none() | st.integers() | st.binary(max_size=60) | st.builds(Fault, st.text(max_size=20))


@given(ANSWERS, ANSWERS | st.lists(st.binary(max_size=20), max_size=6).map(lambda words: words[: len(words) // 2 * 2]))
def test_no_bytes_make_the_universe_fresh(active: Answer, meta: Answer) -> None:
    """Rubbish ends as exit 3, or as a refusal to tell."""
    try:
        verdict = judge(active, meta)
    except CannotTell as fault:
        assert str(fault)
    else:
        assert verdict.exit_code == 3
        assert json.loads(verdict.as_json())["status"] in {"MISSING", "INVALID"}


PERMIT: dict[str, Any] = {
    "v": 1,
    "gate": "p33",
    "plan_id": "p1",
    "plan_digest": "0" * 64,
    "symbol": "BTCUSDT",
    "mode": "paper",
    "allow": True,
    "safe_qty": "0.01",
    "side": "SELL",
    "reason": "allowed",
    "context": {},
    "created_at": NOW - 1,
    "expires_at_ms": int(NOW) * 1000 + 30_000,
}
P33 = permit_audit.GATES[2]


def permit_fault(ttl_ms: int = 30_000, **change: object) -> str:
    """Judge a permit under the key of plan p1."""
    return permit_audit.permit_fault(P33, "p1", json.dumps(PERMIT | change).encode(), ttl_ms, NOW)[0]


def test_a_whole_permit_is_one() -> None:
    """An allow and a deny count alike: both are decisions of the gate."""
    assert permit_fault() == ""
    assert permit_fault(allow=False, safe_qty="0") == ""


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"gate": "p26"},
        {"plan_id": "p2"},
        {"plan_digest": "abc"},
        {"symbol": ""},
        {"mode": "demo"},
        {"allow": "true"},
        {"allow": None},
        {"safe_qty": "-1"},
        {"safe_qty": 1},
        {"created_at": NOW + 60},
        {"created_at": "now"},
        {"expires_at_ms": int(NOW) * 1000},
        {"expires_at_ms": True},
        {"expires_at_ms": float("inf")},
        {"expires_at_ms": int(NOW) * 1000 + 86_400_000},
        {"created_at": float("-inf")},
        {"v": True},
    ],
)
def test_a_permit_with_one_wrong_field_is_none(change: dict[str, Any]) -> None:
    """A permit whose gate, plan, mode or expiry does not fit is no permit."""
    [name] = change
    assert permit_fault(**change).startswith(f"{name} is ")


@pytest.mark.parametrize("ttl_ms", [-1, 60_001, 86_400_000])
def test_a_permit_that_lives_too_long_was_not_written_by_its_gate(ttl_ms: int) -> None:
    """A producer that issues permits to itself gives them a day (failures.md, I-09)."""
    assert "expected at most 60 s" in permit_fault(ttl_ms)


@given(ANSWERS, st.integers())
def test_no_bytes_are_a_permit(answer: Answer, ttl_ms: int) -> None:
    """Rubbish is a fault with a reason."""
    assert permit_audit.permit_fault(P33, "p1", answer, ttl_ms, NOW)[0]


@pytest.mark.parametrize(
    ("fields", "is_proof"),
    [
        ({"executed": "true", "order_id": "8205830455"}, True),
        ({"executed": "True", "order_id": "8205830455"}, True),
        ({"executed": "true", "details": '{"order_id": 8205830455}'}, True),
        ({"details": '{"executed": true, "orderId": "1"}'}, True),
        ({"executed": "false", "order_id": "1", "details": '{"executed": true}'}, False),
        ({"executed": "true"}, False),
        ({"executed": "true", "order_id": " "}, False),
        ({"executed": "true", "order_id": "None"}, False),
        ({"executed": "true", "order_id": "0"}, False),
        ({"executed": "true", "order_id": "-1"}, False),
        ({"executed": "true", "details": '{"order_id": null}'}, False),
        ({"executed": "true", "details": '{"order_id": true}'}, False),
        ({"executed": "true", "details": '{"order_id": {"a": 1}}'}, False),
        ({"executed": "true", "details": "{"}, False),
        ({"executed": "true", "details": "[" * 100_000}, False),
        ({"executed": "1", "order_id": "1"}, False),
        ({}, False),
    ],
)
def test_what_proves_an_order(fields: dict[str, str], *, is_proof: bool) -> None:
    """executed=true and an id, at the top or inside details; a word for none is no id, and the top wins."""
    assert order_proof.is_proof(order_proof.read_result("1-0", fields)) is is_proof


@given(st.dictionaries(st.sampled_from(["executed", "order_id", "details", "timestamp"]), st.text(max_size=30)))
def test_any_result_is_read(fields: dict[str, str]) -> None:
    """No content of a result breaks the search, and only `true` is executed."""
    result_read = order_proof.read_result("1-0", fields)
    assert not order_proof.is_proof(result_read) or result_read["executed"].lower() == "true"
