"""What must hold for every plan and everything that Redis and the exchange may say: an allow is never a surprise."""

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from microservices.contracts import position
from microservices.contracts.control import KillSwitch
from microservices.contracts.fields import Unreadable
from microservices.contracts.plan import Action, Plan, Side
from microservices.contracts.position import Baseline, LedgerRow, VerdictRow
from microservices.contracts.universe_reader import Allowlist, Tier
from microservices.position_state_brain.checks import Case
from microservices.position_state_brain.evaluation import EXIT_RULES, OPEN_RULES, evaluate
from microservices.position_state_brain.facts import Facts, Hold, Limits
from microservices.position_state_brain.snapshot import AccountView
from microservices.position_state_brain.verdict import Allow, Deny, Wait
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
)

D = Decimal
BROKEN = st.just(Unreadable("key", "WRONGTYPE"))
amounts = st.integers(-2_000, 2_000).map(lambda steps: D(steps) / 2_000)
ages_ms = st.sampled_from([-1, 0, 1_000, 10_000, 10_001, 3_600_000])
asof = st.sampled_from([ASOF_EPOCH, ASOF_EPOCH - 60])
marks = st.one_of(st.none(), st.sampled_from(list(Action)).map(mark_of), BROKEN)
claims = st.one_of(st.lists(st.sampled_from(list(Action)).map(claim_of), max_size=2).map(tuple), BROKEN)
executions_ms = st.sampled_from([0, NOW_MS + 60_000, *(NOW_MS - age for age in (500, 2_500, 5_000, 20_000))])


def mostly(good: Any, *others: Any) -> st.SearchStrategy[Any]:
    """Draw the good value four times out of five."""
    return st.sampled_from([good] * (4 * len(others)) + list(others))


@st.composite
def plans(draw: st.DrawFn, position_amt: Decimal) -> Plan:
    """A valid plan of any action, side, age and bound; mostly one that fits the position."""
    age_s, entry_age_s = draw(mostly(0, -6, 59, 61)), draw(mostly(0, 59, 61))
    entry_id = f"{NOW_MS - entry_age_s * 1000}-0"
    qty = draw(st.integers(1, 3_000)) / D(2_000)
    along, against = (Side.BUY, Side.SELL) if position_amt >= 0 else (Side.SELL, Side.BUY)
    if draw(st.booleans()):
        return open_plan(entry_id, side=draw(mostly(along, against)), qty=qty, timestamp=NOW_S - age_s)
    return exit_plan(
        entry_id,
        action=draw(st.sampled_from([action for action in Action if action.is_exit])),
        side=draw(mostly(against, along)),
        qty=draw(st.sampled_from([None, qty])),
        expected_position=draw(mostly(None, position_amt, D(7))),
        timestamp=NOW_S - age_s,
    )


@st.composite
def accounts(draw: st.DrawFn) -> AccountView:
    """Any view of the account."""
    row = held(draw(amounts), ts_ms=NOW_MS - draw(ages_ms), confirmed=draw(st.booleans()))
    return AccountView(
        ts_ms=NOW_MS - draw(ages_ms),
        rows=draw(st.sampled_from([{SYMBOL: row}, {}])),
        one_way=draw(st.sampled_from([True, True, False, None])),
        mark_prices=draw(st.sampled_from([{SYMBOL: D(60_000)}, {}])),
        mark_prices_ts_ms=NOW_MS - draw(ages_ms),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Plan, Facts]:
    """A plan and facts of which at most a few are wrong, so that allows and every deny come up."""
    amount = draw(amounts)
    agreeing = st.builds(LedgerRow, st.just(amount), last_exec_ts_ms=executions_ms)
    others: dict[str, st.SearchStrategy[Any]] = {
        "account": accounts(),
        "allowlist": st.builds(
            Allowlist, st.sampled_from(list(Tier)), st.sampled_from([frozenset({SYMBOL}), frozenset[str]()]), asof
        ),
        "kill_switch": st.sampled_from(list(KillSwitch)),
        "hold": st.sampled_from([Hold(), Hold(b"brain:x"), Hold(b"all: x"), Hold(b"\xff")]),
        "verdict": st.one_of(
            st.sampled_from([VerdictRow("1-0", allow=False, reason="x"), VerdictRow(ENTRY_ID, allow=True, reason="x")]),
            BROKEN,
        ),
        "has_claim": st.just(True),
        "mark": marks,
        "open_claims": claims,
        "ledger": st.one_of(st.none(), st.builds(LedgerRow, amounts, last_exec_ts_ms=executions_ms), agreeing, BROKEN),
        "baseline": st.one_of(st.none(), BROKEN),
        "instrument": st.one_of(
            st.none(), BROKEN, asof.map(lambda seen: msgspec.structs.replace(INSTRUMENT, seen_epoch=seen))
        ),
    }
    wrong = draw(st.sets(st.sampled_from(sorted(others)), max_size=2))
    changes = {name: draw(others[name]) for name in sorted(wrong)}
    return draw(plans(amount)), facts_of(amount, **changes)


