"""Every result counted once, whatever happens to the service, its connection, its neighbours, group or stream."""

import contextlib
import logging
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from microservices.contracts import decision
from microservices.decision_intelligence import account
from microservices.decision_intelligence.batch import Limits, commit_calls
from microservices.decision_intelligence.message import Reader
from microservices.decision_intelligence.sending import send_as_made
from microservices.decision_intelligence.service import COMMIT, DecisionIntelligence
from tests.support.clock import FakeClock
from tests.support.counting import (
    GROUP,
    STREAM,
    Fields,
    add,
    counted,
    expected,
    run_dry,
    service,
    some_results,
    status,
)
from tests.support.redis_server import RedisServer
from tests.support.scale import scaled
from tests.support.tcp_proxy import Fault, TcpProxy

SKIP: Fields = {"decision": "SKIP", "error": "duplicate_plan", "symbol": "BTCUSDT"}


@pytest.fixture(autouse=True)
def _short_waits(redis_client: Redis) -> None:
    """A read that waits for 1 ms ends after 10 ms, not at the next tenth of a second."""
    redis_client.config_set("hz", 100)


@pytest.fixture
def clock() -> FakeClock:
    """A clock that shows Redis's own time until a test moves it."""
    return FakeClock(now=time.time())


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[TcpProxy]:
    """A proxy before the tests' Redis."""
    with TcpProxy(redis_server.port) as standing:
        yield standing


def client_through(proxy: TcpProxy) -> Redis:
    """A client of the proxy that never sends a command twice by itself."""
    return Redis(port=proxy.port, protocol=2, socket_timeout=5, retry=Retry(NoBackoff(), 0))


def total(redis: Redis) -> int:
    """How many messages all buckets hold."""
    return sum(counted(redis).decisions.values())


def settled(redis: Redis) -> int:
    """How many messages the status says were counted, put aside or lost."""
    row = status(redis)
    return row.processed_total + row.dead_letter_total + row.lost_total


def deliver_to(redis: Redis, consumer: str, count: int) -> list[str]:
    """Hand messages to a consumer that will never do anything with them."""
    answer: Any = redis.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=count)
    return [entry_id.decode() for _, entries in answer for entry_id, _ in entries]


@pytest.mark.parametrize("reads_ahead", [False, True])
@pytest.mark.parametrize("fault", [Fault.SWALLOW_REPLY, Fault.DROP, Fault.CUT])
@pytest.mark.parametrize("command", [b"XGROUP", b"XREADGROUP", b"EVALSHA", b"XINFO", b"HSET"])
def test_a_lost_command_or_reply_changes_nothing(
    redis_client: Redis, proxy: TcpProxy, command: bytes, fault: Fault, reads_ahead: bool
) -> None:
    """One by one, every command that the service sends is lost on its way there or back, or cut in the middle."""
    clock = FakeClock(now=time.time())
    sent = some_results(450, random.Random(2), clock.now())
    with client_through(proxy) as redis:
        instance = service(redis, clock, p35_batch_size=200, reads_ahead=reads_ahead)
        add(redis_client, sent[:50])
        proxy.next_request(fault, containing=command)
        run_dry(redis_client, clock, instance)
        add(redis_client, sent[50:])
        proxy.next_request(fault, containing=command)
        run_dry(redis_client, clock, instance)
    assert counted(redis_client) == expected(sent)
    assert status(redis_client).lost_total == 0
    assert proxy.injected[fault] >= 1


