"""Checks of Redis: every service's way in, what it must be, and what it says of account and switches."""

import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from ops.deploy import systemd
from ops.deploy.machine import Fault, Finding, last_line, one_line, run
from ops.deploy.redis_access import is_guarded
from ops.deploy.scene import LOGIN_NAMES, Scene, operator_environment, redis_command, redis_environment
from ops.lib.redis_cli import CannotTell, RedisCli, pairs, text
from ops.lib.redis_cli import Fault as Refusal

ACCOUNT_KEY = "quantum:cfg:account"
KILL_SWITCH_KEY = "quantum:kill_switch"
LEASES = {"position-state-brain": "quantum:position:lease", "apply-layer": "quantum:apply:lease"}
LEASE_S = 10.0
INFO_S = 10.0
LEAST_MAJOR = 7
FULL, NEARLY_FULL = 0.95, 0.80
SWITCH_VALUES = ("off", "no_new_risk", "full_stop")


def check_redis(scene: Scene) -> Iterator[Finding]:
    """Log in as every service does, then judge the server, its binding and its switches."""
    logins = {
        unit.short: redis_environment(scene.files[unit.short].values)
        for unit in scene.units
        if unit.stage and unit.short in scene.files
    }
    closed = list(_check_logins(logins))
    yield from closed
    if closed:
        return
    try:
        redis = as_operator(scene)
    except Fault as fault:
        yield Finding(
            "redis", f"the operator's own login: {fault}", "set REDIS_PASSWORD_FILE, or the service's settings"
        )
        return
    try:
        yield from _check_server(scene)
        yield from _check_binding(scene, redis)
        yield from _check_leases(redis)
    except CannotTell as fault:
        yield Finding("redis", one_line(fault), "look at it: systemctl status redis-server")


def as_operator(scene: Scene) -> RedisCli:
    """Give the operator's way to Redis.

    Raises:
        Fault: Redis does not let us in.
    """
    command, password = redis_command(operator_environment(scene.files), as_operator=True)
    return RedisCli(command, password=password)


def _check_logins(logins: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    tried: set[tuple[tuple[str, str], ...]] = set()
    away: set[tuple[tuple[str, str], ...]] = set()
    for short, environment in logins.items():
        login = tuple(sorted(environment.items()))
        place = tuple(pair for pair in login if pair[0] not in LOGIN_NAMES)
        if login in tried or place in away:
            continue
        tried.add(login)
        try:
            redis_command(environment, as_operator=False)
        except Fault as fault:
            refused = any(word in str(fault) for word in ("NOAUTH", "WRONGPASS", "AUTH failed", "NOPERM"))
            away |= set() if refused else {place}
            name = "redis-login" if refused else "redis"
            fix = f"correct REDIS_* in /etc/quantum/{short}.env" if refused else "systemctl start redis-server"
            yield Finding(name, f"{short}.env: {fault}", fix)


def _check_server(scene: Scene) -> Iterator[Finding]:
    info = _info(scene)
    version = info.get("redis_version", "")
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) < LEAST_MAJOR:
        what = f"Redis is {version or 'of an unknown version'}: {LEAST_MAJOR}.0 or newer is needed"
        yield Finding("redis-version", what, "apt-get install redis-server, of Debian 12 or newer")
    if info.get("loading") == "1":
        yield Finding("redis-loading", "Redis is still loading its data", "wait until redis-cli ping answers PONG")
    if info.get("role") == "slave":
        yield Finding("redis-replica", "this Redis is a replica: it takes no writes", "name the primary in REDIS_HOST")
    yield from _check_memory(scene, info)
    if run("redis-cli", "-e", *_place(scene), "PING", environment={"REDISCLI_AUTH": ""}).stdout.strip() == "PONG":
        what = "Redis lets everybody in without a password, and write every key"
        yield Finding("redis-open", what, "systemctl stop quantum.target; ops/deploy.sh --guard-redis", stops=False)
    if info.get("aof_enabled") == "0":
        what = "appendonly is off: a crash of Redis would lose up to minutes of plans and permits"
        fix = _configure(scene, "appendonly yes")
        yield Finding("redis-aof", what, fix, stops=scene.mode == "mainnet")
    for field, what in (("aof_last_write_status", "its append-only file"), ("rdb_last_bgsave_status", "its snapshot")):
        if info.get(field, "ok") != "ok":
            yield Finding(
                "redis-disk",
                f"Redis could not write {what}: {field} is {info[field]}",
                "free its disk: df -h /var/lib/redis",
            )


