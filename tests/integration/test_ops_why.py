"""ops/why.sh: what streams and keys hold of a plan is told, whichever of them still do, and nothing is made up."""

import os
import random
import re
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from redis import Redis

from microservices.contracts import claim, control, decision, permit, plan, position, result
from microservices.contracts.fields import WrittenFields
from ops.lib import why
from ops.lib.redis_cli import RedisCli
from tests.support.clock import FakeClock
from tests.support.counting import run_dry, service
from tests.support.daemon import ROOT
from tests.support.ops import ops, ops_json, path_of_tools
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

SCRIPT = "why.sh"
CONTEXT = {"mark_price": "1.5", "snapshot_age_ms": 120, "ledger_amt": None, "cooldown_left_s": 7.25}
NOW_MS = int(time.time() * 1000)
HOUR_MS = 3_600_000
HOSTILE = [
    "'; FLUSHALL; echo '",
    '"\n DEL quantum:kill_switch \r\n"',
    "$(touch /tmp/never) `id`",
    "--remote",
    "-n 9",
    "quantum:*",
    "[a-z]*\\",
    "币安人生",
    "%s%n{}",
    "\x1b[31mred",
]


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test's own now: a file is imported long before its tests are run."""
    monkeypatch.setattr(sys.modules[__name__], "NOW_MS", int(time.time() * 1000))


class Told(NamedTuple):
    """A plan of which everything was written, and its ids."""

    plan_id: str
    entry_id: str
    result_id: str


def write(redis: Redis, plan_id: str, at_ms: int, *, symbol: str = "BTCUSDT", traded: bool = False) -> Told:
    """Write a plan, the brain's event, and the result, as the services do: some milliseconds after one another."""
    entry_id = f"{at_ms}-0"
    planned: WrittenFields = {"plan_id": plan_id, "symbol": symbol, "decision": "EXECUTE", "action": "OPEN"}
    planned |= {"side": "BUY", "qty": "0.002", "reduceOnly": "false", "source": "tests", "timestamp": at_ms // 1000}
    redis.xadd(plan.STREAM, planned, id=entry_id)
    reason = "allowed" if traded else "cooldown_in_flight"
    event: WrittenFields = {"gate": "p33", "plan_id": plan_id, "plan_entry_id": entry_id, "symbol": symbol}
    event |= {"allow": "true" if traded else "false", "safe_qty": "0.002" if traded else "0", "reason": reason}
    event |= {"context": msgspec.json.encode(CONTEXT), "issued_at_ms": at_ms + 5}
    redis.xadd(permit.EVENTS, event, id=f"{at_ms + 5}-0")
    ended = result.Result(
        plan_id=plan_id,
        plan_entry_id=entry_id,
        symbol=symbol,
        decision=plan.Decision.EXECUTE if traded else plan.Decision.BLOCKED,
        executed=traded,
        error="" if traded else reason,
        gate="" if traded else "p33",
        retryable=not traded,
        order_id="8205830455" if traded else "",
        mode=control.Mode.PAPER,
        timestamp=at_ms // 1000,
    )
    redis.xadd(result.STREAM, result.encode(ended), id=f"{at_ms + 9}-0")
    return Told(plan_id, entry_id, f"{at_ms + 9}-0")


class Mine(NamedTuple):
    """A plan that a test asks about."""

    plan_id: str
    at_ms: int
    symbol: str = "BTCUSDT"


def fill(redis: Redis, *mine: Mine, hours: int = 30, every_ms: int = 60_000) -> list[Told]:
    """Write a test's plans among many others of other symbols, all in the order of their times."""
    times = enumerate(range(NOW_MS - hours * HOUR_MS + 250, NOW_MS - 1_000, every_ms))
    others = [Mine(f"other-{number}", at_ms, f"OTHER{number % 7}USDT") for number, at_ms in times]
    pipeline = redis.pipeline(transaction=False)
    written = {
        each.plan_id: write(pipeline, each.plan_id, each.at_ms, symbol=each.symbol)
        for each in sorted([*others, *mine], key=lambda each: each.at_ms)
    }
    pipeline.execute()
    return [written[each.plan_id] for each in mine]


def count(redis: Redis) -> None:
    """Let decision intelligence count everything, which fills index and windows."""
    clock = FakeClock(now=time.time())
    instance = service(redis, clock)
    run_dry(redis, clock, instance)
    instance.snapshot()


def told_of(document: dict[str, Any]) -> tuple[str, str, list[str]]:
    """Which plan, which result, and whose verdicts."""
    gates = [verdict["gate"] for verdict in document["verdicts"]]
    return document["plan"]["entry_id"], document["result"]["entry_id"], gates


def test_a_deny_is_told_with_its_figures_and_their_age(redis_server: RedisServer, redis_client: Redis) -> None:
    """The plan, the gate, each figure, the result, what holds now, the hour's reasons, how far the streams reach."""
    [told] = fill(redis_client, Mine("p-1", NOW_MS - 20_000), hours=1)
    count(redis_client)
    redis_client.set(control.KILL_SWITCH_KEY, "off")
    redis_client.set("quantum:reconcile:hold:BTCUSDT", "brain:drift")
    done = ops(SCRIPT, "p-1", port=redis_server.port)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "WHY     p-1",
        "❌ BLOCKED: cooldown_in_flight (gate p33); a new plan under a new id can succeed",
    ]
    for expected in (
        f"PLAN    {told.entry_id}  ",
        "        BTCUSDT decision=EXECUTE action=OPEN side=BUY qty=0.002 reduceOnly=false source=tests",
        "GATE    p33: deny cooldown_in_flight, 0.005 s after the plan, ",
        "        mark_price=1.5 snapshot_age_ms=120 cooldown_left_s=7.25",
        "GATE    governor: no verdict in the stream",
        f"RESULT  {told.result_id}  BLOCKED cooldown_in_flight executed=false, 0.009 s after the plan, ",
        "NOW     kill switch: off; hold on BTCUSDT: brain:drift",
        "HOUR    top reasons, as of ",
        "        of BTCUSDT: cooldown_in_flight 1",
        "REACH   permit.events back to ",
    ):
        assert any(line.startswith(expected) for line in lines), f"{expected!r} is missing in\n{done.stdout}"
    document = ops_json(SCRIPT, "p-1", port=redis_server.port)
    assert told_of(document) == (told.entry_id, told.result_id, ["p33"])
    [verdict] = document["verdicts"]
    assert verdict["context"] == CONTEXT | {"cooldown_left_s": "7.25"}
    assert 0 < verdict["age_s"] < 3_600
    assert document["symbol_reasons_1h"] == {"cooldown_in_flight": "1"}
    assert document["reach"][plan.STREAM]["entries"] == redis_client.xlen(plan.STREAM)
    assert document["reach"][plan.STREAM]["first"] == (NOW_MS - HOUR_MS + 250) / 1000


