"""Positions: the exchange's (snapshot), our own (ledger), and what the brain keeps to decide on them."""

from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

import msgspec

from microservices.contracts import hashes
from microservices.contracts.control import Mode
from microservices.contracts.fields import RawHash, Unreadable, stream_id
from microservices.contracts.plan import Action

S = TypeVar("S", bound=msgspec.Struct)

ACCOUNT_KEY = "quantum:position:account"
LEDGER_CURSOR_KEY = "quantum:position:ledger_cursor"
BASELINE_KEY = "quantum:position:baseline"
LEASE_KEY = "quantum:position:lease"
STATUS_KEY = "quantum:position:status"
SNAPSHOT_TTL_S = 60
VERDICT_TTL_S = 24 * 3600
HEARTBEAT_S = 10
SETTLE_MS = 2_000
"""A snapshot counts only if it was requested this long after the last execution: the account lags its fills."""


class PositionSide(StrEnum):
    """Which way a position points."""

    LONG = "LONG"
    SHORT = "SHORT"
    FLAT = "FLAT"


class AccountRow(msgspec.Struct, frozen=True):
    """The newest complete answer about the whole account; `ts_ms` is when it was requested, on Redis's clock."""

    ts_ms: int
    mode: Mode
    account: str
    complete: bool
    one_way: bool
    open_positions: int


class SnapshotRow(msgspec.Struct, frozen=True):
    """The exchange's position of one symbol. With a fresh account row an absent snapshot is a flat position."""

    symbol: str
    position_amt: Decimal
    side: PositionSide
    entry_price: Decimal
    mark_price: Decimal
    unrealized_pnl: Decimal
    leverage: str
    ts_epoch: int
    ts_ms: int


class LedgerRow(msgspec.Struct, frozen=True):
    """What our own fills of a symbol add up to."""

    position_amt: Decimal
    last_order_id: str = ""
    last_plan_id: str = ""
    last_exec_ts_ms: int = 0
    last_result_id: str = ""
    updated_at: int = 0


class Baseline(msgspec.Struct, frozen=True):
    """When and from what the account was adopted."""

    adopted_at_ms: int
    by: str
    snapshot_ts_ms: int
    """When the adopted position was asked for."""
    positions: int
    result_id: str

    def includes(self, plan_entry_id: str, ended_s: int) -> bool:
        """Tell whether a fill is in the position that was adopted: it ended well before.

        The executor writes no such result again that Redis has lost, and the ledger adds none that it wrote again
        before it knew of the adoption: asked by both, so that each fill counts once. The time of its end is of the
        executor's clock, which may lag behind Redis's: a plan that entered its stream after the adoption is in no case
        in it.

        Args:
            plan_entry_id: the plan's entry.
            ended_s: the result's timestamp, in whole seconds, rounded down.

        Raises:
            Unreadable: the entry id is none.
        """
        planned_ms = stream_id(plan_entry_id, "plan entry id")[0]
        return planned_ms < self.snapshot_ts_ms and (ended_s + 1) * 1_000 + SETTLE_MS <= self.snapshot_ts_ms


class InflightMark(msgspec.Struct, frozen=True):
    """The plan that is on its way for a symbol."""

    plan_id: str
    plan_entry_id: str
    action: Action


class VerdictRow(msgspec.Struct, frozen=True):
    """What was decided on a plan id, once."""

    plan_entry_id: str
    allow: bool
    reason: str
    digest: str = ""
    """Empty where the plan was invalid."""


class BrainStatus(msgspec.Struct, frozen=True):
    """The brain's heartbeat."""

    last_ts: int
    mode: Mode
    build: str
    allowlist_source: str
    allowlist_count: int
    snapshot_age_ms: int
    """-1 where there is no complete snapshot."""


def snapshot_key(symbol: str) -> str:
    """Name the exchange's position of a symbol."""
    return f"quantum:position:snapshot:{symbol}"


def ledger_key(symbol: str) -> str:
    """Name our own position of a symbol."""
    return f"quantum:position:ledger:{symbol}"


def inflight_key(symbol: str) -> str:
    """Name the mark of the plan that is on its way for a symbol."""
    return f"quantum:position:inflight:{symbol}"


def verdict_key(plan_id: str) -> str:
    """Name what was decided on a plan."""
    return f"quantum:position:verdict:{plan_id}"


def side_of(position_amt: Decimal) -> PositionSide:
    """Tell which way a signed amount points."""
    if position_amt.is_zero():
        return PositionSide.FLAT
    return PositionSide.LONG if position_amt > 0 else PositionSide.SHORT


def decode_account(raw: RawHash) -> AccountRow | None:
    """Read the account row; an empty answer is absence.

    Raises:
        Unreadable: it is there and not as the schema says.
    """
    return hashes.decode_or_absent(raw, AccountRow, ACCOUNT_KEY)


def decode_snapshot(raw: RawHash, symbol: str) -> SnapshotRow | None:
    """Read a symbol's snapshot; an empty answer is absence.

    Raises:
        Unreadable: it is there and not as the schema says.
    """
    return hashes.decode_or_absent(raw, SnapshotRow, snapshot_key(symbol))


def decode_ledger(raw: RawHash, symbol: str) -> LedgerRow | None:
    """Read a symbol's ledger; an empty answer is absence.

    Raises:
        Unreadable: it is there and not as the schema says.
    """
    row = hashes.decode_or_absent(raw, LedgerRow, ledger_key(symbol))
    return _not_before_the_epoch(row, "last_exec_ts_ms", ledger_key(symbol))


def decode_baseline(raw: RawHash) -> Baseline | None:
    """Read when and from what the account was adopted; an empty answer is absence.

    Raises:
        Unreadable: it is there and not as the schema says.
    """
    return _not_before_the_epoch(hashes.decode_or_absent(raw, Baseline, BASELINE_KEY), "adopted_at_ms", BASELINE_KEY)


def decode_inflight(raw: RawHash, symbol: str) -> InflightMark | None:
    """Read a symbol's in-flight mark; an empty answer is absence.

    Raises:
        Unreadable: it is there and not as the schema says.
    """
    return hashes.decode_or_absent(raw, InflightMark, inflight_key(symbol))


def decode_verdict(raw: RawHash, plan_id: str) -> VerdictRow | None:
    """Read what was decided on a plan; an empty answer is absence.

    Raises:
        Unreadable: it is there and not as the schema says.
    """
    return hashes.decode_or_absent(raw, VerdictRow, verdict_key(plan_id))


def decode_status(raw: RawHash) -> BrainStatus | None:
    """Read the brain's heartbeat; an empty answer is absence.

    Raises:
        Unreadable: it is there and not as the schema says.
    """
    return hashes.decode_or_absent(raw, BrainStatus, STATUS_KEY)


def _not_before_the_epoch(row: S | None, name: str, what: str) -> S | None:
    """Refuse a negative date: a cooldown that is counted from one would be over before it began."""
    if row is not None and getattr(row, name) < 0:
        raise Unreadable(what, f"{name} is {getattr(row, name)}, expected 0 or above")
    return row
