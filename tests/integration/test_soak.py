"""`make soak` starts: the tests that it makes ten times larger are found and pass, here a hundred times smaller."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_soak_runs_the_heaviest_tests_at_the_size_that_is_asked() -> None:
    """A hundredth: one kill over 2,000 results, one random fate, one example of rubbish, one of faults."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "QUANTUM_SOAK"))
    }
    done = subprocess.run(
        ["make", "soak", "TIMES=0.01"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "failed" not in done.stdout
