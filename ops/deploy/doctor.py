"""What is wrong on this machine, and how to mend it."""

import json
from contextlib import suppress

from ops.deploy import examine
from ops.deploy import release as releases
from ops.deploy.catalog import UNITS
from ops.deploy.machine import Fault, Finding, Places
from ops.deploy.release import Release

WELL, CANNOT_TELL, FAULTS = 0, 1, 2


def doctor(places: Places, *, as_json: bool) -> int:
    """Look at everything, print each fault with its fix, and give the exit code."""
    findings, where = look(places)
    code = FAULTS if findings else WELL
    if as_json:
        document = {
            "exit": code,
            "status": "FAULTS" if findings else "WELL",
            "where": where,
            "findings": [finding._asdict() for finding in findings],
            "problems": [str(finding) for finding in findings],
        }
        print(json.dumps(document))
        return code
    print(where)
    for finding in findings:
        print(f"❌ {finding}", f"   fix: {finding.fix}", sep="\n")
    print(f"STATUS: ❌ {len(findings)} FAULTS" if findings else "STATUS: ✅ WELL")
    return code


def look(places: Places) -> tuple[list[Finding], str]:
    """Run every check; give what was found, and what was looked at in one line."""
    release: Release | None = None
    findings: list[Finding] = []
    with suppress(Fault):  # the check of the release says so
        release = releases.current(places)
    try:
        mode = examine.mode_of(places, "")
    except Fault as fault:
        findings.append(
            Finding("mode", str(fault).removeprefix("mode: "), "let every settings file name the same mode")
        )
        mode = "paper"
    where = f"release {release.version if release else 'none'}, mode {mode}, {len(UNITS)} units known"
    try:
        found = examine.running(examine.scene_of(places, mode, release))
    except Fault as fault:
        return [*findings, Finding("machine", str(fault), "mend this first, then look again")], where
    return examine.unique([*findings, *found]), where
