"""The evaluation's table, row by row: what denies an open, what denies an exit, and with which reason."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from microservices.contracts.control import KillSwitch
from microservices.contracts.fields import Unreadable
from microservices.contracts.plan import Action, Plan, Side
from microservices.contracts.position import LedgerRow, VerdictRow
from microservices.contracts.reason import Reason
from microservices.contracts.universe_reader import Allowlist, Tier
from microservices.position_state_brain.evaluation import EXIT_RULES, OPEN_RULES, RULES, deny_invalid, evaluate
from microservices.position_state_brain.facts import Facts, Hold, Limits
from microservices.position_state_brain.snapshot import AccountView
from microservices.position_state_brain.verdict import Allow, Deny, Verdict, Wait
from tests.support.brain import (
    ASOF_EPOCH,
    ENTRY_ID,
    INSTRUMENT,
    NOW_MS,
    NOW_S,
    SYMBOL,
    claim_of,
    exit_plan,
    facts_of,
    held,
    mark_of,
    open_plan,
    view_of,
)

D = Decimal
BROKEN = Unreadable("key", "WRONGTYPE")
NO_LIST = Allowlist(Tier.NONE, refused=("universe: missing",))
EXECUTED_NOW = LedgerRow(D(0), last_exec_ts_ms=NOW_MS - 1_500)


def reason_of(verdict: Verdict) -> str:
    """Name the reason; a wait is named by what holds where no snapshot comes."""
    return f"wait {verdict.otherwise.reason}" if isinstance(verdict, Wait) else verdict.reason.value


def judged(plan: Plan, facts: Facts, limits: Limits | None = None) -> str:
    """Evaluate and name the reason."""
    return reason_of(evaluate(plan, facts, limits or Limits()))


def instrument(**changes: object) -> Any:
    """The instrument with a change."""
    return msgspec.structs.replace(INSTRUMENT, **changes)


def test_a_good_open_is_allowed_with_its_figures() -> None:
    """The quantity is floored to the market step, and the context says on what it was decided."""
    verdict = evaluate(open_plan(qty=D("0.0109")), facts_of(), Limits())
    assert isinstance(verdict, Allow)
    assert verdict.safe_qty == D("0.010")
    assert verdict.context == {
        "mark_price": "60000",
        "mark_age_ms": 1_000,
        "position_amt": "0",
        "snapshot_age_ms": 1_000,
        "ledger_amt": "0",
        "ledger_agrees": True,
        "last_exec_age_ms": None,
        "plan_age_ms": 200,
        "allowlist_source": "universe",
        "allowlist_age_s": 40,
    }


def test_a_good_exit_is_allowed_up_to_the_position() -> None:
    """All of a position of 0.5."""
    verdict = evaluate(exit_plan(), facts_of("0.5"), Limits())
    assert isinstance(verdict, Allow)
    assert verdict.safe_qty == D("0.5")


def test_an_exit_of_a_short_buys() -> None:
    """The sign of the position decides the side, never its size (I-18)."""
    assert judged(exit_plan(side=Side.BUY), facts_of("-0.5")) == "allowed"
    assert judged(exit_plan(side=Side.SELL), facts_of("-0.5")) == "side_mismatch"


FOR_BOTH: list[tuple[str, dict[str, Any], str]] = [
    ("3 another entry's verdict", {"verdict": VerdictRow("1-0", allow=True, reason="allowed")}, "duplicate_plan"),
    ("3 a verdict nobody can read", {"verdict": BROKEN}, "duplicate_plan"),
    ("3 a claim", {"has_claim": True}, "duplicate_plan"),
    ("4 too old", {"now_ms": NOW_MS + 60_000}, "plan_expired"),
    ("4 from the future", {"now_ms": NOW_MS - 5_300}, "plan_expired"),
    ("5 full stop", {"kill_switch": KillSwitch.FULL_STOP}, "kill_switch"),
    ("6 no list at all", {"allowlist": NO_LIST}, "no_allowlist"),
    ("7 a hold for everything", {"hold": Hold(b"all: incident")}, "reconcile_hold_active"),
    ("7 a hold nobody can read", {"hold": Hold(b"\xff")}, "reconcile_hold_active"),
    ("7 a hold of another type", {"hold": Hold(RuntimeError("WRONGTYPE"))}, "reconcile_hold_active"),
    ("8 nothing known yet", {"account": AccountView()}, "wait no_exchange_snapshot"),
    ("8 the exchange names no such symbol", {"account": view_of()}, "no_exchange_snapshot"),
    ("8 an old answer without the symbol", {"account": view_of(ts_ms=NOW_MS - 11_000)}, "wait no_exchange_snapshot"),
    ("8 stale", {"account": view_of(BTCUSDT=held(ts_ms=NOW_MS - 10_001))}, "wait stale_exchange_state"),
    ("8 of the future", {"account": view_of(BTCUSDT=held(ts_ms=NOW_MS + 1))}, "wait stale_exchange_state"),
    ("8 vanished in one answer", {"account": view_of(BTCUSDT=held(confirmed=False))}, "wait stale_exchange_state"),
    (
        "8 hedge mode",
        {"account": msgspec.structs.replace(view_of(BTCUSDT=held()), one_way=False)},
        "hedge_mode_unsupported",
    ),
    (
        "8 position mode never answered",
        {"account": msgspec.structs.replace(view_of(BTCUSDT=held()), one_way=None)},
        "wait no_exchange_snapshot",
    ),
    ("9 an exit's mark", {"mark": mark_of(Action.PARTIAL_25)}, "permit_outstanding"),
    ("9 a mark nobody can read", {"mark": BROKEN}, "permit_outstanding"),
    ("9 an exit's claim", {"open_claims": (claim_of(Action.PARTIAL_50),)}, "permit_outstanding"),
    ("9 claims nobody can read", {"open_claims": BROKEN}, "permit_outstanding"),
    ("12 never seen", {"instrument": None}, "instrument_unknown"),
    ("12 nobody can read it", {"instrument": BROKEN}, "instrument_unknown"),
]

FOR_OPENS: list[tuple[str, dict[str, Any], str]] = [
    ("5 no new risk", {"kill_switch": KillSwitch.NO_NEW_RISK}, "kill_switch"),
    ("6 not in the list", {"allowlist": Allowlist(Tier.ENV, frozenset({"ETHUSDT"}))}, "not_in_allowlist"),
    ("7 any hold", {"hold": Hold(b"brain:external_position")}, "reconcile_hold_active"),
    ("7 an empty hold", {"hold": Hold(b"")}, "reconcile_hold_active"),
    (
        "8 no mark price",
        {"account": msgspec.structs.replace(view_of(BTCUSDT=held("0")), mark_prices={})},
        "wait no_exchange_snapshot",
    ),
    (
        "8 an old mark price",
        {"account": msgspec.structs.replace(view_of(BTCUSDT=held("0")), mark_prices_ts_ms=NOW_MS - 10_001)},
        "wait no_exchange_snapshot",
    ),
    ("9 an open's mark", {"mark": mark_of(Action.OPEN)}, "permit_outstanding"),
    ("9 an open's claim", {"open_claims": (claim_of(Action.OPEN),)}, "permit_outstanding"),
    ("10 executed 14.9 s ago", {"ledger": LedgerRow(D(0), last_exec_ts_ms=NOW_MS - 14_999)}, "cooldown_in_flight"),
    (
        "10 executed in the future",
        {"ledger": LedgerRow(D(0), last_exec_ts_ms=NOW_MS + 9_999_999)},
        "cooldown_in_flight",
    ),
    ("10 before a snapshot that cannot help", {"ledger": EXECUTED_NOW}, "cooldown_in_flight"),
    ("11 never adopted", {"baseline": None}, "no_baseline"),
    ("11 a baseline nobody can read", {"baseline": BROKEN}, "no_baseline"),
    ("11 a ledger nobody can read", {"ledger": BROKEN}, "reconcile_required_qty_mismatch"),
    ("11 a position by hand", {"account": view_of(BTCUSDT=held("0.5"))}, "reconcile_required_side_mismatch"),
    ("11 closed by hand", {"ledger": LedgerRow(D("0.5"))}, "reconcile_required_side_mismatch"),
    (
        "11 the other side",
        {"ledger": LedgerRow(D("-0.5")), "account": view_of(BTCUSDT=held("0.5"))},
        "reconcile_required_side_mismatch",
    ),
    (
        "11 another size",
        {"ledger": LedgerRow(D("0.494")), "account": view_of(BTCUSDT=held("0.5"))},
        "reconcile_required_qty_mismatch",
    ),
    ("12 older than the list", {"instrument": instrument(seen_epoch=ASOF_EPOCH - 1)}, "instrument_unknown"),
    ("12 not traded", {"instrument": instrument(status="SETTLING")}, "instrument_unknown"),
    (
        "12 tier env, seen 25 h ago",
        {
            "allowlist": Allowlist(Tier.ENV, frozenset({SYMBOL})),
            "instrument": instrument(seen_epoch=NOW_S - 25 * 3600),
        },
        "instrument_unknown",
    ),
    ("13 below the minimum quantity", {"instrument": instrument(min_qty="0.02")}, "below_minimum"),
    ("13 below the minimum notional", {"instrument": instrument(min_notional="600.1")}, "below_minimum"),
    ("13 less than a step", {"instrument": instrument(step_size="0.1")}, "below_minimum"),
]

FOR_EXITS: list[tuple[str, dict[str, Any], str]] = [
    (
        "14 flat",
        {"account": view_of(BTCUSDT=held("0"))},
        "no_position",
    ),
    ("14 the same side", {"account": view_of(BTCUSDT=held("-0.5"))}, "side_mismatch"),
    ("15 less than the minimum", {"instrument": instrument(min_qty="0.6")}, "dust_position"),
    ("15 less than a step", {"instrument": instrument(step_size="1")}, "dust_position"),
]


@pytest.mark.parametrize(("changes", "reason"), [pytest.param(*case[1:], id=case[0]) for case in FOR_BOTH + FOR_OPENS])
def test_what_denies_an_open(changes: dict[str, Any], reason: str) -> None:
    """Every row that is for opens, with everything else in order."""
    assert judged(open_plan(), facts_of(**changes)) == reason


@pytest.mark.parametrize(("changes", "reason"), [pytest.param(*case[1:], id=case[0]) for case in FOR_BOTH + FOR_EXITS])
def test_what_denies_an_exit(changes: dict[str, Any], reason: str) -> None:
    """Every row that is for exits, with everything else in order."""
    assert judged(exit_plan(), facts_of("0.5", **changes)) == reason


NOT_FOR_EXITS: list[tuple[str, dict[str, Any]]] = [
    ("an own verdict, read again", {"verdict": VerdictRow(ENTRY_ID, allow=True, reason="allowed")}),
    ("no new risk", {"kill_switch": KillSwitch.NO_NEW_RISK}),
    ("not in the list", {"allowlist": Allowlist(Tier.LAST_OK, frozenset({"ETHUSDT"}), ASOF_EPOCH)}),
    ("the brain's own hold", {"hold": Hold(b"brain:external_position")}),
    ("an operator's hold on opens", {"hold": Hold(b"looking into it")}),
    ("no mark price", {"account": msgspec.structs.replace(view_of(BTCUSDT=held()), mark_prices={})}),
    ("an open's mark", {"mark": mark_of(Action.OPEN)}),
    ("an open's claim", {"open_claims": (claim_of(Action.OPEN),)}),
    ("executed 3 s ago", {"ledger": LedgerRow(D("0.5"), last_exec_ts_ms=NOW_MS - 3_000)}),
    ("never adopted", {"baseline": None}),
    ("a ledger that disagrees", {"ledger": LedgerRow(D(-3))}),
    ("a ledger nobody can read", {"ledger": BROKEN}),
    ("trouble in the universe", {"instrument": instrument(seen_epoch=0, status="SETTLING")}),
    ("a notional below the minimum", {"instrument": instrument(min_notional="1000000")}),
]


@pytest.mark.parametrize("changes", [pytest.param(case[1], id=case[0]) for case in NOT_FOR_EXITS])
def test_what_never_stops_an_exit(changes: dict[str, Any]) -> None:
    """Nothing but what makes it wrong or unknowable, and the operator, keeps a position open (I-12, I-21)."""
    assert judged(exit_plan(), facts_of("0.5", **changes)) == "allowed"


def test_the_first_failure_denies() -> None:
    """Failures are mended one after the other, and each time the next row's reason comes out, in the table's order."""
    wrong: list[dict[str, Any]] = [
        {"has_claim": True},
        {"now_ms": NOW_MS + 60_000},
        {"kill_switch": KillSwitch.FULL_STOP},
        {"allowlist": NO_LIST},
        {"allowlist": Allowlist(Tier.ENV, frozenset({"ETHUSDT"}))},
        {"hold": Hold(b"x")},
        {"account": AccountView()},
        {"mark": mark_of(Action.OPEN)},
        {"ledger": LedgerRow(D(7), last_exec_ts_ms=NOW_MS - 5_000)},
        {"baseline": None},
        {"ledger": LedgerRow(D(7))},
        {"instrument": None},
        {"account": view_of(BTCUSDT=held("-0.5")), "ledger": LedgerRow(D("-0.5"))},
    ]
    reasons = []
    for index in range(len(wrong)):
        changes: dict[str, Any] = {}
        for later in reversed(wrong[index:]):
            changes |= later
        reasons.append(judged(open_plan(), facts_of(**changes)))
    assert reasons == [
        "duplicate_plan",
        "plan_expired",
        "kill_switch",
        "no_allowlist",
        "not_in_allowlist",
        "reconcile_hold_active",
        "permit_outstanding",  # the cooldown below refuses it whatever a snapshot says: it does not wait for one
        "permit_outstanding",
        "cooldown_in_flight",
        "no_baseline",
        "reconcile_required_side_mismatch",
        "instrument_unknown",
        "opposite_position",
    ]


def test_an_open_waits_for_a_snapshot_unless_the_cooldown_refuses_it_anyway() -> None:
    """With a cooldown shorter than the account's delay, only a snapshot from after the fill can decide."""
    executed = facts_of(ledger=EXECUTED_NOW)
    verdict = evaluate(open_plan(), executed, Limits(cooldown_ms=1_000))
    assert isinstance(verdict, Wait)
    assert verdict.requested_from_ms == EXECUTED_NOW.last_exec_ts_ms + 2_000
    assert verdict.otherwise.reason is Reason.STALE_EXCHANGE_STATE
    assert judged(open_plan(), executed) == "cooldown_in_flight"


