"""Checks of systemd's units: what would keep a deployed unit from being what its file says, and how they run."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

from ops.deploy import release as releases
from ops.deploy import systemd
from ops.deploy.catalog import TARGET, Unit
from ops.deploy.machine import Fault, Finding, Places
from ops.deploy.scene import Scene

LISTENING = "0A"
_DANGEROUS = re.compile(
    r"^\s*(User|Group|Type|ExecStart|ExecStartPre|Restart|WatchdogSec|NotifyAccess|EnvironmentFile|LoadCredential)\s*=",
    re.MULTILINE,
)
RECENT_S = 3_600


def check_units(scene: Scene) -> Iterator[Finding]:
    """Look for masks, for drop-ins that take a unit's nature away, and for strangers on its port."""
    for unit in scene.units:
        seen = systemd.show(unit.service, "LoadState", "UnitFileState", "DropInPaths", "MainPID")
        if "masked" in {seen["LoadState"], seen["UnitFileState"]}:
            yield Finding(
                "masked", f"{unit.name} is masked: systemd would not start it", f"systemctl unmask {unit.name}"
            )
        yield from _check_drop_ins(unit, seen["DropInPaths"].split())
        yield from _check_port(scene, unit, int(seen["MainPID"] or 0))


def check_running(scene: Scene) -> Iterator[Finding]:
    """Look at how the units run: up, enabled, as installed, of the current release, and at work."""
    for unit in scene.units:
        yield from _check_state(scene.places, unit)
    if systemd.show(TARGET, "UnitFileState")["UnitFileState"] != "enabled":
        yield Finding("not-enabled", f"{TARGET} does not start with the machine", f"systemctl enable {TARGET}")


def _check_state(places: Places, unit: Unit) -> Iterator[Finding]:
    names = ("LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload", "StatusText", "MainPID", "NRestarts")
    seen = systemd.show(unit.service, *names)
    if seen["LoadState"] == "not-found":
        yield Finding("not-installed", f"{unit.name} is not installed", "ops/deploy.sh")
        return
    if seen["LoadState"] == "masked":
        return
    if seen["ActiveState"] != "active":
        cause = systemd.why_down([unit.service], time.time() - RECENT_S)
        yield Finding("down", cause, f"systemctl start {unit.name}; journalctl -u {unit.name} -n 50")
    elif seen["StatusText"].startswith("waiting for"):
        yield Finding(
            "waiting", f"{unit.name}: {seen['StatusText']}", "bring back what it waits for; it goes on by itself"
        )
    if seen["UnitFileState"] not in {"enabled", "enabled-runtime"}:
        yield Finding("not-enabled", f"{unit.name} does not start with the machine", f"systemctl enable {unit.name}")
    if seen["NeedDaemonReload"] == "yes":
        yield Finding(
            "not-reloaded", f"{unit.name}'s file was changed after systemd read it", "systemctl daemon-reload"
        )
    yield from _check_installed(places, unit, int(seen["MainPID"] or 0))


def _check_installed(places: Places, unit: Unit, pid: int) -> Iterator[Finding]:
    try:
        current = releases.current(places)
    except Fault:
        return
    if current is None:
        return
    installed, shipped = places.units / unit.service, current.path / "deployment" / "systemd" / unit.service
    if installed.is_file() and shipped.is_file() and installed.read_text() != shipped.read_text():
        what = f"{installed} is not the file of release {current.version}"
        yield Finding("edited", what, "put changes into a drop-in (systemctl edit), then ops/deploy.sh")
    running = _release_of(places, pid)
    if running and running != current.version:
        what = f"{unit.name} still runs release {running}, current is {current.version}"
        yield Finding("old-release", what, f"systemctl restart {unit.name}")


def _release_of(places: Places, pid: int) -> str:
    """Name the release that a process runs, by the path of its interpreter; empty where it is of none."""
    try:
        interpreter = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    except (OSError, UnicodeDecodeError):
        return ""
    path = Path(interpreter)
    return path.relative_to(places.releases).parts[0] if path.is_relative_to(places.releases) else ""


def _check_drop_ins(unit: Unit, paths: list[str]) -> Iterator[Finding]:
    for path in paths:
        try:
            found = _DANGEROUS.findall(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            what = f"{path} sets {', '.join(sorted(set(found)))} of {unit.name}, which a deploy relies on"
            yield Finding("drop-in", what, f"systemctl revert {unit.name}, or take these lines out")


def _check_port(scene: Scene, unit: Unit, pid: int) -> Iterator[Finding]:
    judged = scene.judged.get(unit.short)
    port = int(judged.values.get(unit.port_variable) or 0) if judged is not None else unit.port
    for owner in listeners(port) if port else ():
        if owner != pid:
            who = f"process {owner} ({_name_of(owner)})" if owner else "another network namespace's process"
            yield Finding("port", f"port {port} of {unit.name} is taken by {who}", f"stop it: ss -ltnp sport = :{port}")


def listeners(port: int, proc: Path = Path("/proc")) -> set[int]:
    """Find the processes that listen on a TCP port; 0 stands for one that cannot be found."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in (proc / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return set()
    return {pid for pid in _pids(proc) if _holds(proc / str(pid), inodes)} or {0}


def _pids(proc: Path) -> list[int]:
    return [int(path.name) for path in proc.iterdir() if path.name.isdecimal()]


def _holds(process: Path, inodes: set[str]) -> bool:
    try:
        return any(str(link.readlink()) in inodes for link in (process / "fd").iterdir())
    except OSError:
        return False


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone"
