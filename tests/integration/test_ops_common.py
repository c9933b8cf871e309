"""What the scripts share: the way to Redis, secrets, options, other machines, tools that are missing."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from microservices.contracts import result
from tests.support.daemon import ROOT
from tests.support.ops import TOOLS, ops, ops_json, path_of_tools, put_tool
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

OF_SERVICES = (
    "proof_p33_universe.sh",
    "proof_p33_universe_source.sh",
    "verify_marketstate_metrics.sh",
    "proof_p35_decision_intelligence.sh",
)
SCRIPTS = ("proof_universe.sh", "proof_order_id.sh", "permit_audit.sh", *OF_SERVICES)
PASSWORD = "p@ss w/o:%#'\"$(id)"
QUOTED_PASSWORD = "p%40ss%20w%2Fo%3A%25%23%27%22%24%28id%29"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A machine with nothing but the tools that the scripts need; jq is not among them."""
    return path_of_tools(tmp_path / "tools")


@pytest.fixture
def locked(redis_server: RedisServer, redis_client: Redis) -> Iterator[RedisServer]:
    """A Redis that wants a password, and knows a user who may read."""
    redis_client.config_set("requirepass", PASSWORD)
    with Redis(port=redis_server.port, password=PASSWORD) as unlocked:
        unlocked.acl_setuser("reader", enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], categories=["+@all"])
        yield redis_server
        unlocked.acl_deluser("reader")
        unlocked.config_set("requirepass", "")


def order(redis: Redis) -> None:
    """Write an order's result."""
    redis.xadd(result.STREAM, {"plan_id": "p", "executed": "true", "order_id": "1"})


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_has_help_and_refuses_what_it_does_not_know(script: str) -> None:
    """-h is exit 0 on standard output; an unknown option exit 1 with the usage on standard error."""
    for option in ("-h", "--help"):
        done = ops(script, option, port=free_port())
        assert (done.returncode, done.stderr) == (0, "")
        assert f"Usage: ops/{script}" in done.stdout
        assert "Exit: 0" in done.stdout
    wrongs = [["--bogus"], ["--json=1"], ["-x"], ["--"], ["word"], ["--host"], ["--max-age\n"], ["--a]$(id)"]]
    if script in OF_SERVICES:
        wrongs += [["--metrics-port", "65536"], ["--metrics-port=$(id)"], ["--wait", "-1"], ["--no-unit=1"]]
    for wrong in wrongs:
        done = ops(script, *wrong, port=free_port())
        assert (done.returncode, done.stdout) == (1, "")
        assert f"Usage: ops/{script}" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_jq_is_neither_needed_nor_asked(
    script: str, redis_server: RedisServer, redis_client: Redis, tools: Path
) -> None:
    """Without jq, and with one that only breaks, each script says the same."""
    order(redis_client)
    without = ops(script, "--json", port=redis_server.port, path=str(tools))
    put_tool(tools, "jq", "echo broken jq >&2; exit 99")
    beside = ops(script, "--json", port=redis_server.port, path=str(tools))
    assert without.stderr == beside.stderr == ""
    assert without.returncode == beside.returncode
    assert json.loads(without.stdout)["status"] == json.loads(beside.stdout)["status"]


@pytest.mark.parametrize("missing", ["redis-cli", "python3"])
def test_a_missing_tool_is_named(missing: str, redis_server: RedisServer, redis_client: Redis, tmp_path: Path) -> None:
    """Exit 1 and one line, not a message of the shell's."""
    bare = path_of_tools(tmp_path / "bare", [tool for tool in TOOLS if tool != missing])
    done = ops("proof_universe.sh", port=redis_server.port, path=str(bare))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{missing} is not installed" in done.stderr


def test_a_python_that_does_not_run_is_no_verdict(redis_server: RedisServer, redis_client: Redis, tools: Path) -> None:
    """Whatever its exit code, the script's is 1."""
    put_tool(tools, "python3", "exit 126")
    assert ops("proof_universe.sh", port=redis_server.port, path=str(tools)).returncode == 1