def _configure(scene: Scene, setting: str) -> str:
    """Say how a setting of Redis is set at once, and for its next start."""
    if is_guarded(scene.places):
        return f"ops/redis_admin.sh CONFIG SET {setting}, as /etc/redis/quantum.conf has it"
    return f"redis-cli CONFIG SET {setting}; redis-cli CONFIG REWRITE"


def _check_memory(scene: Scene, info: Mapping[str, str]) -> Iterator[Finding]:
    limit, used = int(info.get("maxmemory", "0") or 0), int(info.get("used_memory", "0") or 0)
    policy = info.get("maxmemory_policy", "noeviction")
    if limit and policy != "noeviction":
        what = f"maxmemory-policy is {policy}: Redis would drop claims and ledgers to make room"
        yield Finding("redis-eviction", what, _configure(scene, "maxmemory-policy noeviction"))
    if limit and used > NEARLY_FULL * limit:
        what = f"Redis uses {used // 1_000_000} MB of {limit // 1_000_000} MB: at its limit it takes no writes"
        yield Finding("redis-full", what, "raise maxmemory, or lower APPLY_STREAM_KEEP_H", stops=used > FULL * limit)


def _check_binding(scene: Scene, redis: RedisCli) -> Iterator[Finding]:
    account, switch = redis.ask(("HGETALL", ACCOUNT_KEY), ("GET", KILL_SWITCH_KEY))
    if isinstance(account, Refusal):
        yield Finding(
            "account",
            f"{ACCOUNT_KEY}: {one_line(account.text)}",
            f"DEL {ACCOUNT_KEY} as operator, then ops/set_account.sh",
        )
    elif (bound := pairs(account)).get("mode") and not scene.resetting:
        yield from _check_bound(scene, bound)
    value = None if isinstance(switch, Refusal) else switch
    if isinstance(switch, Refusal) or (value is not None and text(value).strip().lower() not in SWITCH_VALUES):
        seen = one_line(switch.text if isinstance(switch, Refusal) else text(switch))
        what = f"{KILL_SWITCH_KEY} is {seen!r}, which stops everything"
        yield Finding("kill-switch", what, "ops/kill_switch.sh off, exits-only or full-stop")


def _check_bound(scene: Scene, bound: Mapping[str, str]) -> Iterator[Finding]:
    fix = "name another REDIS_DB in the settings, or ops/deploy.sh --reset-account"
    if bound["mode"] != scene.mode:
        yield Finding("account", f"this Redis belongs to mode {bound['mode']}, the deploy's is {scene.mode}", fix)
        return
    for short, judged in scene.judged.items():
        host = urlsplit(judged.base_url).hostname or ""
        if host and host != bound.get("host"):
            yield Finding("account", f"this Redis belongs to host {bound.get('host')}, {short}.env names {host}", fix)
            return


def _place(scene: Scene) -> list[str]:
    """Give redis-cli's options without its user."""
    command, _ = redis_command(operator_environment(scene.files), as_operator=True)
    options = command[1:]
    at = options.index("--user") if "--user" in options else len(options)
    return [*options[:at], *options[at + 2 :]]


def _check_leases(redis: RedisCli) -> Iterator[Finding]:
    """Look for an instance that runs outside systemd: its lease outlives the time that a dead one's lasts."""
    for short, key in LEASES.items():
        deadline = time.monotonic() + LEASE_S + 1
        while holder := _holder(redis, key):
            if systemd.show(f"quantum-{short}.service", "ActiveState")["ActiveState"] in {"active", "activating"}:
                break
            if time.monotonic() > deadline:
                what = f"{key} is kept by {holder}, and quantum-{short} does not run: another instance does"
                yield Finding("second-instance", what, f"end it: pgrep -af {short.replace('-', '.')}")
                break
            time.sleep(0.5)


def _holder(redis: RedisCli, key: str) -> str:
    answer = redis.ask(("GET", key))[0]
    return "" if answer is None or isinstance(answer, Refusal) else one_line(text(answer))


def _info(scene: Scene) -> dict[str, str]:
    """Ask for INFO, which redis-cli prints as lines whatever it was told."""
    command, password = redis_command(operator_environment(scene.files), as_operator=True)
    secret = {"REDISCLI_AUTH": password} if password else {}
    done = run(*command, "INFO", timeout_s=INFO_S, environment=secret)
    said = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    if "redis_version" not in said:
        raise CannotTell(f"Redis refused INFO: {last_line(done.stdout or done.stderr)}")
    return said
