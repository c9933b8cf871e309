"""The universe service on a real Redis beside a server that answers, or misbehaves: every row of "Failing closed"."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from redis import Redis

from microservices.contracts import hashes, universe
from microservices.contracts.account import KEY as ACCOUNT_KEY
from microservices.contracts.control import BACKOFF_KEY, Mode
from microservices.contracts.fields import WrittenFields
from microservices.contracts.universe_reader import Tier, UniverseReader
from microservices.exchange.transport import BODY_LIMIT_BYTES
from microservices.runtime import Refused
from microservices.universe_service.publication import INSTRUMENT_KEPT_S, SHRINK_ACCEPTED_AFTER_S
from tests.support.exchange_info import answer, entry, listing
from tests.support.http_server import HttpServer
from tests.support.http_server import answer as http_answer
from tests.support.ports import free_port
from tests.support.universe_world import META_OF_A_FAILURE, NOW, Keys, World

BODY = answer([entry("BTCUSDT"), entry("ETHUSDT"), entry("OPUSDT"), entry("LUNAUSDT", status="SETTLING")])


@pytest.fixture
def world(redis_client: Redis) -> Iterator[World]:
    """An empty Redis beside an exchange that answers well."""
    with HttpServer() as server:
        server.say(BODY)
        yield World(redis_client, server)


def changed_meta(before: Keys, after: Keys) -> set[bytes]:
    """Name the fields of meta that differ."""
    return {name for name in {*before.meta, *after.meta} if before.meta.get(name) != after.meta.get(name)}


def test_a_success_publishes_everything_together(world: World) -> None:
    """List, last good list, meta and instruments agree with one another and with the schema."""
    pause_s = world.started().refresh()
    keys = world.keys()
    assert keys.active == keys.last_ok
    assert msgspec.json.decode(keys.active or b"") == {
        "asof_epoch": NOW,
        "source": "binance_futures_exchangeInfo",
        "mode": "paper",
        "symbols": ["BTCUSDT", "ETHUSDT"],
        "filters": {"contractType": "PERPETUAL", "status": "TRADING"},
    }
    assert keys.meta == {
        b"asof_epoch": b"%d" % NOW,
        b"last_ok_epoch": b"%d" % NOW,
        b"count": b"2",
        b"stale": b"0",
        b"error": b"",
        b"mode": b"paper",
        b"dropped": b"1",
        b"last_attempt_epoch": b"%d" % NOW,
    }
    assert {name.decode() for name in keys.instruments} == {"BTCUSDT", "ETHUSDT", "OPUSDT", "LUNAUSDT"}
    assert keys.instrument("LUNAUSDT").status == "SETTLING"
    assert pause_s == 60
    assert [world.redis.ttl(key) for key in world.redis.keys("quantum:cfg:universe:*")] == [-1] * 4


def test_no_reader_ever_sees_a_mix(world: World) -> None:
    """Every command of a publication goes through one MULTI and EXEC."""
    service = world.started()
    redis: Any = world.redis
    with redis.monitor() as monitor:
        service.refresh()
        world.redis.echo("end")
        commands = []
        for said in monitor.listen():
            if said["command"].startswith("ECHO"):
                break
            commands.append(said["command"].split()[0])
    published = commands[commands.index("SET") - 1 :]
    assert published == ["MULTI", "SET", "SET", "DEL", "HSET", "HSET", "EXEC"]


def test_the_readers_tier_follows(world: World) -> None:
    """What the service writes is what every gate reads: first the list, and the last good one while it is stale."""
    reader = UniverseReader(world.redis, Mode.PAPER)
    service = world.started()
    reader.refresh()
    assert reader.current(NOW).source is Tier.NONE
    service.refresh()
    reader.refresh()
    assert reader.current(NOW).source is Tier.UNIVERSE
    world.server.say(b"", 503)
    service.refresh()
    reader.refresh()
    assert reader.current(NOW).source is Tier.LAST_OK


def hang(_: object, connection: socket.socket) -> None:
    """Answer nothing at all."""
    connection.recv(1)


def reset(_: object, connection: socket.socket) -> None:
    """Hang up in the middle of the body."""
    connection.sendall(http_answer(BODY)[:-100])
    connection.shutdown(socket.SHUT_RDWR)


def huge(_: object, connection: socket.socket) -> None:
    """Answer more than anybody could mean."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n[")
    for _chunk in range(BODY_LIMIT_BYTES // 1_000_000 + 2):
        connection.sendall(b" " * 1_000_000)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (http_answer(b'{"code":-1121,"msg":"Invalid symbol."}', 400), "HTTP 400"),
        (http_answer(b"Forbidden", 403), "HTTP 403"),
        (http_answer(b"<html>Bad gateway</html>", 502), "HTTP 502"),
        (http_answer(b'{"code":-1000,"msg":"Unknown error"}', 503), "HTTP 503"),
        (http_answer(b"<html>Sign in to the hotel's network</html>"), "HTML"),
        (http_answer(b"", 302, Location="http://127.0.0.1:1/"), "redirect"),
        (hang, "no answer within 0.2 s"),
        (reset, "truncated"),
        (huge, f"over {BODY_LIMIT_BYTES} bytes"),
    ],
    ids=["400", "403", "502", "503", "html", "redirect", "timeout", "truncated", "huge"],
)
def test_a_fetch_that_fails_changes_only_stale_error_and_last_attempt(
    world: World, raw: bytes | Callable[..., None], says: str
) -> None:
    """The list stays as it is and is called stale; the error says what happened."""
    service = world.started(timeout_s=0.2 if raw is hang else 5.0)
    service.refresh()
    before = world.keys()
    if isinstance(raw, bytes):
        world.server.send(raw)
    else:
        world.server.handler = raw
    world.clock.advance(60)
    pause_s = service.refresh()
    after = world.keys()
    assert (after.active, after.last_ok, after.instruments) == (before.active, before.last_ok, before.instruments)
    assert changed_meta(before, after) == META_OF_A_FAILURE
    assert (after.say("stale"), after.say("last_attempt_epoch")) == ("1", str(NOW + 60))
    assert says in after.say("error")
    assert pause_s < 2


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:{free}", "connection failed (NewConnectionError)"),
        ("http://no-such-host.invalid", "connection failed (NameResolutionError)"),
    ],
    ids=["refused", "dns"],
)
def test_an_exchange_that_cannot_be_reached_is_named(world: World, url: str, says: str) -> None:
    """Nobody listens, or nobody knows the name."""
    world.started(url=url.format(free=free_port())).refresh()
    assert world.keys().say("error") == f"no_list: GET /fapi/v1/exchangeInfo: {says}"


