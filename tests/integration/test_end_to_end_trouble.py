"""Plans while a part of the suite is away, was killed, or is set otherwise; each ends once and is counted once."""

import signal
from collections.abc import Iterator
from decimal import Decimal

import msgspec
import pytest

from microservices.contracts import permit, plan, universe
from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Action, Decision, Side
from microservices.contracts.reason import Reason
from microservices.runtime import streams
from tests.support.story import assert_books, assert_denied, assert_ended, assert_executed, follow_all
from tests.support.suite import Added, Suite
from tests.support.waiting import wait_until

APPLY, BRAIN, COUNTER = "apply-layer", "position-state-brain", "p35-decision-intelligence"
LONG, HALTED, DELISTED, CLOSED = "XRPUSDT", "ADAUSDT", "DOGEUSDT", "TRXUSDT"
EXIT_WAIT_MS = 12_000
"""Longer than an exit waits for a snapshot in the brain, and shorter than the default."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite that looks often at account and universe, and whose exits wait a little less than they would."""
    settings = {
        BRAIN: {"P33_COOLDOWN_SEC": "0", "P33_POLL_SEC": "1", "P33_STALE_THRESHOLD_SEC": "3"},
        APPLY: {"APPLY_EXIT_WAIT_MS": str(EXIT_WAIT_MS)},
        "universe-service": {"UNIVERSE_REFRESH_SEC": "10"},
    }
    with Suite(tmp_path_factory.mktemp("suite"), settings) as running:
        yield running


@pytest.fixture(scope="module")
def held(suite: Suite) -> dict[str, Decimal]:
    """Positions opened through the chain: symbol to amount."""
    stories = follow_all(suite, [suite.open(symbol) for symbol in (LONG, HALTED, DELISTED, CLOSED)])
    for story in stories:
        assert_executed(suite, story, story.result.quantity)
    return {story.added.symbol: story.result.quantity for story in stories}


@pytest.fixture
def apply_layer_anew(suite: Suite) -> Iterator[None]:
    """Let the apply layer go on with its own settings after a test that gave it others."""
    yield
    suite.restart(APPLY)


def permit_as(suite: Suite, gate: Gate, added: Added, safe_qty: Decimal, reason: str) -> None:
    """Write another gate's permit of a plan, a deny where the quantity is 0: those gates are not part of the suite."""
    entry = streams.entry_of(suite.redis, plan.STREAM, added.entry_id)
    assert entry is not None
    planned = plan.decode(plan.decode_header(entry.id, entry.fields or {}))
    seconds, _ = suite.redis.time()
    document = {
        "v": permit.VERSION, "gate": gate, "plan_id": planned.plan_id, "plan_digest": planned.digest,
        "symbol": planned.symbol, "mode": Mode.PAPER, "allow": safe_qty > 0, "safe_qty": str(safe_qty),
        "side": planned.side, "reason": reason, "context": {}, "created_at": seconds,
        "expires_at_ms": (seconds + 30) * 1000,
    }  # fmt: skip
    suite.redis.set(permit.key(gate, planned.plan_id), msgspec.json.encode(document), ex=30)


def test_without_the_brain_nothing_is_executed(suite: Suite, held: dict[str, Decimal]) -> None:
    """Both kinds of plan run out of time; a brain that comes back sees that they ended and marks nothing (I-01)."""
    suite.pause(BRAIN)
    try:
        opened, left = suite.open("LINKUSDT"), suite.exit(LONG, Side.SELL)
        stories = [suite.follow(opened, by_brain=False), suite.follow(left, by_brain=False)]
    finally:
        suite.resume(BRAIN)
    for story in stories:
        assert_ended(story, Reason.PERMIT_TIMEOUT, gate="p33", retryable=True)
        assert (story.events, story.permit, story.verdict) == ((), None, None)
    assert stories[0].result.wait_ms in range(1_200, 3_000)
    assert stories[1].result.wait_ms in range(EXIT_WAIT_MS, EXIT_WAIT_MS + 3_000)
    for story in follow_all(suite, [opened, left]):
        assert story.reasons == [Reason.PLAN_ENDED]
        assert (story.permit, story.posts) == (None, 0)
    assert suite.marks() == {}


def test_an_exit_outlives_the_brains_death(suite: Suite, held: dict[str, Decimal]) -> None:
    """Added while the brain is dead, permitted by its successor, which waits for no lease, and done."""
    suite.stop(BRAIN, signal.SIGKILL)
    added = suite.exit(LONG, Side.SELL, Action.PARTIAL_25)
    suite.start(BRAIN)
    story = suite.follow(added)
    assert_executed(suite, story, story.result.quantity)


def test_an_account_that_does_not_answer_stops_everything(suite: Suite, held: dict[str, Decimal]) -> None:
    """Once the newest answer is too old, an open is denied at once, an exit after it waited; then it can be done."""
    suite.settle(LONG)
    suite.fault({"fault": "status", "status": 500, "code": -1000, "path": "/fapi/v2/positionRisk"})
    try:
        wait_until(lambda: suite.redis.time()[0] * 1000 - suite.account().ts_ms > 3_000, 30, what="old snapshot")
        added = [suite.open("LINKUSDT"), suite.exit(LONG, Side.SELL, Action.PARTIAL_25)]
        stories = follow_all(suite, added)
    finally:
        suite.paper.clear_faults()
    for story in stories:
        assert_denied(story, Reason.STALE_EXCHANGE_STATE, retryable=True)
    assert stories[1].result.wait_ms >= 9_500
    done = suite.follow(suite.exit(LONG, Side.SELL, Action.PARTIAL_25))
    assert_executed(suite, done, done.result.quantity)