def test_a_unit_that_is_sent_again_counts_nothing_again(redis_client: Redis, clock: FakeClock) -> None:
    """Each call three times: counts, dead letters and lost entries alike; a plain MULTI over-counts here."""
    sent = some_results(250, random.Random(3), clock.now())
    rubbish: Fields = {"decision": b"\xff"}
    instance = service(redis_client, clock)
    instance.consume()
    add(redis_client, [*sent, rubbish, rubbish, SKIP, SKIP, SKIP])
    ids = deliver_to(redis_client, "one", 255)
    redis_client.xdel(STREAM, *ids[-3:])
    with service(redis_client, clock, "one")._consumer.rows() as rows:
        assert len(rows) == 255
        calls = list(commit_calls(rows, Reader().at(clock.now()), Limits(100, 400)))
        first, *others = [send_as_made(redis_client, COMMIT, calls).results() for _ in range(3)]
    assert [sum(outcome) for outcome in zip(*first, strict=True)] == [250, 2, 3, 0, 0]
    assert all(sum(answer) == 0 for answers in others for answer in answers)
    assert counted(redis_client) == expected(sent)
    row = status(redis_client)
    assert (row.processed_total, row.dead_letter_total, row.lost_total) == (250, 2, 3)
    assert redis_client.xlen(decision.DEAD_LETTER_STREAM) == 2


@pytest.mark.soak
def test_a_bad_network_costs_three_instances_nothing(redis_client: Redis, proxy: TcpProxy, clock: FakeClock) -> None:
    """One request in ten is swallowed, dropped or cut; they share the work and their counts add up."""
    rng = random.Random(5)
    faults = [Fault.SWALLOW_REPLY, Fault.DROP, Fault.CUT]
    clients = [client_through(proxy) for _ in range(3)]
    instances = [
        service(redis, clock, f"instance-{number}", p35_batch_size=80, p35_claim_idle_ms=100, reads_ahead=True)
        for number, redis in enumerate(clients)
    ]
    proxy.faults = lambda _request: rng.choice(faults) if rng.random() < 0.1 else Fault.NONE
    count = scaled(4_000)
    sent = some_results(count, random.Random(6), clock.now())
    for start in range(0, len(sent), 500):
        add(redis_client, sent[start : start + 500])
        for instance in instances:
            tick(instance)
    run_dry(redis_client, clock, *instances)
    assert counted(redis_client) == expected(sent)
    assert (status(redis_client).processed_total, status(redis_client).lost_total) == (count, 0)
    assert all(proxy.injected[fault] for fault in faults)
    for redis in clients:
        redis.close()


def tick(instance: DecisionIntelligence) -> None:
    """Tick once; an error is the runner's to meet."""
    with contextlib.suppress(RedisError):
        instance.consume()


def test_what_a_dead_consumer_left_is_taken_over(redis_client: Redis, clock: FakeClock) -> None:
    """Not before it was idle for its time, and all of it after."""
    patient = service(redis_client, clock, "patient", p35_claim_idle_ms=3_600_000)
    patient.consume()
    add(redis_client, [SKIP] * 250)
    deliver_to(redis_client, "dead", 250)
    clock.advance(3_600)  # time to look, by its own clock; Redis's says that nothing was idle for so long
    patient.consume()
    assert total(redis_client) == 0
    run_dry(redis_client, clock, service(redis_client, clock, p35_claim_idle_ms=150))
    assert total(redis_client) == 250


def test_a_slow_consumer_that_wakes_up_late_counts_only_what_is_still_its_own(
    redis_client: Redis, clock: FakeClock
) -> None:
    """Its batch was taken over and counted in part; when it commits at last, each message still counts once."""
    slow = service(redis_client, clock, "slow", p35_claim_idle_ms=86_400_000)
    add(redis_client, [SKIP] * 250)
    with slow._consumer.rows() as rows:
        successor = service(redis_client, clock, "successor", p35_claim_idle_ms=100)
        time.sleep(0.12)  # idle time is Redis's own; nothing happens that could be waited for
        successor.consume()
        counted_meanwhile = total(redis_client)
        slow._commit(rows)
    assert 0 < counted_meanwhile < 250
    run_dry(redis_client, clock, slow, successor)
    assert total(redis_client) == 250
    assert settled(redis_client) == 250


