"""Decision intelligence's loops: consume and count; snapshot the windows."""

import logging
import socket
from collections.abc import Sequence

import msgspec
from redis import Redis
from redis.exceptions import NoScriptError

from microservices.contracts import decision, result
from microservices.contracts.fields import WrittenFields
from microservices.decision_intelligence import account, metrics, window
from microservices.decision_intelligence.batch import Limits, commit_calls
from microservices.decision_intelligence.index import index_commands
from microservices.decision_intelligence.message import Reader
from microservices.decision_intelligence.sending import send_as_made
from microservices.decision_intelligence.settings import Settings
from microservices.runtime import Clock, Context, Loop, LuaScript, Row, StreamConsumer

logger = logging.getLogger(__name__)

UNIT = "quantum-p35-decision-intelligence"
COMMIT = LuaScript.load(__package__, "commit.lua")
LOOK_EVERY_S = decision.HEARTBEAT_S / 2
"""While there is traffic; half of what readers of the heartbeat are promised."""
LOOK_WHEN_IDLE_S = 1.0
LOG_EVERY_S = 10.0


class DecisionIntelligence:
    """Count every result once.

    Args:
        settings: its settings.
        redis: a client whose answers are bytes and which never sends a command twice.
        clock: the time that messages' timestamps and windows are judged by.
        consumer: this instance's name in the group, the same after a restart.
        reads_ahead: whether Redis reads the next batch while this one is counted; without, a tick is one batch.
    """

    def __init__(
        self, settings: Settings, redis: Redis, clock: Clock, consumer: str, *, reads_ahead: bool = True
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._name = consumer
        self._started_s = clock.now()
        self._interval_s = settings.p35_snapshot_interval_sec
        self._limits = Limits(settings.p35_max_reasons, settings.p35_max_symbol_reasons)
        self._reader = Reader(by_symbol=settings.enable_symbol_breakdown)
        self._consumer = StreamConsumer(
            redis,
            result.STREAM,
            result.GROUP_DECISION_INTELLIGENCE,
            consumer,
            batch=settings.p35_batch_size,
            block_ms=settings.p35_block_ms,
            start_id=self._start_id,
            claim_idle_ms=settings.p35_claim_idle_ms,
            monotonic=clock.monotonic,
            reads_ahead=reads_ahead,
        )
        self._snapshots = Loop("snapshot", self.snapshot)
        self._counting = False
        self._noted: tuple[bytes, bytes, int] | None = None
        """The batch that was last noted in the index: first and last id, and how many."""
        self._looked_at = float("-inf")
        self._logged_at = float("-inf")
        self._logged_total = 0
        self._known_total = 0
        self._line = "nothing counted yet"

    def prepare(self) -> None:
        """Make the server know the script that batches are committed with."""
        COMMIT.upload(self._redis)

    def loops(self) -> Sequence[Loop]:
        """Give the two loops."""
        return (Loop("consume", self.consume), self._snapshots)

    def status_line(self) -> str:
        """Say how much was counted and how far behind it is."""
        return self._line

    def close(self) -> None:
        """Let go of nothing: what is pending is finished at the next start."""

    def consume(self) -> float:
        """Read and settle one batch, and look at the books where it is time."""
        with self._consumer.rows() as rows:
            if rows:
                self._commit(rows)
        idle_for_s = self._clock.monotonic() - self._looked_at
        if idle_for_s >= (LOOK_EVERY_S if rows else LOOK_WHEN_IDLE_S):
            self._look()
        return 0.0

    def snapshot(self) -> float:
        """Add up all windows from the buckets and replace them in one unit."""
        began = self._clock.monotonic()
        now_s = self._clock.now()
        minute = int(now_s // 60)
        minutes = range(minute - window.MINUTES_NEEDED + 1, minute + 1)
        reads = self._redis.pipeline(transaction=False)
        for each in minutes:
            reads.hgetall(decision.bucket_key(each))
        self._write(window.totals(dict(zip(minutes, reads.execute(), strict=True)), minute), int(now_s))
        metrics.SNAPSHOT_AT.set(now_s)
        metrics.SNAPSHOT_SECONDS.set(self._clock.monotonic() - began)
        return self._interval_s

    def _commit(self, rows: Sequence[Row]) -> None:
        try:
            answers = self._send(rows)
        except NoScriptError:  # the server was restarted; what it did know and do, it will not do twice
            COMMIT.upload(self._redis)
            answers = self._send(rows)
        for outcome, counts in zip(metrics.OUTCOMES, zip(*answers, strict=True), strict=True):
            metrics.MESSAGES.labels(outcome=outcome).inc(sum(counts))
        if not self._counting:  # the first messages of this process are shown at once
            self._counting = True
            self._snapshots.wake.set()

    def _send(self, rows: Sequence[Row]) -> list[list[int]]:
        calls = commit_calls(rows, self._reader.at(self._clock.now()), self._limits)
        batch = rows[0][0], rows[-1][0], len(rows)
        # A batch that cannot be counted comes again every few seconds, for as long as nobody has mended that.
        is_noted = batch == self._noted
        sent = send_as_made(self._redis, COMMIT, calls, before=() if is_noted else index_commands(rows))
        self._noted = batch if sent.noted else None
        return sent.results()

    def _start_id(self) -> str:
        """Say behind what the group is made: what a commit recorded, so that nothing is counted again; else the start.

        The books are settled first: once the group is there again, commits change them.
        """
        found = account.look(self._redis)
        if found.seen.group is None and found.status.last_id:
            logger.warning(
                "Group %s is gone; making it again behind %s. What only it knew counts as lost",
                result.GROUP_DECISION_INTELLIGENCE,
                found.status.last_id,
            )
        elif not found.status.last_id and self._known_total:
            logger.error(
                "Group %s and every count in Redis are gone; this process last saw: %s. Counting begins anew with what"
                " %s holds now",
                result.GROUP_DECISION_INTELLIGENCE,
                self._line,
                result.STREAM,
            )
        return found.status.last_id or "0"

    def _look(self) -> None:
        found = account.look(self._redis)
        now_s = self._clock.now()
        account.heartbeat(self._redis, found, consumer=self._name, started_s=self._started_s, now_s=now_s)
        self._looked_at = self._clock.monotonic()
        status = found.status
        metrics.LAG.set(found.lag)
        metrics.PENDING.set(found.pending)
        metrics.PROCESSED.set(status.processed_total)
        metrics.DEAD_LETTERS.set(status.dead_letter_total)
        metrics.LOST.set(status.lost_total + found.judgement.lost)
        self._say(found)

    def _say(self, found: account.Look) -> None:
        """Keep the status line, and log it where the count moved, at most every 10 s."""
        status = found.status
        total = self._known_total = status.processed_total
        lost, dead = status.lost_total + found.judgement.lost, status.dead_letter_total
        self._line = f"{total} counted, {dead} dead letters, {lost} lost, lag {found.lag}, pending {found.pending}"
        if total != self._logged_total and self._looked_at - self._logged_at >= LOG_EVERY_S:
            self._logged_at, self._logged_total = self._looked_at, total
            logger.info("%s", self._line)

    def _write(self, windows: dict[decision.Window, window.Totals], now_s: int) -> None:
        with self._redis.pipeline(transaction=True) as unit:
            for each, totals in windows.items():
                unit.delete(*decision.window_keys(each))
                for key, top in _lists(each, totals).items():
                    unit.zadd(key, dict(top))
                for key, row in _hashes(each, totals).items():
                    unit.hset(key, mapping=row)
                for key in decision.window_keys(each):
                    unit.expire(key, decision.WINDOW_TTL_S)
            unit.hset(decision.STATUS_KEY, "snapshot_ts", str(now_s))
            unit.execute()


def _lists(each: decision.Window, totals: window.Totals) -> dict[str, dict[str, int]]:
    tops = {decision.reasons_key(each): totals.reasons, decision.symbol_reasons_key(each): totals.symbol_reasons}
    return {key: top for key, top in tops.items() if top}


def _hashes(each: decision.Window, totals: window.Totals) -> dict[str, WrittenFields]:
    by_symbol = {symbol: msgspec.json.encode(reasons) for symbol, reasons in totals.by_symbol.items()}
    rows: dict[str, WrittenFields] = {
        decision.counts_key(each): dict(totals.decisions),
        decision.trend_key(each): dict(totals.trend),
        decision.by_symbol_key(each): dict(by_symbol),
    }
    return {key: row for key, row in rows.items() if row}


def build(context: Context[Settings]) -> DecisionIntelligence:
    """Make the service; its consumer's name is the host's, and the instance's where several run on one."""
    instance = context.settings.p35_instance
    consumer = f"{socket.gethostname()}-{instance}" if instance else socket.gethostname()
    return DecisionIntelligence(context.settings, context.redis, context.clock, consumer)
