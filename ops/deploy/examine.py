"""All the checks, in the order in which their answers make sense."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from ops.deploy import settings_files
from ops.deploy.catalog import MODES, UNITS, units_of
from ops.deploy.checks_exchange import check_exchange
from ops.deploy.checks_host import check_host, check_owners, check_release
from ops.deploy.checks_redis import check_redis
from ops.deploy.checks_settings import check_credentials, check_settings
from ops.deploy.checks_units import check_running, check_units
from ops.deploy.machine import Fault, Finding, Places
from ops.deploy.release import Release
from ops.deploy.scene import Scene, judge


def scene_of(places: Places, mode: str, release: Release | None) -> Scene:
    """Read a machine's settings, and have a release judge them.

    Raises:
        Fault: a settings file cannot be read, or the release cannot judge.
    """
    units = units_of(mode)
    files = settings_files.read(places, units)
    judged = judge(places, release, units, files) if release is not None and release.python.exists() else {}
    return Scene(places, mode, units, files, judged, release)


def mode_of(places: Places, wanted: str) -> str:
    """Choose the mode: the one wanted, else the installed settings', else paper.

    Raises:
        Fault: none is wanted, and the installed settings name several.
    """
    if wanted:
        return wanted
    named = settings_files.modes_of(UNITS, settings_files.read(places, UNITS))
    modes = sorted(set(named.values()))
    if len(modes) > 1:
        listed = ", ".join(f"{file} {mode}" for file, mode in sorted(named.items()))
        raise Fault(f"mode: the settings in {places.etc} name several modes: {listed}")
    return modes[0] if modes and modes[0] in MODES else "paper"


def before_building(places: Places) -> list[Finding]:
    """Look at what must hold before anything is written."""
    return [*check_host(places), *check_owners(places), *_link(places)]


def before_switching(scene: Scene) -> list[Finding]:
    """Look at what must hold before a running service is touched."""
    found = [*check_settings(scene), *check_credentials(scene), *check_units(scene)]
    # Where the settings cannot be read, what they point at cannot be looked at.
    unread = any(finding.name in {"setting", "settings"} for finding in found)
    return found if unread else [*found, *check_redis(scene), *check_exchange(scene)]


def running(scene: Scene) -> list[Finding]:
    """Look at a machine that is deployed to: everything, and how it runs."""
    places = scene.places
    return unique(
        [
            *check_host(places),
            *check_owners(places),
            *check_release(places),
            *before_switching(scene),
            *check_running(scene),
        ]
    )


def unique(findings: Iterable[Finding]) -> list[Finding]:
    """Leave out what was found twice."""
    return list(dict.fromkeys(findings))


def _link(places: Places) -> Iterator[Finding]:
    return (finding for finding in check_release(places) if finding.stops)


def checkout(folder: str) -> Path:
    """Give the folder to deploy from: the one named, else the one that this script lies in."""
    return Path(folder).resolve() if folder else Path(__file__).resolve().parents[2]