def test_an_old_redis_cli_is_refused(redis_server: RedisServer, tools: Path) -> None:
    """It has no --json."""
    put_tool(tools, "redis-cli", "echo redis-cli 6.2.7")
    done = ops("proof_universe.sh", port=redis_server.port, path=str(tools))
    assert done.returncode == 1
    assert "redis-cli 7.0 or newer is needed, this is redis-cli 6.2.7" in done.stderr


def spying(tools: Path, log: Path) -> str:
    """Put a redis-cli before the real one that notes its arguments."""
    real = (tools / "redis-cli").readlink()
    put_tool(tools, "redis-cli", f"printf '%s\\n' \"$@\" >>'{log}'; exec {real} \"$@\"")
    return str(tools)


@pytest.mark.parametrize("how", ["variable", "file", "file with CRLF", "url", "url with user", "user", "REDISCLI_AUTH"])
def test_every_way_to_log_in_works_and_shows_no_password(
    how: str, locked: RedisServer, tools: Path, tmp_path: Path
) -> None:
    """As deployment says, and the password is never among anybody's arguments."""
    file = tmp_path / "password"
    file.write_bytes(PASSWORD.encode() + (b"\r\n" if "CRLF" in how else b"\n"))
    url = f"redis://{{}}:{QUOTED_PASSWORD}@127.0.0.1:{locked.port}/0"
    ways = {
        "variable": {"REDIS_PASSWORD": PASSWORD},
        "file": {"REDIS_PASSWORD_FILE": str(file)},
        "file with CRLF": {"REDIS_PASSWORD_FILE": str(file)},
        "url": {"REDIS_URL": url.format("")},
        "url with user": {"REDIS_URL": url.format("reader")},
        "user": {"REDIS_USERNAME": "reader", "REDIS_PASSWORD": PASSWORD},
        "REDISCLI_AUTH": {"REDISCLI_AUTH": PASSWORD},
    }
    log = tmp_path / "arguments"
    done = ops("proof_order_id.sh", "--json", port=locked.port, path=spying(tools, log), **ways[how])
    assert json.loads(done.stdout)["status"] == "NONE", done.stderr
    assert PASSWORD not in log.read_text()
    assert QUOTED_PASSWORD not in log.read_text()
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_login_that_fails_cannot_tell(locked: RedisServer, password: str) -> None:
    """Exit 1 with Redis's reason, and without the password."""
    done = ops("proof_order_id.sh", port=locked.port, REDIS_PASSWORD=password)
    assert (done.returncode, done.stdout) == (1, "")
    assert "NOAUTH" in done.stderr or "WRONGPASS" in done.stderr


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "-h 127.0.0.1 -p 6379 -n 0"),
        ({"REDIS_HOST": "10.0.0.5", "REDIS_PORT": "6380", "REDIS_DB": "3"}, "-h 10.0.0.5 -p 6380 -n 3"),
        ({"REDIS_USERNAME": "reader"}, "-h 127.0.0.1 -p 6379 -n 0 --user reader"),
        ({"REDIS_URL": "redis://redis.example"}, "-h redis.example -p 6379 -n 0"),
        ({"REDIS_URL": "redis://u:p@redis.example:7000/2"}, "-h redis.example -p 7000 -n 2 --user u"),
        ({"REDIS_URL": "redis://u@redis.example/2", "REDIS_PASSWORD": "p"}, "-h redis.example -p 6379 -n 2 --user u"),
        ({"REDIS_URL": "redis://[::1]:7000/0?db=4"}, "-h ::1 -p 7000 -n 0 -n 4"),
        ({"REDIS_URL": "rediss://h:7/0?ssl_ca_certs=/etc/a%20b.pem"}, "--tls -h h -p 7 -n 0 --cacert /etc/a b.pem"),
        ({"REDIS_URL": "rediss://h?ssl_certfile=/c&ssl_keyfile=/k"}, "--tls -h h -p 6379 -n 0 --cert /c --key /k"),
        ({"REDIS_URL": "unix:///run/redis.sock?db=1"}, "-s /run/redis.sock -n 1"),
        ({"REDIS_URL": "unix://u:p@/run/redis.sock"}, "-s /run/redis.sock --user u"),
    ],
)
def test_redis_is_found_where_the_environment_says(
    environment: dict[str, str], expected: str, tools: Path, tmp_path: Path
) -> None:
    """The same variables as every service's, turned into redis-cli's options."""
    log = tmp_path / "arguments"
    put_tool(tools, "redis-cli", f'[[ $1 == --version ]] && {{ echo redis-cli 7.0.15; exit; }}; echo "$*" >"{log}"')
    clean = {"PATH": str(tools)} | environment
    done = subprocess.run(["bash", str(ROOT / "ops/proof_universe.sh")], env=clean, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert log.read_text() == f"{expected} PING\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_PORT", "6379x"),
        ("REDIS_PORT", "-p 1"),
        ("REDIS_DB", "zero"),
        ("REDIS_URL", "http://u:secret@127.0.0.1/0"),
        ("REDIS_URL", "redis://u:secret@127.0.0.1/zero"),
        ("REDIS_URL", "redis://u:secret@127.0.0.1/0?timeout=5"),
        ("REDIS_URL", "unix://u:secret@relative"),
        ("REDIS_PASSWORD_FILE", "/no/such/secret-file"),
    ],
)
def test_a_wrong_way_to_redis_is_refused_in_one_line(name: str, value: str, redis_server: RedisServer) -> None:
    """Exit 1; what a URL may carry is not shown."""
    done = ops("proof_universe.sh", port=redis_server.port, **{name: value})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert name in done.stderr
    assert "u:secret" not in done.stderr


