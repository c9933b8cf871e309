"""The public names, spelt out: other people's programs read these keys and fields, and a rename here would break them.

Writers and readers of ours share the contracts, so that no other test would notice one.
"""

import msgspec
import pytest

from microservices.contracts import (
    account,
    candles,
    claim,
    control,
    decision,
    market_state,
    permit,
    plan,
    position,
    result,
    universe,
)
from microservices.contracts.account import AccountBinding
from microservices.contracts.candles import Candle, FeedStatus
from microservices.contracts.claim import ApplyStatus, Claim, OpenClaim
from microservices.contracts.decision import P35Status, Window
from microservices.contracts.market_state import MarketStateRow, PublisherStatus
from microservices.contracts.permit import Gate, PermitDocument, PermitEvent
from microservices.contracts.plan import Action, Decision, Side
from microservices.contracts.position import AccountRow, BrainStatus, InflightMark, LedgerRow, SnapshotRow, VerdictRow
from microservices.contracts.result import Result
from microservices.contracts.universe import Instrument, UniverseDocument, UniverseMeta

KEYS = {
    universe.ACTIVE_KEY: "quantum:cfg:universe:active",
    universe.LAST_OK_KEY: "quantum:cfg:universe:last_ok",
    universe.META_KEY: "quantum:cfg:universe:meta",
    universe.INSTRUMENTS_KEY: "quantum:cfg:universe:instruments",
    account.KEY: "quantum:cfg:account",
    control.KILL_SWITCH_KEY: "quantum:kill_switch",
    control.hold_key("XUSDT"): "quantum:reconcile:hold:XUSDT",
    control.adopt_key("XUSDT"): "quantum:position:adopt:XUSDT",
    control.ADOPT_ALL_KEY: "quantum:position:adopt:all",
    control.BACKOFF_KEY: "quantum:exchange:backoff",
    candles.key("XUSDT"): "quantum:candles:XUSDT",
    candles.STATUS_KEY: "quantum:candles:status",
    market_state.key("XUSDT"): "quantum:marketstate:XUSDT",
    market_state.STREAM: "quantum:stream:marketstate",
    market_state.STATUS_KEY: "quantum:marketstate_status",
    plan.STREAM: "quantum:stream:apply.plan",
    permit.key(Gate.GOVERNOR, "p1"): "quantum:permit:p1",
    permit.key(Gate.P26, "p1"): "quantum:permit:p26:p1",
    permit.key(Gate.P33, "p1"): "quantum:permit:p33:p1",
    permit.EVENTS: "quantum:stream:permit.events",
    position.ACCOUNT_KEY: "quantum:position:account",
    position.snapshot_key("XUSDT"): "quantum:position:snapshot:XUSDT",
    position.ledger_key("XUSDT"): "quantum:position:ledger:XUSDT",
    position.LEDGER_CURSOR_KEY: "quantum:position:ledger_cursor",
    position.BASELINE_KEY: "quantum:position:baseline",
    position.inflight_key("XUSDT"): "quantum:position:inflight:XUSDT",
    position.verdict_key("p1"): "quantum:position:verdict:p1",
    position.LEASE_KEY: "quantum:position:lease",
    position.STATUS_KEY: "quantum:position:status",
    result.STREAM: "quantum:stream:apply.result",
    claim.OPEN_KEY: "quantum:apply:open",
    claim.key("p1"): "quantum:apply:claim:p1",
    claim.LEASE_KEY: "quantum:apply:lease",
    claim.STATUS_KEY: "quantum:apply:status",
    decision.bucket_key(0): "quantum:p35:bucket:197001010000",
    decision.counts_key(Window.M1): "quantum:p35:decision:counts:1m",
    decision.reasons_key(Window.M5): "quantum:p35:reason:top:5m",
    decision.symbol_reasons_key(Window.H1): "quantum:p35:symbol_reason:top:1h",
    decision.by_symbol_key(Window.M15): "quantum:p35:symbol:top:15m",
    decision.trend_key(Window.H1): "quantum:p35:trend:1h",
    decision.index_key(29_930_000): "quantum:p35:index:29930000",
    decision.STATUS_KEY: "quantum:p35:status",
    decision.DEAD_LETTER_STREAM: "quantum:p35:dead_letter",
}
FIELDS: dict[type[msgspec.Struct], str] = {
    UniverseDocument: "asof_epoch source mode symbols filters",
    UniverseMeta: "asof_epoch last_ok_epoch count stale error mode dropped last_attempt_epoch",
    Instrument: "status seen_epoch tick_size step_size min_qty max_qty min_notional onboard_epoch delivery_epoch",
    AccountBinding: "mode host account",
    Candle: "t o h l c v",
    FeedStatus: "symbols lagging last_close_epoch gaps_filled_total reconnects_total updated_at",
    MarketStateRow: "sigma mu ts p_trend p_mr p_chop dp vr spike_proxy ts_timestamp buffer_size regime source "
    "candle_close_epoch",
    PublisherStatus: "published skipped skipped_reasons cycle_ms last_cycle_epoch",
    PermitDocument: "v gate plan_id plan_digest symbol mode allow safe_qty side reason context created_at "
    "expires_at_ms",
    PermitEvent: "gate plan_id plan_entry_id symbol allow safe_qty reason context issued_at_ms",
    AccountRow: "ts_ms mode account complete one_way open_positions",
    SnapshotRow: "symbol position_amt side entry_price mark_price unrealized_pnl leverage ts_epoch ts_ms",
    LedgerRow: "position_amt last_order_id last_plan_id last_exec_ts_ms last_result_id updated_at",
    InflightMark: "plan_id plan_entry_id action",
    VerdictRow: "plan_entry_id digest allow reason",
    BrainStatus: "last_ts mode build allowlist_source allowlist_count snapshot_age_ms",
    Result: "plan_id plan_entry_id symbol decision executed error gate retryable order_id client_order_id side "
    "quantity price reduceOnly source mode wait_ms timestamp",
    OpenClaim: "symbol action state",
    Claim: "state client_order_id symbol qty claimed_at_ms sent_at_ms done_at_ms",
    ApplyStatus: "last_ts mode build waiting open_claims",
    P35Status: "processed_total pending_estimate last_ts last_id consumer_name service_start_ts snapshot_ts "
    "dead_letter_total late_total lost_total lag",
}
WORDS = {
    "modes": (control.Mode, "testnet mainnet paper"),
    "kill switch": (control.KillSwitch, "off no_new_risk full_stop"),
    "decisions": (Decision, "EXECUTE SKIP BLOCKED ERROR"),
    "sides": (Side, "BUY SELL"),
    "actions": (Action, "OPEN FULL_CLOSE_PROPOSED PARTIAL_75 PARTIAL_50 PARTIAL_25"),
    "gates": (Gate, "governor p26 p33"),
    "position sides": (position.PositionSide, "LONG SHORT FLAT"),
    "claim states": (claim.ClaimState, "claimed sent done"),
    "regimes": (market_state.Regime, "trend mr chop"),
    "price sources": (market_state.Source, "candles synthetic"),
    "windows": (Window, "1m 5m 15m 1h"),
}


