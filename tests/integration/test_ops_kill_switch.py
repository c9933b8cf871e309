"""ops/kill_switch.sh: sets what the services read, asks before it lets everything trade, and shows what is in force."""

import subprocess
from pathlib import Path

import pytest
from redis import Redis

from microservices.contracts import control
from microservices.contracts.control import KillSwitch
from tests.support.daemon import ROOT
from tests.support.ops import ops, path_of_tools, put_tool
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

SCRIPT = "kill_switch.sh"
WORDS = {KillSwitch.OFF: "off", KillSwitch.NO_NEW_RISK: "exits-only", KillSwitch.FULL_STOP: "full-stop"}


@pytest.mark.parametrize("state", KillSwitch)
@pytest.mark.parametrize("before", [None, "off", "list"])
def test_each_word_sets_its_state(
    state: KillSwitch, before: str | None, redis_server: RedisServer, redis_client: Redis, tmp_path: Path
) -> None:
    """Whatever stood there, on a machine with no jq and no venv; with an audit line of both."""
    if before == "list":
        redis_client.rpush(control.KILL_SWITCH_KEY, "x")
    elif before is not None:
        redis_client.set(control.KILL_SWITCH_KEY, before)
    tools = path_of_tools(tmp_path / "tools")
    for tool in ("id", "uname"):
        put_tool(tools, tool, f'exec /usr/bin/{tool} "$@"')
    arguments = [WORDS[state], *(["--yes"] if state is KillSwitch.OFF else [])]
    done = ops(SCRIPT, *arguments, port=redis_server.port, path=str(tools))
    assert (done.returncode, done.stderr) == (0, "")
    assert control.decode_kill_switch(redis_client.get(control.KILL_SWITCH_KEY)) == (state, "")
    assert f"kill switch now: {WORDS[state]} (" in done.stdout
    [audit] = [line for line in done.stdout.splitlines() if line.startswith("audit: 20")]
    assert "kill switch from " in audit
    assert f" to {WORDS[state]} (" in audit


def test_the_audit_names_who_stands_behind_sudo(redis_server: RedisServer, redis_client: Redis) -> None:
    """`root` would be everybody."""
    redis_client.set(control.KILL_SWITCH_KEY, "off")
    done = ops(SCRIPT, "full-stop", port=redis_server.port, SUDO_USER="anna")
    assert "Z anna@" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(("said", "code"), [("yes\n", 0), ("y\n", 1), ("", 1), ("no\n", 1)])
def test_off_asks_first(said: str, code: int, redis_server: RedisServer, redis_client: Redis) -> None:
    """Only a whole yes; the end of the input is a no."""
    redis_client.set(control.KILL_SWITCH_KEY, "full_stop")
    done = subprocess.run(
        ["bash", str(ROOT / "ops" / SCRIPT), "off"],
        env={"PATH": "/usr/bin:/bin", "REDIS_PORT": str(redis_server.port)},
        input=said, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == code
    assert redis_client.get(control.KILL_SWITCH_KEY) == (b"off" if code == 0 else b"full_stop")


@pytest.mark.parametrize(
    "value",
    [
        None, "off", " OFF\n", "\x0boff", "no_new_risk", "full_stop", "Full_Stop ", "on", "", "$(id)", "\x1b[2J",
        b"\xff", "\u2003off", "no_new_ris\u212a", "off\x00", "o\x00ff",
    ],
)  # fmt: skip
def test_status_shows_what_the_services_read(
    value: str | bytes | None, redis_server: RedisServer, redis_client: Redis
) -> None:
    """The same state as the contract's reader for every value, whatever the operator's language calls a blank."""
    if value is not None:
        redis_client.set(control.KILL_SWITCH_KEY, value)
    state, _ = control.decode_kill_switch(redis_client.get(control.KILL_SWITCH_KEY))
    done = subprocess.run(
        ["bash", str(ROOT / "ops" / SCRIPT), "status"],
        env={"PATH": "/usr/bin:/bin", "REDIS_PORT": str(redis_server.port), "LC_ALL": "C.UTF-8"},
        capture_output=True, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(f"kill switch: {WORDS[state]} (".encode())
    assert b"\x1b" not in done.stdout
    assert b"audit" not in done.stdout


def test_a_write_that_redis_refuses_is_said(redis_server: RedisServer, redis_client: Redis) -> None:
    """Exit 1: nobody may believe that trading was stopped when it was not."""
    redis_client.config_set("maxmemory", "1")
    try:
        done = ops(SCRIPT, "full-stop", port=redis_server.port)
    finally:
        redis_client.config_set("maxmemory", "0")
    assert done.returncode == 1
    assert "OOM" in done.stderr
    assert "audit" not in done.stdout


@pytest.mark.parametrize(
    "wrong", [[], ["on"], ["--bogus"], ["off", "--bogus"], ["status", "--yes"], ["off", "x"], ["off", "--json"]]
)
def test_usage(wrong: list[str]) -> None:
    """-h is exit 0; what it does not know is exit 1 with the usage on standard error."""
    helped = ops(SCRIPT, "-h", port=free_port())
    assert (helped.returncode, helped.stderr) == (0, "")
    done = ops(SCRIPT, *wrong, port=free_port())
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Usage: ops/{SCRIPT}" in done.stderr


def test_without_redis_it_cannot_tell() -> None:
    """Exit 1 with one line."""
    done = ops(SCRIPT, "full-stop", port=free_port())
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
