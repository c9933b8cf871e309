"""The command line of every daemon: once, check the configuration, version, help, and a setting that is wrong."""

import sys
from pathlib import Path

import pytest
from redis import Redis

from tests.integration.test_runtime_daemon import TinyDaemon, count, environment
from tests.support.redis_server import RedisServer
from tests.support.tiny_service import LEASE, STREAM


def test_a_wrong_setting_is_one_line_and_78() -> None:
    """Nothing else is said, and nothing is started."""
    run = TinyDaemon(environment={"TINY_BEHAVIOUR": "evil"}).run()
    allowed = (
        "good, refuses, refuses_later, wrong_setting, hangs, spins, deadlocks, hangs_at_close, fails_at_close, "
        "leaves_a_pool, dies, has_a_bug, falls_short"
    )
    assert (run.returncode, run.stdout) == (78, "")
    assert run.stderr == f"TINY_BEHAVIOUR='evil': allowed is one of: {allowed}\n"


@pytest.mark.parametrize("argument", ["--check-config", "--once"])
def test_a_wrong_url_is_refused_whatever_was_asked(argument: str) -> None:
    """The connection's settings are checked like all others, and its password is not shown."""
    run = TinyDaemon(argument, environment={"REDIS_URL": "http://:hunter2@h/x"}).run()
    assert (run.returncode, run.stdout) == (78, "")
    assert run.stderr.startswith("REDIS_URL='http://***@h/x': allowed is redis://host:port/db")
    assert run.stderr.count("\n") == 1


def test_the_configuration_is_listed_without_secrets(tmp_path: Path) -> None:
    """Sorted NAME=value lines on standard output, and a likely typo on standard error."""
    (tmp_path / "TINY_KEY").write_text("hunter2\n")
    variables = {"CREDENTIALS_DIRECTORY": str(tmp_path), "TINY_BLOCK_MSEC": "1", "REDIS_PASSWORD": "hunter2"}
    run = TinyDaemon("--check-config", environment=variables).run()
    assert run.returncode == 0
    lines = run.stdout.splitlines()
    assert lines == sorted(lines)
    assert {"TINY_KEY=***", "REDIS_PASSWORD=***", "TINY_BLOCK_MS=2000", "STATE_DIRECTORY="} <= set(lines)
    assert "hunter2" not in run.stdout + run.stderr
    (warning,) = run.stderr.splitlines()
    assert warning.endswith("[WARNING] TINY_BLOCK_MSEC is not a setting of this service: did you mean TINY_BLOCK_MS?")


def test_once_does_every_loop_once(redis_server: RedisServer, redis_client: Redis, tmp_path: Path) -> None:
    """One iteration, its effect in Redis, 0, and the lease given up."""
    redis_client.xadd(STREAM, {"n": "1"})
    variables = environment(redis_server.port, TINY_BLOCK_MS="0", STATE_DIRECTORY=str(tmp_path))
    run = TinyDaemon("--once", environment=variables).run()
    assert (run.returncode, run.stdout) == (0, ""), run.stderr
    assert count(redis_client) == 1
    assert redis_client.get(LEASE) is None


@pytest.mark.parametrize(
    ("behaviour", "code", "line"),
    [
        ("refuses", 1, "[ERROR] the account is another one"),
        ("refuses_later", 1, "[ERROR] the account has changed"),
        ("falls_short", 1, "[ERROR] the answer was refused"),
        ("wrong_setting", 78, "[ERROR] TINY_KEY='***': allowed is another key"),
        ("fails_at_close", 1, "[ERROR] ValueError: nothing to close; not done"),
        ("has_a_bug", 1, "[ERROR] KeyError: 'symbol'; not done"),
    ],
)
def test_once_fails_with_a_line(
    redis_server: RedisServer, redis_client: Redis, behaviour: str, code: int, line: str
) -> None:
    """What was not done is said, and the code is not 0."""
    variables = environment(redis_server.port, TINY_BLOCK_MS="0", TINY_BEHAVIOUR=behaviour)
    run = TinyDaemon("--once", environment=variables).run()
    assert run.returncode == code
    assert [found for found in run.stderr.splitlines() if found.endswith(line)] != [], run.stderr
    assert ("Traceback" in run.stderr) == (behaviour in {"fails_at_close", "has_a_bug"}), run.stderr
    assert redis_client.ping()


def test_once_without_redis_is_one_line_and_1() -> None:
    """No traceback for what an operator can see at a glance."""
    run = TinyDaemon("--once", environment={"REDIS_PORT": "1"}).run()
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert "[ERROR] ConnectionError: " in line


def test_version_and_help_need_no_settings() -> None:
    """They answer in an environment that would be refused."""
    version = TinyDaemon("--version", environment={"REDIS_PORT": "none"}).run()
    assert (version.returncode, version.stdout.split()[0]) == (0, "quantum-tiny")
    usage = TinyDaemon("-h", environment={"REDIS_PORT": "none"}).run()
    assert usage.returncode == 0
    assert "TINY_BLOCK_MS (default 2000): a whole number, at least 0 and at most 2000" in usage.stdout
    assert "--check-config" in usage.stdout


def test_once_and_check_config_exclude_each_other() -> None:
    """Contradictory options are refused."""
    run = TinyDaemon("--once", "--check-config", environment={}).run()
    assert run.returncode == 2
    assert sys.executable
