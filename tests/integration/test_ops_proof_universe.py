"""ops/proof_universe.sh against worlds in which it must fail, and the one in which it must not."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from microservices.contracts import universe
from tests.support.exchange_info import listing
from tests.support.http_server import HttpServer
from tests.support.ops import ops, ops_json, path_of_tools, put_tool
from tests.support.ops_worlds import publish
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.universe_world import World

SCRIPT = "proof_universe.sh"


def test_a_fresh_universe_is_proven_in_the_words_that_operators_grep_for(
    redis_server: RedisServer, redis_client: Redis
) -> None:
    """Exit 0, and every line that a person or a script looks for."""
    publish(redis_client, symbols=tuple(f"{1000 + number}USDT" for number in range(25)))
    done = ops(SCRIPT, port=redis_server.port)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[:2] == ["Mode: paper", "Active Symbols: 25"]
    assert lines[2].startswith("Last Update: 20")
    age = re.fullmatch(r"Age: (\d+)s", lines[3])
    assert age is not None
    assert 40 <= int(age[1]) < 80
    assert lines[4] == "✅ STATUS: FRESH (recently updated)"
    assert "Error: none" in lines
    assert "Dropped: 7" in lines
    assert lines[lines.index("Sample Symbols (first 20):") + 1 :] == [f"{n:3}. {999 + n}USDT" for n in range(1, 21)]
    assert "quantum-universe-service.service is not installed here, judged by its traces in Redis" in done.stdout


def test_what_the_service_publishes_is_what_the_proof_proves(redis_server: RedisServer, redis_client: Redis) -> None:
    """The real service, then the same one with an exchange that fails: first fresh, then stale with the reason."""
    with HttpServer() as server:
        server.say(listing(30))
        world = World(redis_client, server)
        world.clock.step(time.time() - world.clock.now())
        service = world.started()
        assert ops(SCRIPT, port=redis_server.port).returncode == 3
        service.refresh()
        document = ops_json(SCRIPT, port=redis_server.port)
        assert (document["exit"], document["status"], document["count"], document["mode"]) == (0, "FRESH", 30, "paper")
        server.say(b"", 503)
        service.refresh()
    document = ops_json(SCRIPT, port=redis_server.port)
    assert (document["exit"], document["status"], document["stale"]) == (2, "STALE", "1")
    assert "HTTP 503" in document["error"]


def test_without_redis_it_cannot_tell() -> None:
    """Exit 1, the reason on standard error, and with --json as a document."""
    port = free_port()
    done = ops(SCRIPT, port=port)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"no Redis at 127.0.0.1:{port}" in done.stderr
    document = ops_json(SCRIPT, port=port)
    assert (document["exit"], document["status"]) == (1, "CANNOT TELL")


def test_a_redis_that_hangs_does_not_hang_the_proof(redis_server: RedisServer, redis_client: Redis) -> None:
    """A frozen Redis is exit 1 after a few seconds."""
    publish(redis_client)
    redis_server.pause()
    try:
        done = ops(SCRIPT, port=redis_server.port)
    finally:
        redis_server.resume()
    assert done.returncode == 1
    assert "no answer within 5 s" in done.stderr


def test_an_empty_redis_is_missing(redis_server: RedisServer, redis_client: Redis) -> None:
    """Exit 3, and both keys are named."""
    document = ops_json(SCRIPT, port=redis_server.port)
    assert (document["exit"], document["status"], document["count"]) == (3, "MISSING", None)
    assert len(document["problems"]) == 2


def test_a_stale_universe_says_since_when_and_why(redis_server: RedisServer, redis_client: Redis) -> None:
    """Exit 2, with last OK and error."""
    publish(redis_client, stale=1, error="GET /fapi/v1/exchangeInfo: HTTP 503")
    done = ops(SCRIPT, port=redis_server.port)
    assert done.returncode == 2
    assert "STATUS: STALE" in done.stdout
    assert "Error: GET /fapi/v1/exchangeInfo: HTTP 503" in done.stdout
    assert "Last OK: 20" in done.stdout


def test_a_list_older_than_allowed_is_stale_although_it_says_fresh(
    redis_server: RedisServer, redis_client: Redis
) -> None:
    """A service that died cannot set stale: the age does (failures.md, I-26)."""
    publish(redis_client, age_s=310)
    done = ops(SCRIPT, port=redis_server.port)
    assert done.returncode == 2
    assert "s old, expected under 300" in done.stdout
    assert ops(SCRIPT, "--max-age", "400", port=redis_server.port).returncode == 0
    assert ops(SCRIPT, "--max-age=309", port=redis_server.port).returncode == 2


@pytest.mark.parametrize(
    ("age_s", "meta", "says"),
    [
        (-30, {}, "in the future, expected at most 5"),
        (40, {"count": 2}, "count is 2, the list holds 3"),
        (40, {"mode": "mainnet"}, "mode is mainnet, the list's is paper"),
        (40, {"stale": 7}, "stale is 7, expected 0 or 1"),
    ],
)
def test_what_contradicts_itself_is_invalid(
    redis_server: RedisServer, redis_client: Redis, age_s: float, meta: dict[str, Any], says: str
) -> None:
    """Exit 3: from the future, another count, another mode, a flag that is none."""
    publish(redis_client, age_s=age_s, **meta)
    done = ops(SCRIPT, port=redis_server.port)
    assert done.returncode == 3
    assert "❌ STATUS: INVALID" in done.stdout
    assert says in done.stdout


@pytest.mark.parametrize(
    "value", [b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b'{"symbols": "BTCUSDT"}', b"{}" * 5000]
)
def test_a_corrupt_list_is_invalid(redis_server: RedisServer, redis_client: Redis, value: bytes) -> None:
    """Exit 3, whatever the bytes."""
    publish(redis_client)
    redis_client.set(universe.ACTIVE_KEY, value)
    document = ops_json(SCRIPT, port=redis_server.port)
    assert (document["exit"], document["status"]) == (3, "INVALID")


@pytest.mark.parametrize("key", [universe.ACTIVE_KEY, universe.META_KEY])
def test_a_key_of_a_wrong_type_is_invalid(redis_server: RedisServer, redis_client: Redis, key: str) -> None:
    """Exit 3 with Redis's own word for it."""
    publish(redis_client)
    redis_client.delete(key)
    redis_client.rpush(key, "x")
    done = ops(SCRIPT, port=redis_server.port)
    assert done.returncode == 3
    assert f"{key}: WRONGTYPE" in done.stdout


