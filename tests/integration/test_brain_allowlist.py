"""The allowlist's tiers on a real Redis, down and up again: what is in force, and what the log says of it, exactly."""

import logging
from pathlib import Path

import pytest
from redis import Redis

from microservices.contracts import universe
from microservices.contracts.control import Mode
from microservices.contracts.universe_reader import Tier
from microservices.position_state_brain.service import build
from microservices.runtime import Context
from tests.support.brain import SYMBOL
from tests.support.brain_world import World, brain_settings
from tests.support.clock import FakeClock

FAIL_CLOSED = "FAIL-CLOSED: No valid allowlist from any source!"
NONE = "P3.3 allowlist source=none stale=? count=0 asof_epoch=? age_s=?"
ENV = "P3.3 allowlist source=env stale=env count=1 asof_epoch=static age_s=0"
AT_START = "FAIL-CLOSED: No valid allowlist loaded - service will deny all permits"


class Heard:
    """What the log has said of the list since it was asked last."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        self._caplog = caplog

    def __call__(self) -> list[str]:
        """Give the lines, and forget them."""
        lines = [record.getMessage() for record in self._caplog.records]
        self._caplog.clear()
        return [line for line in lines if line.startswith(("P3.3 allowlist ", "FAIL-CLOSED"))]


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Heard:
    """An ear at the log."""
    return Heard(caplog)


def listed(world: World, tier: Tier) -> str:
    """The line of a dated list as it stands in Redis, at the world's time."""
    document = universe.decode_document(world.redis.get(universe.LAST_OK_KEY), "last_ok")
    stale = {Tier.UNIVERSE: 0, Tier.LAST_OK: 1}[tier]
    age_s = int(world.clock.now() - document.asof_epoch)
    count = len(document.symbols)
    return f"P3.3 allowlist source={tier} stale={stale} count={count} asof_epoch={document.asof_epoch} age_s={age_s}"


def after(world: World, seconds: float) -> None:
    """Let time pass, and have the permit loop look at its list."""
    world.clock.advance(seconds)
    world.brain.permits.tick()


def test_every_tier_is_said_down_and_up_again(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    """The universe goes stale, its last good list goes, the environment's own stays; then all come back, one by one."""
    world = World(redis_client, tmp_path, monkeypatch, p33_allowlist=(SYMBOL,))
    world.publish_universe()
    world.brain.prepare()
    assert heard() == [listed(world, Tier.UNIVERSE)]
    after(world, 59)
    assert heard() == []
    redis_client.hset(universe.META_KEY, "stale", "1")
    after(world, 1)
    assert heard() == [listed(world, Tier.LAST_OK)]
    last_ok = redis_client.getdel(universe.LAST_OK_KEY)
    after(world, 1)
    assert heard() == [ENV]
    redis_client.set(universe.LAST_OK_KEY, last_ok or b"")
    after(world, 1)
    assert heard() == [listed(world, Tier.LAST_OK)]
    redis_client.hset(universe.META_KEY, "stale", "0")
    after(world, 1)
    assert heard() == [listed(world, Tier.UNIVERSE)]


def test_nothing_left_is_said_though_it_worked_before_and_ends_when_it_ends(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    """Without a list of its own the last tier is none: within a second of the next look, and back within a second."""
    world = World(redis_client, tmp_path, monkeypatch)
    world.brain.prepare()
    assert heard() == [FAIL_CLOSED, NONE, AT_START]
    world.publish_universe()
    after(world, 1)
    assert heard() == [listed(world, Tier.UNIVERSE)]
    saved = {key: redis_client.dump(key) for key in (universe.ACTIVE_KEY, universe.LAST_OK_KEY, universe.META_KEY)}
    redis_client.flushall()
    world.brain.heartbeat()
    after(world, 60)
    assert heard() == [FAIL_CLOSED, NONE]
    assert world.brain._watch.latest.symbols == frozenset()
    for key, value in saved.items():
        redis_client.restore(key, 0, value or b"")
    after(world, 1)
    assert heard() == [listed(world, Tier.UNIVERSE)]


def test_a_list_that_nobody_renews_runs_out_by_itself(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    """The universe service died without a word: judged at each use, not only when it is read (I-26)."""
    world = World(redis_client, tmp_path, monkeypatch, p33_allowlist_refresh_s=10_000.0)
    world.publish_universe()
    world.brain.prepare()
    assert heard() == [listed(world, Tier.UNIVERSE)]
    after(world, 280)
    assert heard() == []
    after(world, 40)  # not to the second: the list is dated by Redis's clock, this brain's is a moment behind
    assert heard() == [FAIL_CLOSED, NONE]


def test_what_stays_is_said_again_every_ten_minutes_and_another_count_at_once(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    """Who looks at the log of the last quarter of an hour finds the list in force."""
    world = World(redis_client, tmp_path, monkeypatch, p33_universe_max_age_s=100_000.0)
    world.publish_universe()
    world.brain.prepare()
    heard()
    after(world, 599)
    assert heard() == []
    after(world, 1)
    assert heard() == [listed(world, Tier.UNIVERSE)]
    world.publish_universe(SYMBOL)
    after(world, 60)
    assert heard() == [listed(world, Tier.UNIVERSE)]


def test_a_list_is_parsed_once_a_version(redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is read, and however many plans are judged on it."""
    world = World(redis_client, tmp_path, monkeypatch).begin()
    parsed = 0
    decode = universe.decode_document

    def counting(raw: object, key: str) -> universe.UniverseDocument:
        nonlocal parsed
        parsed += 1
        return decode(raw, key)

    monkeypatch.setattr(universe, "decode_document", counting)
    for number in range(20):
        world.open(f"p{number}")
        after(world, 60)
    assert parsed == 0
    world.publish_universe()
    after(world, 60)
    assert parsed == 2


@pytest.mark.parametrize("mode", Mode)
def test_the_start_names_its_exchange(
    redis_client: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: Mode
) -> None:
    """Whoever looks at the log sees at once with whose money this is."""
    caplog.set_level(logging.INFO)
    url = {} if mode is not Mode.PAPER else {"binance_futures_base_url": "http://127.0.0.1:1"}
    settings = brain_settings(tmp_path, trading_mode=mode, **({"binance_futures_base_url": ""} | url))
    build(Context(settings, redis_client, FakeClock(), None, "test"))  # type: ignore[arg-type] # no loop runs
    assert f"Binance {mode} client initialized" in [record.getMessage() for record in caplog.records]