def test_there_are_no_colours_where_nobody_sees_them(redis_server: RedisServer, redis_client: Redis) -> None:
    """Into a pipe none; on a terminal some; with NO_COLOR none."""

    def seen(**environment: str) -> str:
        env = {"PATH": os.environ["PATH"], "REDIS_PORT": str(redis_server.port), "TERM": "xterm"} | environment
        command = ["script", "-qec", f"bash {ROOT}/ops/proof_universe.sh", "/dev/null"]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=20).stdout

    assert "\033[" not in ops("proof_universe.sh", port=redis_server.port).stdout
    assert "\033[31m❌ STATUS: MISSING\033[0m" in seen()
    assert "\033[" not in seen(NO_COLOR="1")


SSH = """
for word in "$@"; do printf '%s\\n' "$word" >>'{log}'; done
printf 'end\\n' >>'{log}'
cd '{home}' && exec env -i PATH="$PATH" HOME='{home}' REDIS_PORT={port} bash -c "${{@: -1}}"
"""


@pytest.fixture
def elsewhere(tools: Path, tmp_path: Path, redis_server: RedisServer) -> Path:
    """An ssh that runs the command on this machine, in an environment and a folder of its own; gives that folder."""
    home = tmp_path / "home"
    home.mkdir()
    log = home / "ssh.log"
    put_tool(tools, "ssh", SSH.format(log=log, home=home, port=redis_server.port))
    put_tool(tools, "env", 'exec /usr/bin/env "$@"')
    return home


def test_another_machine_is_asked_over_one_session(
    redis_server: RedisServer, redis_client: Redis, tools: Path, elsewhere: Path, tmp_path: Path
) -> None:
    """Known hosts are checked, the key is given, the exit code comes back, and nothing stays behind."""
    key = tmp_path / "key"
    key.write_text("")
    arguments = ["--remote", "--host", "op@vps.example", "--key", str(key), "--json"]
    done = ops("proof_order_id.sh", *arguments, port=free_port(), path=str(tools), TMPDIR=str(tmp_path))
    assert (done.returncode, json.loads(done.stdout)["status"]) == (3, "NONE"), done.stderr
    order(redis_client)
    environment = {"QUANTUM_REMOTE_HOST": "op@vps.example", "QUANTUM_REMOTE_KEY": str(key)}
    done = ops("proof_order_id.sh", "--remote", port=free_port(), path=str(tools), TMPDIR=str(tmp_path), **environment)
    assert done.returncode == 0, done.stderr
    assert "✅ PROOF FOUND" in done.stdout
    words = (elsewhere / "ssh.log").read_text().split("\n")
    assert words.count("end") == 2
    assert words[words.index("StrictHostKeyChecking=yes") - 1] == "-o"
    assert words[words.index("op@vps.example") - 3 : words.index("op@vps.example")] == ["-i", str(key), "--"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("tmp.")) == []