def test_hostile_names_and_errors_stay_data(redis_server: RedisServer, redis_client: Redis) -> None:
    """Line breaks, terminal escapes, shell commands and ten kilobytes neither run nor fake a line."""
    evil = ("$(touch /tmp/pwned)", "A\nSTATUS: FRESH", "B\x1b[2J", "`id`;'\"", "Z" * 10_000, "币安人生USDT")
    publish(redis_client, symbols=tuple(sorted(evil)), stale=1, error="x\n✅ STATUS: FRESH (recently updated)\x1b[31m")
    done = ops(SCRIPT, port=redis_server.port)
    assert done.returncode == 2
    assert [line for line in done.stdout.splitlines() if line.startswith("✅")] == []
    assert "\x1b" not in done.stdout
    assert "币安人生USDT" in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 400
    assert set(ops_json(SCRIPT, port=redis_server.port)["symbols"]) == set(evil)


def test_it_writes_nothing(redis_server: RedisServer, redis_client: Redis) -> None:
    """A proof that changes what it proves is none (failures.md, I-37)."""
    publish(redis_client)
    before = {key: redis_client.dump(key) for key in redis_client.keys("*")}
    ops(SCRIPT, port=redis_server.port)
    assert {key: redis_client.dump(key) for key in redis_client.keys("*")} == before


def test_a_unit_that_is_installed_is_named_with_its_state(
    redis_server: RedisServer, redis_client: Redis, tmp_path: Path
) -> None:
    """Where systemd knows the unit, the proof says how it is."""
    publish(redis_client)
    tools = path_of_tools(tmp_path / "tools")
    put_tool(tools, "systemctl", "case $1 in show) echo loaded ;; is-active) echo failed; exit 3 ;; esac")
    done = ops(SCRIPT, "--json", port=redis_server.port, path=str(tools))
    assert json.loads(done.stdout)["unit"] == "failed"
    done = ops(SCRIPT, port=redis_server.port, path=str(tools))
    assert "⚠ quantum-universe-service.service is failed; last attempt" in done.stdout
