"""Operations to record, and the tools as an operator starts them."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import yaml

from ops.record.append import Operation, entry
from ops.record.book import added, chain, newest_hash
from ops.record.entry import HEAD, TAIL
from ops.record.evidence import now_text
from ops.record.yaml_text import Value
from tests.support.daemon import ROOT

LEDGER_TOOL = ROOT / "ops" / "ops_ledger_append.py"
PROMPT_TOOL = ROOT / "ops" / "ops_prompt_fill.py"
DECLARED = {
    "--operation": "Restart the feed",
    "--objective": "Have candles again",
    "--risk_class": "SERVICE_RESTART",
    "--blast_radius": "candles only",
    "--changes_summary": "restarted",
}


def noon(year: int, month: int, day: int) -> datetime:
    """Make a time."""
    return datetime(year, month, day, 12, tzinfo=UTC)


def operation(**changed: Value) -> Operation:
    """Make an operation of which nothing was seen."""
    values: dict[str, Value] = {
        "operation_name": "Restart the feed",
        "requested_by": "op",
        "approved_by": None,
        "git_commit": "0123abcd",
        "git_branch": "main",
        "hostname": "vps",
        "risk_class": "SERVICE_RESTART",
        "blast_radius": "candles only",
        "changes_summary": "restarted",
        "objective": "Have candles again",
        "outcome": "SUCCESS",
        "rollback_of": None,
        "allowed_paths": [],
        "allowed_services": ["quantum-candle-feed"],
        "services_status": {"quantum-candle-feed": "active"},
        "services_log": "# journalctl -u quantum-candle-feed -n 30\nstarted",
        "proof_file": {"sha256": "00", "size_bytes": 3, "mtime_utc": now_text(noon(2026, 10, 30))},
        "metrics_snapshot": None,
        "redis_snapshot": None,
        "notes": None,
    }
    return Operation(values | changed)


def with_entry(data: bytes, day: tuple[int, int, int], operation_id: str, **changed: Value) -> bytes:
    """Put one more entry into a ledger, as of noon of a day."""
    now = noon(*day)
    raw = entry(operation(**changed), operation_id, now, newest_hash(data))
    return added(data, raw, f"{now:%Y-%m}").data


def three_entries() -> bytes:
    """Make a ledger of three entries in two months, the newest a rollback of the oldest."""
    data = with_entry(b"", (2026, 10, 30), "OPS-2026-10-30-001", notes="two\nlines")
    data = with_entry(data, (2026, 11, 2), "OPS-2026-11-02-001", notes="trouble: ``` in quotes")
    return with_entry(data, (2026, 11, 3), "OPS-2026-11-03-001", outcome="ROLLBACK", rollback_of="OPS-2026-10-30-001")


def entries(data: bytes) -> list[dict[str, object]]:
    """Read every entry of a ledger with a YAML parser, newest first."""
    texts = [placed.raw.decode() for placed in chain(data)]
    assert all(text.startswith(HEAD) and text.endswith(TAIL) for text in texts)
    return [yaml.safe_load(text.removeprefix("```yaml\n").removesuffix(TAIL)) for text in texts]


def run_tool(
    tool: Path, *arguments: str, ledger: Path, cwd: Path | str = "/", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run it as a plain file with a bare environment."""
    return subprocess.run(
        [sys.executable, "-I", str(tool), *arguments],
        env={"PATH": os.environ["PATH"], "OPS_LEDGER_FILE": str(ledger)} | environment,
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=120,
    )


def record(ledger: Path, *more: str, tool: Path = LEDGER_TOOL, **environment: str) -> subprocess.CompletedProcess[str]:
    """Record the operation `DECLARED`, with more arguments."""
    declared = [word for pair in DECLARED.items() for word in pair]
    return run_tool(tool, *declared, *more, ledger=ledger, **environment)