def test_a_restart_finishes_its_own_pending_first(redis_client: Redis, clock: FakeClock) -> None:
    """Read and not committed when it died: the same name goes on with it, before anything new."""
    dying = service(redis_client, clock, "one")
    add(redis_client, [SKIP] * 30)
    with dying._consumer.rows() as rows:
        assert len(rows) == 30
    add(redis_client, [{"decision": "EXECUTE"}])
    reborn = service(redis_client, clock, "one")
    reborn.consume()
    assert counted(redis_client).decisions == {"SKIP": 30}
    reborn.consume()
    assert counted(redis_client).decisions == {"SKIP": 30, "EXECUTE": 1}


def test_what_was_delivered_under_our_own_name_behind_our_back_is_found(redis_client: Redis, clock: FakeClock) -> None:
    """A read that we gave up may be done later than we looked for our own pending entries: none stays stuck."""
    instance = service(redis_client, clock, "one", p35_claim_idle_ms=1_000)
    add(redis_client, [SKIP] * 10)
    instance.consume()
    add(redis_client, [SKIP] * 7)
    deliver_to(redis_client, "one", 7)
    run_dry(redis_client, clock, instance)
    assert (total(redis_client), settled(redis_client)) == (17, 17)


def test_a_deleted_group_is_made_again_behind_what_was_counted(
    redis_client: Redis, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing counts twice; what only the old group knew is lost, exactly counted, with one ERROR line."""
    instance = service(redis_client, clock, p35_batch_size=40, p35_claim_idle_ms=86_400_000)
    instance.consume()
    add(redis_client, [SKIP] * 100)
    deliver_to(redis_client, "dead", 25)
    instance.consume()
    redis_client.xgroup_destroy(STREAM, GROUP)
    add(redis_client, [SKIP] * 10)
    run_dry(redis_client, clock, instance)
    assert total(redis_client) == 85
    assert (status(redis_client).lost_total, settled(redis_client)) == (25, 110)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert errors[0].startswith("25 results are lost")


def test_a_slow_consumers_commit_after_its_group_was_deleted_counts_nothing_twice(
    redis_client: Redis, clock: FakeClock
) -> None:
    """What lies behind the last commit is delivered anew, to whoever asks first; the old batch no longer counts."""
    slow, quick = service(redis_client, clock, "slow"), service(redis_client, clock, "quick")
    add(redis_client, [SKIP] * 60)
    with slow._consumer.rows() as rows:
        redis_client.xgroup_destroy(STREAM, GROUP)
        run_dry(redis_client, clock, quick)
        slow._commit(rows)
    run_dry(redis_client, clock, slow, quick)
    assert (total(redis_client), status(redis_client).lost_total) == (60, 0)


def test_a_commit_into_a_group_that_is_gone_does_not_move_where_it_is_made_again(
    redis_client: Redis, clock: FakeClock
) -> None:
    """It took nothing out of a pending list, so that nothing of it is done: all of it is delivered anew."""
    instance = service(redis_client, clock)
    add(redis_client, [SKIP] * 60)
    with instance._consumer.rows() as rows:
        redis_client.xgroup_destroy(STREAM, GROUP)
        instance._commit(rows)
    assert (total(redis_client), status(redis_client).last_id) == (0, "")
    run_dry(redis_client, clock, instance)
    assert (total(redis_client), status(redis_client).lost_total) == (60, 0)


def test_a_group_made_by_somebody_at_the_start_counts_nothing_again(redis_client: Redis, clock: FakeClock) -> None:
    """An operator's or a script's XGROUP CREATE at 0, or SETID back: acked, not counted, and told."""
    instance = service(redis_client, clock)
    add(redis_client, [SKIP] * 150)
    run_dry(redis_client, clock, instance)
    redis_client.xgroup_destroy(STREAM, GROUP)
    redis_client.xgroup_create(STREAM, GROUP, "0")
    add(redis_client, [SKIP] * 10)
    run_dry(redis_client, clock, instance)
    redis_client.xgroup_setid(STREAM, GROUP, "0")
    run_dry(redis_client, clock, instance)
    assert total(redis_client) == 160
    assert (status(redis_client).repeated_total, status(redis_client).lost_total) == (310, 0)


def test_a_deleted_stream_loses_what_it_held_and_the_next_one_counts(redis_client: Redis, clock: FakeClock) -> None:
    """As of the last commit: read and unread entries of the old stream are lost, all of the new one is counted."""
    instance = service(redis_client, clock, p35_batch_size=40, p35_claim_idle_ms=86_400_000)
    instance.consume()
    add(redis_client, [SKIP] * 100)
    deliver_to(redis_client, "dead", 15)
    instance.consume()
    redis_client.delete(STREAM)
    add(redis_client, [SKIP] * 7)
    run_dry(redis_client, clock, instance)
    assert total(redis_client) == 47
    assert status(redis_client).lost_total == 60
    add(redis_client, [SKIP] * 200)
    run_dry(redis_client, clock, instance)
    assert (total(redis_client), status(redis_client).lost_total) == (247, 60)


def test_an_emptied_redis_is_told_with_what_was_known(
    redis_client: Redis, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The counts are gone with their record: one ERROR line says what had been counted, and counting begins anew."""
    instance = service(redis_client, clock)
    add(redis_client, [SKIP] * 30)
    run_dry(redis_client, clock, instance)
    redis_client.flushall()
    add(redis_client, [SKIP] * 4)
    run_dry(redis_client, clock, instance)
    assert (total(redis_client), status(redis_client).lost_total) == (4, 0)
    (error,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "every count in Redis are gone; this process last saw: 30 counted, 0 dead letters, 0 lost" in error


def test_a_stream_and_group_replaced_by_somebody_are_told_from_the_old_ones(
    redis_client: Redis, clock: FakeClock
) -> None:
    """No error ever told of it: the new stream's counts do not hide what the old one still held."""
    instance = service(redis_client, clock, p35_batch_size=50)
    add(redis_client, [SKIP] * 90)
    instance.consume()
    redis_client.delete(STREAM)
    redis_client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    add(redis_client, [SKIP] * 20)
    run_dry(redis_client, clock, instance)
    assert (total(redis_client), status(redis_client).lost_total) == (70, 40)
    add(redis_client, [SKIP] * 200)
    run_dry(redis_client, clock, instance)
    assert (total(redis_client), status(redis_client).lost_total) == (270, 40)


def test_entries_trimmed_unread_are_lost_and_counted_as_such(redis_client: Redis, clock: FakeClock) -> None:
    """Somebody's MAXLEN was faster; judged once the group caught up, never before."""
    instance = service(redis_client, clock, p35_batch_size=10)
    add(redis_client, [SKIP] * 10)
    instance.consume()
    add(redis_client, [SKIP] * 100)
    redis_client.xtrim(STREAM, maxlen=30, approximate=False)
    clock.advance(6)
    instance.consume()
    assert status(redis_client).lost_total == 0
    run_dry(redis_client, clock, instance)
    assert (total(redis_client), status(redis_client).lost_total) == (40, 70)


def test_a_loss_that_two_instances_see_at_once_is_counted_once(redis_client: Redis, clock: FakeClock) -> None:
    """Both have looked before either writes it down: the second's judgement is of books that have changed."""
    instance = service(redis_client, clock)
    add(redis_client, [SKIP] * 10)
    run_dry(redis_client, clock, instance)
    add(redis_client, [SKIP] * 20)
    redis_client.xtrim(STREAM, maxlen=0)
    first, second = account._seen(redis_client), account._seen(redis_client)
    assert first[0].judgement.lost == second[0].judgement.lost == 20
    assert [account._recorded(redis_client, *each) for each in (first, second)] == [True, False]
    run_dry(redis_client, clock, instance)
    assert (total(redis_client), status(redis_client).lost_total) == (10, 20)


@pytest.mark.parametrize("owner", ["one", "dead"])
def test_pending_entries_whose_body_was_trimmed_are_lost_and_acked(
    redis_client: Redis, clock: FakeClock, owner: str
) -> None:
    """Own ones and those of a dead consumer: none stays pending for ever."""
    instance = service(redis_client, clock, "one", p35_claim_idle_ms=100)
    add(redis_client, [SKIP] * 5)
    run_dry(redis_client, clock, instance)
    add(redis_client, [SKIP] * 120)
    deliver_to(redis_client, owner, 120)
    redis_client.xtrim(STREAM, maxlen=50, approximate=False)
    run_dry(redis_client, clock, service(redis_client, clock, "one", p35_claim_idle_ms=100))
    assert (total(redis_client), status(redis_client).lost_total) == (55, 70)
    assert redis_client.xpending(STREAM, GROUP)["pending"] == 0


def test_what_others_ack_or_delete_in_our_group_is_lost_not_forgotten(redis_client: Redis, clock: FakeClock) -> None:
    """A foreign XACK, a deleted consumer with its pending entries, a deleted entry."""
    instance = service(redis_client, clock, p35_claim_idle_ms=86_400_000)
    instance.consume()
    ids = add(redis_client, [SKIP] * 30)
    handed = deliver_to(redis_client, "stranger", 10)
    redis_client.xack(STREAM, GROUP, *handed[:4])
    redis_client.xgroup_delconsumer(STREAM, GROUP, "stranger")
    redis_client.xdel(STREAM, ids[-1])
    run_dry(redis_client, clock, instance)
    assert (total(redis_client), status(redis_client).lost_total) == (19, 11)


def test_a_forgotten_status_begins_new_books_and_loses_nothing(redis_client: Redis, clock: FakeClock) -> None:
    """An operator who deletes the status hash resets its totals; that is no loss of messages."""
    instance = service(redis_client, clock)
    add(redis_client, [SKIP] * 50)
    run_dry(redis_client, clock, instance)
    redis_client.delete(decision.STATUS_KEY)
    add(redis_client, [SKIP] * 20)
    run_dry(redis_client, clock, instance)
    assert total(redis_client) == 70
    assert (status(redis_client).processed_total, status(redis_client).lost_total) == (20, 0)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(scaled(6)))
def test_whatever_happens_in_whatever_order_every_message_has_one_fate(
    redis_client: Redis, clock: FakeClock, seed: int
) -> None:
    """Three instances, and somebody who adds, trims, destroys, deletes and dies at random: counted and lost add up."""
    rng = random.Random(seed)
    instances = {name: busy_service(redis_client, clock, name) for name in ("a", "b", "c")}
    instances["a"].consume()
    sent = 0
    for _ in range(120):
        clock.advance(1.5)
        what = rng.random()
        if what < 0.35:
            count = rng.randint(1, 60)
            add(redis_client, [SKIP] * count)
            sent += count
        elif what < 0.80:
            instances[rng.choice("abc")].consume()
        elif what < 0.88:
            name = rng.choice("abc")
            instances[name] = busy_service(redis_client, clock, name)
        elif what < 0.92 and redis_client.exists(STREAM) and redis_client.xinfo_groups(STREAM):
            deliver_to(redis_client, rng.choice("abc"), rng.randint(1, 40))
        elif what < 0.95:
            redis_client.xtrim(STREAM, maxlen=rng.randint(0, 100), approximate=False)
        elif what < 0.98:
            redis_client.xgroup_destroy(STREAM, GROUP)
        else:
            look_at_the_books(clock, instances["a"])
            redis_client.delete(STREAM)
            look_at_the_books(clock, instances["b"])
    run_dry(redis_client, clock, *instances.values())
    row = status(redis_client)
    assert total(redis_client) == row.processed_total
    assert row.processed_total + row.lost_total == sent
    assert row.processed_total > 0


def busy_service(redis: Redis, clock: FakeClock, name: str) -> DecisionIntelligence:
    """One of several, of small batches, quick to take over, reading ahead."""
    return service(redis, clock, name, p35_batch_size=30, p35_claim_idle_ms=100, reads_ahead=True)


def look_at_the_books(clock: FakeClock, instance: DecisionIntelligence) -> None:
    """Let an instance look, as each does every second; what was added after the last look dies with its stream."""
    clock.advance(10)
    instance.consume()
