"""The unit files: read by systemd without a word, within the bounds of exposure, and as the table of units says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops.deploy.catalog import TARGET, UNITS, Unit, named, stages, units_of
from tests.support.daemon import ROOT

FOLDER = ROOT / "deployment" / "systemd"
MOST_EXPOSED = {True: 1.2, False: 1.0}
"""systemd's own score, 0 to 10, by whether the unit reaches the exchange."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here (Debian: systemd)"
)
each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.short)


def lines_of(unit: Unit) -> list[str]:
    return (FOLDER / unit.service).read_text().splitlines()


@needs_systemd
def test_systemd_reads_the_unit_files_without_a_word(tmp_path: Path) -> None:
    """It ends with 0 for unknown keys and bad values too: what it says on standard error is what counts."""
    for file in FOLDER.glob("quantum*.*"):
        text = re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", file.read_text(), flags=re.MULTILINE)
        (tmp_path / file.name).write_text(text)
    files = sorted(tmp_path.iterdir())
    done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    files[0].write_text(f"{files[0].read_text()}NoSuchKey=yes\n")
    done = subprocess.run(["systemd-analyze", "verify", files[0]], capture_output=True, text=True, timeout=60)
    assert "NoSuchKey" in done.stderr, "this check would not see a wrong key"


@needs_systemd
@each_unit
def test_a_unit_is_as_little_exposed_as_it_can_be(unit: Unit) -> None:
    """At most 1.2 for a unit that reaches the exchange, at most 1.0 for one that talks to this machine alone."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(FOLDER / unit.service)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={"PATH": "/usr/bin:/bin", "LANG": "C"}
    )
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert score, done.stdout + done.stderr
    sys.stdout.write(f"{unit.name}: {score[1]}\n")
    assert float(score[1]) <= MOST_EXPOSED[unit.reaches_out], done.stdout


@each_unit
def test_a_unit_says_what_every_unit_must(unit: Unit) -> None:
    """Readiness, watchdog and restarts are those that an operator relies on, and nothing secret is in it."""
    said = lines_of(unit)
    for line in (
        "Type=notify", "WatchdogSec=30", "Restart=always", "RestartSec=3", "StartLimitIntervalSec=0",
        "TimeoutStopSec=5", "User=qt", "Group=qt", "LimitCORE=0", f"EnvironmentFile=/etc/quantum/{unit.settings_file}",
        f"MemoryMax={unit.memory_mb}M", f"CPUQuota={unit.cpu_percent}%", f"WantedBy={TARGET}", f"PartOf={TARGET}",
        f"ExecStart=/opt/quantum/current/.venv/bin/{unit.name}",
    ):  # fmt: skip
        assert line in said, line
    assert [line for line in said if line.startswith("LoadCredential=")] == [
        f"LoadCredential={name}:/etc/quantum/credentials/{name}" for name in unit.keys
    ]
    assert ("IPAddressDeny=any" in said) is not unit.reaches_out


def test_every_program_of_the_project_has_its_unit() -> None:
    """What pip installs as `quantum-…` and what systemd starts are the same programs."""
    programs = re.findall(
        r"^(quantum-[\w-]+) = \"microservices\.(\w+)\.main:main\"", (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert dict(programs) == {unit.name: unit.package for unit in UNITS}
    assert {file.name for file in FOLDER.glob("quantum*.*")} == {unit.service for unit in UNITS} | {TARGET}


def test_only_paper_mode_has_a_paper_exchange() -> None:
    """Real money is never a port away from a play exchange."""
    assert units_of("paper")[0].short == "paper-exchange"
    assert "paper-exchange" not in [unit.short for unit in units_of("mainnet")]


def test_the_executor_starts_last() -> None:
    """The exchange before those who ask it, the brain before the executor that waits for its permits."""
    order = [[unit.short for unit in stage] for stage in stages(UNITS)]
    assert order[0] == ["paper-exchange"]
    assert order[-2:] == [["position-state-brain"], ["apply-layer"]]


def test_units_are_found_by_every_name_they_have() -> None:
    """Short, whole, and as systemd writes it; a name of nobody is refused."""
    found = named(["quantum-apply-layer.service", "marketstate", ""], UNITS)
    assert [unit.short for unit in found] == ["marketstate", "apply-layer"]
    with pytest.raises(KeyError, match="no-such"):
        named(["no-such"], UNITS)