def test_an_order_is_told_as_one(redis_server: RedisServer, redis_client: Redis) -> None:
    """It traded, under which order id, and its permit if it still stands."""
    write(redis_client, "p-1", NOW_MS - 5_000, traded=True)
    redis_client.set(permit.key(permit.Gate.P33, "p-1"), "{}", ex=60)
    redis_client.hset(claim.key("p-1"), mapping={"state": "done", "client_order_id": "qabc", "symbol": "BTCUSDT"})
    done = ops(SCRIPT, "p-1", port=redis_server.port)
    assert "✅ it traded: order 8205830455" in done.stdout
    assert re.search(r"GATE    p33: allow allowed safe_qty 0.002, .*, its permit stands for \d+ s more", done.stdout)
    assert "CLAIM   state=done client_order_id=qabc" in done.stdout


@pytest.mark.parametrize("known_by", ["verdict", "claim", "open", "index", "looking"])
@pytest.mark.parametrize("age_ms", [90_000, 20 * HOUR_MS])
def test_a_plan_is_found_by_whatever_still_knows_it(
    redis_server: RedisServer, redis_client: Redis, known_by: str, age_ms: int
) -> None:
    """The brain's verdict, the claim, the open claim, the index of decision intelligence, or none of them."""
    [told] = fill(redis_client, Mine("p:1.x", NOW_MS - age_ms))
    if known_by == "index":
        count(redis_client)
    elif known_by == "verdict":
        redis_client.hset(position.verdict_key("p:1.x"), mapping={"plan_entry_id": told.entry_id, "allow": "false"})
    elif known_by == "claim":
        row: WrittenFields = {"plan_entry_id": told.entry_id, "result_id": told.result_id, "state": "done"}
        redis_client.hset(claim.key("p:1.x"), mapping=row)
    elif known_by == "open":
        open_claim: Any = msgspec.json.encode({"plan_entry_id": told.entry_id, "state": "sent", "symbol": "BTCUSDT"})
        redis_client.hset(claim.OPEN_KEY, "p:1.x", open_claim)
    document = ops_json(SCRIPT, "p:1.x", port=redis_server.port)
    assert (document["exit"], document["kind"]) == (0, "plan")
    assert told_of(document) == (told.entry_id, told.result_id, ["p33"])


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("age_ms", [90_000, 20 * HOUR_MS])
def test_a_symbols_newest_plan_is_told(
    redis_server: RedisServer, redis_client: Redis, age_ms: int, counted: bool
) -> None:
    """In capitals or not, with the index or without, among thousands of others."""
    _, told = fill(redis_client, Mine("older", NOW_MS - age_ms - 30_500), Mine("newest", NOW_MS - age_ms + 500))
    if counted:
        count(redis_client)
    for name in ("BTCUSDT", "btcusdt"):
        document = ops_json(SCRIPT, name, port=redis_server.port)
        assert (document["exit"], document["kind"], document["plan"]["fields"]["plan_id"]) == (0, "symbol", "newest")
        assert told_of(document) == (told.entry_id, told.result_id, ["p33"])
    assert "WHY     newest, the newest plan of BTCUSDT" in ops(SCRIPT, "BTCUSDT", port=redis_server.port).stdout


