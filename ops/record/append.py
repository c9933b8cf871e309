"""Record an operation: the next id, the hash of the entry below, and the file's new bytes, all under one lock."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ops.record.book import added, newest_hash, next_id, recorded, seal_fault
from ops.record.entry import ID_FORM, digest, written
from ops.record.evidence import now_text
from ops.record.store import update
from ops.record.yaml_text import Value

Complain = Callable[[str], None]
"""Takes what is wrong; raises where nothing may be recorded then."""


class Operation(NamedTuple):
    """What is to be recorded."""

    values: Mapping[str, Value]
    """The entry's fields, without those that are known only when it is written: id, times, hash of the entry below."""
    operation_id: str = ""
    """Empty: the next free one of the day."""
    idempotency_key: str = ""


class Done(NamedTuple):
    """What became of it."""

    operation_id: str
    sha256: str
    """Of the entry's bytes; empty where it was recorded before."""


def append(path: Path, operation: Operation, complain: Complain) -> Done:
    """Record it once: an id or key that is there already changes nothing.

    Raises:
        LedgerFault: the ledger cannot be locked or is no file, or `complain` would not have it.
        OSError: the ledger cannot be read or written.
    """
    done: list[Done] = []

    def change(data: bytes) -> bytes | None:
        known = recorded(data)
        before = known.ids_by_key.get(operation.idempotency_key)
        if before is None and operation.operation_id in known.ids:
            before = operation.operation_id
        if before is not None:
            done.append(Done(before, ""))
            return None
        if fault := seal_fault(data):
            complain(f"{fault}: run --verify before anything else is done to {path}")
        now = datetime.now(UTC)
        operation_id = operation.operation_id or next_id(f"{now:%Y-%m-%d}", known.ids)
        raw = entry(operation, operation_id, now, newest_hash(data))
        new, in_its_month = added(data, raw, f"{now:%Y-%m}")
        if not in_its_month:
            complain(
                f"the clock says {now_text(now)}, and {path} has entries of a later month, above which this stands"
            )
        done.append(Done(operation_id, digest(raw)))
        return new

    update(path, change)
    return done[0]


def form_fault(operation: Operation) -> list[str]:
    """Say what is wrong with the ids that were given."""
    faults = []
    undone = operation.values["rollback_of"]
    if operation.values["outcome"] == "ROLLBACK" and undone is None:
        faults.append("outcome=ROLLBACK requires --rollback_of parameter")
    if undone is not None and not ID_FORM.fullmatch(str(undone)):
        faults.append(f"rollback_of {str(undone)!a} does not match expected format OPS-YYYY-MM-DD-NNN")
    if operation.operation_id and not ID_FORM.fullmatch(operation.operation_id):
        faults.append(f"operation_id {operation.operation_id!a} does not match expected format OPS-YYYY-MM-DD-NNN")
    return faults


def entry(operation: Operation, operation_id: str, now: datetime, below: str) -> bytes:
    """Write its entry: `below` is the hash of the one it is to stand above."""
    values: dict[str, Value] = dict(operation.values)
    values["operation_id"] = operation_id
    values["approval_timestamp"] = None if values["approved_by"] is None else now_text(now)
    values["execution_timestamp"] = now_text(now)
    values["previous_sha256"] = below
    return written(values, operation.idempotency_key)
