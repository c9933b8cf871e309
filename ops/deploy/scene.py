"""What a machine looks like to the checks: its mode, its settings as the services read them, its way to Redis."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.deploy.catalog import Unit
from ops.deploy.env_file import EnvFile
from ops.deploy.machine import Fault, Places, last_line, run
from ops.deploy.release import Release

PROVE_WITHIN_S = 120.0
COMMON = Path(__file__).resolve().parents[1] / "lib" / "common.sh"
REDIS_NAMES = (
    "REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_USERNAME", "REDIS_PASSWORD",
    "REDIS_PASSWORD_FILE",
)  # fmt: skip
OPERATOR = "operator"
LOGIN_NAMES = ("REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_PASSWORD_FILE")
_CONNECT = """\
[[ -n $1 ]] || unset REDISCLI_AUTH
source "$0"
connect_redis
printf "%s\\0" "${REDISCLI_AUTH:-}" "${REDIS_CLI[@]}"
"""


@dataclass(frozen=True)
class Judged:
    """One service's settings as the service itself reads them.

    Args:
        values: what is in force, secrets masked; empty where they are refused.
        base_url: where it asks the exchange; empty for one that does not.
        redis: the place of its Redis.
        problem: the line it would end with; empty where it would start.
        typos: variables that look like a misspelt one, each with the one meant.
    """

    values: dict[str, str]
    base_url: str
    redis: str
    problem: str
    typos: list[list[str]]


@dataclass(frozen=True)
class Scene:
    """A machine before the checks.

    Args:
        places: where things are.
        mode: paper, testnet or mainnet.
        units: those of the mode.
        files: the installed settings by the units' short names.
        judged: the same as the services read them; empty where no release is there to ask.
        release: the release that is checked, or None before the first.
        resetting: whether the binding to an account is to be given up.
        prove_within_s: how long the proofs of a deploy may take to hold.
    """

    places: Places
    mode: str
    units: tuple[Unit, ...]
    files: Mapping[str, EnvFile]
    judged: Mapping[str, Judged] = field(default_factory=dict)
    release: Release | None = None
    resetting: bool = False
    prove_within_s: float = PROVE_WITHIN_S


def judge(places: Places, release: Release, units: tuple[Unit, ...], files: Mapping[str, EnvFile]) -> dict[str, Judged]:
    """Ask a release's own services what they make of the installed settings.

    Raises:
        Fault: the release cannot say.
    """
    asked: dict[str, Any] = {}
    for unit in units:
        if unit.short in files:
            credentials = {"CREDENTIALS_DIRECTORY": str(places.credentials)} if unit.keys else {}
            asked[unit.short] = {"package": unit.package, "environment": files[unit.short].values | credentials}
    command = (release.python, "-B", "-m", "ops.operate.check_settings")
    done = run(*command, text=json.dumps(asked), environment={"PYTHONPATH": str(release.path)})
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise Fault(f"release {release.version} cannot judge settings: {last_line(done.stderr)}") from None
    return {unit: Judged(**each) for unit, each in answer.items()}


def redis_environment(values: Mapping[str, str]) -> dict[str, str]:
    """Pick the variables that say where Redis is, the market-state publisher's own names for them included."""
    found = {name: values[name] for name in REDIS_NAMES if values.get(name)}
    own = {name: values[f"MARKETSTATE_{name}"] for name in REDIS_NAMES if values.get(f"MARKETSTATE_{name}")}
    if "REDIS_HOST" in own:
        found.pop("REDIS_URL", None)
    return found | own


def operator_environment(files: Mapping[str, EnvFile]) -> dict[str, str]:
    """Say how a deploy reaches Redis: the services' own, with the operator's login.

    That is the one in the environment; else, where a deploy has guarded this Redis, the file beside the brain's own;
    else the password of the shell, else the services'.
    """
    brain = files.get("position-state-brain")
    services = redis_environment(brain.values) if brain is not None else redis_environment(os.environ)
    login = {name: os.environ[name] for name in LOGIN_NAMES if os.environ.get(name)}
    if not login and (theirs := services.get("REDIS_PASSWORD_FILE")) and Path(theirs).parent == Places().logins:
        login = {"REDIS_USERNAME": OPERATOR, "REDIS_PASSWORD_FILE": str(Places().logins / OPERATOR)}
    if not login and not os.environ.get("REDISCLI_AUTH"):
        return services
    return {name: value for name, value in services.items() if name not in LOGIN_NAMES} | login


def redis_command(environment: Mapping[str, str], *, as_operator: bool) -> tuple[list[str], str]:
    """Connect as every script does; give redis-cli with its options, and the password for its environment.

    Args:
        environment: where Redis is, and who logs in.
        as_operator: whether the password of the operator's shell (REDISCLI_AUTH) counts; it is none of a service's.

    Raises:
        Fault: there is no Redis, or it does not let us in; its text says where and why.
    """
    cleared = dict.fromkeys(REDIS_NAMES, "") | dict(environment)
    done = run("bash", "-euo", "pipefail", "-c", _CONNECT, COMMON, "yes" if as_operator else "", environment=cleared)
    if done.returncode:
        complaint = last_line(done.stderr)
        raise Fault(complaint.partition(": ")[2] or complaint or "Redis cannot be reached")
    password, *command = done.stdout.split("\0")[:-1]
    return command, password
