"""ops/permit_audit.sh: which permit sources work, are idle, or are missing, and what only looks like a permit."""

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis

from microservices.contracts import permit, position
from microservices.contracts.fields import WrittenFields
from microservices.contracts.permit import Gate
from tests.support.ops import ops, ops_json
from tests.support.ops_worlds import put_unit
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

SCRIPT = "permit_audit.sh"
HEARTBEATS = {
    Gate.GOVERNOR: "quantum:governor:status",
    Gate.P26: "quantum:portfolio:gate_status",
    Gate.P33: position.STATUS_KEY,
}


def give(
    redis: Redis, gate: Gate, plan_id: str = "plan-1", ttl_s: int | None = 60, change: dict[str, Any] | None = None
) -> None:
    """Write a permit and its event as a gate does."""
    now_s = time.time()
    document = {
        "v": permit.VERSION,
        "gate": gate,
        "plan_id": plan_id,
        "plan_digest": "0" * 64,
        "symbol": "BTCUSDT",
        "mode": "paper",
        "allow": True,
        "safe_qty": "0.01",
        "side": "SELL",
        "reason": "allowed",
        "context": {},
        "created_at": now_s,
        "expires_at_ms": int((now_s + 60) * 1000),
    } | (change or {})
    redis.set(permit.key(gate, plan_id), msgspec.json.encode(document), ex=ttl_s)
    event: WrittenFields = {
        "gate": gate.value,
        "plan_id": plan_id,
        "symbol": "BTCUSDT",
        "allow": "true",
        "reason": "allowed",
    }
    redis.xadd(permit.EVENTS, event)


def beat(redis: Redis, gate: Gate, age_s: float = 2) -> None:
    """Write a gate's heartbeat."""
    redis.hset(HEARTBEATS[gate], "last_ts", int(time.time() - age_s))


def gate_of(document: dict[str, Any], gate: Gate) -> dict[str, Any]:
    """Find what is said of one gate."""
    return next(each for each in document["gates"] if each["gate"] == gate)


def test_three_gates_with_permits_are_active_in_the_words_that_operators_grep_for(
    redis_server: RedisServer, redis_client: Redis
) -> None:
    """Counts, samples with their TTL, and the line that all three are active."""
    for gate in Gate:
        give(redis_client, gate)
    give(redis_client, Gate.P33, "plan-2", change={"allow": False, "safe_qty": "0", "reason": "no_position"})
    done = ops(SCRIPT, port=redis_server.port)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "║  Quantum Trader 3-Permit Gate Infrastructure Audit  ║",
        "Total Permits: 4",
        "GOVERNOR PERMITS: 1 keys",
        "P2.6 PERMITS:     1 keys",
        "P3.3 PERMITS:     2 keys",
        "STATUS: ✅ ALL THREE PERMIT SOURCES ACTIVE",
        "last decision: allow BTCUSDT allowed, plan plan-1, ",
    ):
        assert words in done.stdout
    assert "deny BTCUSDT safe_qty 0 no_position" in done.stdout
    assert any(
        "quantum:permit:p26:plan-1 TTL " in line and "allow BTCUSDT" in line for line in done.stdout.splitlines()
    )


def test_an_idle_gate_is_not_broken(redis_server: RedisServer, redis_client: Redis) -> None:
    """No permit stands, and the heartbeat is young: exit 0, and it says idle."""
    for gate in Gate:
        beat(redis_client, gate)
    done = ops(SCRIPT, port=redis_server.port)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("(idle)") == 3
    assert "STATUS: ✅ ALL THREE PERMIT SOURCES ACTIVE" in done.stdout


@pytest.mark.parametrize(
    ("state", "code"), [("active", 0), ("activating", 0), ("failed", 2), ("inactive", 2), ("deactivating", 2)]
)
def test_a_gate_that_has_just_ended_is_not_idle(
    redis_server: RedisServer, redis_client: Redis, tmp_path: Path, state: str, code: int
) -> None:
    """Its heartbeat is young for a minute, and systemd knows better; permits that stand still count."""
    beat(redis_client, Gate.P33)
    put_unit(tmp_path, state)
    path = f"{tmp_path}:{os.environ['PATH']}"
    document = ops_json(SCRIPT, "--gates", "p33", port=redis_server.port, path=path)
    assert document["exit"] == code
    assert all(f"quantum-position-state-brain is {state}" in problem for problem in document["problems"])
    give(redis_client, Gate.P33)
    done = ops(SCRIPT, "--gates", "p33", port=redis_server.port, path=path)
    assert (done.returncode, f"⚠ {state}" in done.stdout) == (0, code == 2)