def test_an_exit_after_a_fill_waits_for_a_snapshot_that_shows_it() -> None:
    """Asked for 1.9 s after the fill, the account may not know of it yet; 2 s after, it does."""
    fill_ms = NOW_MS - 3_000
    late = facts_of("0.5", ledger=LedgerRow(D("0.5"), last_exec_ts_ms=fill_ms))
    too_early = msgspec.structs.replace(late, account=view_of(BTCUSDT=held(ts_ms=fill_ms + 1_999)))
    assert judged(exit_plan(), too_early) == "wait stale_exchange_state"
    in_time = msgspec.structs.replace(late, account=view_of(BTCUSDT=held(ts_ms=fill_ms + 2_000)))
    assert judged(exit_plan(), in_time) == "allowed"


def test_a_clock_that_was_set_back_does_not_lock_a_position_in() -> None:
    """A fill dated an hour ahead says nothing about when it was; opens are kept back by the cooldown."""
    facts = facts_of("0.5", ledger=LedgerRow(D("0.5"), last_exec_ts_ms=NOW_MS + 3_600_000))
    assert judged(exit_plan(), facts) == "allowed"
    assert judged(open_plan(), facts) == "cooldown_in_flight"


@pytest.mark.parametrize(("entry_age_s", "stamp_age_s"), [(61, 0), (0, 61)])
def test_a_plans_age_is_that_of_the_older_of_its_dates(entry_age_s: int, stamp_age_s: int) -> None:
    """Neither an old plan sent late nor one that lay in the stream counts as young."""
    entry_id = f"{NOW_MS - entry_age_s * 1000}-0"
    plan = open_plan(entry_id, timestamp=NOW_S - stamp_age_s)
    assert judged(plan, facts_of()) == "plan_expired"
    assert judged(plan, facts_of(), Limits(plan_max_age_ms=61_000)) == "allowed"


