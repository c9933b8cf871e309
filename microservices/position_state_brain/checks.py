"""The checks of the permit chain, one function a row: what it denies, or nothing. Pure.

`evaluation` holds them in their order, with what each is for.
"""

from decimal import Decimal
from typing import Any

from microservices.contracts import position
from microservices.contracts.fields import Unreadable, exact, plain, stream_id
from microservices.contracts.plan import Plan, Side
from microservices.contracts.reason import Reason
from microservices.contracts.universe_reader import FUTURE_TOLERANCE_S, Tier
from microservices.position_state_brain import ledger
from microservices.position_state_brain.facts import Facts, Limits, readable
from microservices.position_state_brain.ledger import Agreement
from microservices.position_state_brain.quantity import Quantity, close_quantity, open_quantity, rules_of
from microservices.position_state_brain.snapshot import SymbolPosition
from microservices.position_state_brain.verdict import Deny, Wait

FUTURE_MS = FUTURE_TOLERANCE_S * 1000
ENV_INSTRUMENT_MAX_AGE_S = 24 * 3600


class Case:
    """One plan with its facts, and what several checks need of them."""

    def __init__(self, plan: Plan, facts: Facts, limits: Limits) -> None:
        self.plan = plan
        self.facts = facts
        self.limits = limits
        self.older_ms, self.newer_ms = sorted((int(plan.timestamp * 1000), stream_id(plan.entry_id, "entry id")[0]))
        self.position: SymbolPosition | None = facts.account.rows.get(plan.symbol)
        priced = facts.account.mark_price(plan.symbol)
        self.mark_price = None if priced is None else priced[0]
        self.mark_age_ms = 0 if priced is None else facts.now_ms - priced[1]
        self.ledger = readable(facts.ledger) or ledger.NOTHING_HELD
        instrument = readable(facts.instrument)
        self.rules = None if instrument is None else rules_of(instrument)

    @property
    def position_amt(self) -> Decimal:
        """The exchange's position, 0 where it is not known: only for checks behind the snapshot's."""
        return Decimal(0) if self.position is None else self.position.position_amt

    @property
    def in_cooldown(self) -> bool:
        """Whether the symbol was executed too short a time ago for an open."""
        return self.facts.now_ms < self.ledger.last_exec_ts_ms + self.limits.cooldown_ms and self.has_executed

    @property
    def has_executed(self) -> bool:
        """Whether a fill of ours is known."""
        return self.ledger.last_exec_ts_ms > 0

    @property
    def snapshot_needed_from_ms(self) -> int:
        """Before which time a snapshot may not yet show our own last fill.

        An execution in the future says that the clock was set back, not when the fill was; it does not keep a position
        from being closed. Opens are kept back by the cooldown.
        """
        settled_ms = self.ledger.last_exec_ts_ms + position.SETTLE_MS
        if not self.has_executed or self.ledger.last_exec_ts_ms > self.facts.now_ms + FUTURE_MS:
            return 0
        return settled_ms

    @property
    def agreement(self) -> Agreement | None:
        """How ledger and position compare; None where one of them is not known."""
        if self.position is None or isinstance(self.facts.ledger, Unreadable):
            return None
        step = self.rules.step if self.rules else None
        return ledger.agreement(
            self.position.position_amt, self.ledger.position_amt, step, self.limits.qty_tolerance_pct
        )

    def deny(self, reason: Reason, **figures: Any) -> Deny:  # noqa: ANN401 - what JSON can hold
        """Make a deny with all figures."""
        return Deny(reason, self.context(**figures))

    def context(self, **figures: Any) -> dict[str, Any]:  # noqa: ANN401 - what JSON can hold
        """Give the figures, whichever are known, and those of the check that decides."""
        known: dict[str, Any] = {
            "mark_price": None if self.mark_price is None else plain(self.mark_price),
            "mark_age_ms": None if self.mark_price is None else self.mark_age_ms,
            "position_amt": None if self.position is None else plain(self.position.position_amt),
            "snapshot_age_ms": None if self.position is None else self.facts.now_ms - self.position.ts_ms,
            "ledger_amt": None if isinstance(self.facts.ledger, Unreadable) else plain(self.ledger.position_amt),
            "ledger_agrees": None if self.agreement is None else self.agreement.is_close_enough,
            "last_exec_age_ms": self.facts.now_ms - self.ledger.last_exec_ts_ms if self.has_executed else None,
            "plan_age_ms": self.facts.now_ms - self.older_ms,
            "allowlist_source": self.facts.allowlist.source.value,
            "allowlist_age_s": self.facts.allowlist.age_s(self.facts.now_ms / 1000),
        }
        return known | figures


