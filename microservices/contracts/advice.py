"""What an operator does about each reason code; docs/reasons.md and docs/permits.md are written from here."""

from microservices.contracts.reason import Reason

ADVICE: dict[Reason, str] = {
    Reason.INVALID_PLAN: "Mend whoever writes the plan: `why` in the event's context names the field.",
    Reason.DUPLICATE_PLAN: "Nothing: the first entry counts. A strategy that tries again needs a new plan id.",
    Reason.PLAN_EXPIRED: (
        "Compare the strategy's clock with `redis-cli TIME`. Where all plans expire at once, Redis's clock was set"
        " back: its ids are ahead until the clock has caught up."
    ),
    Reason.KILL_SWITCH: "Somebody wanted it so, or the key is missing: `ops/kill_switch.sh status`.",
    Reason.NO_ALLOWLIST: "`ops/proof_universe.sh`: the universe service is down, stale, or of another mode.",
    Reason.NOT_IN_ALLOWLIST: (
        "Nothing, if it is not to be traded; else look at `UNIVERSE_SYMBOL_REGEX` or `P33_ALLOWLIST`."
    ),
    Reason.RECONCILE_HOLD_ACTIVE: (
        "`hold` in the context says whose: `brain:…` is a drift (`ops/reconcile_position.sh --symbol S`), anything else"
        " an operator's, who ends it with `redis-cli DEL`."
    ),
    Reason.NO_EXCHANGE_SNAPSHOT: (
        "The brain's log says why no answer was complete: network, key, back-off, or a symbol that the exchange does"
        " not name. An open also needs a mark price."
    ),
    Reason.STALE_EXCHANGE_STATE: (
        "Once in a while nothing. If it lasts the exchange answers too slowly, or not at all:"
        " `p33_snapshot_age_seconds` and the brain's log."
    ),
    Reason.HEDGE_MODE_UNSUPPORTED: "Close the positions and switch the account to one-way mode at the exchange.",
    Reason.PERMIT_OUTSTANDING: (
        "Wait for the other plan's result. If it lasts, `quantum:apply:open` shows a claim that is not resolved, or the"
        " context names a key that cannot be read."
    ),
    Reason.COOLDOWN_IN_FLIGHT: "Nothing: `left_ms` says how long. The strategy plans faster than `P33_COOLDOWN_SEC`.",
    Reason.NO_BASELINE: (
        "Look at the positions, then `ops/reconcile_position.sh --all --adopt-exchange`: needed once per account, and"
        " after Redis has lost its data."
    ),
    Reason.RECONCILE_REQUIRED_SIDE_MISMATCH: (
        "Find out who traded on the account, then `ops/reconcile_position.sh --symbol S --adopt-exchange`."
    ),
    Reason.RECONCILE_REQUIRED_QTY_MISMATCH: (
        "As above: a trade by hand, a liquidation, or a fill that we did not learn of. `unreadable` names a broken row."
    ),
    Reason.INSTRUMENT_UNKNOWN: (
        "`redis-cli HGET quantum:cfg:universe:instruments S`: missing, broken, not TRADING, or older than the list."
    ),
    Reason.OPPOSITE_POSITION: "The strategy must close what it holds before it turns around.",
    Reason.BELOW_MINIMUM: "The strategy must plan more: the context has the exchange's minimum and what was planned.",
    Reason.NO_POSITION: "Nothing: it is flat already, by another exit, by hand or by liquidation.",
    Reason.SIDE_MISMATCH: "The strategy has the position's sign wrong: closing a short is a BUY.",
    Reason.POSITION_CHANGED: "Nothing: the strategy must look again and decide anew.",
    Reason.DUST_POSITION: (
        "A partial of a small position: plan a FULL_CLOSE_PROPOSED. A position that is itself below the minimum is"
        " closed by hand at the exchange."
    ),
    Reason.ALLOWED: "Nothing: `ops/proof_order_id.sh --plan_id P` shows what became of it.",
    Reason.DISPLACED_BY_EXIT: "Nothing: the exit goes first. The strategy may plan the open again.",
    Reason.PLAN_ENDED: "Nothing, if rare: the executor had ended the plan. If frequent the brain is too slow.",
    Reason.LEDGER_ADOPTED: "Read `why` and `by` in the context; if nobody of you traded, change the API key.",
    Reason.GATE_DENIED: "Ask the gate that the field `gate` names why it gives no reason.",
    Reason.DRY_RUN: "Nothing, or set `APPLY_MODE` to the mode of trading.",
    Reason.PERMIT_TIMEOUT: "`ops/permit_audit.sh`: a gate that is asked for does not run or does not answer in time.",
    Reason.GATE_NOT_CONFIGURED: "Run all three gates on mainnet, and name them in `APPLY_GATES_OPEN`.",
    Reason.ACCOUNT_MISMATCH: "`redis-cli HGETALL quantum:cfg:account`: the right `REDIS_DB`, or the right key pair.",
    Reason.MAX_NOTIONAL: "Plan smaller, or raise `APPLY_MAX_NOTIONAL_USDT` deliberately.",
    Reason.MAX_POSITIONS: "Close some, or raise `APPLY_MAX_POSITIONS` deliberately.",
    Reason.MARK_LOST: "Nothing: another plan of the symbol came first. It may be planned again.",
    Reason.ORDER_NOT_PLACED: (
        "Nothing is at the exchange. It may be planned again; the executor's log says what failed."
    ),
    Reason.ORDER_REJECTED: "The executor's log has the exchange's words.",
    Reason.PLAN_SKIP: "Nothing: its maker wanted it so; it might say why in `reason_codes`.",
    Reason.PLAN_BLOCKED: "Ask its maker, who might say why in `reason_codes`.",
    Reason.PLAN_ERROR: "Look at its maker's log.",
}