def test_exits_without_a_list_are_the_operators_choice() -> None:
    """By default nothing is permitted without one; the setting lets exits through, never opens."""
    limits = Limits(exit_without_allowlist=True)
    assert judged(exit_plan(), facts_of("0.5", allowlist=NO_LIST), limits) == "allowed"
    assert judged(open_plan(), facts_of(allowlist=NO_LIST), limits) == "no_allowlist"


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        ("0.5", "allowed"),
        ("0.501", "allowed"),
        ("0.499", "allowed"),
        ("0.502", "position_changed"),
        ("0", "position_changed"),
    ],
)
def test_an_exit_may_name_the_position_it_was_decided_on(expected: str, reason: str) -> None:
    """Within a step it is the same position; the ladder that repeats itself ends here (I-41)."""
    assert judged(exit_plan(expected_position=D(expected)), facts_of("0.5")) == reason


def test_an_open_may_add_to_a_position_of_its_side() -> None:
    """And never work against one."""
    assert judged(open_plan(), facts_of("0.5")) == "allowed"
    assert judged(open_plan(side=Side.SELL), facts_of("0.5")) == "opposite_position"
    assert judged(open_plan(side=Side.SELL), facts_of("-0.5")) == "allowed"


def test_the_tolerance_is_a_percent_of_the_position_but_a_step_at_least() -> None:
    """1 % of 0.5 is 0.005; of 0.01 it would be less than a step."""
    assert judged(open_plan(), facts_of("0.5", ledger=LedgerRow(D("0.495")))) == "allowed"
    assert judged(open_plan(), facts_of("0.01", ledger=LedgerRow(D("0.011")))) == "allowed"
    assert judged(open_plan(), facts_of("0.01", ledger=LedgerRow(D("0.012")))) == "reconcile_required_qty_mismatch"


