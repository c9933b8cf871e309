"""Decision intelligence against a real Redis: what it counts, where it stands, what it refuses."""

import json
import logging
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import REGISTRY
from redis import Redis
from redis.exceptions import NoPermissionError, OutOfMemoryError, ResponseError

from microservices.contracts import decision
from microservices.contracts.decision import BUCKET_TTL_S, WINDOW_TTL_S, Window
from microservices.contracts.fields import Unreadable
from microservices.decision_intelligence.index import MARK_BYTES
from tests.support.clock import FakeClock
from tests.support.counting import (
    GROUP,
    STREAM,
    Counts,
    Fields,
    add,
    counted,
    expected,
    is_settled,
    run_dry,
    service,
    some_results,
    status,
)
from tests.support.redis_server import RedisServer

QUIET = {b"EXECUTE": b"0", b"SKIP": b"0", b"BLOCKED": b"0", b"ERROR": b"0"}


@pytest.fixture(autouse=True)
def _short_waits(redis_client: Redis) -> None:
    """A read that waits for 1 ms ends after 10 ms, not at the next tenth of a second."""
    redis_client.config_set("hz", 100)


@pytest.fixture
def clock() -> FakeClock:
    """A clock that shows Redis's own time until a test moves it."""
    return FakeClock(now=time.time())


def counts_of(redis: Redis, window: Window) -> dict[bytes, bytes]:
    """Read a window's decisions."""
    counts: Any = redis.hgetall(decision.counts_key(window))
    return dict(counts)


def top_of(redis: Redis, key: str) -> dict[str, float]:
    """Read a top list."""
    members: Any = redis.zrange(key, 0, -1, withscores=True)
    return {name.decode(): score for name, score in members}


def pending(redis: Redis) -> int:
    """Count what the group has handed out and nobody has acked."""
    return int(redis.xpending(STREAM, GROUP)["pending"])


def test_every_shape_is_counted_where_it_belongs(redis_client: Redis, clock: FakeClock) -> None:
    """What was in the stream before the group existed counts too, and every bucket says when it ends."""
    sent = some_results(700, random.Random(1), clock.now())
    add(redis_client, sent)
    run_dry(redis_client, clock, service(redis_client, clock, p35_batch_size=300))
    assert counted(redis_client) == expected(sent)
    assert status(redis_client).processed_total == 700
    for key in redis_client.scan_iter("quantum:p35:bucket:*"):
        assert BUCKET_TTL_S - 60 < redis_client.ttl(key) <= BUCKET_TTL_S


def test_equal_messages_are_messages_of_their_own(redis_client: Redis, clock: FakeClock) -> None:
    """Only the entry id tells them apart; the same plan reported twice was reported twice."""
    add(redis_client, [{"plan_id": "p", "decision": "SKIP", "error": "duplicate_plan"}] * 250)
    run_dry(redis_client, clock, service(redis_client, clock))
    assert counted(redis_client).decisions == {"SKIP": 250}


def test_windows_follow_the_clock_and_fall_to_zero(redis_client: Redis, clock: FakeClock) -> None:
    """A message leaves each window after its minutes; top lists vanish, UNKNOWN with them, counts stay as zeros."""
    instance = service(redis_client, clock)
    add(redis_client, [{"decision": "HOLD", "symbol": "BTCUSDT", "error": "kill_score"}, {"decision": "EXECUTE"}])
    instance.consume()
    instance.snapshot()
    for window in Window:
        assert counts_of(redis_client, window) == QUIET | {b"UNKNOWN": b"1", b"EXECUTE": b"1"}
        assert top_of(redis_client, decision.reasons_key(window)) == {"kill_score": 1}
        assert top_of(redis_client, decision.symbol_reasons_key(window)) == {"BTCUSDT:kill_score": 1}
        for key in (decision.counts_key(window), decision.reasons_key(window), decision.symbol_reasons_key(window)):
            assert WINDOW_TTL_S - 60 < redis_client.ttl(key) <= WINDOW_TTL_S
    for window in Window:
        clock.advance(60 * window.minutes)
        instance.snapshot()
        assert counts_of(redis_client, window) == QUIET
        assert not redis_client.exists(decision.reasons_key(window), decision.symbol_reasons_key(window))
    assert status(redis_client).snapshot_ts == int(clock.now())