@pytest.mark.parametrize("missing", list(Gate))
def test_one_missing_gate_is_enough(redis_server: RedisServer, redis_client: Redis, missing: Gate) -> None:
    """Exit 2, and the gate is named with what was seen of it."""
    for gate in Gate:
        if gate is not missing:
            give(redis_client, gate)
    document = ops_json(SCRIPT, port=redis_server.port)
    assert (document["exit"], document["status"]) == (2, "MISSING")
    [problem] = document["problems"]
    assert problem.startswith(f"{missing}: no permit; heartbeat")
    assert not gate_of(document, missing)["works"]


def test_gates_that_are_not_asked_for_are_not_installed(redis_server: RedisServer, redis_client: Redis) -> None:
    """--gates says which must be there; permits of a gate that should not be there are warned of (I-09)."""
    beat(redis_client, Gate.P33)
    done = ops(SCRIPT, "--gates", "p33", port=redis_server.port)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("not installed\n") == 2
    assert "ALL THREE" not in done.stdout
    assert "quantum" not in done.stderr
    give(redis_client, Gate.GOVERNOR)
    assert "not installed; ⚠ and yet 1 keys are there" in ops(SCRIPT, "--gates=p33", port=redis_server.port).stdout
    assert ops(SCRIPT, "--gates", "p33,governor", port=redis_server.port).returncode == 0


@pytest.mark.parametrize("age_s", [61, 3600, -30])
def test_a_heartbeat_that_is_old_or_from_the_future_is_none(
    redis_server: RedisServer, redis_client: Redis, age_s: float
) -> None:
    """Only a heartbeat under 60 s tells idle from dead."""
    beat(redis_client, Gate.P33, age_s)
    done = ops(SCRIPT, "--gates", "p33", port=redis_server.port)
    assert done.returncode == 2
    assert "expected under 60" in done.stdout


@pytest.mark.parametrize("value", ["", "soon", "nan", "\x00\n"])
def test_a_heartbeat_that_cannot_be_read_is_none(redis_server: RedisServer, redis_client: Redis, value: str) -> None:
    """A corrupt heartbeat proves no life."""
    redis_client.hset(position.STATUS_KEY, "last_ts", value)
    assert ops(SCRIPT, "--gates", "p33", port=redis_server.port).returncode == 2


def test_a_heartbeat_of_a_wrong_type_is_none(redis_server: RedisServer, redis_client: Redis) -> None:
    """Nor does another type of key under its name."""
    redis_client.set(position.STATUS_KEY, "x")
    done = ops(SCRIPT, "--gates", "p33", port=redis_server.port)
    assert done.returncode == 2
    assert "WRONGTYPE" in done.stdout


@pytest.mark.parametrize(
    ("ttl_s", "change", "says"),
    [
        (None, {}, "has no TTL, expected at most 60 s"),
        (86_400, {}, "has a TTL of 86"),
        (60, {"gate": "p26"}, "gate is"),
        (60, {"plan_id": "plan-9"}, "plan_id is"),
        (60, {"allow": "true"}, "allow is"),
        (60, {"expires_at_ms": 1}, "expires_at_ms is 1"),
        (60, {"created_at": 9_999_999_999}, "created_at is 9999999999"),
        (60, {"safe_qty": "NaN"}, "safe_qty is"),
    ],
)
def test_what_only_looks_like_a_permit_does_not_count(
    redis_server: RedisServer, redis_client: Redis, ttl_s: int | None, change: dict[str, Any], says: str
) -> None:
    """It is counted as a key, named with its fault, and does not make its gate work (I-09)."""
    give(redis_client, Gate.P33, ttl_s=ttl_s, change=change)
    document = ops_json(SCRIPT, "--gates", "p33", port=redis_server.port)
    p33 = gate_of(document, Gate.P33)
    assert (document["exit"], p33["keys"], p33["valid"]) == (2, 1, 0)
    assert says in p33["faults"][0]
    assert document["problems"] == [
        f"p33: 1 keys, none of them a valid permit; heartbeat {position.STATUS_KEY} last_ts is missing"
    ]


@pytest.mark.parametrize("kind", ["hash", "list", "rubbish", "binary", "deep"])
def test_a_permit_key_of_a_wrong_kind_does_not_kill_the_audit(
    redis_server: RedisServer, redis_client: Redis, kind: str
) -> None:
    """A hash where a string belongs, or bytes that are no JSON (failures.md, I-06)."""
    key = permit.key(Gate.P33, "plan-1")
    if kind == "hash":
        redis_client.hset(key, "allow", "true")
    elif kind == "list":
        redis_client.rpush(key, "x")
    else:
        redis_client.set(key, {"rubbish": b"{", "binary": b"\xff\x00\n", "deep": b"[" * 9999}[kind], ex=60)
    give(redis_client, Gate.P33, "plan-2")
    document = ops_json(SCRIPT, "--gates", "p33", port=redis_server.port)
    p33 = gate_of(document, Gate.P33)
    assert (document["exit"], p33["keys"], p33["valid"]) == (0, 2, 1)
    assert p33["faults"][0].startswith(key)