def test_an_exchange_without_tls_where_tls_is_asked_for_is_named(world: World) -> None:
    """What answers is not believed to be the exchange."""

    def answer_plainly(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"plain text, no TLS\r\n")
            connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_plainly, args=(listener,))
        thread.start()
        world.started(url=f"https://127.0.0.1:{listener.getsockname()[1]}").refresh()
        thread.join(5)
    assert world.keys().say("error") == "no_list: GET /fapi/v1/exchangeInfo: connection failed (SSLError)"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{'symbols': []}", "not JSON"),
        (b'{"coins": {}}', "not an object with a symbols list"),
        (answer([entry("BTCUSDT", filters=[])]), "1 of 1 entries without usable fields or filters"),
        (answer([]), "no symbol left"),
        (listing(801), "801 symbols are more than UNIVERSE_MAX=800"),
    ],
    ids=["not-json", "no-symbols", "unusable", "empty", "too-many"],
)
def test_an_answer_that_is_rejected_changes_as_little(world: World, body: bytes, says: str) -> None:
    """Validation says exactly why, and publishes nothing."""
    service = world.started()
    service.refresh()
    before = world.keys()
    world.clock.advance(60)
    world.server.say(body)
    service.refresh()
    after = world.keys()
    assert (after.active, after.last_ok, after.instruments) == (before.active, before.last_ok, before.instruments)
    assert changed_meta(before, after) == META_OF_A_FAILURE
    assert after.say("error").startswith(says)


