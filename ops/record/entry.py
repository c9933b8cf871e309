"""A ledger entry: its fields in their order, and its bytes in the file."""

import hashlib
import re
from collections.abc import Mapping

from ops.record.yaml_text import Value, field, quoted, read, read_scalar

FIELDS = (
    "operation_id",
    "operation_name",
    "requested_by",
    "approved_by",
    "approval_timestamp",
    "execution_timestamp",
    "git_commit",
    "git_branch",
    "hostname",
    "risk_class",
    "blast_radius",
    "changes_summary",
    "objective",
    "outcome",
    "rollback_of",
    "allowed_paths",
    "allowed_services",
    "services_status",
    "services_log",
    "proof_file",
    "metrics_snapshot",
    "redis_snapshot",
    "notes",
    "previous_sha256",
)
RISK_CLASSES = ("READ_ONLY", "LOW_RISK_CONFIG", "SERVICE_RESTART", "FILESYSTEM_WRITE")
OUTCOMES = ("SUCCESS", "PARTIAL", "ROLLBACK")
ID_FORM = re.compile(r"OPS-[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{3,9}")
UNAVAILABLE = "unavailable"
BOTTOM = "none"
"""What the oldest entry names as the one below it."""

HEAD = "```yaml\n---\n"
TAIL = "```\n"
_KEY = "# idempotency_key: "


def written(values: Mapping[str, Value], idempotency_key: str = "") -> bytes:
    """Write an entry as it stands in the file: a fenced block from its first fence to the end of its last line.

    Args:
        values: every one of `FIELDS`.
        idempotency_key: kept as a comment, which is no value but part of the bytes; empty: none.
    """
    fields = "".join(field(name, values[name]) for name in FIELDS)
    key = f"{_KEY}{quoted(idempotency_key)}\n" if idempotency_key else ""
    return f"{HEAD}{fields}{key}{TAIL}".encode()


def read_entry(raw: bytes) -> dict[str, Value]:
    """Read an entry's bytes.

    Raises:
        ValueError: they are not exactly what `written` makes of the values in them.
    """
    values = read(raw.decode().removesuffix("\n").removesuffix("```").removeprefix(HEAD))
    if tuple(values) != FIELDS:
        odd = sorted(set(FIELDS) ^ set(values))
        raise ValueError(f"its fields are not those of an entry: {', '.join(odd)[:100] or 'their order'}")
    if written(values, idempotency_key(raw)) != raw.removesuffix(b"\n") + b"\n":
        raise ValueError("it is not written as this tool writes these values")
    return values


def idempotency_key(raw: bytes) -> str:
    """Read the key that an entry was recorded under; empty: none."""
    found = re.search(rb"^# idempotency_key: (.*)$", raw, re.MULTILINE)
    return str(read_scalar(found[1].decode())) if found else ""


def previous_hash(raw: bytes) -> str:
    """Read the hash of the entry below, of an entry that need not be sound; empty: none can be read."""
    found = re.search(rb'^previous_sha256: "?([0-9a-z]+)"?$', raw, re.MULTILINE)
    return found[1].decode() if found else ""


def digest(raw: bytes) -> str:
    """Give the SHA-256 of an entry's bytes, fences included, by which the entry above it and the seal know it."""
    return hashlib.sha256(raw).hexdigest()