def decided_once(case: Case) -> Deny | None:
    """Deny an entry whose plan id has another entry's verdict, or a claim."""
    verdict = case.facts.verdict
    if isinstance(verdict, Unreadable):
        return case.deny(Reason.DUPLICATE_PLAN, unreadable=str(verdict))
    if verdict is not None and verdict.plan_entry_id != case.plan.entry_id:
        return case.deny(Reason.DUPLICATE_PLAN, first_entry_id=verdict.plan_entry_id)
    return case.deny(Reason.DUPLICATE_PLAN, claim=True) if case.facts.has_claim else None


def young_enough(case: Case) -> Deny | None:
    """Deny a plan that is too old by the older of its two dates, or from the future."""
    now_ms = case.facts.now_ms
    if now_ms - case.older_ms > case.limits.plan_max_age_ms:
        return case.deny(Reason.PLAN_EXPIRED)
    return (
        case.deny(Reason.PLAN_EXPIRED, future_ms=case.newer_ms - now_ms) if case.newer_ms > now_ms + FUTURE_MS else None
    )


def switched_on(case: Case) -> Deny | None:
    """Deny what the operator's switch stops."""
    switch = case.facts.kill_switch
    stops = switch.stops_exits if case.plan.is_exit else switch.stops_opens
    return case.deny(Reason.KILL_SWITCH, kill_switch=switch.value) if stops else None


def any_allowlist(case: Case) -> Deny | None:
    """Deny where no tier has a list; an exit only where the settings do not let it through."""
    if case.facts.allowlist.source is not Tier.NONE or (case.plan.is_exit and case.limits.exit_without_allowlist):
        return None
    return case.deny(Reason.NO_ALLOWLIST, refused=list(case.facts.allowlist.refused))


def listed(case: Case) -> Deny | None:
    """Deny a symbol that the list in force does not name."""
    is_listed = case.plan.symbol in case.facts.allowlist.symbols
    return None if is_listed else case.deny(Reason.NOT_IN_ALLOWLIST)


def not_held(case: Case) -> Deny | None:
    """Deny what a hold on the symbol stops."""
    hold = case.facts.hold
    return case.deny(Reason.RECONCILE_HOLD_ACTIVE, hold=hold.text) if hold.stops(is_exit=case.plan.is_exit) else None


def position_known(case: Case) -> Deny | Wait | None:
    """Deny, or let wait, where the exchange's position is not known as it is now."""
    if case.facts.account.one_way is False:
        return case.deny(Reason.HEDGE_MODE_UNSUPPORTED)
    is_fresh = _is_fresh(case, case.facts.account.ts_ms)
    if case.position is None or case.facts.account.one_way is None:
        missing = case.deny(Reason.NO_EXCHANGE_SNAPSHOT)
        return missing if is_fresh and case.facts.account.one_way else _wait(case, missing)
    if not (_is_fresh(case, case.position.ts_ms) and case.position.confirmed):
        return _wait(case, case.deny(Reason.STALE_EXCHANGE_STATE, confirmed=case.position.confirmed))
    has_mark_price = case.mark_price is not None and 0 <= case.mark_age_ms <= case.limits.snapshot_max_age_ms
    if not (case.plan.is_exit or has_mark_price):
        return _wait(case, case.deny(Reason.NO_EXCHANGE_SNAPSHOT, why="no mark price"))
    return None


def _is_fresh(case: Case, ts_ms: int) -> bool:
    """Whether a request at this time is young enough, not of the future, and late enough to show our last fill."""
    age_ms = case.facts.now_ms - ts_ms
    return 0 <= age_ms <= case.limits.snapshot_max_age_ms and ts_ms >= case.snapshot_needed_from_ms


def _wait(case: Case, otherwise: Deny) -> Wait | None:
    """Wait, but for an open that the cooldown refuses whatever the snapshot says: that one goes on to its refusal."""
    if case.in_cooldown and not case.plan.is_exit:
        return None
    return Wait(case.snapshot_needed_from_ms, otherwise)


def nothing_outstanding(case: Case) -> Deny | None:
    """An open waits for everything of its symbol, an exit only for another exit."""
    mark, claims, stopped_by_opens = case.facts.mark, case.facts.open_claims, not case.plan.is_exit
    if isinstance(mark, Unreadable):
        return case.deny(Reason.PERMIT_OUTSTANDING, unreadable=str(mark))
    if isinstance(claims, Unreadable):
        return case.deny(Reason.PERMIT_OUTSTANDING, unreadable=str(claims))
    if mark is not None and (stopped_by_opens or mark.action.is_exit):
        return case.deny(Reason.PERMIT_OUTSTANDING, outstanding_plan_id=mark.plan_id)
    in_the_way = sum(1 for claim in claims if stopped_by_opens or claim.action.is_exit)
    return case.deny(Reason.PERMIT_OUTSTANDING, open_claims=in_the_way) if in_the_way else None