def test_a_success_after_failures_is_fresh_again(world: World) -> None:
    """The error goes with the first success, and the pauses start small again."""
    service = world.started()
    world.server.say(b"", 503)
    pauses = [service.refresh() for _ in range(9)]
    assert pauses[0] < 1.5 < pauses[3] < pauses[5]
    assert max(pauses) <= 60
    world.server.say(BODY)
    assert service.refresh() == 60
    assert (world.keys().say("stale"), world.keys().say("error")) == ("0", "")
    assert service.status_line() == "2 symbols, 0 s old"


def test_start_with_nothing_there(world: World) -> None:
    """count=0, stale=1, error=no_list, and no list."""
    world.started()
    keys = world.keys()
    assert keys.active is None
    assert (keys.say("count"), keys.say("stale"), keys.say("error")) == ("0", "1", "no_list")


def test_start_without_a_list_copies_the_last_good_one(world: World) -> None:
    """`active` is `last_ok`, byte for byte, stale until the first success; an error of a fetch stands behind it."""
    world.started().refresh()
    world.redis.delete(universe.ACTIVE_KEY)
    service = world.started()
    keys = world.keys()
    assert keys.active == keys.last_ok
    assert (keys.say("stale"), keys.say("error")) == ("1", "bootstrapped_from_last_ok")
    world.server.say(b"", 503)
    service.refresh()
    assert world.keys().say("error").startswith("bootstrapped_from_last_ok: GET /fapi/v1/exchangeInfo: HTTP 503")
    world.server.say(BODY)
    service.refresh()
    assert (world.keys().say("stale"), world.keys().say("error")) == ("0", "")


@pytest.mark.parametrize("last_ok", [b"{", b"", b'{"asof_epoch":1}', b"\xff", "another mode", "no symbols"])
def test_start_with_a_last_good_list_that_cannot_be_used(world: World, last_ok: bytes | str) -> None:
    """Not copied; stale, and the error says so."""
    world.started().refresh()
    good = msgspec.json.decode(world.keys().last_ok or b"")
    documents: dict[object, Any] = {"another mode": good | {"mode": "mainnet"}, "no symbols": good | {"symbols": []}}
    world.redis.set(
        universe.LAST_OK_KEY, last_ok if isinstance(last_ok, bytes) else msgspec.json.encode(documents[last_ok])
    )
    world.redis.delete(universe.ACTIVE_KEY)
    world.started()
    keys = world.keys()
    assert keys.active is None
    assert (keys.say("count"), keys.say("stale")) == ("0", "1")
    assert keys.say("error").startswith("no_list: last_ok ")


def test_start_with_a_list_of_the_same_mode(world: World) -> None:
    """It stays, and does not look fresh until the first success."""
    world.started().refresh()
    before = world.keys()
    service = world.started()
    after = world.keys()
    assert (after.active, after.instruments) == (before.active, before.instruments)
    assert (after.say("stale"), after.say("error"), after.say("count")) == ("1", "awaiting_first_fetch", "2")
    service.refresh()
    assert world.keys().say("stale") == "0"


def test_start_with_a_list_of_another_mode(world: World) -> None:
    """Deleted with its instruments, then as missing."""
    world.started().refresh()
    for key in (universe.ACTIVE_KEY, universe.LAST_OK_KEY):
        document = msgspec.json.decode(world.redis.get(key) or b"")
        world.redis.set(key, msgspec.json.encode(document | {"mode": "testnet"}))
    world.started()
    keys = world.keys()
    assert (keys.active, keys.instruments) == (None, {})
    assert keys.say("error") == "no_list: last_ok is of mode testnet and was not copied"


@pytest.mark.parametrize(
    "key", [universe.ACTIVE_KEY, universe.LAST_OK_KEY, universe.META_KEY, universe.INSTRUMENTS_KEY]
)
def test_a_key_of_a_wrong_type_is_mended(world: World, key: str) -> None:
    """Somebody's list or set under one of the names neither stops the service nor leaves a mix behind (I-06)."""
    world.started().refresh()
    world.redis.delete(key)
    world.redis.sadd(key, "x")
    service = world.started()
    service.refresh()
    assert world.keys().symbols == ["BTCUSDT", "ETHUSDT"]
    assert len(world.keys().instruments) == 4


