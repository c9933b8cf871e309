"""Every user of the access list against every key family and command class, on a real Redis.

What is expected is written down here by hand, from the schema's rows of writers and readers: no generator is asked.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, ResponseError

from microservices.runtime import CommonSettings, Secret, connect
from tests.support.access import ADMIN, CONFIGURATION, new_passwords, write_acl
from tests.support.redis_server import RedisServer

FAMILIES = {
    "active": "quantum:cfg:universe:active",
    "last_ok": "quantum:cfg:universe:last_ok",
    "meta": "quantum:cfg:universe:meta",
    "instruments": "quantum:cfg:universe:instruments",
    "cfg:account": "quantum:cfg:account",
    "kill_switch": "quantum:kill_switch",
    "hold": "quantum:reconcile:hold:XUSDT",
    "adopt": "quantum:position:adopt:XUSDT",
    "adopt:all": "quantum:position:adopt:all",
    "backoff": "quantum:exchange:backoff",
    "candles": "quantum:candles:XUSDT",
    "candles:status": "quantum:candles:status",
    "marketstate": "quantum:marketstate:XUSDT",
    "marketstate:stream": "quantum:stream:marketstate",
    "marketstate_status": "quantum:marketstate_status",
    "plan": "quantum:stream:apply.plan",
    "permit": "quantum:permit:p1",
    "permit:p26": "quantum:permit:p26:p1",
    "permit:p33": "quantum:permit:p33:p1",
    "events": "quantum:stream:permit.events",
    "account": "quantum:position:account",
    "snapshot": "quantum:position:snapshot:XUSDT",
    "ledger": "quantum:position:ledger:XUSDT",
    "cursor": "quantum:position:ledger_cursor",
    "baseline": "quantum:position:baseline",
    "inflight": "quantum:position:inflight:XUSDT",
    "verdict": "quantum:position:verdict:p1",
    "position:lease": "quantum:position:lease",
    "position:status": "quantum:position:status",
    "result": "quantum:stream:apply.result",
    "open": "quantum:apply:open",
    "opens": "quantum:apply:opens",
    "claim": "quantum:apply:claim:p1",
    "apply:lease": "quantum:apply:lease",
    "apply:status": "quantum:apply:status",
    "bucket": "quantum:p35:bucket:202611280000",
    "counts": "quantum:p35:decision:counts:5m",
    "reasons": "quantum:p35:reason:top:1h",
    "symbol_reasons": "quantum:p35:symbol_reason:top:1m",
    "by_symbol": "quantum:p35:symbol:top:15m",
    "trend": "quantum:p35:trend:5m",
    "index": "quantum:p35:index:29000000",
    "p35:status": "quantum:p35:status",
    "dead_letter": "quantum:p35:dead_letter",
    "governor:status": "quantum:governor:status",
    "gate_status": "quantum:portfolio:gate_status",
    "another's": "quantum:whatever:else",
    "a stranger's": "stranger",
}
READS = {
    "ZRANGEBYSCORE": "0 1",
    "EXISTS": "", "TYPE": "", "GET": "", "MGET": "", "HGET": "f", "HMGET": "f", "HGETALL": "", "ZRANGE": "0 -1",
    "XRANGE": "- +", "XREVRANGE": "+ -", "XPENDING": "g",
}  # fmt: skip
"""What every reader may do; each command's words after the key."""
CHANGES = {
    "SET": "v", "APPEND": "v", "INCR": "", "DEL": "", "UNLINK": "", "EXPIRE": "9", "PEXPIRE": "9", "PERSIST": "",
    "HSET": "f v", "HSETNX": "f v", "HDEL": "f", "HINCRBY": "f 1", "ZADD": "1 m", "ZREM": "m",
    "ZREMRANGEBYSCORE": "0 1", "ZREMRANGEBYRANK": "0 1", "XADD": "* f v", "XDEL": "1-1", "XTRIM": "MAXLEN 0",
    "XACK": "g 1-1", "XCLAIM": "g c 0 1-1", "XAUTOCLAIM": "g c 0 0", "XSETID": "1-1", "LPUSH": "v", "SADD": "v",
    "GETDEL": "", "RESTORE": "0 v", "SETRANGE": "0 v", "GETEX": "EX 9", "PFADD": "v", "GETSET": "v", "SETEX": "9 v",
}  # fmt: skip
BESIDES = {
    "XREADGROUP": "XREADGROUP GROUP g c STREAMS {key} >",
    "XGROUP CREATE": "XGROUP CREATE {key} g $ MKSTREAM",
    "XGROUP SETID": "XGROUP SETID {key} g 0",
    "XGROUP DESTROY": "XGROUP DESTROY {key} g",
    "COPY": "COPY {key} {key} REPLACE",
    "RENAME": "RENAME {key} {key}",
    "MIGRATE": "MIGRATE 127.0.0.1 1 {key} 0 9",
}
UNIVERSE = "active last_ok meta instruments"
POSITIONS = "account snapshot ledger cursor baseline inflight verdict position:lease position:status adopt adopt:all"
CHAIN = "plan permit:p33 events result open claim cfg:account kill_switch hold backoff"
WINDOWS = "counts reasons symbol_reasons by_symbol trend"
EVERYTHING = " ".join(name for name in FAMILIES if name != "a stranger's")
READABLE = {
    "universe-service": f"{UNIVERSE} cfg:account backoff",
    "candle-feed": f"{UNIVERSE} candles candles:status backoff",
    "marketstate": f"{UNIVERSE} candles candles:status",
    "position-state-brain": f"{UNIVERSE} {POSITIONS} {CHAIN}",
    "apply-layer": "cfg:account kill_switch backoff hold plan permit permit:p26 permit:p33 events account inflight "
    "cursor baseline instruments result apply:lease open opens claim",
    "p35-decision-intelligence": f"result p35:status bucket dead_letter {WINDOWS}",
    "governor": EVERYTHING,
    "portfolio-gate": EVERYTHING,
    "strategy": EVERYTHING,
    "operator": EVERYTHING,
    "reader": EVERYTHING,
    "replica": "",
    "sentinel": "",
}
CONSUMES = "XREADGROUP XGROUP·CREATE XACK"
LEASE = "SET PEXPIRE DEL"
CHANGEABLE: dict[str, dict[str, str]] = {
    "universe-service": {
        "active last_ok": "SET DEL COPY",
        "meta instruments": "HSET DEL",
        "backoff": "HSET",
    },
    "candle-feed": {
        "candles": "ZADD ZREM ZREMRANGEBYSCORE ZREMRANGEBYRANK DEL",
        # Its name is of the same form as the candles' own, and the writer is the same.
        "candles:status": "HSET ZADD ZREM ZREMRANGEBYSCORE ZREMRANGEBYRANK DEL",
        "backoff": "HSET",
    },
    "marketstate": {"marketstate": "HSET PEXPIRE", "marketstate:stream": "XADD", "marketstate_status": "HSET"},
    "position-state-brain": {
        "plan": CONSUMES,
        "permit:p33": "SET",
        "events": "XADD",
        "verdict": "HSET EXPIRE",
        "inflight ledger baseline": "HSET DEL",
        "account snapshot": "HSET EXPIRE DEL UNLINK",
        "cursor": "SET",
        "position:lease": LEASE,
        "position:status": "HSET",
        "hold": "SET DEL",
        "adopt adopt:all": "DEL",
        "cfg:account": "HSETNX",
        "backoff": "HSET",
    },
    "apply-layer": {
        "plan": f"{CONSUMES} XTRIM",
        "result": "XADD XTRIM",
        "permit permit:p26 permit:p33": "DEL",
        "claim": "HSET EXPIRE PERSIST",
        "open": "HSET HSETNX HDEL",
        "opens": "ZADD ZREMRANGEBYSCORE EXPIRE",
        "apply:lease": LEASE,
        "apply:status": "HSET",
        "cfg:account": "HSETNX",
        "backoff": "HSET",
    },
    "p35-decision-intelligence": {
        "result": f"{CONSUMES} XCLAIM",
        "p35:status": "HSET HINCRBY",
        "bucket": "HSET EXPIRE",
        "index": "APPEND EXPIRE",
        WINDOWS: "HSET ZADD EXPIRE DEL",
        "dead_letter": "XADD",
    },
    # Its keys have no part of their own, so that its pattern covers the other gates': this is the one named exception.
    "governor": {
        "plan": CONSUMES,
        "permit permit:p26 permit:p33": "SET",
        "events": "XADD",
        "governor:status": "HSET",
    },
    "portfolio-gate": {"plan": CONSUMES, "permit:p26": "SET", "events": "XADD", "gate_status": "HSET"},
    "strategy": {"plan": "XADD"},
    "operator": {
        "kill_switch hold adopt adopt:all": "SET DEL",
        "cfg:account": "HSET HSETNX HDEL DEL",
        "backoff": "HSET",
    },
    "reader": {},
    "replica": {},
    "sentinel": {},
}
ON_NO_KEY = {
    "PING": "", "TIME": "", "INFO": "", "SELECT": "1", "SCAN": "0", "CLIENT SETNAME": "n", "MULTI": "", "EXEC": "",
    "SCRIPT LOAD": "return·1", "SCRIPT FLUSH": "", "SCRIPT KILL": "", "FUNCTION LOAD": "x", "KEYS": "*",
    "RANDOMKEY": "",
    "FLUSHALL": "", "FLUSHDB": "", "SWAPDB": "0 1", "CONFIG GET": "*", "CONFIG SET": "maxmemory 1",
    "CONFIG REWRITE": "",
    "ACL SETUSER": "x", "ACL LIST": "", "ACL LOAD": "", "ACL WHOAMI": "", "CLIENT KILL": "1.1.1.1:1", "CLIENT LIST": "",
    "CLIENT PAUSE": "1", "SHUTDOWN": "", "DEBUG": "SLEEP 0", "MONITOR": "", "REPLICAOF": "NO ONE", "SAVE": "",
    "BGREWRITEAOF": "", "PUBLISH": "c m", "SUBSCRIBE": "c", "PSYNC": "? -1", "MODULE LIST": "", "SLOWLOG GET": "",
    "WAIT": "0 1", "COMMAND": "", "DBSIZE": "", "ROLE": "", "FAILOVER": "", "LATENCY RESET": "",
}  # fmt: skip
CONNECTED = "PING ROLE TIME INFO SELECT SCAN CLIENT·SETNAME MULTI EXEC"
SHELL = f"{CONNECTED} ACL·WHOAMI COMMAND RANDOMKEY DBSIZE CLIENT·LIST SLOWLOG·GET"
NEEDS_NO_KEY = dict.fromkeys(READABLE, CONNECTED) | {
    "candle-feed": f"{CONNECTED} SCRIPT·LOAD",
    "p35-decision-intelligence": f"{CONNECTED} SCRIPT·LOAD",
    "strategy": SHELL,
    "operator": SHELL,
    "reader": SHELL,
    "replica": "PING PSYNC",
    "sentinel": "PING MULTI EXEC ROLE INFO CONFIG·REWRITE CLIENT·SETNAME CLIENT·KILL SCRIPT·KILL",
}
DEFAULT = "default"
RUN_SCRIPTS = {"universe-service", "candle-feed", "position-state-brain", "apply-layer", "operator"} | {
    "p35-decision-intelligence"
}
PASSWORDS = new_passwords()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that has the list."""
    acl = write_acl(tmp_path_factory.mktemp("acl") / "users.acl", PASSWORDS)
    with RedisServer(options=["--aclfile", str(acl)], login=(ADMIN, PASSWORDS[ADMIN])) as running:
        yield running


@pytest.fixture(scope="module")
def admin(server: RedisServer) -> Iterator[Redis]:
    """Who may ask what others may do."""
    with server.client() as client:
        yield client


def login(server: RedisServer, user: str) -> Redis:
    """Log in as a user, as a service does."""
    password = Secret(PASSWORDS[user])
    return connect(CommonSettings(redis_port=server.port, redis_username=user, redis_password=password), "test")


def words(text: str) -> list[str]:
    """Take a line apart; `·` stands for a blank inside of a word."""
    return [word.replace("·", " ") for word in text.split()]


def commands_on(key: str) -> dict[str, list[str]]:
    """Write every command with this key."""
    on_key = {name: [name, key, *rest.split()] for name, rest in (READS | CHANGES).items()}
    return on_key | {name: pattern.format(key=key).split() for name, pattern in BESIDES.items()}


def allowed(admin: Redis, user: str, commands: dict[str, list[str]]) -> set[str]:
    """Ask Redis which of these commands a user may run."""
    pipeline: Any = admin.pipeline(transaction=False)
    for command in commands.values():
        pipeline.execute_command("ACL", "DRYRUN", user, *command)
    return {name for name, answer in zip(commands, pipeline.execute(), strict=True) if answer == b"OK"}


def test_the_users_are_those_of_the_list(admin: Redis) -> None:
    """No user that nobody has thought of, each with one password and none without; as `default` nobody comes in."""
    listed: Any = admin.acl_list()
    lines = [line.split() for line in listed]
    assert {line[1] for line in lines} == {*READABLE, ADMIN, DEFAULT} == {*PASSWORDS, DEFAULT}
    by_user = {line[1]: line for line in lines}
    assert "off" in by_user.pop(DEFAULT)
    for line in by_user.values():
        assert "on" in line
        assert "nopass" not in line
        assert sum(word.startswith("#") for word in line) == 1


@pytest.mark.parametrize("user", READABLE)
def test_a_user_may_do_what_its_rows_say_and_nothing_else(admin: Redis, user: str) -> None:
    """Every command class on every key family: no unexpected allow, nothing needed refused."""
    expected = {name: set(READS) if name in READABLE[user].split() else set() for name in FAMILIES}
    for families, commands in CHANGEABLE[user].items():
        for family in families.split():
            expected[family] |= set(words(commands))
            # To name a key is enough to be told whether it is there, which is no secret of one's own.
            expected[family] |= {"EXISTS", "TYPE"} if expected[family] & set(READS) else set()
    for family, key in FAMILIES.items():
        assert allowed(admin, user, commands_on(key)) == expected[family], family


@pytest.mark.parametrize("user", READABLE)
def test_a_user_may_do_little_where_no_key_is_named(admin: Redis, user: str) -> None:
    """Nobody but the administrator sets Redis up, empties it, ends it, or listens in."""
    commands = {name: [*name.split(), *words(rest)] for name, rest in ON_NO_KEY.items()}
    assert allowed(admin, user, commands) == set(words(NEEDS_NO_KEY[user]))


@pytest.mark.parametrize("user", READABLE)
def test_several_keys_are_allowed_only_if_each_is(admin: Redis, user: str) -> None:
    """A stranger's key beside one's own refuses the whole command."""
    for name in READABLE[user].split():
        assert allowed(admin, user, {"": ["MGET", FAMILIES[name], FAMILIES["a stranger's"]]}) == set()
    both = {"": ["EXISTS", FAMILIES["permit:p33"], FAMILIES["claim"]]}
    reads_both = {"permit:p33", "claim"} <= set(READABLE[user].split())
    assert bool(allowed(admin, user, both)) is reads_both


@pytest.mark.parametrize("user", sorted(RUN_SCRIPTS))
def test_a_script_may_not_do_more_than_its_caller(server: RedisServer, admin: Redis, user: str) -> None:
    """What a script calls is judged as if it were called: the right to run one gives none to write."""
    admin.flushall()
    mine = next(iter(CHANGEABLE[user])).split()[0]
    with login(server, user) as client:
        assert client.eval("return 1", 1, FAMILIES[mine]) == 1
        for families, commands in CHANGEABLE["operator"].items():
            for family, command in itertools.product(families.split(), words(commands)):
                if command in words(dict(_by_family(user)).get(family, "")):
                    continue
                call = ", ".join(repr(word) for word in commands_on(FAMILIES[family])[command])
                with pytest.raises(ResponseError, match="can't"):
                    client.eval(f"return redis.call({call})", 0)
    assert admin.dbsize() == 0


def _by_family(user: str) -> Iterator[tuple[str, str]]:
    for families, commands in CHANGEABLE[user].items():
        yield from ((family, commands) for family in families.split())


@pytest.mark.parametrize("user", sorted(set(READABLE) - RUN_SCRIPTS))
def test_who_needs_no_script_runs_none(admin: Redis, user: str) -> None:
    """Nor a function; people who read may run what only reads, as why.sh does."""
    scripts = {name: [name, "return 1", "0"] for name in ("EVAL", "EVALSHA", "EVAL_RO", "FCALL", "FCALL_RO")}
    reads = user in {"strategy", "reader"}
    assert allowed(admin, user, scripts) == ({"EVAL_RO"} if reads else set())


def test_without_a_password_nobody_reads(server: RedisServer) -> None:
    """Neither without a login nor with somebody else's password."""
    logins = ((None, None), (None, PASSWORDS["reader"]), ("operator", PASSWORDS["reader"]), (DEFAULT, ""))
    for user, password in logins:
        client = Redis(port=server.port, username=user, password=password, protocol=2)
        with client, pytest.raises(AuthenticationError):
            client.get("quantum:kill_switch")