def test_a_symbol_outside_ascii_is_one(redis_server: RedisServer, redis_client: Redis) -> None:
    """The exchange lists such."""
    told = write(redis_client, "p", NOW_MS - 1_000, symbol="币安人生USDT")
    assert told_of(ops_json(SCRIPT, "币安人生usdt", port=redis_server.port))[0] == told.entry_id


def test_a_plan_without_a_result_is_told_by_its_deny_or_its_claim(
    redis_server: RedisServer, redis_client: Redis
) -> None:
    """Denied and no result yet; claimed and not answered; added and nothing else."""
    write(redis_client, "denied", NOW_MS - 3_000)
    redis_client.xtrim(result.STREAM, maxlen=0)
    assert (
        "❌ denied by p33: cooldown_in_flight; there is no result"
        in ops(SCRIPT, "denied", port=redis_server.port).stdout
    )
    redis_client.xadd(plan.STREAM, {"plan_id": "alone", "symbol": "ETHUSDT", "decision": "EXECUTE"})
    document = ops_json(SCRIPT, "alone", port=redis_server.port)
    assert (document["exit"], document["status"], document["verdicts"]) == (0, "PENDING", [])
    redis_client.hset(claim.key("alone"), mapping={"state": "sent", "sent_at_ms": NOW_MS})
    assert "⚠ no result: its claim is sent" in ops(SCRIPT, "alone", port=redis_server.port).stdout


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("asked", ["p-old", "BTCUSDT"])
def test_a_verdict_is_found_where_plan_and_result_were_trimmed_away(
    redis_server: RedisServer, redis_client: Redis, asked: str, counted: bool
) -> None:
    """Verdicts are kept by their number and may be older than any plan; with the index or without."""
    fill(redis_client, Mine("p-older", NOW_MS - 29 * HOUR_MS), Mine("p-old", NOW_MS - 28 * HOUR_MS))
    if counted:
        count(redis_client)
    for stream in (plan.STREAM, result.STREAM):
        redis_client.xtrim(stream, minid=f"{NOW_MS - 20 * HOUR_MS}", approximate=False)
    document = ops_json(SCRIPT, asked, port=redis_server.port)
    assert (document["exit"], document["status"], document["plan"], document["result"]) == (0, "DENIED", None, None)
    assert [(each["gate"], each["reason"]) for each in document["verdicts"]] == [("p33", "cooldown_in_flight")]
    assert (document["symbol"], document["looked_back_to"]) == ("BTCUSDT", {})
    done = ops(SCRIPT, asked, port=redis_server.port)
    assert "❌ denied by p33: cooldown_in_flight; there is no result of it" in done.stdout
    assert done.stdout.startswith("WHY     p-old")