def test_what_a_service_shows_is_asked_on_the_machine_where_it_runs(
    redis_server: RedisServer, redis_client: Redis, tools: Path, elsewhere: Path
) -> None:
    """Options travel, this machine's variables do not: the port asked there is the one that was named."""
    arguments = ["--remote", "--host", "op@vps.example", "--json"]
    for script in OF_SERVICES:
        done = ops(script, *arguments, "--metrics-port", "9", "--no-unit", port=free_port(), path=str(tools))
        document = json.loads(done.stdout)
        assert (done.returncode, document["exit"]) == (3, 3), done.stderr
        assert (document["service"]["metrics_port"], document["service"]["unit_state"]) == (9, "not asked")
    done = ops(OF_SERVICES[0], *arguments, port=free_port(), path=str(tools), P33_METRICS_PORT="9")
    assert json.loads(done.stdout)["service"]["metrics_port"] == 8045


@pytest.mark.parametrize("plan_id", ["$(touch {0})", "'; touch {0}; '", "a\nb", "--json", "x y", "*", "~"])
def test_what_is_asked_elsewhere_arrives_as_it_was_given(
    redis_client: Redis, tools: Path, elsewhere: Path, plan_id: str
) -> None:
    """Two shells and an ssh on the way change nothing and run nothing."""
    plan_id = plan_id.replace("{0}", str(elsewhere / "pwned"))
    redis_client.xadd(result.STREAM, {"plan_id": plan_id, "executed": "true", "order_id": "1"})
    arguments = ["--remote", "--host=vps", "--json", "--plan_id", plan_id]
    document = json.loads(ops("proof_order_id.sh", *arguments, port=free_port(), path=str(tools)).stdout)
    assert (document["exit"], document["plan_id_asked"]) == (0, plan_id)
    assert not (elsewhere / "pwned").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--remote needs --host U@H, or QUANTUM_REMOTE_HOST"),
        (["--host", "-oProxyCommand=id"], "is not a host of the form U@H"),
        (["--host", "vps; id"], "is not a host of the form U@H"),
        (["--host", "vps", "--key", "/no/such/key"], "cannot be read"),
    ],
)
def test_without_a_host_or_with_one_that_is_none_it_cannot_tell(arguments: list[str], says: str, tools: Path) -> None:
    """Exit 1 before anything is asked; no host and no key is built in."""
    put_tool(tools, "ssh", "echo ssh was called >&2")
    done = ops("permit_audit.sh", "--remote", *arguments, port=free_port(), path=str(tools))
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert "ssh was called" not in done.stderr


def test_an_ssh_that_fails_cannot_tell(tools: Path) -> None:
    """The 255 of ssh itself is exit 1."""
    put_tool(tools, "ssh", "cat >/dev/null; exit 255")
    done = ops("permit_audit.sh", "--remote", "--host", "vps", port=free_port(), path=str(tools))
    assert done.returncode == 1
    assert "ssh to vps failed" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_only_reads(script: str, redis_server: RedisServer, redis_client: Redis) -> None:
    """Redis counts every command by name: none of them writes (failures.md, I-37)."""
    order(redis_client)
    redis_client.config_resetstat()
    ops_json(script, port=redis_server.port)
    asked = {name.removeprefix("cmdstat_") for name in redis_client.info("commandstats")}
    # redis-cli itself asks for the commands' documentation.
    reading = {"command|docs", "ping", "get", "hget", "hgetall", "scan", "time", "pttl", "multi", "exec"}
    reading |= {"xrevrange", "xrange", "zrevrange", "xpending", "xinfo|groups"}
    assert asked - {"config|resetstat", "info"} <= reading
