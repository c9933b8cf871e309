"""A deploy from its checks to its ledger entry; what fails after the switch is put back."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ops.deploy import examine, ledger, redis_access, settings_files, systemd
from ops.deploy import release as releases
from ops.deploy.account import reset_account
from ops.deploy.activation import Before, activate, prepare_host, remember, revert
from ops.deploy.catalog import PAPER_EXCHANGE, Unit, named, units_of
from ops.deploy.machine import Fault, Finding, Places
from ops.deploy.release import Release
from ops.deploy.scene import PROVE_WITHIN_S, Scene

DONE, FAILED, NOT_REVERTED = 0, 1, 2


@dataclass(frozen=True)
class Wanted:
    """What the operator asked for.

    Args:
        source: the checkout to deploy.
        services: names of services; empty for all.
        mode: paper, testnet, mainnet, or empty for what the settings say.
        metrics: set the metrics ports that are off by default.
        reset_account: give up the binding to an account first.
        guard_redis: give this machine's Redis the project's configuration and access list.
        wheels: a folder of wheels to install from; None for the package index.
        fresh: install packages anew where the current release's would serve.
        prove_within_s: how long the proofs may take to hold.
        dry_run: look and say, change nothing.
    """

    source: Path
    services: tuple[str, ...] = ()
    mode: str = ""
    metrics: bool = False
    reset_account: bool = False
    guard_redis: bool = False
    wheels: Path | None = None
    fresh: bool = False
    prove_within_s: float = PROVE_WITHIN_S
    dry_run: bool = False


class Stopped(Exception):
    """Findings that a deploy ends over."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(map(str, findings)))
        self.findings = findings


def deploy(places: Places, wanted: Wanted, say: Callable[[str], None]) -> int:
    """Deploy, or say why not.

    Raises:
        Fault: something is wrong that was found before anything that runs was touched.
        Stopped: the same, as a list.
    """
    mode = examine.mode_of(places, wanted.mode)
    units = _units(mode, wanted.services)
    stop_over(examine.before_building(places), say)
    version = releases.version_of(wanted.source)
    if wanted.dry_run:
        if wanted.guard_redis and not redis_access.is_guarded(places):
            say(f"would guard Redis, and restart {redis_access.SERVER}")
        return _dry_run(places, mode, units, version, say)
    prepare_host(places, wanted.source)
    release = releases.build(places, wanted.source, wanted.wheels, fresh=wanted.fresh)
    say(f"release {release.version} is built")
    for path in settings_files.install(places, release.path / "config", units, mode, metrics=wanted.metrics):
        say(f"installed {path}")
    for line in redis_access.install(places, release, units, guard=wanted.guard_redis):
        say(line)
    try:
        scene = examine.scene_of(places, mode, release)
        scene = replace(scene, resetting=wanted.reset_account, prove_within_s=wanted.prove_within_s)
        stop_over(examine.before_switching(scene), say)
        before = remember(places, units)  # also of those that are stopped for another account
        if wanted.reset_account:
            say(reset_account(scene))
    except BaseException:
        _take_back_list(places, say)
        raise
    code = change(scene, release, units, say, before=before, verb="Deploy")
    if code == DONE:
        _tidy(places, mode, say)
    return code


def change(
    scene: Scene, release: Release, units: tuple[Unit, ...], say: Callable[[str], None], *, before: Before, verb: str
) -> int:
    """Let a release run; on any fault put back what ran before. Give the exit code; the ledger tells of both."""
    was = before.release.version if before.release else "nothing"
    try:
        activate(scene, release, units, say)
    except (Fault, OSError, KeyboardInterrupt) as error:
        cause = str(error) or "interrupted"
    else:
        rollback_of = ledger.last_entry(scene, was) if verb == "Roll back" else ""
        outcome = ledger.ROLLBACK if rollback_of else ledger.SUCCESS
        summary = f"{verb}: {was} to {release.version}"
        ledger.note(scene, release, units, say, outcome=outcome, summary=summary, rollback_of=rollback_of)
        say(f"{verb.lower()} done: release {release.version} runs in mode {scene.mode}")
        return DONE
    say(f"failed: {cause}")
    summary = f"{verb} of {release.version} failed: {cause}"
    failed = ledger.note(scene, release, units, say, outcome=ledger.PARTIAL, summary=summary)
    try:
        revert(scene, before, units)
    except (Fault, OSError, KeyboardInterrupt) as error:
        say(f"NOT REVERTED: {str(error) or 'interrupted'}")
        return NOT_REVERTED
    if before.release is not None and failed:
        summary = f"{release.version} back to {was}: {cause}"
        outcome = ledger.ROLLBACK
        ledger.note(scene, before.release, units, say, outcome=outcome, summary=summary, rollback_of=failed)
    say(f"reverted: {was} runs as before" if before.release else "reverted: nothing runs, as before")
    return FAILED


def _take_back_list(places: Places, say: Callable[[str], None]) -> None:
    """Let Redis have the running release's list again: the checks have logged in by the new one's."""
    try:
        if (running := releases.current(places)) is not None:
            redis_access.refresh(places, running)
    except Fault as fault:
        say(f"note: the access list of Redis is the new release's: {fault}")


def stop_over(findings: list[Finding], say: Callable[[str], None]) -> None:
    """Say what was found, and end where any of it stops a deploy.

    Raises:
        Stopped: something does.
    """
    stopping = [finding for finding in findings if finding.stops]
    for finding in findings:
        if not finding.stops:
            say(f"note: {finding} (fix: {finding.fix})")
    if stopping:
        raise Stopped(stopping)


def _units(mode: str, services: tuple[str, ...]) -> tuple[Unit, ...]:
    try:
        return named(services, units_of(mode)) if services else units_of(mode)
    except KeyError as unknown:
        allowed = ", ".join(unit.short for unit in units_of(mode))
        raise Fault(f"--services: {unknown.args[0]!r} is none of {allowed}") from None


def _dry_run(places: Places, mode: str, units: tuple[Unit, ...], version: str, say: Callable[[str], None]) -> int:
    """Say what would be done, and look at all that can be looked at without changing anything."""
    built = Release(places.releases / version)
    say(f"would {'take' if not built.incomplete() else 'build'} release {version} in {places.releases}")
    scene = examine.scene_of(places, mode, built if not built.incomplete() else releases.current(places))
    missing = [unit.settings_file for unit in scene.units if unit.short not in scene.files]
    say(f"would install settings: {', '.join(missing) or 'none, all are there'}")
    say(f"would restart in mode {mode}: {', '.join(unit.name for unit in units)}")
    findings = examine.before_switching(scene)
    # What a deploy would install is not missing.
    stop_over([each for each in findings if each.name not in {"settings", "credential"} or not missing], say)
    return DONE


def _tidy(places: Places, mode: str, say: Callable[[str], None]) -> None:
    """Take away what no longer belongs here: a paper exchange beside real money, and releases beyond the newest.

    What cannot be taken away is said, and undoes nothing: the new release runs, and is proven.
    """
    try:
        state = systemd.show(PAPER_EXCHANGE.service, "ActiveState")["ActiveState"]
        if mode != "paper" and state in {"active", "activating"}:
            systemd.disable_now(PAPER_EXCHANGE)
            say(f"stopped {PAPER_EXCHANGE.name}: the mode is {mode}")
        for version in releases.prune(places):
            say(f"removed old release {version}")
    except (Fault, OSError) as fault:
        say(f"note: not all was tidied up: {fault}")
