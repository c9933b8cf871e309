"""The position-state brain: wires its loops together, and keeps its lease and heartbeat."""

import logging
import threading
from collections.abc import Sequence

from redis import Redis

from microservices.contracts import account, control, hashes, plan, position
from microservices.contracts.account import AccountBinding
from microservices.contracts.position import BrainStatus
from microservices.exchange import SharedBackoff, SignedClient
from microservices.position_state_brain import metrics
from microservices.position_state_brain.allowlist_watch import AllowlistWatch
from microservices.position_state_brain.board import Board, Demand, KnownSymbols
from microservices.position_state_brain.books import find_symbols
from microservices.position_state_brain.committing import Commits, Committer, DryRun
from microservices.position_state_brain.ledger_loop import LedgerLoop
from microservices.position_state_brain.mark_prices import MarkPrices
from microservices.position_state_brain.marks import MarkSweeper
from microservices.position_state_brain.permits import PermitLoop, plan_consumer
from microservices.position_state_brain.reading import FactsReader
from microservices.position_state_brain.reconciliation import Reconciler
from microservices.position_state_brain.schedule import POLL_DEADLINE_S
from microservices.position_state_brain.settings import Settings
from microservices.position_state_brain.snapshots import Asking, SnapshotLoop, SnapshotWriter
from microservices.runtime import Away, Clock, Context, Loop, Refused, SingleInstance

_log = logging.getLogger(__name__)

UNIT = "quantum-position-state-brain"
LEASE_EVERY_S = 3.0
"""Three tries before the lease's 10 s are over; the heartbeat goes with it."""
STARTING_EVERY_S = 0.5
"""Before the first snapshot: whoever waits for the brain sees soon that it is ready."""


