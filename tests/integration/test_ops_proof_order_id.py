"""ops/proof_order_id.sh: an order that was placed is found, whatever shape its result has; anything else is not one."""

import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from microservices.contracts import result
from microservices.contracts.control import Mode
from microservices.contracts.fields import WrittenFields
from microservices.contracts.plan import Decision
from tests.support.daemon import ROOT
from tests.support.ops import ops, ops_json
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

SCRIPT = "proof_order_id.sh"


def executed(redis: Redis, plan_id: str = "plan-1", symbol: str = "BTCUSDT", order_id: str = "8205830455") -> str:
    """Write the result of an order as the apply layer does."""
    written = result.Result(
        plan_id=plan_id,
        plan_entry_id="5-0",
        symbol=symbol,
        decision=Decision.EXECUTE,
        executed=True,
        order_id=order_id,
        mode=Mode.PAPER,
        timestamp=1_769_991_686,
    )
    fields = result.encode(written) | {"side": "BUY", "quantity": "0.632", "price": "101.5"}
    return str(redis.xadd(result.STREAM, fields).decode())  # type: ignore[union-attr] # this client answers bytes


def skipped(redis: Redis, **change: str) -> None:
    """Write a result that is no order."""
    fields: WrittenFields = {"plan_id": "p", "symbol": "BTCUSDT", "decision": "SKIP", "executed": "false"} | change
    redis.xadd(result.STREAM, fields)


def test_an_order_is_proven_in_the_words_that_operators_grep_for(
    redis_server: RedisServer, redis_client: Redis
) -> None:
    """The newest of two orders, framed, each field on its line."""
    executed(redis_client, "plan-old")
    entry_id = executed(redis_client, "plan-new")
    skipped(redis_client)
    done = ops(SCRIPT, port=redis_server.port)
    assert done.returncode == 0, done.stderr
    assert "║  Quantum Trader Order Execution Proof  ║" in done.stdout
    assert "Searching 50 apply.result entries..." in done.stdout
    lines = done.stdout.splitlines()
    assert lines[lines.index("✅ PROOF FOUND: executed=true + order_id present") + 2 :] == [
        f"Entry ID: {entry_id}",
        "Symbol: BTCUSDT",
        "Plan ID: plan-new",
        "Executed: true",
        "Order ID: 8205830455",
        "Side: BUY",
        "Quantity: 0.632",
        "Price: 101.5",
        "Timestamp: 1769991686 (2026-02-02 00:21:26 UTC)",
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"plan_id": "p", "executed": "True", "order_id": "1"},
        {"plan_id": "p", "executed": "true", "details": '{"order_id": 1, "side": "SELL", "qty": 0.01}'},
        {"plan_id": "p", "details": '{"executed": true, "order_id": "1"}'},
    ],
)
def test_an_order_in_any_shape_of_the_wild_is_found(
    redis_server: RedisServer, redis_client: Redis, fields: WrittenFields
) -> None:
    """Python's True, and fields inside JSON details."""
    redis_client.xadd(result.STREAM, fields)
    found = ops_json(SCRIPT, port=redis_server.port)["found"]
    assert (found["order_id"], found["plan_id"]) == ("1", "p")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"executed": "true"},
        {"executed": "true", "order_id": ""},
        {"executed": "true", "order_id": "None"},
        {"executed": "false", "order_id": "123"},
        {"executed": "false", "details": '{"executed": true, "order_id": 1}'},
        {"details": "{not json"},
        {"executed": "true", "details": "[" * 5000},
    ],
)
def test_what_is_no_order_is_no_proof(redis_server: RedisServer, redis_client: Redis, change: dict[str, str]) -> None:
    """Exit 3, and the newest result is shown, so that a person sees why."""
    skipped(redis_client, error="not_in_allowlist", **change)
    document = ops_json(SCRIPT, port=redis_server.port)
    assert (document["exit"], document["found"], document["looked_at"]) == (3, None, 1)
    done = ops(SCRIPT, port=redis_server.port)
    assert "❌ NO PROOF FOUND" in done.stdout
    assert "error=not_in_allowlist" in done.stdout


def test_without_a_stream_there_is_none(redis_server: RedisServer, redis_client: Redis) -> None:
    """An absent stream holds no order: exit 3."""
    assert ops_json(SCRIPT, port=redis_server.port)["exit"] == 3


def test_a_stream_of_a_wrong_type_cannot_tell(redis_server: RedisServer, redis_client: Redis) -> None:
    """Exit 1 with Redis's own word for it."""
    redis_client.set(result.STREAM, "x")
    done = ops(SCRIPT, port=redis_server.port)
    assert (done.returncode, done.stdout) == (1, "")
    assert "WRONGTYPE" in done.stderr
    assert ops_json(SCRIPT, port=redis_server.port)["status"] == "CANNOT TELL"


def test_without_redis_it_cannot_tell() -> None:
    """Exit 1."""
    assert ops(SCRIPT, port=free_port()).returncode == 1


