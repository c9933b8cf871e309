"""A Debian machine of the test's own with a really booted systemd: namespaces over an overlay of this host's root.

It has its own processes, network (loopback alone), users, journal and cgroups; what it writes is gone with it. Needs
root and what `why_not` asks for; nothing of the host is changed.
"""

import functools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from tests.support.waiting import wait_until

INSIDE: Final = Path(__file__).with_name("booted_inside.sh")
NAMED: Final = "quantum-booted-"
"""With the number of the process that made it, so that a later one knows what nobody will take away any more."""
SIZE: Final = "2g"
BOOTED_WITHIN_S: Final = 60.0
GONE_WITHIN_S: Final = 20.0
COMMAND_S: Final = 120.0
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONTROLLERS: Final = ("memory", "cpu", "cpuacct", "pids", "blkio", "freezer", "devices", "cpuset", "systemd", "unified")
TOOLS: Final = {
    **dict.fromkeys(("unshare", "nsenter", "setpriv", "pivot_root", "runuser", "fallocate", "flock"), "util-linux"),
    **dict.fromkeys(("mount", "umount"), "mount"),
    **dict.fromkeys(("systemctl", "journalctl", "systemd-run", "systemd-sysusers", "systemd-tmpfiles"), "systemd"),
    **dict.fromkeys(("ip", "ss"), "iproute2"),
    **{name: name for name in ("redis-server", "git", "curl")},
    "redis-cli": "redis-tools",
}
"""What the machine, whose programs are this host's, is booted with and tried with, and the package of each."""
NOT_FOR_A_GUEST: Final = (
    "getty.target", "systemd-logind.service", "dev-hugepages.mount", "proc-sys-fs-binfmt_misc.automount",
    "sys-fs-fuse-connections.mount", "kmod-static-nodes.service", "systemd-modules-load.service",
    "systemd-udevd.service", "systemd-udev-trigger.service", "systemd-timesyncd.service", "apt-daily.timer",
    "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "systemd-tmpfiles-clean.timer",
)  # fmt: skip


@functools.cache
def why_not() -> str:
    """Say in a few words why no machine can be booted here; empty where one can."""
    if os.geteuid() != 0:
        return "booting a systemd needs root"
    if missing := [tool for tool in TOOLS if shutil.which(tool, path=PATH) is None]:
        packages = ", ".join(sorted({TOOLS[tool] for tool in missing}))
        return f"booting a systemd needs {', '.join(missing)} (Debian: {packages})"
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed here (Debian: systemd)"
    probe = ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork"]
    done = subprocess.run([*probe, "mount", "-t", "tmpfs", "probe", "/mnt"], capture_output=True, text=True, timeout=30)
    if done.returncode:
        return f"namespaces cannot be made here: {done.stderr.strip()}"
    return ""


