"""What a deploy notes in the ledger of operations."""

import re
from collections.abc import Callable

from ops.deploy.catalog import Unit
from ops.deploy.machine import Fault, last_line, run
from ops.deploy.release import Release
from ops.deploy.scene import Scene

SUCCESS, PARTIAL, ROLLBACK = "SUCCESS", "PARTIAL", "ROLLBACK"
SCRIPT = "ops_ledger_append.py"
_ID = re.compile(r"OPS-\d{4}-\d\d-\d\d-\d{3,}")


def note(
    scene: Scene,
    release: Release,
    units: tuple[Unit, ...],
    say: Callable[[str], None],
    *,
    outcome: str,
    summary: str,
    rollback_of: str = "",
) -> str:
    """Append an entry; give its id, or empty text where it could not be written, which is said and stops nothing."""
    services = [unit.name for unit in units]
    arguments = [
        "--operation", f"{'Roll back' if outcome == ROLLBACK else 'Deploy'} {release.version}",
        "--objective", f"Run release {release.version} in mode {scene.mode}",
        "--risk_class", "SERVICE_RESTART",
        "--blast_radius", ", ".join(services),
        "--changes_summary", summary,
        "--outcome", outcome,
        "--allowed_paths", str(scene.places.opt), str(scene.places.units), str(scene.places.etc),
        "--allowed_services", *services,
    ]  # fmt: skip
    if rollback_of:
        arguments += ["--rollback_of", rollback_of]
    try:
        done = run(
            scene.places.python,
            release.path / "ops" / SCRIPT,
            *arguments,
            "--strict",
            environment={"OPS_LEDGER_FILE": str(scene.places.ledger)},
        )
    except Fault as fault:
        say(f"the ledger has no entry: {fault}")
        return ""
    found = _ID.search(done.stdout)
    if done.returncode or found is None:
        say(f"the ledger has no entry: {last_line(done.stderr or done.stdout)}")
        return ""
    say(f"ledger entry {found[0]} in {scene.places.ledger}")
    return found[0]


def last_entry(scene: Scene, version: str) -> str:
    """Find the id of the newest entry about a release; empty where there is none."""
    try:
        text = scene.places.ledger.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    for block in text.split("```yaml")[1:]:
        if version in block.partition("changes_summary")[0] and (found := _ID.search(block)):
            return found[0]
    return ""
