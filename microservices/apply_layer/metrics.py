"""What the apply layer measures."""

import re

from prometheus_client import Counter, Gauge, Histogram

from microservices.contracts.permit import Gate
from microservices.contracts.reason import Reason
from microservices.contracts.result import Result

_WAIT_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.2, 5, 15, 60)
_ORDER_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20)

RESULTS = Counter(
    "apply_results", "Ended plans by decision and code; a plan's own codes are `own`", ["decision", "error"]
)
ENDED = Counter("apply_plans_ended", "Ended plans, over all decisions and codes")
GATE_WAIT = Histogram(
    "apply_gate_wait_seconds",
    "From a plan's arrival until its gate's permit was seen",
    ["gate"],
    buckets=_WAIT_BUCKETS_S,
)
PLAN_WAIT = Histogram("apply_plan_wait_seconds", "From a plan's arrival until its claim", buckets=_WAIT_BUCKETS_S)
ORDERS = Counter("apply_orders", "Orders sent, by what their answer said", ["outcome"])
ORDER_SECONDS = Histogram("apply_order_seconds", "From sending an order until its answer", buckets=_ORDER_BUCKETS_S)
LOG_SECONDS = Histogram(
    "apply_sent_log_seconds",
    "Until an order was on the disk",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1),
)
WAITING = Gauge("apply_waiting_plans", "Plans that wait for permits, a worker or a back-off")
UNRESOLVED = Gauge("apply_unresolved_orders", "Orders whose outcome is being asked for, or whose result is not written")
OPEN_CLAIMS = Gauge("apply_open_claims", "Claims that are not done")
KILL_SWITCH = Gauge("apply_kill_switch", "0 off, 1 no_new_risk, 2 full_stop, or a value that is none")
HELD_UP = Gauge("apply_orders_held_up", "1 while the shared back-off lets no order go out, or cannot be read")
RECOVERIES = Counter("apply_recoveries", "Comparisons of sent.log with Redis, at start and after every reconnect")
REWRITTEN = Counter("apply_results_rewritten", "Results that Redis had lost and that were written again from sent.log")
TRIMMED = Counter("apply_trimmed_entries", "Stream entries trimmed away", ["stream"])

FILLED, REFUSED, UNKNOWN = "filled", "refused", "unknown"
for _outcome in (FILLED, REFUSED, UNKNOWN):
    ORDERS.labels(outcome=_outcome)
for _gate in Gate:
    GATE_WAIT.labels(gate=_gate)

_EXCHANGE_ERROR = re.compile(r"exchange_error_[0-9]{1,4}", re.ASCII)
_OUR_CODES = frozenset(reason.value for reason in Reason)


def ended(result: Result) -> None:
    """Count a result; labels are bounded, although a plan's own codes are not."""
    ours = not result.error or result.error in _OUR_CODES or _EXCHANGE_ERROR.fullmatch(result.error)
    RESULTS.labels(decision=result.decision, error=result.error if ours else "own").inc()
    ENDED.inc()