def cooled_down(case: Case) -> Deny | None:
    """Deny an open a short time after the symbol's last execution."""
    if not case.in_cooldown:
        return None
    left_ms = case.ledger.last_exec_ts_ms + case.limits.cooldown_ms - case.facts.now_ms
    return case.deny(Reason.COOLDOWN_IN_FLIGHT, left_ms=left_ms)


def ledger_agrees(case: Case) -> Deny | None:
    """Deny an open where our own fills do not add up to the exchange's position."""
    if isinstance(case.facts.baseline, Unreadable):
        return case.deny(Reason.NO_BASELINE, unreadable=str(case.facts.baseline))
    if case.facts.baseline is None:
        return case.deny(Reason.NO_BASELINE)
    if isinstance(case.facts.ledger, Unreadable):
        return case.deny(Reason.RECONCILE_REQUIRED_QTY_MISMATCH, unreadable=str(case.facts.ledger))
    if case.agreement is Agreement.OTHER_SIDE:
        return case.deny(Reason.RECONCILE_REQUIRED_SIDE_MISMATCH)
    agrees = case.agreement is not None and case.agreement.is_close_enough
    return None if agrees else case.deny(Reason.RECONCILE_REQUIRED_QTY_MISMATCH)


def instrument_ever_seen(case: Case) -> Deny | None:
    """Deny what has no rules to make an order by."""
    if isinstance(case.facts.instrument, Unreadable):
        return case.deny(Reason.INSTRUMENT_UNKNOWN, unreadable=str(case.facts.instrument))
    return case.deny(Reason.INSTRUMENT_UNKNOWN) if case.rules is None else None


def instrument_of_the_list(case: Case) -> Deny | None:
    """Deny an open whose rules are not of the list in force."""
    instrument = readable(case.facts.instrument)
    if instrument is None:
        return instrument_ever_seen(case)
    asof_epoch = case.facts.allowlist.asof_epoch
    age_s = case.facts.now_ms / 1000 - instrument.seen_epoch
    if asof_epoch is None:
        is_current = -FUTURE_TOLERANCE_S <= age_s <= ENV_INSTRUMENT_MAX_AGE_S
    else:
        is_current = instrument.seen_epoch == asof_epoch
    if is_current and instrument.is_trading:
        return None
    return case.deny(
        Reason.INSTRUMENT_UNKNOWN,
        seen_epoch=instrument.seen_epoch,
        asof_epoch=asof_epoch,
        instrument_status=instrument.status,
    )


def open_terms(case: Case) -> Deny | None:
    """Deny an open that the exchange would refuse, or that works against a position."""
    if case.plan.reduce_only:
        return case.deny(Reason.INVALID_PLAN, why="an OPEN that is reduceOnly")
    if case.position_amt and (case.position_amt > 0) is not (case.plan.side is Side.BUY):
        return case.deny(Reason.OPPOSITE_POSITION)
    rules, quantity = case.rules, quantity_of(case)
    if rules is None or case.mark_price is None:
        return case.deny(Reason.INSTRUMENT_UNKNOWN)
    with exact():
        notional = quantity.qty * case.mark_price
    if quantity.qty <= 0 or quantity.qty < rules.min_qty or notional < rules.min_notional:
        return case.deny(
            Reason.BELOW_MINIMUM,
            qty=plain(quantity.qty),
            notional=plain(notional),
            min_qty=plain(rules.min_qty),
            min_notional=plain(rules.min_notional),
        )
    return None


def exit_terms(case: Case) -> Deny | None:
    """Deny an exit of nothing, of the wrong side, or of another position than it was decided on."""
    held = case.position_amt
    if held.is_zero():
        return case.deny(Reason.NO_POSITION)
    if (held > 0) is (case.plan.side is Side.BUY):
        return case.deny(Reason.SIDE_MISMATCH, side=case.plan.side.value)
    expected = case.plan.expected_position
    if expected is not None and case.rules is not None and abs(held - expected) > case.rules.step:
        return case.deny(Reason.POSITION_CHANGED, expected_position=plain(expected))
    return None


def exit_size(case: Case) -> Deny | None:
    """Deny an exit of less than can be ordered."""
    quantity = quantity_of(case)
    if case.rules is None or quantity.qty <= 0 or quantity.qty < case.rules.min_qty:
        min_qty = None if case.rules is None else plain(case.rules.min_qty)
        return case.deny(Reason.DUST_POSITION, qty=plain(quantity.qty), min_qty=min_qty)
    return None


def quantity_of(case: Case) -> Quantity:
    """Give the quantity that may be ordered where nothing is against the plan; 0 where the rules are not known."""
    if case.rules is None:
        return Quantity(Decimal(0), clamped_to_max_qty=False)
    if case.plan.is_exit:
        return close_quantity(case.position_amt, case.plan.action, case.plan.qty, case.rules)
    return open_quantity(case.plan.qty, case.rules)