@pytest.mark.parametrize(("ours", "schema"), KEYS.items(), ids=KEYS.values())
def test_a_key_has_its_public_name(ours: str, schema: str) -> None:
    """Operators type it."""
    assert ours == schema


@pytest.mark.parametrize(("kind", "schema"), FIELDS.items(), ids=[kind.__name__ for kind in FIELDS])
def test_fields_have_their_public_names(kind: type[msgspec.Struct], schema: str) -> None:
    """Fields may be added, never renamed or left out."""
    assert set(schema.split()) - set(kind.__struct_encode_fields__) == set()


@pytest.mark.parametrize(("kind", "schema"), WORDS.values(), ids=WORDS)
def test_words_are_those_of_the_schema(kind: type, schema: str) -> None:
    """A mode, a decision, a gate is written as everybody writes it."""
    assert [member.value for member in kind] == schema.split()  # type: ignore[attr-defined] # all are enums


def test_consumers_have_their_public_names() -> None:
    """Operators look at groups by these, and a renamed group would begin anew."""
    assert plan.GROUPS == ("p33", "governor", "p26_portfolio_gate", "apply_layer")
    assert (plan.CONSUMER_BRAIN, plan.CONSUMER_APPLY) == ("brain", "apply")
    assert result.GROUP_DECISION_INTELLIGENCE == "p35_decision_intel"


def test_counts_have_their_public_fields() -> None:
    """Inside a bucket."""
    written = (
        decision.decision_field("SKIP"),
        decision.reason_field("dry_run"),
        decision.symbol_reason_field("A", "b"),
    )
    assert written == ("decision:SKIP", "reason:dry_run", "symbol_reason:A:b")
    assert decision.COUNTED_DECISIONS == ("EXECUTE", "SKIP", "BLOCKED", "ERROR")


def test_lives_and_lengths_are_those_of_the_schema() -> None:
    """Seconds, and about so many entries."""
    assert (permit.TTL_S, position.SNAPSHOT_TTL_S, position.VERDICT_TTL_S) == (60, 60, 86_400)
    assert (claim.DONE_WITH_ORDER_TTL_S, claim.DONE_WITHOUT_ORDER_TTL_S) == (86_400, 600)
    assert (decision.BUCKET_TTL_S, decision.WINDOW_TTL_S, decision.TOP_MAX) == (172_800, 86_400, 50)
    assert (permit.EVENTS_MAXLEN, market_state.STREAM_MAXLEN, decision.DEAD_LETTER_MAXLEN) == (200_000, 10_000, 10_000)
    assert (market_state.TTL_INTERVALS, candles.KEPT_DEFAULT, control.ADOPT_TTL_S) == (10, 1_500, 60)