def test_a_restart_loses_nothing_that_was_written_together(tmp_path: Path) -> None:
    """What MULTI and scripts wrote comes back from the append-only file, whoever wrote it.

    Redis 7.0.15 judges it by the rights of `default` when it starts, and leaves out without a word what these forbid.
    """
    acl = write_acl(tmp_path / "users.acl", PASSWORDS)
    options = ["--aclfile", str(acl)]
    with RedisServer(appendonly=True, options=options, login=(ADMIN, PASSWORDS[ADMIN])) as running:
        with login(running, "apply-layer") as client:
            unit = client.pipeline(transaction=True)
            for number in range(2):
                unit.hset(FAMILIES["open"], f"plan-{number}", "{}")
            unit.execute()
            client.eval("return redis.call('HSET', KEYS[1], 'a', 'b', 'c', 'd')", 1, FAMILIES["claim"])
            client.eval("for _, key in ipairs(KEYS) do redis.call('SET', key, 'x') end", 1, FAMILIES["apply:lease"])
            keys = {FAMILIES[name].encode() for name in ("open", "claim", "apply:lease")}
        running.stop()
        running.start()
        with running.client() as client:
            assert set(client.keys()) == keys
            assert client.hlen(FAMILIES["open"]) == 2
            assert client.acl_log() == []