def test_the_governor_s_permits_are_told_from_the_others(redis_server: RedisServer, redis_client: Redis) -> None:
    """Its key has no gate in it: a plan whose name merely contains one is the governor's."""
    give(redis_client, Gate.GOVERNOR, "x:p33:y")
    give(redis_client, Gate.GOVERNOR, "p2")
    document = ops_json(SCRIPT, port=redis_server.port)
    assert [each["keys"] for each in document["gates"]] == [2, 0, 0]


@pytest.mark.parametrize(("count", "shown"), [("0", 0), ("1", 1), ("3", 3), ("9", 5)])
def test_as_many_samples_as_asked_for(redis_server: RedisServer, redis_client: Redis, count: str, shown: int) -> None:
    """--sample; three without it."""
    for number in range(5):
        give(redis_client, Gate.P33, f"plan-{number}")
    document = ops_json(SCRIPT, "--gates", "p33", "--sample", count, port=redis_server.port)
    samples = gate_of(document, Gate.P33)["samples"]
    assert len(samples) == shown
    assert all(0 < sample["ttl_s"] <= 60 for sample in samples)
    assert len(gate_of(ops_json(SCRIPT, port=redis_server.port), Gate.P33)["samples"]) == 3


def test_hostile_plan_ids_stay_data(redis_server: RedisServer, redis_client: Redis, tmp_path: Path) -> None:
    """Keys with shell commands, line breaks, terminal escapes, zero bytes and ten kilobytes: each is one permit."""
    pwned = tmp_path / "pwned"
    evil = [
        f"$(touch {pwned})",
        f"'; touch {pwned} #",
        "a\nP3.3 PERMITS:     99 keys",
        "\x1b[2J",
        "x" * 10_000,
        "\\x41",
        '"',
    ]
    for plan_id in evil:
        give(redis_client, Gate.P33, plan_id)
    redis_client.set(b"quantum:permit:p33:\x00\xff", b"x", ex=60)
    document = ops_json(SCRIPT, "--gates", "p33", "--sample", "100", port=redis_server.port)
    p33 = gate_of(document, Gate.P33)
    assert (p33["keys"], p33["valid"]) == (len(evil) + 1, len(evil))
    assert {sample["key"] for sample in p33["samples"]} >= {permit.key(Gate.P33, plan_id) for plan_id in evil}
    done = ops(SCRIPT, "--gates", "p33", "--sample", "100", port=redis_server.port)
    assert done.stdout.splitlines().count("P3.3 PERMITS:     99 keys") == 0
    assert "\x1b" not in done.stdout
    assert not pwned.exists()


def test_permits_are_found_among_many_keys(redis_server: RedisServer, redis_client: Redis) -> None:
    """The scan goes on to its end."""
    pipeline = redis_client.pipeline(transaction=False)
    for number in range(20_000):
        pipeline.set(f"quantum:position:verdict:{number}", "x")
    pipeline.execute()
    for number in range(300):
        give(redis_client, Gate.P33, f"plan-{number}")
    assert gate_of(ops_json(SCRIPT, "--gates", "p33", port=redis_server.port), Gate.P33)["valid"] == 300


def test_events_of_a_wrong_type_cannot_tell(redis_server: RedisServer, redis_client: Redis) -> None:
    """Exit 1 with Redis's own word for it."""
    redis_client.set(permit.EVENTS, "x")
    done = ops(SCRIPT, port=redis_server.port)
    assert done.returncode == 1
    assert "WRONGTYPE" in done.stderr


def test_without_redis_it_cannot_tell() -> None:
    """Exit 1, as a document where asked for."""
    document = ops_json(SCRIPT, port=free_port())
    assert (document["exit"], document["status"]) == (1, "CANNOT TELL")


@pytest.mark.parametrize("arguments", [["--gates", ""], ["--gates", "p99"], ["--gates", "p33 p26"], ["--sample", "-1"]])
def test_wrong_arguments_are_refused_with_the_usage(arguments: list[str]) -> None:
    """Exit 1, usage on standard error."""
    done = ops(SCRIPT, *arguments, port=free_port())
    assert (done.returncode, done.stdout) == (1, "")
    assert "Usage: ops/permit_audit.sh" in done.stderr
