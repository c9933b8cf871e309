"""Make a release the one that runs: unit files, the link, restarts in order, proofs; and all of it back again."""

import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ops.deploy import redis_access, systemd
from ops.deploy import release as releases
from ops.deploy.account import bind_account, introduce_kill_switch
from ops.deploy.catalog import PAPER_EXCHANGE, TARGET, Unit, stages
from ops.deploy.machine import Places, must, switch_link, write_whole
from ops.deploy.proofs import prove
from ops.deploy.release import Release
from ops.deploy.scene import Scene

STEADY_WITHIN_S = 90.0
STEADY_FOR_S = 3.0
UNIT_MODE = 0o644


@dataclass(frozen=True)
class Before:
    """What a machine was like, so that it can be made like that again.

    Args:
        release: the release that ran; None where none did.
        previous: the one before that.
        unit_files: the units' files; None for one that was not there.
        active: the units that ran.
        struggling: the units that were neither up nor stopped: broken before, and nobody's fault now.
    """

    release: Release | None
    previous: Release | None
    unit_files: dict[str, str | None]
    active: tuple[Unit, ...]
    struggling: tuple[Unit, ...]


def remember(places: Places, units: Iterable[Unit]) -> Before:
    """Note what `revert` would need.

    Raises:
        Fault: the link to the current release is none.
    """
    affected = tuple(units)
    files = {name: places.units / name for name in (*(unit.service for unit in affected), TARGET)}
    texts = {name: path.read_text() if path.is_file() else None for name, path in files.items()}
    states = {unit: systemd.show(unit.service, "ActiveState")["ActiveState"] for unit in affected}
    active = tuple(unit for unit in affected if states[unit] == "active")
    struggling = tuple(unit for unit in affected if states[unit] not in {"active", "inactive"})
    return Before(releases.current(places), releases.previous(places), texts, active, struggling)


def prepare_host(places: Places, source: Path) -> None:
    """Make the user and the folders that everything else needs.

    Raises:
        Fault: systemd's own tools refused.
    """
    for folder, target, tool in (
        ("sysusers.d", places.sysusers, ("systemd-sysusers",)),
        ("tmpfiles.d", places.tmpfiles, ("systemd-tmpfiles", "--create")),
    ):
        file = target / "quantum.conf"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / "deployment" / "systemd" / folder / "quantum.conf", file)
        file.chmod(UNIT_MODE)
        must(*tool, file, what=" ".join(tool))


def activate(scene: Scene, release: Release, units: tuple[Unit, ...], say: Callable[[str], None]) -> None:
    """Let a release be the one that runs, and prove it.

    Args:
        scene: the machine.
        release: a whole release.
        units: the units to install and restart.
        say: told of every step.

    Raises:
        Fault: something did not go as it must; the machine is then somewhere between, and `revert` is due.
    """
    for line in redis_access.refresh(scene.places, release):
        say(line)
    _install_units(scene.places, release, units)
    _switch(scene.places, release)
    say(f"current is release {release.version}")
    bound = False
    for stage in stages(units):
        if not bound and stage != [PAPER_EXCHANGE]:  # the paper exchange has to run before it can name the account
            _bind(scene, release, say)
            bound = True
        systemd.restart(stage)
        say(f"restarted {', '.join(unit.name for unit in stage)}")
    systemd.steady(units, STEADY_WITHIN_S, STEADY_FOR_S)
    for line in prove(scene, release, units):
        say(line)


def revert(scene: Scene, before: Before, units: tuple[Unit, ...]) -> None:
    """Put back what `remember` noted; where nothing ran before, stop what was begun.

    Raises:
        Fault: the machine is not what it was.
        OSError: a file cannot be written.
    """
    places = scene.places
    systemd.stop(unit for unit in units if unit not in {*before.active, *before.struggling})
    for name, text in before.unit_files.items():
        _put_back(places, name, text)
    for link, target in ((places.current, before.release), (places.previous, before.previous)):
        if target is None:
            link.unlink(missing_ok=True)
        else:
            switch_link(link, target.path)
    systemd.reload()
    if before.release is None:
        return
    redis_access.refresh(places, before.release)
    for stage in stages(before.active):
        systemd.restart(stage)
    systemd.restart_unwatched(before.struggling)
    systemd.steady(before.active, STEADY_WITHIN_S, STEADY_FOR_S)


def _bind(scene: Scene, release: Release, say: Callable[[str], None]) -> None:
    for line in (bind_account(scene, release), introduce_kill_switch(scene)):
        if line:
            say(line)


def _install_units(places: Places, release: Release, units: tuple[Unit, ...]) -> None:
    for name in (*(unit.service for unit in units), TARGET):
        text = (release.path / "deployment" / "systemd" / name).read_text(encoding="utf-8")
        write_whole(places.units / name, text, UNIT_MODE)
    systemd.reload()
    systemd.enable((*(unit.service for unit in units), TARGET))


def _switch(places: Places, release: Release) -> None:
    old = releases.current(places)
    if old is not None and old != release:
        switch_link(places.previous, old.path)
    switch_link(places.current, release.path)
    os.utime(release.path, (time.time(), time.time()))


def _put_back(places: Places, name: str, text: str | None) -> None:
    """Write a unit's file as it was; one that was not there goes, with the links that `systemctl enable` has made."""
    if text is not None:
        write_whole(places.units / name, text, UNIT_MODE)
        return
    (places.units / name).unlink(missing_ok=True)
    for wants in places.units.glob("*.wants"):
        (wants / name).unlink(missing_ok=True)