def test_what_was_trimmed_away_is_told_by_what_is_left(redis_server: RedisServer, redis_client: Redis) -> None:
    """The verdict lives 24 h: with empty streams it alone speaks, and the streams say that they are empty."""
    told = write(redis_client, "p-1", NOW_MS - 4_000)
    redis_client.hset(
        position.verdict_key("p-1"),
        mapping={"plan_entry_id": told.entry_id, "allow": "false", "reason": "kill_switch"},
    )
    for stream in (plan.STREAM, permit.EVENTS, result.STREAM):
        redis_client.xtrim(stream, maxlen=0)
    done = ops(SCRIPT, "p-1", port=redis_server.port)
    assert done.returncode == 0
    assert "its key says: allow=false reason=kill_switch" in done.stdout
    assert "REACH   apply.result is empty, 0 entries" in done.stdout
    redis_client.delete(position.verdict_key("p-1"))
    assert ops(SCRIPT, "p-1", port=redis_server.port).returncode == 3


def test_a_duplicate_does_not_hide_the_plan_that_was_meant(redis_server: RedisServer, redis_client: Redis) -> None:
    """The same id came again and ended as duplicate_plan: what is told is the first entry's story."""
    told = write(redis_client, "twice", NOW_MS - 8_000)
    second = redis_client.xadd(plan.STREAM, {"plan_id": "twice", "symbol": "BTCUSDT", "decision": "EXECUTE"})
    duplicate: WrittenFields = {"plan_id": "twice", "plan_entry_id": second, "decision": "SKIP", "executed": "false"}
    redis_client.xadd(result.STREAM, duplicate | {"error": "duplicate_plan"})
    redis_client.hset(position.verdict_key("twice"), mapping={"plan_entry_id": told.entry_id, "allow": "false"})
    assert told_of(ops_json(SCRIPT, "twice", port=redis_server.port))[:2] == (told.entry_id, told.result_id)


def test_a_duplicates_end_is_not_told_as_the_end_of_an_order_on_its_way(
    redis_server: RedisServer, redis_client: Redis
) -> None:
    """An order is sent and not answered for; the same id came again and was refused: what is told is the order."""
    told = write(redis_client, "twice", NOW_MS - 8_000, traded=True)
    redis_client.xtrim(result.STREAM, maxlen=0)
    duplicate(redis_client, "twice")
    redis_client.hset(claim.key("twice"), mapping={"plan_entry_id": told.entry_id, "state": "sent"})
    document = ops_json(SCRIPT, "twice", port=redis_server.port)
    assert (document["status"], document["plan"]["entry_id"], document["result"]) == ("PENDING", told.entry_id, None)
    assert "⚠ no result: its claim is sent" in ops(SCRIPT, "twice", port=redis_server.port).stdout
    redis_client.xtrim(plan.STREAM, maxlen=1, approximate=False)
    document = ops_json(SCRIPT, "twice", port=redis_server.port)
    assert (document["status"], document["plan"], document["result"]) == ("PENDING", None, None)


@pytest.mark.parametrize("counted", [True, False])
def test_a_symbols_newest_plan_that_is_a_duplicate_does_not_borrow_the_first_ones_end(
    redis_server: RedisServer, redis_client: Redis, counted: bool
) -> None:
    """The first of that id traded, the newest was refused: its own end is told, and that there is another."""
    told = write(redis_client, "twice", NOW_MS - 8_000, traded=True)
    second = duplicate(redis_client, "twice")
    row: WrittenFields = {"plan_entry_id": told.entry_id, "state": "done", "result_id": told.result_id}
    redis_client.hset(claim.key("twice"), mapping=row)
    if counted:
        count(redis_client)
    document = ops_json(SCRIPT, "BTCUSDT", port=redis_server.port)
    assert (document["status"], document["plan"]["entry_id"]) == ("NOT TRADED", second)
    assert (document["result"]["fields"]["error"], document["claim"]) == ("duplicate_plan", None)
    assert document["problems"] == [
        f"the same plan id came before, as {told.entry_id}: by the plan id that one is told of"
    ]
    assert ops_json(SCRIPT, "twice", port=redis_server.port)["status"] == "TRADED"


def duplicate(redis: Redis, plan_id: str) -> str:
    """Add a plan of an id that was there before, and its refusal; give the plan's entry."""
    added: Any = redis.xadd(plan.STREAM, {"plan_id": plan_id, "symbol": "BTCUSDT", "decision": "EXECUTE"})
    refusal: WrittenFields = {"plan_id": plan_id, "plan_entry_id": added, "symbol": "BTCUSDT", "decision": "SKIP"}
    redis.xadd(result.STREAM, refusal | {"executed": "false", "error": "duplicate_plan"})
    return str(added, "ascii")