class Brain:
    """The service.

    Args:
        settings: what it was told.
        redis: a client whose answers are bytes.
        clock: wall and monotonic time.
        build: version and commit.
        client: the exchange.
    """

    def __init__(self, settings: Settings, redis: Redis, clock: Clock, build: str, client: SignedClient) -> None:
        self._settings = settings
        self._redis = redis
        self._clock = clock
        self._build = build
        self._client = client
        self._asking = Asking(SharedBackoff(redis, control.BACKOFF_KEY, UNIT))
        self._instance = SingleInstance(redis, settings.state_path, position.LEASE_KEY, clock)
        self._watch = AllowlistWatch(redis, clock, settings)
        self._board = Board(threading.Event())
        self._known = KnownSymbols()
        self._demand = Demand(threading.Event())
        self._writer = SnapshotWriter(redis, self._instance_id, settings.trading_mode)
        self.permits = self._make_permits()
        self.ledger = self._make_ledger()
        self.snapshots = self._make_snapshots()

    def prepare(self) -> None:
        """Become the one instance, make sure that Redis and key belong together, and see what is there.

        Raises:
            Refused: another process runs, or this Redis belongs to another account.
            Away: another instance holds the lease, or the exchange does not say whose key this is, or may not be asked.
            redis.exceptions.RedisError: Redis did not answer.
        """
        self._instance.acquire()
        if why := self._asking.why_not():
            raise Away(why)
        alias = self._client.account_alias()
        host = account.host_of(self._settings.base_url)
        if refusal := account.refusal(self._redis, AccountBinding(self._settings.trading_mode, host, alias)):
            raise Refused(refusal)
        self._writer.account = alias
        self._find_symbols()
        self._watch.start()
        _log.info("P3.3 Position State Brain starting (event-driven mode)")

    def loops(self) -> Sequence[Loop]:
        """Results first, so that `--once` compares a snapshot with a ledger that has them all; then the others."""
        loops = [
            Loop("snapshots", self.snapshots.tick, wake=self._demand.wake, shortfall=self.snapshots.shortfall),
            Loop("permits", self.permits.tick, wake=self._board.wake),
            Loop("heartbeat", self.heartbeat),
        ]
        return loops if self._settings.p33_dry_run else [Loop("ledger", self.ledger.tick), *loops]

    def status_line(self) -> str:
        """Say in one line which list is in force, how old the snapshot is, and what waits."""
        allowlist, age_s = self._watch.latest, self._snapshot_age_s()
        known = f"snapshot {age_s:.1f} s old" if age_s >= 0 else f"no snapshot ({self.snapshots.fault})"
        dry = ", dry run" if self._settings.p33_dry_run else ""
        return (
            f"allowlist {allowlist.source} ({allowlist.count}), {known}, {self.permits.answered} plans answered,"
            f" {self.permits.parked} waiting{dry}"
        )

    def close(self) -> None:
        """Give the lease up, so that the next instance need not wait."""
        self._instance.release()
        self._client.close()

    def heartbeat(self) -> float:
        """Renew the lease, or take it again where it ran out; say that we live.

        Raises:
            LeaseHeld: another instance is the brain now.
            redis.exceptions.RedisError: Redis did not answer.
        """
        now, age_s, allowlist = self._clock.now(), self._snapshot_age_s(), self._watch.latest
        metrics.show_allowlist(allowlist, now)  # before Redis is asked: ages must grow while it is away
        metrics.show_snapshot_age(age_s)
        if not self._instance.renew():
            _log.warning("the lease %s ran out: taking it again", position.LEASE_KEY)
            self._instance.acquire()
            self._find_symbols()  # what another brain, or a rollback, has left meanwhile
        status = BrainStatus(
            last_ts=int(now),
            mode=self._settings.trading_mode,
            build=self._build,
            allowlist_source=allowlist.source.value,
            allowlist_count=allowlist.count,
            snapshot_age_ms=-1 if age_s < 0 else round(age_s * 1000),
        )
        self._redis.hset(position.STATUS_KEY, mapping=hashes.encode(status))
        return LEASE_EVERY_S if age_s >= 0 else STARTING_EVERY_S

    def _find_symbols(self) -> None:
        booked, marked, held = find_symbols(self._redis)
        self._known.add(ledger=booked, marked=marked, held=held)

    def _snapshot_age_s(self) -> float:
        """Tell the age of the newest complete answer in seconds; -1 before the first."""
        ts_ms = self._board.view.ts_ms
        return max(0.0, self._clock.now() - ts_ms / 1000) if ts_ms else -1.0

    def _instance_id(self) -> str:
        return self._instance.instance_id

    def _make_permits(self) -> PermitLoop:
        settings = self._settings
        group = plan.GROUP_BRAIN_DRY_RUN if settings.p33_dry_run else plan.GROUP_BRAIN
        commits: Commits = Committer(
            self._redis,
            self._instance_id,
            settings.trading_mode,
            permit_ttl_ms=round(settings.p33_permit_ttl * 1000),
            plan_max_age_ms=settings.limits.plan_max_age_ms,
        )
        return PermitLoop(
            consumer=plan_consumer(self._redis, group, settings.p33_plan_max_age_s),
            is_ours=self._instance.is_ours,
            reader=FactsReader(self._redis, self._watch, self._board),
            commits=DryRun(self._redis) if settings.p33_dry_run else commits,
            watch=self._watch,
            board=self._board,
            demand=self._demand if settings.p33_ondemand_snapshot else None,
            known=self._known,
            limits=settings.limits,
            clock=self._clock,
        )

    def _make_ledger(self) -> LedgerLoop:
        return LedgerLoop(
            redis=self._redis,
            clock=self._clock,
            instance_id=self._instance_id,
            mode=self._settings.trading_mode,
            known=self._known,
            sweeper=MarkSweeper(self._redis, self._clock, self._instance_id, self._known),
        )

    def _make_snapshots(self) -> SnapshotLoop:
        settings = self._settings
        reconciler = Reconciler(
            self._redis,
            self._clock,
            instance_id=self._instance_id,
            mode=settings.trading_mode,
            known=self._known,
            tolerance_pct=settings.p33_qty_tolerance_pct,
        )
        return SnapshotLoop(
            client=self._client,
            asking=self._asking,
            redis=self._redis,
            clock=self._clock,
            board=self._board,
            demand=self._demand,
            known=self._known,
            mark_prices=MarkPrices(self._client, self._clock, self._board, every_s=settings.p33_poll_sec / 2),
            writer=self._writer,
            reconciler=None if settings.p33_dry_run else reconciler,
            poll_s=settings.p33_poll_sec,
        )


def build(context: Context[Settings]) -> Brain:
    """Put the service together."""
    settings = context.settings
    client = SignedClient(
        settings.base_url,
        settings.binance_api_key,
        settings.binance_api_secret,
        clock=context.clock,
        timeout_s=POLL_DEADLINE_S,
        backoff=SharedBackoff(context.redis, control.BACKOFF_KEY, UNIT),
    )
    _log.info("Binance %s client initialized", settings.trading_mode)
    return Brain(settings, context.redis, context.clock, context.build, client)
