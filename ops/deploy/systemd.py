"""What is asked of systemd, and what its journal says."""

import time
from collections.abc import Callable, Iterable

from ops.deploy.catalog import Unit, stages
from ops.deploy.machine import Fault, last_line, must, one_line, run

POLL_S = 0.2
RESTART_S = 90.0


def show(unit: str, *properties: str) -> dict[str, str]:
    """Read properties of a unit; empty text where systemd has none."""
    done = run("systemctl", "show", f"--property={','.join(properties)}", "--", unit)
    said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return {name: said.get(name, "") for name in properties}


def restart(units: Iterable[Unit]) -> None:
    """Restart units together and wait until each has said READY.

    Raises:
        Fault: one did not start; names it and what its journal says.
    """
    names = [unit.service for unit in units]
    since = time.time()
    done = run("systemctl", "restart", *names, timeout_s=RESTART_S)
    if done.returncode:
        raise Fault(why_down(names, since) or last_line(done.stderr))


def restart_unwatched(units: Iterable[Unit]) -> None:
    """Restart units without waiting for how that goes."""
    for unit in units:
        run("systemctl", "restart", "--no-block", unit.service)


def stop(units: Iterable[Unit]) -> None:
    """Stop units, last things first, those that are not there included."""
    for stage in reversed(stages(units)):
        run("systemctl", "stop", *(unit.service for unit in stage))


def why_down(names: Iterable[str], since: float) -> str:
    """Say in one line which unit does not run and why; empty where all run."""
    for name in names:
        seen = show(name, "ActiveState", "SubState", "Result", "LoadState", "ExecMainStatus")
        if seen["LoadState"] == "masked":
            return f"{name} is masked"
        if seen["ActiveState"] != "active":
            cause = journal_cause(name, since) or f"result {seen['Result']}, exit {seen['ExecMainStatus']}"
            return f"{name} is {seen['ActiveState']} ({seen['SubState']}): {cause}"
    return ""


def journal_cause(name: str, since: float) -> str:
    """Give the last line of a unit's journal that tells of trouble, as one line; empty where there is none."""
    done = run("journalctl", "--unit", name, f"--since=@{since:.0f}", "--output=cat", "--lines=60", "--no-pager")
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    telling = [line for line in lines if is_telling(line)]
    return one_line(telling[-1]) if telling else ""


def is_telling(line: str) -> bool:
    """Tell whether a journal line names a cause: our own error, a refused setting, a failed step of systemd's."""
    return (
        "[ERROR]" in line
        or "allowed is" in line
        or "Error:" in line
        or "Failed to set up" in line
        or "Failed at step" in line
        or "Failed to load environment" in line
    )


def steady(units: Iterable[Unit], within_s: float, for_s: float, clock: Callable[[], float] = time.monotonic) -> None:
    """Wait until all units have run for a while without a restart, and none still starts or waits.

    Args:
        units: which.
        within_s: how long to wait for it.
        for_s: how long they must have run.
        clock: seconds.

    Raises:
        Fault: they did not in time; names one unit and its trouble.
    """
    names = [unit.service for unit in units]
    began = time.time()
    deadline, good_since, restarts = clock() + within_s, None, ""
    while True:
        trouble, culprit, seen = "", "", ""
        for name in names:
            state = show(name, "ActiveState", "SubState", "StatusText", "NRestarts", "ExecMainStartTimestampMonotonic")
            seen += f"{name} {state['NRestarts']} {state['ExecMainStartTimestampMonotonic']};"
            if not trouble and (trouble := _trouble(name, state)):
                culprit = name
        now = clock()
        if trouble or seen != restarts:
            good_since, restarts = None, seen
        good_since = now if good_since is None and not trouble else good_since
        if good_since is not None and now - good_since >= for_s:
            return
        if now > deadline:
            cause = journal_cause(culprit, began) if culprit else ""
            raise Fault(
                why_down(names, began) or "; ".join(filter(None, (trouble, cause))) or "the units do not stay up"
            )
        time.sleep(POLL_S)


def _trouble(name: str, state: dict[str, str]) -> str:
    if state["ActiveState"] != "active" or state["SubState"] != "running":
        return f"{name} is {state['ActiveState']} ({state['SubState']})"
    text = state["StatusText"]
    return f"{name}: {text}" if text == "starting" or text.startswith("waiting for") else ""


def reload() -> None:
    """Have systemd read the unit files again.

    Raises:
        Fault: it refused.
    """
    must("systemctl", "daemon-reload", what="systemctl daemon-reload")


def enable(names: Iterable[str]) -> None:
    """Start units with the machine.

    Raises:
        Fault: systemd refused.
    """
    must("systemctl", "enable", "--quiet", *names, what="systemctl enable")


def disable_now(unit: Unit) -> None:
    """Stop a unit, and have it start no more with the machine.

    Raises:
        Fault: systemd refused.
    """
    must("systemctl", "disable", "--quiet", "--now", unit.service, what="systemctl disable")
