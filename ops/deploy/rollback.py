"""Back to a release that ran before."""

from collections.abc import Callable

from ops.deploy import examine
from ops.deploy import release as releases
from ops.deploy.activation import remember
from ops.deploy.deployment import change, stop_over
from ops.deploy.machine import Fault, Places
from ops.deploy.release import Release


def roll_back(places: Places, version: str, say: Callable[[str], None]) -> int:
    """Let the previous release, or the one named, run again; give the exit code.

    Raises:
        Fault: there is no such release, or it is not whole.
        Stopped: the machine would not take it.
    """
    target = _target(places, version)
    if trouble := target.incomplete():
        raise Fault(f"release {target.version} {trouble}")
    scene = examine.scene_of(places, examine.mode_of(places, ""), target)
    # An older release need not know every name that was set for a newer one.
    findings = [
        each._replace(stops=each.stops and each.name != "setting-name") for each in examine.before_switching(scene)
    ]
    stop_over(findings, say)
    return change(scene, target, scene.units, say, before=remember(places, scene.units), verb="Roll back")


def _target(places: Places, version: str) -> Release:
    if version:
        known = sorted(path.name for path in places.releases.iterdir()) if places.releases.is_dir() else []
        if version not in known:
            raise Fault(f"{version} is none of the releases here: {', '.join(known) or 'there are none'}")
        return Release(places.releases / version)
    before = releases.previous(places)
    if before is None:
        raise Fault("no release ran before this one: name a version")
    return before
