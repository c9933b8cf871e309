"""Decide on one plan: the checks of the permit chain, in their order, the first failure denies. Pure.

`RULES` is the order; each rule's number is its row in the specification of the chain, and docs/permits.md is written
from here. Rows 1 and 2 (is it a plan at all) are what makes a `Plan`; `deny_invalid` answers what is none.
"""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from microservices.contracts.plan import Plan
from microservices.contracts.reason import Reason
from microservices.position_state_brain import checks
from microservices.position_state_brain.checks import Case
from microservices.position_state_brain.facts import Facts, Limits
from microservices.position_state_brain.verdict import EVALUATION_ALONE, Allow, Deny, Verdict, Wait

Check = Callable[[Case], Deny | Wait | None]


class For(Enum):
    """Whom a rule is for; the value is the word of the documentation."""

    ALL = "all"
    OPENS = "opens"
    EXITS = "exits"


class Rule(NamedTuple):
    """One row of the evaluation: what must hold, for whom, what it denies with, and the check itself."""

    row: int
    demand: str
    whom: For
    reasons: tuple[Reason, ...]
    check: Check


RULES = (
    Rule(
        3,
        "the plan id has no verdict of another entry and no claim",
        For.ALL,
        (Reason.DUPLICATE_PLAN,),
        checks.decided_once,
    ),
    Rule(
        4,
        "by the older of `timestamp` and entry id at most `P33_PLAN_MAX_AGE_S` old; neither over 5 s in the future",
        For.ALL,
        (Reason.PLAN_EXPIRED,),
        checks.young_enough,
    ),
    Rule(
        5,
        "the kill switch is `off`; for an exit it is not `full_stop`",
        For.ALL,
        (Reason.KILL_SWITCH,),
        checks.switched_on,
    ),
    Rule(
        6,
        "there is an allowlist from some source; for an exit not where `P33_EXIT_WITHOUT_ALLOWLIST`",
        For.ALL,
        (Reason.NO_ALLOWLIST,),
        checks.any_allowlist,
    ),
    Rule(6, "the symbol is in it", For.OPENS, (Reason.NOT_IN_ALLOWLIST,), checks.listed),
    Rule(
        7,
        "no hold lies on the symbol; for an exit none that begins with `all:`",
        For.ALL,
        (Reason.RECONCILE_HOLD_ACTIVE,),
        checks.not_held,
    ),
    Rule(
        8,
        "a complete answer about the account, in one-way mode, at most `P33_STALE_THRESHOLD_SEC` old, and asked for 2 s"
        " or more after the symbol's last execution; for an open a mark price as well. What needs a fresher answer"
        " waits for it: an open 0.9 s, an exit 10 s",
        For.ALL,
        (Reason.NO_EXCHANGE_SNAPSHOT, Reason.STALE_EXCHANGE_STATE, Reason.HEDGE_MODE_UNSUPPORTED),
        checks.position_known,
    ),
    Rule(
        9,
        "nothing of the symbol is permitted or claimed; for an exit no other exit (an unclaimed open gives way to it)",
        For.ALL,
        (Reason.PERMIT_OUTSTANDING,),
        checks.nothing_outstanding,
    ),
    Rule(
        10,
        "`P33_COOLDOWN_SEC` since the symbol's last execution",
        For.OPENS,
        (Reason.COOLDOWN_IN_FLIGHT,),
        checks.cooled_down,
    ),
    Rule(
        11,
        "the account was adopted, and our ledger agrees with the position in sign and, within `P33_QTY_TOLERANCE_PCT`"
        " (at least one step), in size",
        For.OPENS,
        (
            Reason.NO_BASELINE,
            Reason.RECONCILE_REQUIRED_SIDE_MISMATCH,
            Reason.RECONCILE_REQUIRED_QTY_MISMATCH,
        ),
        checks.ledger_agrees,
    ),
    Rule(
        12,
        "the instrument's rules are known, traded, and those of the list in force (tier env: at most 24 h old)",
        For.OPENS,
        (Reason.INSTRUMENT_UNKNOWN,),
        checks.instrument_of_the_list,
    ),
    Rule(
        12,
        "the instrument's rules were ever seen",
        For.EXITS,
        (Reason.INSTRUMENT_UNKNOWN,),
        checks.instrument_ever_seen,
    ),
    Rule(
        13,
        "not reduceOnly; no position on the other side; quantity, floored to the market step, and notional reach the"
        " exchange's minimum",
        For.OPENS,
        (Reason.INVALID_PLAN, Reason.OPPOSITE_POSITION, Reason.BELOW_MINIMUM, Reason.INSTRUMENT_UNKNOWN),
        checks.open_terms,
    ),
    Rule(
        14,
        "there is a position, the plan's side opposes it, and it is within one step of `expected_position` where given",
        For.EXITS,
        (Reason.NO_POSITION, Reason.SIDE_MISMATCH, Reason.POSITION_CHANGED),
        checks.exit_terms,
    ),
    Rule(
        15,
        "what may be closed reaches the minimum quantity",
        For.EXITS,
        (Reason.DUST_POSITION,),
        checks.exit_size,
    ),
)
OPEN_RULES = tuple(rule for rule in RULES if rule.whom is not For.EXITS)
EXIT_RULES = tuple(rule for rule in RULES if rule.whom is not For.OPENS)


def evaluate(plan: Plan, facts: Facts, limits: Limits) -> Verdict:
    """Decide on a valid plan to EXECUTE."""
    case = Case(plan, facts, limits)
    for rule in EXIT_RULES if plan.is_exit else OPEN_RULES:
        failed = rule.check(case)
        if failed is not None:
            return failed
    return _allow(case)


def deny_invalid(why: str) -> Deny:
    """Answer what is no valid plan."""
    return Deny(Reason.INVALID_PLAN, {"mark_price": None, "why": why})


def deny_duplicate(first_entry_id: str) -> Deny:
    """Answer an entry whose plan id is that of an earlier one, which still waits for its verdict."""
    return Deny(Reason.DUPLICATE_PLAN, {"mark_price": None, "first_entry_id": first_entry_id})


def _allow(case: Case) -> Allow:
    quantity = checks.quantity_of(case)
    clamped = {"clamped_to_max_qty": True} if quantity.clamped_to_max_qty else {}
    return Allow(case.plan, quantity.qty, case.context(**clamped), made_by=EVALUATION_ALONE)