def test_an_order_outlives_the_apply_layers_death(suite: Suite) -> None:
    """Killed between its POST and its result: the successor asks what became of it, and sends nothing twice (I-10)."""
    suite.fault({"fault": "latency", "seconds": 5, "method": "POST", "times": 1})
    added = suite.open("AVAXUSDT")
    wait_until(lambda: suite.posts(added), 20, what="the order to be sent")
    suite.stop(APPLY, signal.SIGKILL)
    suite.start(APPLY)
    story = suite.follow(added)
    assert_executed(suite, story, story.result.quantity)


def test_every_result_is_counted_whoever_dies(suite: Suite) -> None:
    """Results that come while nobody counts are counted by the successor, once."""
    suite.stop(COUNTER, signal.SIGKILL)
    added = [suite.plan(symbol="BTCUSDT", decision=Decision.SKIP, reason_codes=f"code_{n}") for n in range(20)]
    wait_until(lambda: len(suite.results()) == len(suite.added), 30, what="every result")
    suite.start(COUNTER)
    assert [story.result.error for story in follow_all(suite, added)] == [f"code_{n}" for n in range(20)]


def test_a_dry_run_sends_nothing(suite: Suite, apply_layer_anew: None) -> None:
    """In dry_run permits are consumed and plans end as SKIP; the exchange hears nothing, no cooldown begins."""
    suite.restart(APPLY, APPLY_MODE="dry_run")
    for added in (suite.open("SUIUSDT"), suite.open("ARBUSDT", Side.SELL)):
        story = suite.follow(added)
        assert story.reasons == [Reason.ALLOWED]
        assert_ended(story, Reason.DRY_RUN, Decision.SKIP)
        assert (story.permit, story.order) == (None, None)
        assert suite.ledger(added.symbol) == 0


def test_positions_are_limited_whatever_the_gates_say(
    suite: Suite, held: dict[str, Decimal], apply_layer_anew: None
) -> None:
    """With as many positions as APPLY_MAX_POSITIONS allows, no other is opened; an exit is not counted (I-15)."""
    suite.restart(APPLY, APPLY_MAX_POSITIONS=str(len(suite.positions())))
    story = suite.follow(suite.open("FILUSDT"))
    assert story.reasons == [Reason.ALLOWED]
    assert_ended(story, Reason.MAX_POSITIONS, retryable=True)
    left = suite.follow(suite.exit(CLOSED, Side.SELL))
    assert_executed(suite, left, held[CLOSED])
    suite.settle(CLOSED)
    again = suite.follow(suite.open("FILUSDT"))
    assert_executed(suite, again, again.result.quantity)


def test_the_brain_is_a_gate_that_no_setting_leaves_out(suite: Suite, apply_layer_anew: None) -> None:
    """An OPEN whose gates lack p33 is refused: only p33 knows how much is safe."""
    suite.restart(APPLY, APPLY_GATES_OPEN="governor")
    story = suite.follow(suite.open("ATOMUSDT"))
    assert_ended(story, Reason.GATE_NOT_CONFIGURED, gate="p33")


def test_every_gate_has_its_say(suite: Suite, apply_layer_anew: None) -> None:
    """With a governor besides: missing, denying with and without a reason, and allowing less than the brain."""
    suite.restart(APPLY, APPLY_GATES_OPEN="governor,p33")
    silent, wordless, speaking, allowing = (suite.open(s) for s in ("ATOMUSDT", "ETCUSDT", "NEARUSDT", "1000PEPEUSDT"))
    permit_as(suite, Gate.GOVERNOR, wordless, Decimal(0), "")
    permit_as(suite, Gate.GOVERNOR, speaking, Decimal(0), "Daily Loss: -3 %")
    permit_as(suite, Gate.GOVERNOR, allowing, Decimal(3_000), "fine")
    assert_ended(suite.follow(silent), Reason.PERMIT_TIMEOUT, gate="governor", retryable=True)
    assert_ended(suite.follow(wordless), Reason.GATE_DENIED, gate="governor")
    assert_ended(suite.follow(speaking), "daily_loss", gate="governor")
    story = suite.follow(allowing)
    assert story.result.executed
    assert (story.result.quantity, story.posts) == (Decimal(3_000), 1)


def test_a_symbol_that_stops_trading_can_be_left(suite: Suite, held: dict[str, Decimal]) -> None:
    """Off the list nothing is opened; an exit goes as far as the exchange lets it (I-23)."""
    suite.fault({"fault": "symbol_status", "symbol": HALTED, "status": "PRE_SETTLE"})
    suite.fault({"fault": "symbol_status", "symbol": DELISTED, "status": None})

    def listed() -> tuple[str, ...]:
        return universe.decode_document(suite.redis.get(universe.ACTIVE_KEY), universe.ACTIVE_KEY).symbols

    wait_until(lambda: not {HALTED, DELISTED} & set(listed()), 20, what="the universe without the two", every_s=0.1)
    for symbol in (HALTED, DELISTED):
        added = suite.plan(symbol=symbol, action=Action.OPEN, side=Side.BUY, qty=held[symbol], reduceOnly=False)
        assert_denied(suite.follow(added), Reason.NOT_IN_ALLOWLIST, Decision.SKIP)
    left = suite.follow(suite.exit(HALTED, Side.SELL))
    assert_executed(suite, left, held[HALTED])
    refused = suite.follow(suite.exit(DELISTED, Side.SELL))
    assert refused.reasons == [Reason.ALLOWED]
    assert_ended(refused, "exchange_error_1121", Decision.ERROR, posts=1)
    assert suite.ledger(DELISTED) == suite.positions()[DELISTED] == held[DELISTED]


def test_the_books_balance(suite: Suite) -> None:
    """One result an entry, one count a result, one order a plan; the ledger is the exchange's position."""
    assert_books(suite)