def test_windows_go_on_across_midnight(redis_client: Redis) -> None:
    """Five minutes to and five after are one window of a quarter of an hour."""
    midnight = datetime(2027, 1, 16, tzinfo=UTC).timestamp()
    clock = FakeClock(now=midnight + 5 * 60)
    times = range(-9, 6)
    add(redis_client, [{"decision": "SKIP", "timestamp": f"{midnight + 60 * minute:.0f}"} for minute in times])
    instance = service(redis_client, clock)
    instance.consume()
    instance.snapshot()
    found = {window: int(counts_of(redis_client, window)[b"SKIP"]) for window in Window}
    assert found == {Window.M1: 1, Window.M5: 5, Window.M15: 15, Window.H1: 15}
    assert redis_client.hget("quantum:p35:bucket:202701152359", "decision:SKIP") == b"1"
    assert redis_client.hget("quantum:p35:bucket:202701160000", "decision:SKIP") == b"1"


def test_a_late_message_counts_in_its_own_minute_and_in_windows_that_reach_back(
    redis_client: Redis, clock: FakeClock
) -> None:
    """Ten minutes old: not in 5m, in 15m. Three days old: the minute of its id, and told apart."""
    instance = service(redis_client, clock)
    ten_minutes, three_days = clock.now() - 600, clock.now() - 3 * 86_400
    add(redis_client, [{"decision": "SKIP", "timestamp": f"{ten_minutes:.0f}"}])
    add(redis_client, [{"decision": "ERROR", "timestamp": f"{three_days:.0f}"}])
    instance.consume()
    instance.snapshot()
    assert counts_of(redis_client, Window.M5) == QUIET | {b"ERROR": b"1"}
    assert counts_of(redis_client, Window.M15) == QUIET | {b"ERROR": b"1", b"SKIP": b"1"}
    assert (status(redis_client).late_total, status(redis_client).processed_total) == (1, 2)


def test_what_cannot_be_counted_is_put_aside_and_blocks_nothing(redis_client: Redis, clock: FakeClock) -> None:
    """With its reason, its id and its bytes; the message behind it counts."""
    rubbish: Fields = {b"decision": b"\xff\x00", b"x": b"\xfe"}
    ids = add(redis_client, [{"decision": "SKIP"}, rubbish, {"decision": "SKIP"}, {"unknown": "shape"}])
    run_dry(redis_client, clock, service(redis_client, clock))
    assert counted(redis_client).decisions == {"SKIP": 2, "UNKNOWN": 1}
    letters: Any = redis_client.xrange(decision.DEAD_LETTER_STREAM)
    [(_, letter)] = letters
    assert letter == {
        b"reason": b"decision_not_text",
        b"id": ids[1].encode(),
        b"field:decision": b"\xff\x00",
        b"field:x": b"\xfe",
    }
    assert (status(redis_client).dead_letter_total, status(redis_client).lost_total) == (1, 0)


