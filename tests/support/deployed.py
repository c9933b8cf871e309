"""A booted machine that the suite is deployed to by its own script, in paper mode, from a checkout in /home/qt."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ops.deploy.catalog import UNITS
from tests.support.booted import BootedMachine
from tests.support.daemon import ROOT
from tests.support.deploy_page import sections
from tests.support.waiting import wait_until
from tests.support.wheels import wheels

CHECKOUT: Final = "/home/qt/quantum_trader"
REDIS: Final = ("bash", f"{CHECKOUT}/ops/redis_admin.sh")
"""redis-cli, as the one who may do all."""
WHEELS: Final = "/srv/wheels"
DEPLOY_S: Final = 400.0
UP_WITHIN_S: Final = 120.0


class Deployed:
    """The machine, and what an operator does on it.

    Args:
        machine: booted, with the checkout and the wheels on it.
    """

    def __init__(self, machine: BootedMachine) -> None:
        self.machine = machine

    @property
    def version(self) -> str:
        """The release that `current` points at."""
        return self.machine.must("readlink", "/opt/quantum/current").strip().rpartition("/")[2]

    def ops(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the checkout."""
        return self.machine.run("bash", f"{CHECKOUT}/ops/{script}", *arguments, timeout_s=DEPLOY_S)

    def deploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Deploy the checkout, without a network."""
        return self.ops("deploy.sh", "--wheels", WHEELS, *arguments)

    def deployed(self, *arguments: str) -> str:
        """Deploy, and have it succeed; give what it said."""
        done = self.deploy(*arguments)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def page(self, block: str) -> str:
        """Run a block of the manual as it stands; pip has the wheels in place of an index. Give what it printed."""
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS}
        # A login shell: it is the one that has the password for reading Redis.
        script = f"set -euo pipefail\n{block}"
        done = self.machine.run("bash", "-l", "-c", script, timeout_s=DEPLOY_S, **offline)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def findings(self) -> list[dict[str, Any]]:
        """What the doctor finds."""
        done = self.ops("doctor.sh", "--json")
        assert done.returncode in {0, 2}, f"{done.stdout}\n{done.stderr}"
        document = json.loads(done.stdout)
        assert document["exit"] == done.returncode
        found: list[dict[str, Any]] = document["findings"]
        return found

    def states(self) -> dict[str, dict[str, str]]:
        """What systemd says of every unit, asked at once."""
        names = [unit.service for unit in UNITS]
        said = self.machine.must("systemctl", "show", "--property=ActiveState,StatusText,MainPID", "--", *names)
        blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in said.strip().split("\n\n")]
        return dict(zip((unit.short for unit in UNITS), blocks, strict=True))

    def pids(self) -> dict[str, str]:
        """The main processes of all units, 0 where one does not run."""
        return {short: state["MainPID"] for short, state in self.states().items()}

    def running(self) -> dict[str, str]:
        """The release that each unit's process runs, by the path of its interpreter."""
        found = {}
        for short, pid in self.pids().items():
            command = self.machine.run("cat", f"/proc/{pid}/cmdline").stdout
            found[short] = command.partition("/opt/quantum/releases/")[2].partition("/")[0]
        return found

    def is_up(self) -> bool:
        """Whether every unit is active and none waits."""
        return all(
            state["ActiveState"] == "active" and not state["StatusText"].startswith(("waiting for", "starting"))
            for state in self.states().values()
        )

    def wait_until_up(self) -> None:
        """Wait until all is at work."""
        try:
            wait_until(self.is_up, UP_WITHIN_S, what="every unit to be at work", every_s=0.3)
        except AssertionError as error:
            error.add_note(json.dumps(self.states(), indent=1))
            raise

    @contextmanager
    def changed(self, path: str, change: str) -> Iterator[None]:
        """Append a line to a file of the checkout, and put it back afterwards."""
        file = self.machine.root / CHECKOUT.lstrip("/") / path
        before = file.read_text()
        file.write_text(f"{before}{change}\n")
        try:
            yield
        finally:
            file.write_text(before)


def checkout(folder: Path) -> Path:
    """Copy what git knows of this repository, and its new files, into a folder that becomes a repository of its own."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert names, listed.stderr
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    author = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    commit = [*author, "commit", "--quiet", "--message=as it is"]
    for words in (["init", "--quiet", "--initial-branch=main"], ["add", "."], commit):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    folder.chmod(0o755)
    return folder


@contextmanager
def deployed_machine(scratch: Path) -> Iterator[Deployed]:
    """Boot a machine and do what docs/deploy.md says under Install, without a network; `scratch` is an empty folder."""
    with BootedMachine({CHECKOUT: checkout(scratch), WHEELS: wheels()}) as machine:
        deployed = Deployed(machine)
        for block in sections()["Install"]:
            deployed.page(block)
        yield deployed