def test_only_so_many_are_looked_through(redis_server: RedisServer, redis_client: Redis) -> None:
    """An order behind the newest N is not found, and the report says how many were looked at."""
    executed(redis_client)
    for _ in range(5):
        skipped(redis_client)
    done = ops(SCRIPT, "--count", "5", port=redis_server.port)
    assert done.returncode == 3
    assert "Searching 5 apply.result entries..." in done.stdout
    assert ops(SCRIPT, "--count=6", port=redis_server.port).returncode == 0


def test_only_the_symbol_or_plan_asked_for_counts(redis_server: RedisServer, redis_client: Redis) -> None:
    """Another symbol's order proves nothing of this one."""
    executed(redis_client, "plan-b", "BTCUSDT", "1")
    executed(redis_client, "plan-e", "ETHUSDT", "2")
    assert ops_json(SCRIPT, "--symbol", "BTCUSDT", port=redis_server.port)["found"]["order_id"] == "1"
    assert ops_json(SCRIPT, "--plan_id", "plan-e", port=redis_server.port)["found"]["order_id"] == "2"
    assert ops(SCRIPT, "--symbol", "BTCUSDT", "--plan_id", "plan-e", port=redis_server.port).returncode == 3
    assert ops(SCRIPT, "--symbol", "XRPUSDT", port=redis_server.port).returncode == 3


HOSTILE = [
    "$(touch {0})",
    "`touch {0}`",
    "'; touch {0}; '",
    "a\nOrder ID: 666\nb",
    "x" * 10_000,
    "--json",
    "*",
    "\\",
    "%s%n",
]


@pytest.mark.parametrize("plan_id", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_plan_id_stays_data(
    redis_server: RedisServer, redis_client: Redis, tmp_path: Path, plan_id: str
) -> None:
    """As an argument and as a value: nothing runs, no line is faked, and the very plan is found."""
    pwned = tmp_path / "pwned"
    plan_id = plan_id.replace("{0}", str(pwned))
    executed(redis_client, plan_id, order_id="1")
    executed(redis_client, "another", order_id="2")
    found = ops_json(SCRIPT, f"--plan_id={plan_id}", port=redis_server.port)["found"]
    assert (found["plan_id"], found["order_id"]) == (plan_id, "1")
    done = ops(SCRIPT, "--plan_id", plan_id, port=redis_server.port)
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if line.startswith("Order ID:")] == ["Order ID: 1"]
    assert not pwned.exists()


def test_to_follow_is_to_wait_for_what_comes(redis_server: RedisServer, redis_client: Redis) -> None:
    """A result that is written while it waits ends the wait; what is no order does not."""
    skipped(redis_client)

    def write_later() -> None:
        time.sleep(1)  # the script has to be waiting: there is no event from outside that says so
        skipped(redis_client)
        executed(redis_client, "plan-late")

    writer = threading.Thread(target=write_later)
    writer.start()
    document = ops_json(SCRIPT, "--follow", "--timeout", "600", port=redis_server.port)
    writer.join()
    assert document["found"]["plan_id"] == "plan-late"


def test_to_follow_finds_what_is_there_already(redis_server: RedisServer, redis_client: Redis) -> None:
    """Whoever asks after the fact is not made to wait."""
    executed(redis_client)
    assert ops(SCRIPT, "--follow", "--timeout", "600", port=redis_server.port).returncode == 0


@pytest.mark.parametrize("there", [False, True], ids=["no stream", "a stream"])
def test_to_follow_ends_with_its_timeout(redis_server: RedisServer, redis_client: Redis, *, there: bool) -> None:
    """Nothing came: exit 3, not before its time."""
    if there:
        skipped(redis_client)
    began = time.monotonic()
    assert ops(SCRIPT, "--follow", "--timeout", "1", port=redis_server.port).returncode == 3
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--count", "0"],
        ["--count", "many"],
        ["--count"],
        ["--count", "5; id"],
        ["--timeout", "5"],
        ["--follow", "--timeout", "0"],
        ["--follow=yes"],
        ["--bogus"],
        ["stray"],
        [""],
    ],
)
def test_wrong_arguments_are_refused_with_the_usage(arguments: list[str]) -> None:
    """Exit 1, usage on standard error, nothing on standard output."""
    done = ops(SCRIPT, *arguments, port=free_port())
    assert (done.returncode, done.stdout) == (1, "")
    assert "Usage: ops/proof_order_id.sh" in done.stderr


def test_a_reader_that_has_seen_enough_does_not_make_it_fail_loudly(
    redis_server: RedisServer, redis_client: Redis
) -> None:
    """Piped into head there is no traceback."""
    executed(redis_client)
    environment: dict[str, Any] = {"PATH": "/usr/bin:/bin", "REDIS_PORT": str(redis_server.port)}
    done = subprocess.run(
        ["bash", "-c", "ops/proof_order_id.sh | true"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stderr == ""
