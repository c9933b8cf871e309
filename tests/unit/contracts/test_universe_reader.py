"""The universe's reader: which tier is chosen, and that whatever is wrong refuses a tier instead of passing it."""

from typing import Any

import msgspec
import pytest
from fakeredis import FakeRedis, FakeServer
from hypothesis import given
from hypothesis import strategies as st

from microservices.contracts import hashes, universe
from microservices.contracts.control import Mode
from microservices.contracts.fields import Unreadable, WrittenFields
from microservices.contracts.universe_reader import Allowlist, Tier, UniverseKeys, UniverseReader

NOW = 1_800_000_000
DOCUMENT: dict[str, Any] = {
    "asof_epoch": NOW - 40,
    "source": universe.SOURCE,
    "mode": "paper",
    "symbols": ["BTCUSDT", "ETHUSDT"],
    "filters": universe.FILTERS,
}
META: WrittenFields = {"asof_epoch": NOW - 40, "last_ok_epoch": NOW - 40, "count": 2, "stale": 0, "error": ""}


def world(
    active: object = None, last_ok: object = None, meta: WrittenFields | None = None, env: tuple[str, ...] = ()
) -> Allowlist:
    """Read a Redis that holds these three keys, as the reader sees it at NOW."""
    redis = FakeRedis(server=FakeServer())
    for key, value in ((universe.ACTIVE_KEY, active), (universe.LAST_OK_KEY, last_ok)):
        if value is not None:
            redis.set(key, value if isinstance(value, bytes) else msgspec.json.encode(value))
    if meta:
        redis.hset(universe.META_KEY, mapping=meta)
    reader = UniverseReader(redis, Mode.PAPER, max_age_s=300, env_symbols=env)
    reader.refresh()
    return reader.current(NOW)


def test_a_fresh_list_is_the_universe() -> None:
    """The first tier, with its date and both symbols."""
    assert world(DOCUMENT, None, META) == Allowlist(Tier.UNIVERSE, frozenset({"BTCUSDT", "ETHUSDT"}), NOW - 40)


@pytest.mark.parametrize(
    ("document", "meta"),
    [
        (None, META),
        (b"", META),
        (b"\xff\xfe", META),
        (b"not json", META),
        (b"[]", META),
        (b'{"asof_epoch": NaN}', META),
        (DOCUMENT | {"asof_epoch": "soon"}, META),
        (DOCUMENT | {"asof_epoch": 10**400}, META),
        (DOCUMENT | {"asof_epoch": -1}, META),
        (DOCUMENT | {"asof_epoch": NOW - 300}, META),
        (DOCUMENT | {"asof_epoch": NOW + 6}, META),
        (DOCUMENT | {"mode": "mainnet"}, META),
        (DOCUMENT | {"mode": "demo"}, META),
        (DOCUMENT | {"source": "somewhere"}, META),
        (DOCUMENT | {"symbols": []}, META | {"count": 0}),
        (DOCUMENT | {"symbols": ["BTCUSDT", "BTCUSDT"]}, META),
        (DOCUMENT | {"symbols": "BTCUSDT"}, META),
        (DOCUMENT, None),
        (DOCUMENT, META | {"stale": 1}),
        (DOCUMENT, META | {"stale": 2}),
        (DOCUMENT, META | {"stale": "no"}),
        (DOCUMENT, META | {"count": 3}),
        (DOCUMENT, {"stale": 0}),
    ],
)
def test_whatever_is_wrong_refuses_the_first_tier(document: object, meta: WrittenFields | None) -> None:
    """Missing, corrupt, of another mode, stale, too old, from the future, contradictory: never the universe."""
    answer = world(document, None, meta)
    assert (answer.source, answer.symbols) == (Tier.NONE, frozenset())
    assert len(answer.refused) == 3


def test_the_last_good_list_serves_while_it_is_young() -> None:
    """stale=1 refuses the first tier; the second needs no meta but keeps the rules of age."""
    assert world(DOCUMENT, DOCUMENT, META | {"stale": 1, "error": "HTTP 503"}).source is Tier.LAST_OK
    assert world(None, DOCUMENT | {"asof_epoch": NOW - 301}, None).source is Tier.NONE