@pytest.mark.parametrize("status", [429, 418])
def test_a_throttled_service_asks_no_more_before_it_may(world: World, status: int) -> None:
    """As a failed fetch; no request before Retry-After, and longer each time."""
    service = world.started()
    world.server.say(b"", status, Retry_After="7")
    first_s = service.refresh()
    assert first_s == 7
    assert f"HTTP {status}" in world.keys().say("error")
    world.clock.advance(6.5)
    assert service.refresh() == pytest.approx(0.5)
    assert len(world.server.requests) == 1
    pauses: list[float] = []
    for _ in range(3):
        world.redis.delete(BACKOFF_KEY)
        world.clock.advance(pauses[-1] if pauses else 0.5)
        pauses.append(service.refresh())
    assert pauses == [14, 28, 56]


def test_without_retry_after_a_throttled_service_waits_a_minute(world: World) -> None:
    """The default of the specification."""
    service = world.started()
    world.server.say(b"", 429)
    assert service.refresh() == 60


def test_all_services_hear_of_a_throttling_and_a_restarted_one_obeys(world: World) -> None:
    """The back-off is in Redis: a new process asks nothing, and says until when."""
    world.server.say(b"", 418, Retry_After="90")
    world.started().refresh()
    world.server.say(BODY)
    restarted = world.started()
    assert 0 < restarted.refresh() <= 60
    assert len(world.server.requests) == 1
    keys = world.keys()
    assert keys.say("stale") == "1"
    assert keys.say("error").startswith("no_list: no request before ")
    world.redis.delete(BACKOFF_KEY)
    restarted.refresh()
    assert world.keys().say("stale") == "0"


def test_a_weight_over_the_limit_is_waited_out_without_a_word(world: World) -> None:
    """At 80 % of the weight the refresh waits for the next minute; the list is none the worse for it."""
    service = world.started()
    service.refresh()
    seconds, _ = world.redis.time()
    world.redis.hset(BACKOFF_KEY, mapping={"weight_until_ms": (seconds + 30) * 1000, "by": "candle-feed"})
    world.clock.advance(60)
    before = world.keys()
    assert 25 < service.refresh() <= 30
    assert world.keys() == before
    assert len(world.server.requests) == 1


@pytest.mark.parametrize("broken", ["soon", "list"])
def test_a_back_off_that_nobody_can_read_holds_back(world: World, broken: str) -> None:
    """Where nobody knows whether a ban is on, nothing is asked, and the error names the key."""
    service = world.started()
    if broken == "list":
        world.redis.rpush(BACKOFF_KEY, "x")
    else:
        world.redis.hset(BACKOFF_KEY, "banned_until_ms", broken)
    assert service.refresh() > 0
    assert world.server.requests == []
    assert BACKOFF_KEY in world.keys().say("error")