class BootedMachine:
    """Boot it, run commands in it, and take it away.

        with BootedMachine({"/srv/wheels": wheels}) as machine:
            machine.run("systemctl", "is-system-running")

    Where the bare machine does not boot, the test is skipped with what its console says.

    Args:
        files: folders that are copied into it before it boots, by where they come to lie.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._scratch = Path(tempfile.mkdtemp(prefix=f"{NAMED}{os.getpid()}-"))
        self.root = self._scratch / "root"
        """Its root, as this host sees it."""
        self._cgroups: list[Path] = []
        self._outer: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def run(
        self, *command: str, timeout_s: float = COMMAND_S, text: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it as root, in its root folder, with nothing of this process's environment."""
        enter = ["nsenter", f"--target={self._leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        given = {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "HOME": "/root",
            "SYSTEMD_COLORS": "0",
            "SYSTEMD_PAGER": "",
        } | environment
        variables = [f"{name}={value}" for name, value in given.items()]
        return subprocess.run(
            [*enter, "--root", "--wd", "--", "env", "-i", *variables, *command],
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def must(self, *command: str, timeout_s: float = COMMAND_S) -> str:
        """Run a command that has to succeed; give what it printed."""
        done = self.run(*command, timeout_s=timeout_s)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def sh(self, script: str) -> str:
        """Run lines of bash that have to succeed; give what they printed."""
        return self.must("bash", "-euo", "pipefail", "-c", script)

    def show(self, unit: str, name: str) -> str:
        """Give one property of a unit."""
        return self.must("systemctl", "show", f"--property={name}", "--value", "--", unit).strip()

    def is_in_state(self, unit: str, state: str) -> bool:
        """Whether a unit's ActiveState is this."""
        return self.show(unit, "ActiveState") == state

    def journal(self, unit: str) -> str:
        """Give all that a unit's journal has, messages alone."""
        return self.must("journalctl", "--unit", unit, "--output=cat", "--no-pager")

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """Write a file of root's."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(mode)

    def __enter__(self) -> Self:
        take_away_what_others_left()
        try:
            self._prepare_root()
            self._make_cgroups()
            self._boot()
        except BaseException:
            self._take_away()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._take_away()

    def _prepare_root(self) -> None:
        scratch = self._scratch
        _mount("-t", "tmpfs", "-o", f"size={SIZE},mode=755", "quantum-booted", str(scratch))
        for layer in ("upper", "work", "root"):
            (scratch / layer).mkdir()
        layers = f"lowerdir=/,upperdir={scratch}/upper,workdir={scratch}/work"
        _mount("-t", "overlay", "overlay", "-o", layers, str(self.root))
        units = self.root / "etc/systemd/system"
        for found in [*units.glob("*.wants"), *units.glob("*.service"), *units.glob("quantum*")]:
            shutil.rmtree(found) if found.is_dir() and not found.is_symlink() else found.unlink()
        for unit in NOT_FOR_A_GUEST:
            (units / unit).unlink(missing_ok=True)
            (units / unit).symlink_to("/dev/null")
        for name in ("machine-id", "fstab"):
            (self.root / "etc" / name).write_text("")
        (self.root / "var/log/journal").mkdir(parents=True, exist_ok=True)
        for place, folder in self._files.items():
            shutil.copytree(folder, self.root / place.lstrip("/"), symlinks=True, dirs_exist_ok=True)

    def _make_cgroups(self) -> None:
        """Make a cgroup of its own below this process's, in each hierarchy."""
        for hierarchy, above in _own_cgroups().items():
            group = above / self._scratch.name
            try:
                group.mkdir()
            except OSError as error:
                pytest.skip(f"no cgroup for a machine can be made here: {error}")
            self._cgroups.append(group)
            if hierarchy == "cpuset":
                for part in ("cpuset.cpus", "cpuset.mems"):
                    (group / part).write_text((above / part).read_text())

    def _boot(self) -> None:
        with (self._scratch / "console").open("wb") as console:
            self._outer = subprocess.Popen(
                # Whatever ends the tests ends the machine.
                ["setpriv", "--pdeathsig=KILL", "bash", str(INSIDE), "join", str(self.root), *map(str, self._cgroups)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        try:
            self._leader = wait_until(self._find_leader, BOOTED_WITHIN_S, what="systemd to be process 1", every_s=0.05)
            wait_until(self._is_up, BOOTED_WITHIN_S, what="systemd to have started", every_s=0.1)
        except AssertionError as error:
            said = (self._scratch / "console").read_text(errors="replace")[-500:]
            pytest.skip(f"no systemd boots on this machine: {error}; its console says: {said}")

    def _find_leader(self) -> int:
        assert self._outer is not None
        if self._outer.poll() is not None:
            raise AssertionError(f"it ended with {self._outer.returncode}")
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        if not children or Path(f"/proc/{children[0]}/comm").read_text().strip() != "systemd":
            return 0
        return int(children[0])

    def _is_up(self) -> bool:
        return self.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}

    def _take_away(self) -> None:
        """Kill its process 1, and with it all others; unmount; remove the cgroups."""
        if self._outer is not None:
            self._outer.send_signal(signal.SIGKILL)  # its child, process 1 inside, goes with it
            self._outer.wait(GONE_WITHIN_S)
        _remove(self._scratch, self._cgroups)


def take_away_what_others_left() -> None:
    """Remove what killed tests have left behind: their machine died with them, its root and its cgroups did not."""
    for scratch in Path(tempfile.gettempdir()).glob(f"{NAMED}*"):
        maker = scratch.name.removeprefix(NAMED).partition("-")[0]
        if maker.isdecimal() and not Path(f"/proc/{maker}").exists():
            groups = [above / scratch.name for above in _own_cgroups().values()]
            _remove(scratch, [group for group in groups if group.exists()])


def _remove(scratch: Path, cgroups: list[Path]) -> None:
    for mounted in (scratch / "root", scratch):
        subprocess.run(["umount", "--recursive", "--lazy", str(mounted)], capture_output=True)
    for group in cgroups:
        wait_until(functools.partial(_removed, group), GONE_WITHIN_S, what=f"{group} to be empty", every_s=0.05)
    shutil.rmtree(scratch, ignore_errors=True)


def _own_cgroups() -> dict[str, Path]:
    """Give this process's cgroups by their hierarchies' names; the only hierarchy of cgroup 2 has none."""
    base = Path("/sys/fs/cgroup")
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    if (base / "cgroup.controllers").exists():
        return {"": base / own[""].lstrip("/")}
    by_name = {part: path for names, path in own.items() for part in (names or "unified").split(",")}
    paths = {name: by_name.get({"systemd": "name=systemd"}.get(name, name)) for name in CONTROLLERS}
    return {name: base / name / path.lstrip("/") for name, path in paths.items() if path and (base / name).is_dir()}


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, timeout=30)
    if done.returncode:
        pytest.skip(f"no root for a machine can be mounted here: {done.stderr.strip()}")


def _removed(group: Path) -> bool:
    """Remove a cgroup with all below it; False while a process is still in one."""
    try:
        for folder, _, _ in os.walk(group, topdown=False):
            Path(folder).rmdir()
    except OSError:
        return not group.exists()
    return True
