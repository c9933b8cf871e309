"""Redis on this machine: the project's configuration, its access list with this machine's passwords, all logins.

Guarding is asked for once (`--guard-redis`). From then on every deploy installs its release's list, and has it loaded
without a restart.
"""

import grp
import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from ops.deploy.catalog import UNITS, Unit
from ops.deploy.env_file import filled as filled_in
from ops.deploy.env_file import parse
from ops.deploy.machine import Fault, Places, last_line, must, run, write_whole
from ops.deploy.release import Release
from ops.deploy.systemd import show

_PLACE: Final = re.compile(r"\{password:([a-z0-9-]+)\}")
CONFIGURATION: Final = "quantum.conf"
LIST: Final = "quantum.acl"
SERVER: Final = "redis-server.service"
ADMIN: Final = "admin"
ROOT_ALONE: Final = (ADMIN, "replica", "sentinel")
"""Whose passwords no service and no operator needs."""
OTHERS: Final = ("REDIS_URL", "REDIS_HOST", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_PASSWORD_FILE")
"""A settings file that sets one of these goes its own way, and is left alone."""
PROFILE: Final = "quantum-redis.sh"
SHELL: Final = """\
# Lets root and the group qt read the suite's Redis: a bare redis-cli is the user `reader`; --user names another.
if [ -r {file} ]; then
  REDISCLI_AUTH=$(cat {file})
  export REDISCLI_AUTH
  redis-cli() {{ command redis-cli --user reader "$@"; }}
fi
"""
LIST_MODE, PASSWORD_MODE, ROOT_MODE, FOLDER_MODE, READABLE = 0o640, 0o640, 0o600, 0o750, 0o644
ANSWERS_WITHIN_S: Final = 60.0
POLL_S: Final = 0.1


def users_of(template: str) -> list[str]:
    """Name the users of a template, in its order."""
    return _PLACE.findall(template)


def filled(template: str, passwords: Mapping[str, str]) -> str:
    """Put the hash of each user's password into a template; the passwords themselves stand nowhere in it.

    Raises:
        KeyError: a user has no password.
    """
    return _PLACE.sub(lambda found: f"#{hashlib.sha256(passwords[found[1]].encode()).hexdigest()}", template)


def is_guarded(places: Places) -> bool:
    """Whether this machine's Redis includes the project's configuration."""
    try:
        lines = (places.redis / "redis.conf").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return False
    return _include(places) in lines


def install(places: Places, release: Release, units: Iterable[Unit], *, guard: bool) -> list[str]:
    """Guard Redis where that is asked for and not done; where it is done, see to list and logins. Say what was done.

    Raises:
        Fault: this Redis cannot be guarded; then it is as it was.
    """
    said = []
    if guard and not is_guarded(places):
        _may_guard(places)
        _write_list(places, release)
        _take_over(places, release)
        said.append(f"guarded: Redis takes {places.redis / CONFIGURATION}, and nobody without a password")
    elif is_guarded(places):
        said += refresh(places, release)
    if is_guarded(places):
        said += _give_logins(places, units)
    return said


def refresh(places: Places, release: Release) -> list[str]:
    """Let a guarded Redis have a release's list, if it has another; say so.

    Raises:
        Fault: Redis refused it; then it has the one before.
    """
    if not is_guarded(places) or not _template(release).exists():
        return []
    path = places.redis / LIST
    before = path.read_text(encoding="utf-8")
    if not _write_list(places, release):
        return []
    if trouble := _as_admin(places, "ACL", "LOAD"):
        write_whole(path, before, LIST_MODE, _group_of_redis())
        raise Fault(f"Redis refused {path}: {trouble}")
    return [f"loaded {path}"]


def _may_guard(places: Places) -> None:
    """Look whether Redis can be taken over now.

    Raises:
        Fault: it cannot; names the reason.
    """
    configuration = places.redis / "redis.conf"
    if not configuration.is_file():
        raise Fault(f"--guard-redis: {configuration} is not there: it is for the Redis of Debian's redis-server")
    running = [unit.name for unit in UNITS if show(unit.service, "ActiveState")["ActiveState"] == "active"]
    if running:
        raise Fault(f"--guard-redis: {running[0]} runs without a login; first systemctl stop quantum.target")
    if (said := run("redis-cli", "-e", "PING")).stdout.strip() != "PONG":
        raise Fault(f"--guard-redis: Redis does not let everybody in already: {last_line(said.stderr or said.stdout)}")


def _take_over(places: Places, release: Release) -> None:
    """Include the configuration, and restart Redis with it.

    What Redis holds goes into an append-only file first: one that is configured to have such a file reads no other.

    Raises:
        Fault: Redis does not come up with it; then it has its old one.
    """
    must("redis-cli", "-e", "CONFIG", "SET", "appendonly", "yes", what="CONFIG SET appendonly yes")
    _wait(_is_rewritten, "Redis did not write its append-only file")
    text = (release.path / "deployment" / "redis" / "redis.conf").read_text(encoding="utf-8")
    write_whole(places.redis / CONFIGURATION, text.replace("/etc/redis/", f"{places.redis}/"), READABLE)
    own = places.redis / "redis.conf"
    before, seen = own.read_text(encoding="utf-8"), own.stat()
    write_whole(own, f"{before.rstrip()}\n{_include(places)}\n", seen.st_mode & 0o777, seen.st_gid)
    try:
        must("systemctl", "restart", SERVER, what=f"systemctl restart {SERVER}")
        _wait(lambda: not _as_admin(places, "PING"), "Redis does not answer with its new configuration")
    except Fault:
        write_whole(own, before, seen.st_mode & 0o777, seen.st_gid)
        run("systemctl", "restart", SERVER)
        raise


def _give_logins(places: Places, units: Iterable[Unit]) -> list[str]:
    """Name user and password file in the settings that name no Redis of their own; give the shell its password."""
    group, said = grp.getgrnam("qt").gr_gid, []
    for unit in units:
        path = places.etc / unit.settings_file
        if not unit.stage or not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        if any(name in parse(text).values for name in OTHERS):
            continue
        login = {"REDIS_USERNAME": unit.short, "REDIS_PASSWORD_FILE": str(places.logins / unit.short)}
        write_whole(path, filled_in(text, login), LIST_MODE, group)
        said.append(f"set the Redis login in {path}")
    write_whole(places.profile / PROFILE, SHELL.format(file=places.logins / "reader"), READABLE)
    return said


def _write_list(places: Places, release: Release) -> bool:
    """Write a release's list with this machine's passwords, the missing ones made; tell whether it is another."""
    template = _template(release).read_text(encoding="utf-8")
    text, path = filled(template, _passwords(places, users_of(template))), places.redis / LIST
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    write_whole(path, text, LIST_MODE, _group_of_redis())
    return True


def _passwords(places: Places, users: Iterable[str]) -> dict[str, str]:
    group = grp.getgrnam("qt").gr_gid
    places.logins.mkdir(mode=FOLDER_MODE, exist_ok=True)
    must("chown", "root:qt", places.logins, what="chown")
    found = {}
    for user in users:
        path = places.logins / user
        if not path.exists():
            mode, owner = (ROOT_MODE, 0) if user in ROOT_ALONE else (PASSWORD_MODE, group)
            write_whole(path, secrets.token_hex(32), mode, owner)
        found[user] = path.read_text(encoding="utf-8").strip()
    return found


def _as_admin(places: Places, *command: str) -> str:
    """Have the administrator run a command; give what went wrong, empty where nothing did."""
    secret = (places.logins / ADMIN).read_text(encoding="utf-8").strip()
    done = run("redis-cli", "--user", ADMIN, "-e", *command, environment={"REDISCLI_AUTH": secret})
    return "" if done.returncode == 0 else last_line(done.stderr or done.stdout) or f"exit {done.returncode}"


def _is_rewritten() -> bool:
    said = run("redis-cli", "INFO", "persistence").stdout.split()
    return {"aof_enabled:1", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"} <= set(said)


def _wait(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + ANSWERS_WITHIN_S
    while not holds():
        if time.monotonic() > deadline:
            raise Fault(f"{otherwise} within {ANSWERS_WITHIN_S:g} s")
        time.sleep(POLL_S)


def _template(release: Release) -> Path:
    return release.path / "deployment" / "redis" / "users.acl.template"


def _group_of_redis() -> int:
    return grp.getgrnam("redis").gr_gid


def _include(places: Places) -> str:
    return f"include {places.redis / CONFIGURATION}"