def test_dead_letters_are_kept_up_to_their_number(
    redis_client: Redis, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rubbish without end does not fill the Redis that carries the permits: the oldest go, the total goes on."""
    monkeypatch.setattr(decision, "DEAD_LETTER_MAXLEN", 100)
    redis_client.config_set("stream-node-max-entries", 10)  # Redis cuts whole nodes
    try:
        ids = add(redis_client, [{"decision": b"\xff"}] * 450)
        run_dry(redis_client, clock, service(redis_client, clock))
    finally:
        redis_client.config_set("stream-node-max-entries", 100)
    assert 100 <= redis_client.xlen(decision.DEAD_LETTER_STREAM) <= 120
    newest: Any = redis_client.xrevrange(decision.DEAD_LETTER_STREAM, count=1)
    assert newest[0][1][b"id"].decode() == ids[-1]
    assert status(redis_client).dead_letter_total == 450


def test_a_bucket_stays_within_its_bounds_over_batches_and_instances(redis_client: Redis, clock: FakeClock) -> None:
    """What is beyond them counts under __other__, nothing is dropped, and what was known before still counts."""
    caps: Any = {"p35_max_reasons": 20, "p35_max_symbol_reasons": 50, "p35_batch_size": 70}
    stamp = f"{clock.now():.0f}"
    sent: list[Fields] = [
        {"decision": "BLOCKED", "error": f"reason_{number % 90}", "symbol": f"S{number}", "timestamp": stamp}
        for number in range(600)
    ]
    add(redis_client, [{"decision": "EXECUTE", "timestamp": stamp}, *sent])
    run_dry(
        redis_client, clock, service(redis_client, clock, "one", **caps), service(redis_client, clock, "two", **caps)
    )
    found = counted(redis_client)
    assert sum(found.reasons.values()) == 601
    assert sum(found.symbol_reasons.values()) == 600
    assert len(found.reasons.keys() - {"__other__", "none"}) == 20
    assert len(found.symbol_reasons.keys() - {"__other__:__other__"}) == 50
    known = next(reason for reason in found.reasons if reason.startswith("reason_"))
    add(redis_client, [{"decision": "BLOCKED", "error": known, "timestamp": stamp}])
    run_dry(redis_client, clock, service(redis_client, clock, **caps))
    assert counted(redis_client).reasons[known] == found.reasons[known] + 1


def test_without_the_breakdown_there_is_none(redis_client: Redis, clock: FakeClock) -> None:
    """ENABLE_SYMBOL_BREAKDOWN=false."""
    add(redis_client, [{"decision": "SKIP", "symbol": "BTCUSDT", "error": "kill_score"}])
    run_dry(redis_client, clock, service(redis_client, clock, enable_symbol_breakdown=False))
    assert counted(redis_client) == Counts({"SKIP": 1}, {"kill_score": 1}, {})  # type: ignore[arg-type] # dicts compare


def test_the_heartbeat_comes_with_traffic_and_without(redis_client: Redis, clock: FakeClock) -> None:
    """Never older than ten seconds, with who counts and how far behind it is."""
    instance = service(redis_client, clock, p35_batch_size=10)
    began = clock.now()
    for round_number in range(30):
        if round_number % 2:
            add(redis_client, [{"decision": "SKIP"}] * 2)
        clock.advance(4)
        instance.consume()
        assert clock.now() - status(redis_client).last_ts < decision.HEARTBEAT_S
    clock.advance(6)
    instance.consume()
    row = status(redis_client)
    assert (row.consumer_name, row.service_start_ts, row.processed_total) == ("one", int(began), 30)
    assert (row.lag, row.pending_estimate) == (0, 0)
    assert "30 counted" in instance.status_line()


def test_the_log_says_how_it_goes_at_most_every_ten_seconds(
    redis_client: Redis, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Count, lag and pending, where the count moved; never a line a message."""
    caplog.set_level(logging.INFO)
    instance = service(redis_client, clock, p35_batch_size=10)
    for _ in range(60):
        add(redis_client, [{"decision": "SKIP"}] * 10)
        clock.advance(1)
        instance.consume()
    clock.advance(60)
    instance.consume()
    instance.consume()
    lines = [message for message in caplog.messages if "counted" in message]
    assert len(lines) <= 8
    assert lines[-1] == "600 counted, 0 dead letters, 0 lost, lag 0, pending 0"


def test_an_index_that_cannot_be_written_stops_no_count(
    redis_client: Redis, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody's hash under its name: one WARNING a batch, and every message counted."""
    add(redis_client, [{"decision": "SKIP", "plan_id": "p"}] * 30)
    newest: Any = redis_client.xrevrange(STREAM, count=1)
    minute = int(newest[0][0].partition(b"-")[0]) // 60_000
    for each in (minute - 1, minute):
        redis_client.hset(decision.index_key(each), "a", "b")
    run_dry(redis_client, clock, service(redis_client, clock))
    assert counted(redis_client).decisions == {"SKIP": 30}
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("Results are not noted in the index: WRONGTYPE")


def test_a_batch_that_cannot_be_counted_is_noted_once(redis_client: Redis, clock: FakeClock) -> None:
    """However often it is tried, the Redis that carries the permits does not fill up; mended, it is counted."""
    ids = add(redis_client, [{"decision": "SKIP", "plan_id": f"p{number}", "timestamp": "0"} for number in range(30)])
    redis_client.set(decision.DEAD_LETTER_STREAM, "not a stream")
    instance = service(redis_client, clock, reads_ahead=True, p35_batch_size=10)
    for _ in range(5):
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            instance.consume()
    minutes = {int(entry_id.partition("-")[0]) // 60_000 for entry_id in ids}
    assert sum(redis_client.strlen(decision.index_key(minute)) for minute in minutes) == 10 * MARK_BYTES
    redis_client.delete(decision.DEAD_LETTER_STREAM)
    run_dry(redis_client, clock, instance)
    assert counted(redis_client).decisions == {"SKIP": 30}
    assert sum(redis_client.strlen(decision.index_key(minute)) for minute in minutes) == 30 * MARK_BYTES


def test_how_far_behind_it_is_is_told(redis_client: Redis, clock: FakeClock) -> None:
    """Lag by Redis's own figure; where a deletion took that away, by the books."""
    instance = service(redis_client, clock, p35_batch_size=10)
    ids = add(redis_client, [{"decision": "SKIP"}] * 50)
    instance.consume()
    clock.advance(6)
    instance.consume()
    assert status(redis_client).lag == 30
    redis_client.xdel(STREAM, ids[-5])
    clock.advance(6)
    instance.consume()
    assert 19 <= status(redis_client).lag <= 20


def test_the_first_messages_are_shown_at_once(redis_client: Redis, clock: FakeClock) -> None:
    """The snapshot's pause ends with the first count, and only with the first."""
    instance = service(redis_client, clock)
    wake = next(loop.wake for loop in instance.loops() if loop.name == "snapshot")
    instance.consume()
    assert not wake.is_set()
    for woken in (True, False):
        wake.clear()
        add(redis_client, [{"decision": "SKIP"}])
        instance.consume()
        assert wake.is_set() is woken


@pytest.mark.parametrize("key", [decision.STATUS_KEY, decision.DEAD_LETTER_STREAM, "bucket"])
def test_a_key_of_another_type_stops_the_count_before_anything_is_acked(
    redis_client: Redis, clock: FakeClock, key: str
) -> None:
    """Loudly, and whole: nothing is lost, and once the key is gone everything counts (I-06)."""
    key = decision.bucket_key(int(clock.now() // 60)) if key == "bucket" else key
    instance = service(redis_client, clock)
    instance.consume()
    redis_client.delete(key)
    redis_client.set(key, "a string")
    add(redis_client, [{"decision": "SKIP", "timestamp": f"{clock.now():.0f}"}] * 10)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        instance.consume()
    assert pending(redis_client) == 10
    redis_client.delete(key)
    run_dry(redis_client, clock, instance)
    assert counted(redis_client).decisions == {"SKIP": 10}


@pytest.mark.parametrize("missing", ["hset", "hmget", "hkeys", "expire", "xadd"])
def test_a_user_who_may_not_write_all_of_it_acks_nothing(
    redis_server: RedisServer, redis_client: Redis, clock: FakeClock, missing: str
) -> None:
    """A gap in the access rules stops the count before anything is acked; with the gap closed everything counts."""
    instance = service(redis_client, clock)
    instance.consume()
    add(redis_client, [{"decision": "SKIP", "error": "a"}] * 10)
    redis_client.acl_setuser("default", enabled=True, commands=[f"-{missing}"])
    try:
        with pytest.raises(NoPermissionError):
            instance.consume()
    finally:
        redis_client.acl_setuser("default", enabled=True, categories=["+@all"])
    assert pending(redis_client) == 10
    assert counted(redis_client).decisions == {}
    run_dry(redis_client, clock, instance)
    assert counted(redis_client)[:2] == ({"SKIP": 10}, {"a": 10})


def test_a_field_that_holds_no_number_begins_anew(redis_client: Redis, clock: FakeClock) -> None:
    """Somebody's hand in a bucket or in the status does not leave half a batch counted."""
    stamp = f"{clock.now():.0f}"
    bucket = decision.bucket_key(int(clock.now() // 60))
    redis_client.hset(bucket, mapping={"decision:SKIP": "many", "reason:a": "1.5", "symbol_reason:S:a": "nan"})
    redis_client.hset(decision.STATUS_KEY, "processed_total", "inf")
    instance = service(redis_client, clock)
    with pytest.raises(Unreadable):
        instance.consume()
    redis_client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    add(redis_client, [{"decision": "SKIP", "error": "a", "symbol": "S", "timestamp": stamp}] * 10)
    with pytest.raises(Unreadable):
        instance.consume()
    redis_client.hdel(decision.STATUS_KEY, "processed_total")
    run_dry(redis_client, clock, instance)
    assert counted(redis_client) == ({"SKIP": 10}, {"a": 10}, {"S:a": 10})
    assert status(redis_client).processed_total == 10


def test_a_message_that_calls_itself_other_is_not_overwritten_by_the_rest(
    redis_client: Redis, clock: FakeClock
) -> None:
    """A reason `__other__` and reasons beyond the bound share one field, in one call."""
    errors = ["__other__", *(f"reason_{number}" for number in range(9)), "__other__"]
    add(redis_client, [{"decision": "BLOCKED", "error": error} for error in errors])
    run_dry(redis_client, clock, service(redis_client, clock, p35_max_reasons=4))
    found = counted(redis_client).reasons
    assert (found["__other__"], sum(found.values()), len(found)) == (7, 11, 5)


def test_a_full_redis_counts_wholly_or_not_at_all(redis_client: Redis, clock: FakeClock) -> None:
    """At maxmemory without eviction what is acked is counted, though the heartbeat fails; with room all goes on."""
    instance = service(redis_client, clock)
    instance.consume()
    add(redis_client, [{"decision": "SKIP", "error": "a"}] * 300)
    clock.advance(10)
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            instance.consume()
        assert counted(redis_client).decisions["SKIP"] + pending(redis_client) + unread(redis_client) == 300
    finally:
        redis_client.config_set("maxmemory", 0)
    run_dry(redis_client, clock, instance)
    assert counted(redis_client)[:2] == ({"SKIP": 300}, {"a": 300})


def unread(redis: Redis) -> int:
    """Count what the group has not delivered."""
    entries: Any = redis.xrange(STREAM, b"(" + redis.xinfo_groups(STREAM)[0]["last-delivered-id"])
    return len(entries)


def test_a_server_that_forgot_the_script_is_told_again(redis_client: Redis, clock: FakeClock) -> None:
    """As after a restart or a failover."""
    instance = service(redis_client, clock)
    redis_client.script_flush()
    add(redis_client, [{"decision": "SKIP"}] * 250)
    instance.consume()
    assert counted(redis_client).decisions == {"SKIP": 250}
    assert is_settled(redis_client)


def test_the_figures_are_measured(redis_client: Redis, clock: FakeClock) -> None:
    """By outcome, as this process settled them, and as the status says."""
    before = REGISTRY.get_sample_value("quantum_p35_messages_total", {"outcome": "counted"}) or 0.0
    add(redis_client, [{"decision": "SKIP"}, {"decision": b"\xff"}])
    instance = service(redis_client, clock)
    run_dry(redis_client, clock, instance)
    instance.snapshot()
    assert REGISTRY.get_sample_value("quantum_p35_messages_total", {"outcome": "counted"}) == before + 1
    assert REGISTRY.get_sample_value("quantum_p35_dead_letter_total") == 1
    assert REGISTRY.get_sample_value("quantum_p35_snapshot_timestamp_seconds") == clock.now()


def test_a_snapshot_of_buckets_filled_to_the_caps_is_whole(redis_client: Redis, clock: FakeClock) -> None:
    """Sixty buckets of a hundred reasons and four hundred breakdowns; the benchmark says how long that takes."""
    minute = int(clock.now() // 60)
    reasons = sorted(f"reason_{number}" for number in range(100))
    bucket: dict[Any, Any] = {decision.reason_field(reason): 3 for reason in reasons}
    bucket |= {decision.symbol_reason_field(f"SYMBOL{number}USDT", "kill_score"): 2 for number in range(400)}
    pipeline = redis_client.pipeline(transaction=False)
    for back in range(60):
        pipeline.hset(decision.bucket_key(minute - back), mapping=bucket)
    pipeline.execute()
    instance = service(redis_client, clock)
    instance.snapshot()
    assert top_of(redis_client, decision.reasons_key(Window.H1)) == dict.fromkeys(reasons[:50], 180.0)


def run_main(redis_server: RedisServer, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the service as a process."""
    command = [sys.executable, "-m", "microservices.decision_intelligence.main", *arguments]
    given = {"REDIS_PORT": str(redis_server.port), "P35_METRICS_PORT": "0", "P35_BLOCK_MS": "10"} | environment
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=20)


def test_once_counts_and_shows_what_is_there(redis_server: RedisServer, redis_client: Redis) -> None:
    """Run by hand: one batch, one snapshot, and out."""
    add(redis_client, [{"decision": "SKIP"}] * 20)
    ended = run_main(redis_server, "--once", P35_INSTANCE="b")
    assert ended.returncode == 0, ended.stderr
    assert counts_of(redis_client, Window.H1)[b"SKIP"] == b"20"
    assert status(redis_client).consumer_name.endswith("-b")


def test_a_wrong_setting_stops_it_with_one_line(redis_server: RedisServer) -> None:
    """The variable, what it was, what is allowed; 78 as systemd knows it."""
    ended = run_main(redis_server, P35_BLOCK_MS="5000")
    assert ended.returncode == 78
    assert ended.stderr == "P35_BLOCK_MS='5000': allowed is a whole number, at least 1 and at most 2000\n"


def test_the_recorded_records_are_counted(redis_client: Redis, clock: FakeClock) -> None:
    """Entries as a live system of this kind wrote them, by their fields."""
    live: list[Fields] = [
        {
            "plan_id": "c07e735d4cb0ef1e",
            "symbol": "BTCUSDT",
            "decision": "SKIP",
            "executed": "False",
            "would_execute": "False",
            "steps_results": "[]",
            "error": "kill_score_close_ok",
            "timestamp": "1771359991",
        },
        {"plan_id": "22d1a50291235037", "executed": "false"},
        {"plan_id": "8fa14eb3c55d9ee4", "executed": "false", "error": "symbol_not_in_allowlist:WAVESUSDT"},
        {"details": json.dumps({"decision": "BLOCKED", "error": "p33_permit_denied:no_exchange_snapshot"}), "": ""},
    ]
    add(redis_client, live)
    run_dry(redis_client, clock, service(redis_client, clock))
    assert counted(redis_client).decisions == {"SKIP": 2, "BLOCKED": 2}
    assert counted(redis_client).reasons == {
        "kill_score_close_ok": 1,
        "none": 1,
        "symbol_not_in_allowlist": 1,
        "p33_permit_denied": 1,
    }