def test_a_shrunken_list_is_refused_and_accepted_after_fifteen_minutes(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The guard holds until the reduced list has stayed the same; then it is published with a warning."""
    world.server.say(listing(100))
    service = world.started()
    service.refresh()
    world.server.say(listing(40))
    for _ in range(SHRINK_ACCEPTED_AFTER_S // 60):
        world.clock.advance(60)
        service.refresh()
        assert "40 symbols are fewer than 0.5 of the last good list's 100" in world.keys().say("error")
        assert len(world.keys().symbols) == 100
    world.clock.advance(60)
    service.refresh()
    assert len(world.keys().symbols) == 40
    assert world.keys().say("stale") == "0"
    assert "stayed the same for 15 minutes and is accepted: 40 symbols" in caplog.text


def test_another_pattern_is_not_a_shrunken_list(world: World) -> None:
    """A restart with a narrower pattern is what the operator asked for."""
    world.server.say(listing(100))
    world.started().refresh()
    world.started(universe_symbol_regex="AAAAUSDT").refresh()
    assert world.keys().symbols == ["AAAAUSDT"]


def test_a_delisted_instrument_stays_for_seven_days(world: World) -> None:
    """A position in it can still be closed; a reader sees by seen_epoch that the rules are not of today."""
    service = world.started()
    service.refresh()
    world.server.say(answer([entry("BTCUSDT"), entry("ETHUSDT")]))
    world.clock.advance(INSTRUMENT_KEPT_S)
    service.refresh()
    keys = world.keys()
    assert keys.instrument("LUNAUSDT").seen_epoch == NOW
    assert keys.instrument("BTCUSDT").seen_epoch == NOW + INSTRUMENT_KEPT_S
    world.clock.advance(60)
    service.refresh()
    assert set(world.keys().instruments) == {b"BTCUSDT", b"ETHUSDT"}


def test_keys_that_vanish_while_the_exchange_is_away_are_described_again(world: World) -> None:
    """After a FLUSHALL there is no half a meta hash, but a whole one that says that there is no list."""
    service = world.started()
    service.refresh()
    world.redis.flushall()
    world.server.say(b"", 503)
    service.refresh()
    meta = universe.decode_meta(world.keys().meta)
    assert meta is not None
    assert (meta.count, meta.stale, meta.last_attempt_epoch) == (0, 1, NOW)
    assert "HTTP 503" in meta.error


def test_after_the_end_has_begun_nothing_is_written(world: World) -> None:
    """SIGTERM in the middle of a fetch leaves `stale` as it is, however the fetch ends."""
    service = world.started()
    service.refresh()
    before = world.keys()

    def end_and_fail(_: object, connection: socket.socket) -> None:
        world.stop.set()
        connection.sendall(http_answer(b"", 503))

    world.server.handler = end_and_fail
    service.refresh()
    assert world.keys() == before


@pytest.mark.parametrize(
    ("bound", "says"),
    [
        ({"mode": "testnet", "host": "127.0.0.1", "account": "x"}, "mode 'testnet', this service has 'paper'"),
        ({"mode": "paper", "host": "fapi.binance.com", "account": "x"}, "host 'fapi.binance.com'"),
        ({"mode": "demo", "host": "127.0.0.1", "account": "x"}, "'demo', expected one of"),
        ({"mode": "paper"}, "host is missing"),
    ],
)
def test_a_redis_of_another_account_refuses_the_start(world: World, bound: WrittenFields, says: str) -> None:
    """One line, and nothing is written."""
    world.redis.hset(ACCOUNT_KEY, mapping=bound)
    with pytest.raises(Refused) as refused:
        world.started()
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert world.keys() == Keys(None, None, {}, {})


def test_an_account_key_of_a_wrong_type_refuses_the_start(world: World) -> None:
    """Nobody knows what this Redis belongs to."""
    world.redis.set(ACCOUNT_KEY, "paper")
    with pytest.raises(Refused, match="WRONGTYPE"):
        world.started()


def test_the_right_account_is_accepted_and_an_absent_one_warned_of(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The alias is not compared: this service has no key to ask for it."""
    world.started()
    assert "ops/set_account.sh --mode paper" in caplog.text
    caplog.clear()
    world.redis.hset(ACCOUNT_KEY, mapping={"mode": "paper", "host": "127.0.0.1", "account": "any"})
    world.started().refresh()
    assert caplog.text == ""
    assert world.keys().say("stale") == "0"


def test_what_is_dropped_is_named_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """One line when it changes, not one a minute."""
    caplog.set_level("INFO")
    world.server.say(
        answer([*(entry(f"AAA{number}USDT") for number in range(30)), entry("OPUSDT"), entry("BADUSDT", filters=[])])
    )
    service = world.started()
    for _ in range(3):
        service.refresh()
    assert caplog.text.count("UNIVERSE_SYMBOL_REGEX drops 1 traded perpetuals: OPUSDT") == 1
    assert caplog.text.count("1 entries without usable rules are left out: BADUSDT: has 0 MARKET_LOT_SIZE filters") == 1
    assert caplog.text.count("Universe published") == 1


def test_a_list_that_is_nearly_full_is_warned_of(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """From 90 % on, once."""
    world.server.say(listing(18))
    service = world.started(universe_max=20)
    service.refresh()
    service.refresh()
    assert caplog.text.count("18 symbols are nearly UNIVERSE_MAX=20") == 1


def test_meta_is_read_back_by_the_contract(world: World) -> None:
    """What stands in Redis after a success is what the contract calls fresh."""
    world.started().refresh()
    meta = universe.decode_meta(world.keys().meta)
    assert meta == universe.UniverseMeta(NOW, NOW, 2, 0, "", "paper", 1, NOW)
    assert set(hashes.encode(meta)) == {name.decode() for name in world.keys().meta}
