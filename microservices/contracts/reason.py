"""Every reason code of the permit chain, once, each with its line; docs/reasons.md is generated from here."""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """Why a plan was not permitted or not executed. The value is what stands in Redis."""

    line: str

    def __new__(cls, code: str, line: str) -> Self:
        """Make a member from its code and its line for the documentation."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.line = line
        return member

    # The brain's checks, in the order of evaluation.
    INVALID_PLAN = "invalid_plan", "A field is missing or not as redis-schema says; nothing can be decided on it."
    DUPLICATE_PLAN = "duplicate_plan", "This plan id was already decided or claimed under another stream entry."
    PLAN_EXPIRED = (
        "plan_expired",
        "Older than the maximum plan age by its timestamp or its entry id, or from the future.",
    )
    KILL_SWITCH = "kill_switch", "The operator's kill switch stops this kind of plan."
    NO_ALLOWLIST = "no_allowlist", "No tier gives a valid list of symbols: universe, last_ok and env all failed."
    NOT_IN_ALLOWLIST = "not_in_allowlist", "The symbol may not be traded: it is not in the list in force."
    RECONCILE_HOLD_ACTIVE = (
        "reconcile_hold_active",
        "A hold lies on the symbol, by an operator or by the brain after drift.",
    )
    NO_EXCHANGE_SNAPSHOT = "no_exchange_snapshot", "The exchange's position of the symbol is not known."
    STALE_EXCHANGE_STATE = (
        "stale_exchange_state",
        "The exchange's position is known, but too old or from before our last execution.",
    )
    HEDGE_MODE_UNSUPPORTED = "hedge_mode_unsupported", "The account is in hedge mode; only one-way mode is handled."
    PERMIT_OUTSTANDING = "permit_outstanding", "Another plan of the symbol is permitted or on its way."
    COOLDOWN_IN_FLIGHT = "cooldown_in_flight", "The symbol was executed a moment ago; opens wait out the cooldown."
    NO_BASELINE = "no_baseline", "The account was never adopted: run ops/reconcile_position.sh --all --adopt-exchange."
    RECONCILE_REQUIRED_SIDE_MISMATCH = (
        "reconcile_required_side_mismatch",
        "Our ledger and the exchange disagree on the side.",
    )
    RECONCILE_REQUIRED_QTY_MISMATCH = (
        "reconcile_required_qty_mismatch",
        "Our ledger and the exchange disagree on the size.",
    )
    INSTRUMENT_UNKNOWN = "instrument_unknown", "The symbol's trading rules were never seen, or are older than the list."
    OPPOSITE_POSITION = "opposite_position", "An open on the other side of an existing position; close that first."
    BELOW_MINIMUM = "below_minimum", "Quantity or notional is below the exchange's minimum."
    NO_POSITION = "no_position", "There is nothing to close."
    SIDE_MISMATCH = "side_mismatch", "The exit's side does not oppose the position."
    POSITION_CHANGED = "position_changed", "The position is not the one that this exit was decided on."
    DUST_POSITION = "dust_position", "What could be closed is below the exchange's minimum quantity."
    # What a gate writes besides.
    ALLOWED = "allowed", "Every check passed."
    DISPLACED_BY_EXIT = "displaced_by_exit", "An allowed open was withdrawn because an exit of the symbol came."
    PLAN_ENDED = "plan_ended", "The plan had ended before the gate decided; nothing was written for it."
    LEDGER_ADOPTED = (
        "ledger_adopted",
        "Of no plan: our ledger was set to the exchange's position; the context says from what and why.",
    )
    # The apply layer's own.
    GATE_DENIED = "gate_denied", "A gate denied the plan and named no reason; the field gate says which."
    DRY_RUN = "dry_run", "The apply layer runs in dry_run: permits are consumed, no order is sent."
    PERMIT_TIMEOUT = "permit_timeout", "A needed gate gave no permit in time; the field gate names which."
    GATE_NOT_CONFIGURED = (
        "gate_not_configured",
        "Mainnet needs all three gates for opens, and the settings leave one out.",
    )
    ACCOUNT_MISMATCH = "account_mismatch", "This Redis belongs to another account or mode."
    MAX_NOTIONAL = "max_notional", "The order's notional is above APPLY_MAX_NOTIONAL_USDT."
    MAX_POSITIONS = "max_positions", "As many positions are open or opening as APPLY_MAX_POSITIONS allows."
    MARK_LOST = "mark_lost", "The symbol's in-flight mark belongs to another plan now."
    ORDER_NOT_PLACED = "order_not_placed", "No order exists at the exchange for this plan."
    ORDER_REJECTED = "order_rejected", "The exchange refused the order without a code."
    # Plans that came as something else than EXECUTE, without a reason of their own.
    PLAN_SKIP = "plan_skip", "The plan came as SKIP and named no reason."
    PLAN_BLOCKED = "plan_blocked", "The plan came as BLOCKED and named no reason."
    PLAN_ERROR = "plan_error", "The plan came as ERROR and named no reason."


def exchange_error(code: int) -> str:
    """Name the exchange's own error: `exchange_error_<digits>`."""
    return f"exchange_error_{abs(code)}"


CODE_MAX_CHARACTERS = 64


def normalised(raw: str) -> str:
    """Bring any reason text to code form: what follows the first `:` is detail; lower-case; `[a-z0-9_.-]`, at most 64.

    Returns:
        The code, or an empty string where nothing is left of it.
    """
    head = raw.split(":", 1)[0].strip().lower()
    return "".join(letter if letter in _CODE_LETTERS else "_" for letter in head)[:CODE_MAX_CHARACTERS]


_CODE_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")