def test_in_tier_env_the_instrument_may_be_a_day_old() -> None:
    """A static list has no date to compare with."""
    env = Allowlist(Tier.ENV, frozenset({SYMBOL}))
    assert judged(open_plan(), facts_of(allowlist=env, instrument=instrument(seen_epoch=NOW_S - 86_400))) == "allowed"


def test_a_quantity_cut_to_the_maximum_says_so() -> None:
    """The rest needs another plan, and its maker must know."""
    verdict = evaluate(exit_plan(), facts_of("0.5", instrument=instrument(max_qty="0.2")), Limits())
    assert isinstance(verdict, Allow)
    assert (verdict.safe_qty, verdict.context["clamped_to_max_qty"]) == (D("0.2"), True)


def test_a_disagreeing_ledger_is_stated_in_an_exits_context() -> None:
    """It does not stop the exit, and is not hidden."""
    verdict = evaluate(exit_plan(), facts_of("0.5", ledger=LedgerRow(D("0.2"))), Limits())
    assert isinstance(verdict, Allow)
    assert (verdict.context["ledger_agrees"], verdict.context["ledger_amt"]) == (False, "0.2")


def test_an_invalid_plan_is_answered_with_its_fault() -> None:
    """Rows 1 and 2: the codec finds the fault, the verdict carries it."""
    assert deny_invalid("qty is missing") == Deny(Reason.INVALID_PLAN, {"mark_price": None, "why": "qty is missing"})


def test_only_the_evaluation_can_allow() -> None:
    """A permit that lets an order through cannot be made by accident, or elsewhere."""
    with pytest.raises(TypeError, match="only the evaluation"):
        Allow(open_plan(), D(1), {}, made_by=object())


def test_the_rules_stand_in_the_specifications_order() -> None:
    """Opens and exits run through one table, and none is left out of it."""
    rows = [rule.row for rule in RULES]
    assert rows == sorted(rows)
    assert set(rows) == set(range(3, 16))
    assert [rule.row for rule in OPEN_RULES] == [3, 4, 5, 6, 6, 7, 8, 9, 10, 11, 12, 13]
    assert [rule.row for rule in EXIT_RULES] == [3, 4, 5, 6, 7, 8, 9, 12, 14, 15]