def test_results_of_other_shapes_are_told(redis_server: RedisServer, redis_client: Redis) -> None:
    """Without the plan's entry id, as other executors write them: the plan is found by its id before the result."""
    redis_client.xadd(
        plan.STREAM, {"plan_id": "wild", "symbol": "ETHUSDT", "decision": "EXECUTE"}, id=f"{NOW_MS - 5_000}-0"
    )
    redis_client.xadd(result.STREAM, {"plan_id": "wild", "executed": "false", "error": "x"}, id=f"{NOW_MS - 4_000}-0")
    count(redis_client)
    told: tuple[str, str, list[str]] = (f"{NOW_MS - 5_000}-0", f"{NOW_MS - 4_000}-0", [])
    assert told_of(ops_json(SCRIPT, "wild", port=redis_server.port)) == told
    redis_client.xtrim(plan.STREAM, maxlen=0)
    document = ops_json(SCRIPT, "wild", port=redis_server.port)
    assert (document["plan"], document["result"]["fields"]["error"]) == (None, "x")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_plan_ids_are_only_data(redis_server: RedisServer, redis_client: Redis, hostile: str) -> None:
    """Known or unknown: nothing is run, no key is touched, and the text stays on its lines."""
    fill(redis_client, hours=1, every_ms=600_000)
    redis_client.set(control.KILL_SWITCH_KEY, "off")
    before = sorted(redis_client.keys())
    document = ops_json(SCRIPT, "--", hostile, port=redis_server.port)
    assert (document["exit"], document["why"]) == (3, hostile)
    told = write(redis_client, hostile, NOW_MS - 900)
    done = ops(SCRIPT, "--", hostile, port=redis_server.port)
    assert (done.returncode, done.stdout.splitlines()[0][:8]) == (0, "WHY     ")
    assert told.entry_id in done.stdout
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) < 30
    assert sorted(redis_client.keys()) == before
    assert not Path("/tmp/never").exists()


