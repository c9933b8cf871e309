"""What tests that are killed leave behind: no process, and nothing that the next machine does not take away."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.booted import take_away_what_others_left, why_not
from tests.support.daemon import ROOT
from tests.support.waiting import wait_until

DIES = """
import os, signal
from tests.support.booted import BootedMachine
with BootedMachine({}) as machine:
    print(machine.root, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_test_s_machine_dies_with_it_and_its_rest_is_swept() -> None:
    """Every process in it ends at once; its mounts, its folder and its cgroups go before the next machine boots."""
    if reason := why_not():
        pytest.skip(reason)
    done = subprocess.run([sys.executable, "-B", "-c", DIES], cwd=ROOT, capture_output=True, text=True, timeout=120)
    if "Skipped: " in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == -9, done.stderr
    scratch = Path(done.stdout.strip()).parent
    wait_until(lambda: not processes_in(scratch.name), 20, what="its processes to be gone")
    take_away_what_others_left()
    assert not scratch.exists()
    assert scratch.name not in Path("/proc/self/mountinfo").read_text()
    left = [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if Path(folder).name == scratch.name]
    assert left == [], "others' cgroups may go while one looks"


def processes_in(group: str) -> list[str]:
    """Name the processes whose cgroups have this one among them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            found += [path.parent.name] if group in path.read_text() else []
        except OSError:  # it has just ended
            continue
    return found