def test_the_template_itself_opens_no_redis(tmp_path: Path) -> None:
    """Used by mistake, without passwords, it is refused at the start."""
    acl = tmp_path / "users.acl"
    acl.write_text((CONFIGURATION.parent / "users.acl.template").read_text())
    with pytest.raises(AssertionError, match="redis-server ended"):
        RedisServer(options=["--aclfile", str(acl)]).start()


def test_the_configuration_is_taken_as_it_stands(tmp_path: Path) -> None:
    """A real server with the committed file says of itself what the file says."""
    acl = write_acl(tmp_path / "users.acl", PASSWORDS)
    text = CONFIGURATION.read_text().replace("/etc/redis/quantum.acl", str(acl))
    configuration = tmp_path / "redis.conf"
    configuration.write_text(text)
    included = ["--include", str(configuration)]
    with RedisServer(options=included, login=(ADMIN, PASSWORDS[ADMIN])) as running, running.client() as client:
        said = client.config_get("*")
        assert said["maxmemory"] == str(2 * 1024**3)
        assert (said["maxmemory-policy"], said["appendonly"], said["appendfsync"]) == ("noeviction", "yes", "everysec")
        assert (said["protected-mode"], said["aclfile"]) == ("yes", str(acl))
        assert set(said["bind"].split()) == {"127.0.0.1", "-::1"}
