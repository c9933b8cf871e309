"""Checks of the settings and credentials in /etc/quantum."""

import grp
import stat
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address

from ops.deploy.catalog import KEY_NAMES, PAPER_KEY_NAMES, Unit
from ops.deploy.machine import Finding, one_line
from ops.deploy.scene import Scene
from ops.deploy.settings_files import GROUP, modes_of


def check_settings(scene: Scene) -> Iterator[Finding]:
    """Look at files, lines and values of every unit, and at what they must agree on."""
    for unit in scene.units:
        yield from _check_file(scene, unit)
        yield from _check_values(scene, unit)
    yield from _check_modes(scene)
    yield from _check_redis_places(scene)
    yield from _check_ports(scene)


def check_credentials(scene: Scene) -> Iterator[Finding]:
    """Look at the files that LoadCredential reads: there, filled, root's alone, and of the right exchange."""
    contents = {}
    for name in sorted({name for unit in scene.units for name in unit.keys}):
        path = scene.places.credentials / name
        try:
            contents[name] = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            yield Finding("credential", f"{path} is not there", f"put the key there: install -m 600 /dev/stdin {path}")
            continue
        except (OSError, UnicodeDecodeError):
            yield Finding(
                "credential", f"{path} is no text file", f"put the key there: install -m 600 /dev/stdin {path}"
            )
            continue
        if not contents[name]:
            yield Finding("credential", f"{path} is empty", f"put the key there: install -m 600 /dev/stdin {path}")
        seen = path.stat()
        if seen.st_uid != 0 or stat.S_IMODE(seen.st_mode) & 0o077:
            what = f"{path} is of user {seen.st_uid} with mode {stat.S_IMODE(seen.st_mode):04o}: it is root's alone"
            yield Finding("credential-open", what, f"chown root:root {path}; chmod 600 {path}; and change the key")
    yield from _check_pairs(scene, contents)


def _check_pairs(scene: Scene, contents: dict[str, str]) -> Iterator[Finding]:
    for name, paper_name in zip(KEY_NAMES, PAPER_KEY_NAMES, strict=True):
        own, paper = contents.get(name), contents.get(paper_name)
        if scene.mode != "paper":
            kept = scene.places.credentials / paper_name
            paper = kept.read_text(encoding="utf-8").strip() if kept.is_file() else None
        same = bool(own) and own == paper
        if scene.mode == "paper" and own and paper and not same:
            what = f"{name} is not {paper_name}: the paper exchange would refuse it"
            yield Finding("credential-mode", what, f"cd {scene.places.credentials}; install -m 600 {paper_name} {name}")
        if scene.mode != "paper" and same:
            what = f"{name} is the paper exchange's, and the mode is {scene.mode}"
            yield Finding("credential-mode", what, f"put the {scene.mode} key into /etc/quantum/credentials/{name}")


def _check_file(scene: Scene, unit: Unit) -> Iterator[Finding]:
    path = scene.places.etc / unit.settings_file
    if unit.short not in scene.files:
        yield Finding("settings", f"{path} is not there", "ops/deploy.sh installs it from its template")
        return
    seen, file = path.stat(), scene.files[unit.short]
    group = grp.getgrnam(GROUP).gr_gid
    if (seen.st_uid, seen.st_gid) != (0, group) or stat.S_IMODE(seen.st_mode) & 0o137:
        what = (
            f"{path} is {seen.st_uid}:{seen.st_gid} with mode {stat.S_IMODE(seen.st_mode):04o}, not root:{GROUP} 0640"
        )
        yield Finding("settings-owner", what, f"chown root:{GROUP} {path}; chmod 640 {path}")
    for number, line in file.unreadable:
        what = f"{path} line {number} is no NAME=value: {one_line(line)[:60]}"
        yield Finding("settings-line", what, "write it as NAME=value, without escapes, or begin it with #")
    for name in (*KEY_NAMES, *PAPER_KEY_NAMES):
        if file.values.get(name):
            what = f"{path} holds {name}: a secret belongs in {scene.places.credentials}"
            yield Finding("secret", what, f"move it to {scene.places.credentials / name}, and take the line out")


def _check_values(scene: Scene, unit: Unit) -> Iterator[Finding]:
    judged = scene.judged.get(unit.short)
    if judged is None:
        return
    path = scene.places.etc / unit.settings_file
    # A key that is missing is told by the check of the credentials.
    if judged.problem and not any(judged.problem.startswith(f"{name}=") for name in unit.keys):
        yield Finding("setting", f"{path}: {judged.problem}", f"correct it: ${{EDITOR:-nano}} {path}")
    for typo, meant in judged.typos:
        yield Finding("setting-name", f"{path}: {typo} is no setting, is {meant} meant?", f"correct the name in {path}")


def _check_modes(scene: Scene) -> Iterator[Finding]:
    for file, mode in modes_of(scene.units, scene.files).items():
        if mode != scene.mode:
            what = f"{scene.places.etc / file} is of mode {mode}, the deploy's is {scene.mode}"
            yield Finding(
                "mode", what, "let every settings file name the same mode; another mode needs another REDIS_DB"
            )


def _check_redis_places(scene: Scene) -> Iterator[Finding]:
    asked = {unit.short: scene.judged[unit.short] for unit in scene.units if unit.short in scene.judged and unit.stage}
    places = Counter((each.redis, each.values.get("REDIS_DB")) for each in asked.values() if each.redis)
    if not places:
        return
    usual = places.most_common(1)[0][0]
    for short, each in asked.items():
        unit = next(unit for unit in scene.units if unit.short == short)
        if each.redis and (each.redis, each.values.get("REDIS_DB")) != usual:
            mine, theirs = f"{each.redis} database {each.values.get('REDIS_DB')}", " database ".join(map(str, usual))
            what = f"{unit.settings_file} names Redis {mine}, the others {theirs}"
            yield Finding("redis-place", what, "let every settings file name the same Redis")
        if each.redis and not unit.reaches_out and not _is_here(each.redis):
            what = f"{unit.name} may talk to this machine alone, and its Redis is {each.redis}"
            yield Finding("redis-remote", what, f"systemctl edit {unit.name}: IPAddressAllow= with Redis's address")


def _check_ports(scene: Scene) -> Iterator[Finding]:
    users: dict[str, list[str]] = {}
    for unit in scene.units:
        judged = scene.judged.get(unit.short)
        port = judged.values.get(unit.port_variable, "0") if judged is not None else "0"
        if port != "0":
            users.setdefault(port, []).append(unit.settings_file)
    for port, files in users.items():
        if len(files) > 1:
            yield Finding(
                "port-twice", f"{' and '.join(files)} name the same port {port}", "give each a port of its own"
            )


def _is_here(place: str) -> bool:
    """Whether a Redis, or each of the sentinels that know it, is on this machine."""
    return all(_is_local(address) for address in place.rpartition(" of sentinels ")[2].split(", "))


def _is_local(place: str) -> bool:
    host = place.rpartition(":")[0].strip("[]")
    if place.startswith("/") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
