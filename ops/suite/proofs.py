"""The proof scripts that a run ends with, and how each is called for the paper suite."""

import subprocess
from collections.abc import Mapping

from ops.suite.verdict import Check

TIMEOUT_S = 30
OF_A_RUN = ("--no-unit", "--wait", "10")
"""A run's processes are no units, whatever else is installed here; and it may be proven in the middle of a change."""
PROOFS = (
    ("ops/proof_universe.sh",),
    ("ops/verify_marketstate_metrics.sh", *OF_A_RUN),
    ("ops/proof_p33_universe.sh", *OF_A_RUN),
    ("ops/proof_p33_universe_source.sh", *OF_A_RUN),
    ("ops/proof_order_id.sh",),
    ("ops/permit_audit.sh", "--gates", "p33"),
    ("ops/proof_p35_decision_intelligence.sh", *OF_A_RUN),
)


def prove(environment: Mapping[str, str]) -> list[tuple[Check, str]]:
    """Run every proof against the Redis, the metrics' ports and the intervals that the environment names.

    Returns:
        For each proof whether it exited 0, and all it printed.
    """
    return [_run(command, environment) for command in PROOFS]


def _run(command: tuple[str, ...], environment: Mapping[str, str]) -> tuple[Check, str]:
    what = " ".join(command)
    try:
        ended = subprocess.run(
            ["bash", *command], env=dict(environment), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Check(what, ok=False, seen=f"no end after {TIMEOUT_S} s"), ""
    return Check(what, ok=ended.returncode == 0, seen=f"exit {ended.returncode}"), ended.stdout + ended.stderr