def test_bytes_that_are_no_text_are_asked_for_as_they_are(redis_server: RedisServer, redis_client: Redis) -> None:
    """A plan id of arbitrary bytes came in, and ended; an operator pastes it."""
    raw = b"\xff\xfe\x01"
    redis_client.xadd(plan.STREAM, {"plan_id": raw, "symbol": "BTCUSDT", "decision": "SKIP"})
    environment = {"PATH": os.environ["PATH"], "REDIS_PORT": str(redis_server.port)}
    done = subprocess.run(
        [b"bash", str(ROOT / "ops" / SCRIPT).encode(), raw], env=environment, capture_output=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert b"BTCUSDT decision=SKIP" in done.stdout


def test_rubbish_in_the_streams_is_told_and_not_believed(redis_server: RedisServer, redis_client: Redis) -> None:
    """Figures that are no JSON, or no numbers JSON knows, times that are none: shown as they stand."""
    told = write(redis_client, "p", NOW_MS - 2_000)
    for context in ("not JSON", "[1]", '{"a": NaN, "b": 1e999, "c": {"d": Infinity}}', '{"a":' * 3_000, "", b"\xff"):
        event: WrittenFields = {
            "gate": "p26",
            "plan_id": "p",
            "allow": "maybe",
            "context": context,
            "issued_at_ms": "x",
        }
        redis_client.xadd(permit.EVENTS, event, id=f"{NOW_MS - 1_000}-*")
    assert told_of(ops_json(SCRIPT, "p", port=redis_server.port)) == (
        told.entry_id,
        told.result_id,
        ["p33", *["p26"] * 6],
    )
    assert ops(SCRIPT, "p", port=redis_server.port).returncode == 0


def test_how_far_it_looked_is_said(
    redis_server: RedisServer, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without keys and index it looks back as long as there is time, here for one round, and says where that ended."""
    rng = random.Random(3)
    pipeline = redis_client.pipeline(transaction=False)
    begin_ms = NOW_MS - 40 * HOUR_MS
    for number in range(60_000):
        fields: WrittenFields = {"plan_id": f"{rng.getrandbits(64):x}", "symbol": "OTHERUSDT", "decision": "SKIP"}
        pipeline.xadd(plan.STREAM, fields, id=f"{begin_ms + number * 2_000}-0")
    pipeline.execute()
    said = "plans were looked through only back to "
    with RedisCli(["redis-cli", "-p", str(redis_server.port)]) as cli:
        monkeypatch.setattr(why, "SEARCH_S", 60.0)
        assert not [line for line in why.prove(cli, Namespace(what="never")).lines if said in line]
        monkeypatch.setattr(why, "SEARCH_S", 0.0)
        verdict = why.prove(cli, Namespace(what="never"))
    assert verdict.exit_code == 3
    assert begin_ms / 1000 < verdict.facts["looked_back_to"][plan.STREAM] < NOW_MS / 1000
    assert [line for line in verdict.lines if said in line]


def test_a_key_of_another_type_is_named(redis_server: RedisServer, redis_client: Redis) -> None:
    """A stream that is none: it cannot tell. A plan's key that is none: it tells the rest, and this."""
    write(redis_client, "p", NOW_MS - 2_000)
    redis_client.set(claim.key("p"), "x")
    document = ops_json(SCRIPT, "p", port=redis_server.port)
    assert document["exit"] == 0
    assert "quantum:apply:claim: WRONGTYPE" in document["problems"][0]
    redis_client.delete(permit.EVENTS)
    redis_client.set(permit.EVENTS, "x")
    done = ops(SCRIPT, "p", port=redis_server.port)
    assert done.returncode == 1
    assert "permit.events: WRONGTYPE" in done.stderr


def test_an_index_of_another_type_is_passed_over(redis_server: RedisServer, redis_client: Redis) -> None:
    """Somebody's hash under an index's name stops neither the search nor the count."""
    told = write(redis_client, "p", NOW_MS - 2_000)
    redis_client.hset(decision.index_key(NOW_MS // 60_000), "a", "b")
    count(redis_client)
    assert told_of(ops_json(SCRIPT, "p", port=redis_server.port))[0] == told.entry_id


def test_without_redis_it_cannot_tell() -> None:
    """Exit 1, with where it asked."""
    port = free_port()
    done = ops(SCRIPT, "BTCUSDT", port=port)
    assert done.returncode == 1
    assert f"no Redis at 127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], [""], ["--json"], ["--"], ["BTCUSDT", "ETHUSDT"], ["BTCUSDT", "--why"], ["x" * 600], ["--wrong", "B"]],
)
def test_a_wrong_call_ends_with_the_usage(redis_server: RedisServer, arguments: list[str]) -> None:
    """On standard error, exit 1."""
    done = ops(SCRIPT, *arguments, port=redis_server.port)
    assert done.returncode == 1
    assert "Usage: ops/why.sh" in done.stderr


def test_help_is_given(redis_server: RedisServer) -> None:
    """On standard output, exit 0."""
    done = ops(SCRIPT, "-h", port=redis_server.port)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: ops/why.sh" in done.stdout


def test_a_bare_machine_is_enough(redis_server: RedisServer, redis_client: Redis, tmp_path: Path) -> None:
    """bash, redis-cli, python3 and its standard library: no .venv, no jq."""
    folder = tmp_path / "suite"
    shutil.copytree(ROOT / "ops", folder / "ops", ignore=shutil.ignore_patterns("__pycache__"))
    told = write(redis_client, "p", NOW_MS - 2_000)
    tools = path_of_tools(tmp_path / "tools")
    environment = {"PATH": str(tools), "REDIS_PORT": str(redis_server.port)}
    done = subprocess.run(
        ["bash", str(folder / "ops" / SCRIPT), "p"], env=environment, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert told.entry_id in done.stdout


def test_it_only_reads(redis_server: RedisServer, redis_client: Redis) -> None:
    """A user who may do nothing but read is enough."""
    told = write(redis_client, "p", NOW_MS - 2_000)
    count(redis_client)
    redis_client.acl_setuser(
        "reader",
        enabled=True,
        nopass=True,
        keys=["%R~*"],
        categories=["+@read", "+@connection"],
        commands=["+eval_ro", "+time", "+multi", "+exec"],
    )
    try:
        document = ops_json(SCRIPT, "p", port=redis_server.port, REDIS_USERNAME="reader", REDIS_PASSWORD="x")
        assert told_of(document)[:2] == (told.entry_id, told.result_id)
        assert (
            told_of(ops_json(SCRIPT, "BTCUSDT", port=redis_server.port, REDIS_USERNAME="reader", REDIS_PASSWORD="x"))[0]
            == told.entry_id
        )
    finally:
        redis_client.acl_deluser("reader")
