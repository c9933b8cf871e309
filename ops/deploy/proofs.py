"""Run the proofs of what was deployed, again and again until they hold or their time is up."""

import json
import math
import subprocess
import time
from collections.abc import Iterator, Mapping

from ops.deploy.catalog import Unit
from ops.deploy.machine import Fault, last_line, one_line, run
from ops.deploy.release import Release
from ops.deploy.scene import Scene, operator_environment

POLL_S = 1.0
TOLD = ("_METRICS_PORT", "_INTERVAL", "_INTERVAL_SEC")


def prove(scene: Scene, release: Release, units: tuple[Unit, ...]) -> Iterator[str]:
    """Run the proofs of units; give a line for each that holds, `scene.prove_within_s` for all together.

    Raises:
        Fault: one did not hold in time; names it, its exit code, and what it saw.
    """
    deadline = time.monotonic() + scene.prove_within_s
    for unit in units:
        if unit.proof:
            yield _prove(scene, release, unit, deadline)


def _prove(scene: Scene, release: Release, unit: Unit, deadline: float) -> str:
    judged, proof = scene.judged.get(unit.short), unit.proof
    told = _told(judged.values) if judged is not None else {}
    while True:
        command = ("bash", release.path / "ops" / proof, "--json")
        done = run(*command, environment=told | operator_environment(scene.files))
        if done.returncode == 0:
            return f"ops/{proof}: exit 0"
        if time.monotonic() > deadline:
            raise Fault(f"ops/{proof} ends with {done.returncode}: {_problem(done)}")
        time.sleep(POLL_S)


def _told(values: Mapping[str, str]) -> dict[str, str]:
    """Pick what a proof has to know of its unit's settings: ports and intervals, in whole seconds."""
    return {name: str(math.ceil(float(value))) for name, value in values.items() if value and name.endswith(TOLD)}


def _problem(done: subprocess.CompletedProcess[str]) -> str:
    try:
        problems = json.loads(done.stdout)["problems"]
    except (ValueError, KeyError, TypeError):
        problems = []
    return one_line(problems[0]) if problems else last_line(done.stderr or done.stdout)