def test_the_environment_is_the_third_tier() -> None:
    """It has no date, and the refusals say why the better tiers failed."""
    answer = world(None, None, None, env=("BTCUSDT",))
    assert (answer.source, answer.asof_epoch, answer.age_s(NOW)) == (Tier.ENV, None, 0)
    assert answer.refused == ("universe: missing", "last_ok: missing")


def test_a_wrongly_typed_key_is_absence_with_a_reason() -> None:
    """WRONGTYPE of one key does not kill the reader."""
    redis = FakeRedis(server=FakeServer())
    redis.lpush(universe.ACTIVE_KEY, "x")
    redis.set(universe.META_KEY, "x")
    reader = UniverseReader(redis, Mode.PAPER)
    reader.refresh()
    answer = reader.current(NOW)
    assert answer.source is Tier.NONE
    assert "WRONGTYPE" in answer.refused[0]


def test_a_refusal_names_the_key_that_was_looked_at() -> None:
    """Who reads under other names is told of those."""
    redis = FakeRedis(server=FakeServer())
    redis.set("drill:active", "x")
    reader = UniverseReader(redis, Mode.PAPER, keys=UniverseKeys("drill:active", "drill:last_ok", "drill:meta"))
    reader.refresh()
    assert reader.current(NOW).refused[0].startswith("universe: drill:active: ")


def test_the_age_is_judged_at_every_use() -> None:
    """A list that was fresh when it was read is refused later without another read (I-26)."""
    redis = FakeRedis(server=FakeServer())
    redis.set(universe.ACTIVE_KEY, msgspec.json.encode(DOCUMENT))
    redis.hset(universe.META_KEY, mapping=META)
    reader = UniverseReader(redis, Mode.PAPER, max_age_s=300)
    reader.refresh()
    assert reader.current(NOW).source is Tier.UNIVERSE
    assert reader.current(NOW + 260).source is Tier.NONE


def test_a_list_that_worked_before_does_not_stay_when_the_keys_go() -> None:
    """Empty again whenever all tiers fail, also when it was full before."""
    redis = FakeRedis(server=FakeServer())
    redis.set(universe.ACTIVE_KEY, msgspec.json.encode(DOCUMENT))
    redis.hset(universe.META_KEY, mapping=META)
    reader = UniverseReader(redis, Mode.PAPER)
    reader.refresh()
    redis.flushall()
    reader.refresh()
    assert reader.current(NOW).symbols == frozenset()


def test_before_the_first_read_nothing_is_allowed() -> None:
    """A reader that never reached Redis has no list."""
    assert UniverseReader(FakeRedis(server=FakeServer()), Mode.PAPER).current(NOW).source is Tier.NONE


@given(st.binary(max_size=80), st.dictionaries(st.sampled_from([str(name) for name in META]), st.binary(max_size=12)))
def test_no_bytes_make_the_reader_fail(document: bytes, meta: WrittenFields) -> None:
    """Any content ends as a judged answer."""
    answer = world(document, document, meta)
    assert answer.source is Tier.NONE


def test_instruments_read_back_as_written() -> None:
    """The rules of an instrument survive the way through Redis, and a step of zero is refused."""
    instrument = universe.Instrument("TRADING", NOW, "0.1", "0.001", "0.001", "1000", "5", 0, 4133404800)
    assert universe.decode_instrument(universe.encode_instrument(instrument), "BTCUSDT") == instrument
    with pytest.raises(Unreadable):
        universe.decode_instrument(universe.encode_instrument(msgspec.structs.replace(instrument, step_size="0")), "X")


def test_meta_is_written_as_the_schema_says() -> None:
    """Stale stands as 0 or 1, not as a word."""
    meta = universe.UniverseMeta(1, 1, 2, 0)
    assert hashes.encode(meta)["stale"] == "0"
