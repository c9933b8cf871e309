"""An instance that runs beside systemd: a deploy sees its lease, and waits out one that a dead process has left."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from redis import Redis

from ops.deploy import checks_redis, systemd
from ops.deploy.env_file import EnvFile
from ops.deploy.machine import Finding, Places
from ops.deploy.scene import Scene
from tests.support.redis_server import RedisServer

LEASE = "quantum:position:lease"
BRAIN = "quantum-position-state-brain.service"


@pytest.fixture
def scene(redis_server: RedisServer, redis_client: Redis, tmp_path: Path) -> Scene:
    """A machine whose settings name the tests' Redis."""
    settings = {"position-state-brain": EnvFile({"REDIS_PORT": str(redis_server.port)}, [])}
    return Scene(Places(etc=tmp_path), "paper", (), settings)


def second_instances(scene: Scene, monkeypatch: pytest.MonkeyPatch, states: Mapping[str, str]) -> list[Finding]:
    """Look for them where systemd says so of the units, and no other runs."""
    monkeypatch.setattr(systemd, "show", lambda unit, *_: {"ActiveState": states.get(unit, "inactive")})
    return [found for found in checks_redis.check_redis(scene) if found.name == "second-instance"]


def test_a_lease_that_stays_while_the_unit_is_down_is_another_s(
    scene: Scene, redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever keeps it is named, with the way to find his process, and a deploy ends over it."""
    monkeypatch.setattr(checks_redis, "LEASE_S", -1.0)
    redis_client.set(LEASE, "elsewhere:4711")
    (found,) = second_instances(scene, monkeypatch, {})
    assert found.stops
    assert "kept by elsewhere:4711" in found.what
    assert found.fix == "end it: pgrep -af position.state.brain"


def test_the_unit_s_own_lease_is_none(scene: Scene, redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs, so the lease is its own."""
    redis_client.set(LEASE, "here:42")
    assert second_instances(scene, monkeypatch, {BRAIN: "active"}) == []


def test_a_dead_one_s_lease_is_waited_out(scene: Scene, redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit that was killed a moment ago leaves its lease behind for seconds: that is nobody."""
    redis_client.set(LEASE, "here:42", px=700)
    assert second_instances(scene, monkeypatch, {}) == []
    assert redis_client.get(LEASE) is None