@given(cases())
@settings(max_examples=400, deadline=None)
def test_an_allow_is_never_above_the_position_nor_from_anything_doubtful(case: tuple[Plan, Facts]) -> None:
    """Whatever is missing, stale, of another type or in the way: no permit."""
    (plan, facts), limits = case, Limits()
    verdict = evaluate(plan, facts, limits)
    if not isinstance(verdict, Allow):
        return
    row = facts.account.rows[plan.symbol]
    last_exec_ms = facts.ledger.last_exec_ts_ms if isinstance(facts.ledger, LedgerRow) else 0
    assert facts.account.one_way is True
    assert row.confirmed
    assert 0 <= facts.now_ms - row.ts_ms <= limits.snapshot_max_age_ms
    assert row.ts_ms >= last_exec_ms + position.SETTLE_MS or last_exec_ms > facts.now_ms
    assert facts.kill_switch is not KillSwitch.FULL_STOP
    assert facts.allowlist.source is not Tier.NONE
    assert not facts.has_claim
    assert not isinstance(facts.mark, Unreadable)
    assert not isinstance(facts.open_claims, Unreadable)
    assert not isinstance(facts.instrument, Unreadable | None)
    assert verdict.safe_qty % D("0.001") == 0
    if plan.is_exit:
        assert verdict.safe_qty <= abs(row.position_amt)
        assert (row.position_amt > 0) is (plan.side is Side.SELL)
        assert facts.mark is None or not facts.mark.action.is_exit
    else:
        assert verdict.safe_qty <= plan.qty
        assert facts.kill_switch is KillSwitch.OFF
        assert plan.symbol in facts.allowlist.symbols
        assert facts.hold == Hold()
        assert facts.mark is None
        assert facts.open_claims == ()
        assert isinstance(facts.baseline, Baseline)
        assert last_exec_ms + limits.cooldown_ms <= facts.now_ms
        assert row.position_amt.is_zero() or (row.position_amt > 0) is (plan.side is Side.BUY)


@given(cases())
@settings(max_examples=200, deadline=None)
def test_the_evaluation_always_answers_and_always_the_same(case: tuple[Plan, Facts]) -> None:
    """It never raises, and nothing but its arguments decides; every answer has its figures in JSON."""
    plan, facts = case
    verdict = evaluate(plan, facts, Limits())
    assert repr(verdict) == repr(evaluate(plan, facts, Limits()))
    denied = verdict.otherwise if isinstance(verdict, Wait) else verdict
    assert isinstance(denied, Allow | Deny)
    assert "mark_price" in msgspec.json.decode(msgspec.json.encode(denied.context))


@given(cases())
@settings(max_examples=200, deadline=None)
def test_a_fresher_snapshot_is_all_that_a_waiting_plan_needs(case: tuple[Plan, Facts]) -> None:
    """Once there is one from the time that was asked for, the plan waits no more."""
    plan, facts = case
    verdict = evaluate(plan, facts, Limits())
    if not isinstance(verdict, Wait):
        return
    asked_ms = max(verdict.requested_from_ms, facts.now_ms)
    fresh = AccountView(
        ts_ms=asked_ms, rows={SYMBOL: held("0.1", ts_ms=asked_ms)}, one_way=True,
        mark_prices={SYMBOL: D(1)}, mark_prices_ts_ms=asked_ms,
    )  # fmt: skip
    later = msgspec.structs.replace(facts, now_ms=asked_ms + 10, account=fresh)
    assert not isinstance(evaluate(plan, later, Limits()), Wait)


@given(cases())
@settings(max_examples=300, deadline=None)
def test_a_deny_names_a_reason_of_the_rule_that_failed(case: tuple[Plan, Facts]) -> None:
    """The table of the documentation is written from the rules: none denies with a reason that it does not list."""
    plan, facts = case
    for rule in EXIT_RULES if plan.is_exit else OPEN_RULES:
        failed = rule.check(Case(plan, facts, Limits()))
        if failed is not None:
            denied = failed.otherwise if isinstance(failed, Wait) else failed
            assert denied.reason in rule.reasons
            return
