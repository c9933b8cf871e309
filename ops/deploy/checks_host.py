"""Checks of the machine itself: what a deploy needs of it, and who may write where."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from ops.deploy import release as releases
from ops.deploy.machine import Fault, Finding, Places, run

OPT_MB = 600
"""A release is about 110 MB; the rest is room for pip at work."""
STATE_MB = 100
FILES = 5_000
OLDEST_PYTHON = (3, 11)


def check_host(places: Places) -> Iterator[Finding]:
    """Look at what must hold before anything is built."""
    if os.geteuid() != 0:
        yield Finding("not-root", "a deploy writes to /opt and /etc, and this is not root", "run it with sudo")
    if not Path("/run/systemd/system").is_dir():
        yield Finding("no-systemd", "systemd is not process 1 here", "deploy to a machine that systemd has booted")
    yield from _check_python(places)
    for tool, package in (("redis-cli", "redis-tools"), ("systemctl", "systemd"), ("journalctl", "systemd")):
        if shutil.which(tool) is None:
            yield Finding("tool", f"{tool} is not installed", f"apt-get install {package}")
    yield from check_room(places)


def check_room(places: Places) -> Iterator[Finding]:
    """Look for room on the disks that code and state are on."""
    for path, needed_mb in ((places.releases, OPT_MB), (places.state, STATE_MB)):
        there = next(each for each in (path, *path.parents) if each.exists())
        room = os.statvfs(there)
        free_mb = room.f_bavail * room.f_frsize // 1_000_000
        if free_mb < needed_mb:
            yield Finding(
                "disk",
                f"{path} has {free_mb} MB left, {needed_mb} MB are needed",
                "free the disk: du -xh / | sort -h | tail",
            )
        elif room.f_files and room.f_favail < FILES:
            yield Finding(
                "disk", f"{path} has {room.f_favail} inodes left", "remove files: du -x --inodes / | sort -n | tail"
            )


def check_owners(places: Places) -> Iterator[Finding]:
    """Look whether anybody but root may change code, settings or units."""
    root_only = [places.opt, places.releases, places.etc, places.credentials]
    current = _current(places)
    root_only += [] if current is None else [current.path, current.path / ".venv", current.path / "microservices"]
    for path in root_only:
        if not path.exists():
            continue
        seen = path.stat()
        if seen.st_uid != 0 or stat.S_IMODE(seen.st_mode) & 0o022:
            what = (
                f"{path} is of user {seen.st_uid} with mode {stat.S_IMODE(seen.st_mode):04o}: only root may write there"
            )
            yield Finding("owner", what, f"chown root {path}; chmod go-w {path}")


def check_release(places: Places) -> Iterator[Finding]:
    """Look at the release that runs and the way to it."""
    try:
        current = releases.current(places)
    except Fault as fault:
        yield Finding("current", str(fault), f"ops/rollback.sh VERSION, with a version of {places.releases}")
        return
    if current is None:
        yield Finding("current", f"{places.current} is not there: nothing is deployed", "ops/deploy.sh", stops=False)
    elif trouble := current.incomplete():
        yield Finding(
            "release", f"{places.current} points at {current.version}, which {trouble}", "ops/deploy.sh", stops=False
        )
    for path in sorted(places.releases.iterdir()) if places.releases.is_dir() else ():
        if not (path / "RELEASE").is_file() and (current is None or path != current.path):
            what = f"{path} has no RELEASE file: its installation was broken off"
            yield Finding("half-installed", what, f"rm -r {path}, or deploy the same version again", stops=False)


def _check_python(places: Places) -> Iterator[Finding]:
    wanted = ".".join(map(str, OLDEST_PYTHON))
    try:
        asked = run(places.python, "-I", "-c", "import sys; print(*sys.version_info[:3], sep='.')")
    except Fault as fault:
        yield Finding("python", str(fault), "apt-get install python3 python3-venv")
        return
    version = asked.stdout.strip()
    if tuple(int(part) for part in version.split(".") if part.isdecimal())[:2] < OLDEST_PYTHON:
        what = f"{places.python} is {version or 'of an unknown version'}: {wanted} or newer is needed"
        yield Finding("python", what, "install Debian 12 or newer")
    elif run(places.python, "-I", "-c", "import ensurepip, venv").returncode:
        yield Finding("python-venv", f"{places.python} has no venv with pip", "apt-get install python3-venv")


def _current(places: Places) -> releases.Release | None:
    try:
        return releases.current(places)
    except Fault:
        return None
