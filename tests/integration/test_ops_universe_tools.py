"""What is tried before a deployment, where it must fail; that it works is shown by the manual's own commands."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from microservices.contracts import hashes, universe
from microservices.contracts.universe import UniverseMeta
from ops.operate import universe_mock, verify_universe_service
from ops.operate.verify_universe_service import Wrong
from ops.suite.private_run import NotInTime, PrivateRun
from tests.support.daemon import ROOT
from tests.support.ops import path_of_tools
from tests.support.ops_worlds import publish
from tests.support.redis_server import RedisServer

VERIFY = ("bash", "ops/verify_universe_service.sh")
TIERS = ("python3", "ops/test_p33_universe_integration.py")
MOCK = ("python3", "ops/test_universe_mock.py")


def tool(*command: str, path: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it from another folder, with the host's own Python on PATH."""
    where = [word if not word.startswith("ops/") else str(ROOT / word) for word in command]
    env = {"PATH": path or "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")} | environment
    return subprocess.run(where, env=env, cwd="/", capture_output=True, text=True, timeout=120)


def test_a_private_run_meets_no_other_redis(
    redis_server: RedisServer, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment names: its processes and its own client know the private one alone."""
    monkeypatch.setenv("REDIS_PORT", str(redis_server.port))
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    redis_client.config_resetstat()
    with PrivateRun("universe-service", "paper-exchange") as run:
        run.wait_for(lambda: bool(run.redis.exists(universe.ACTIVE_KEY)), 30, "a list")
        run.redis.set("mark", "x")
        assert run.stop("universe-service") == 0
        with pytest.raises(NotInTime, match=r"for what does not come: not within 0\.2 s"):
            run.wait_for(lambda: False, 0.2, "what does not come")
    assert set(redis_client.info("commandstats")) <= {"cmdstat_config|resetstat", "cmdstat_info"}
    assert not redis_client.exists("mark")


@pytest.mark.parametrize("command", [VERIFY, TIERS], ids=["verify", "tiers"])
def test_what_cannot_be_tried_is_not_verified(command: tuple[str, ...], tmp_path: Path) -> None:
    """Without redis-server: exit 1, one line that says what was waited for, and nothing is left running."""
    tools = path_of_tools(tmp_path / "tools", ["bash", "python3", "sed", "dirname", "basename", "cat"])
    done = tool(*command, path=str(tools), TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert "the private Redis: redis has ended" in done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["tools"]


@pytest.mark.parametrize("command", [VERIFY, TIERS, MOCK], ids=["verify", "tiers", "mock"])
def test_every_tool_has_help_and_refuses_what_it_does_not_know(command: tuple[str, ...]) -> None:
    """-h is exit 0 on standard output; anything else that it does not know is exit 1 on standard error."""
    assert f"Usage: {command[1]}" in tool(*command, "-h").stdout
    refused = tool(*command, "--bogus")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"Usage: {command[1]}" in refused.stderr


def test_the_mock_shows_what_the_contracts_write_without_any_server(tmp_path: Path) -> None:
    """No redis-cli, no redis-server, nothing that listens: keys, two verdicts of the proof, samples."""
    tools = path_of_tools(tmp_path / "tools", ["python3"])
    done = tool(*MOCK, path=str(tools))
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "quantum:cfg:universe:active  (string)",
        "quantum:cfg:universe:meta  (hash)",
        "✅ STATUS: FRESH (recently updated)",
        "STATUS: STALE",
        "(exit 0)",
        "(exit 2)",
        "UniverseReader(Redis(), Mode.PAPER)",
    ):
        assert words in done.stdout


def test_the_mocks_keys_are_the_contracts_own(redis_client: Redis) -> None:
    """What --json says can be written into a Redis, and is read back as a fresh universe."""
    keys: dict[str, Any] = json.loads(tool(*MOCK, "--json").stdout)
    document = universe.decode_document(keys[universe.ACTIVE_KEY].encode(), universe.ACTIVE_KEY)
    assert keys[universe.LAST_OK_KEY] == keys[universe.ACTIVE_KEY]
    meta = hashes.decode(keys[universe.META_KEY], UniverseMeta, universe.META_KEY)
    assert (meta.count, meta.stale) == (len(document.symbols), 0)
    rows = {
        name: universe.decode_instrument(raw.encode(), name) for name, raw in keys[universe.INSTRUMENTS_KEY].items()
    }
    assert tuple(rows) == document.symbols


def test_the_mocks_sample_runs(redis_server: RedisServer, redis_client: Redis) -> None:
    """The Python that it shows reads a universe, given the right port."""
    publish(redis_client)
    sample = "import time\n" + universe_mock.READ.replace("Redis()", f"Redis(port={redis_server.port})")
    command = [str(ROOT / ".venv" / "bin" / "python"), "-c", sample]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith("universe 3 ['BTCUSDT', 'ETHUSDT', 'XRPUSDT']"), done.stderr


def whole(redis: Any) -> None:
    """Write the keys as they are after a refresh."""
    for key, content in universe_mock.keys(time.time()).items():
        if isinstance(content, str):
            redis.set(key, content)
        else:
            redis.hset(key, mapping=content)


SPOILT: dict[str, tuple[Callable[[Any], object], str]] = {
    "differ": (lambda redis: publish(redis, age_s=900), "seen at"),
    "last_ok": (lambda redis: redis.delete(universe.LAST_OK_KEY), "last_ok"),
    "count": (lambda redis: redis.hset(universe.META_KEY, "count", 2), "expected count 3"),
    "error": (lambda redis: redis.hset(universe.META_KEY, "error", "x"), "no error"),
    "meta": (lambda redis: redis.delete(universe.META_KEY), "meta is None"),
    "instrument": (lambda redis: redis.hdel(universe.INSTRUMENTS_KEY, "SOLUSDT"), "SOLUSDT"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_keys_that_are_not_whole_are_not_verified(redis_client: Redis, how: str) -> None:
    """The verification reads every key, and names the one that is wrong."""
    whole(redis_client)
    assert verify_universe_service.checked_keys(redis_client).startswith("3 symbols")
    spoil, says = SPOILT[how]
    spoil(redis_client)
    with pytest.raises((Wrong, ValueError), match=says):
        verify_universe_service.checked_keys(redis_client)


def test_code_that_does_not_compile_is_not_verified(tmp_path: Path) -> None:
    """The file and Python's own words; no bytecode is written."""
    (tmp_path / "filters.py").write_text("def broken(:\n")
    with pytest.raises(Wrong, match=r"filters\.py: invalid syntax"):
        verify_universe_service.compiled(tmp_path)
    with pytest.raises(Wrong, match="holds no Python"):
        verify_universe_service.compiled(tmp_path / "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["filters.py"]
