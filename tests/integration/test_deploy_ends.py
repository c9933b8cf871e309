"""How a deploy ends beyond the plain cases: who was stopped for another account runs again, and done is done."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from ops.deploy import deployment, examine, ledger, redis_access, settings_files, systemd
from ops.deploy import release as releases
from ops.deploy.account import reset_account
from ops.deploy.activation import Before
from ops.deploy.catalog import Unit, units_of
from ops.deploy.deployment import DONE, FAILED, Wanted, deploy
from ops.deploy.env_file import EnvFile
from ops.deploy.machine import Fault, Places
from ops.deploy.release import Release
from ops.deploy.scene import Scene
from tests.support.redis_server import RedisServer

BINDING, KILL_SWITCH, OPEN = "quantum:cfg:account", "quantum:kill_switch", "quantum:apply:open"
TRADERS = {"position-state-brain", "apply-layer"}


class Systemd:
    """Units that run until they are stopped."""

    def __init__(self) -> None:
        self.running = {unit.short for unit in units_of("paper")}

    def show(self, service: str, *properties: str) -> dict[str, str]:
        short = service.removeprefix("quantum-").removesuffix(".service")
        state = "active" if short in self.running else "inactive"
        return dict.fromkeys(properties, "") | {"ActiveState": state}

    def stop(self, units: Iterable[Unit]) -> None:
        self.running -= {unit.short for unit in units}

    def restart(self, units: Iterable[Unit]) -> None:
        self.running |= {unit.short for unit in units}


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Systemd:
    """Systemd's word about them is this one's."""
    own = Systemd()
    for name, does in (("show", own.show), ("stop", own.stop), ("restart_unwatched", own.restart)):
        monkeypatch.setattr(systemd, name, does)
    return own


@pytest.fixture
def scene(redis_server: RedisServer, redis_client: Redis, tmp_path: Path) -> Scene:
    """A machine whose settings name the tests' Redis, which is bound."""
    redis_client.hset(BINDING, mapping={"mode": "paper", "host": "127.0.0.1", "account": "SgsR"})
    settings = {"position-state-brain": EnvFile({"REDIS_PORT": str(redis_server.port)}, [])}
    folders = {"etc": tmp_path, "opt": tmp_path, "units": tmp_path}
    return Scene(Places(**folders), "paper", units_of("paper"), settings)


def test_who_trades_is_stopped_and_opens_stay_closed(scene: Scene, redis_client: Redis, units: Systemd) -> None:
    """The binding goes, and a kill switch that is not there does not become a new account's `off`."""
    reset_account(scene)
    assert not redis_client.exists(BINDING)
    assert redis_client.get(KILL_SWITCH) == b"no_new_risk"
    assert {unit.short for unit in units_of("paper")} - units.running == TRADERS


def test_with_a_claim_open_nothing_is_given_up_and_all_run_on(
    scene: Scene, redis_client: Redis, units: Systemd
) -> None:
    """Only an apply layer that runs can resolve it; one that nobody ran before is not started."""
    redis_client.hset(OPEN, "p1", "{}")
    units.running.remove("position-state-brain")
    before = set(units.running)
    with pytest.raises(Fault, match=r"1 claims are open .* runs again"):
        reset_account(scene)
    assert redis_client.exists(BINDING)
    assert not redis_client.exists(KILL_SWITCH)
    assert units.running == before


def fail(*_: object) -> None:
    raise Fault("broken on purpose")


@pytest.fixture
def built(scene: Scene, units: Systemd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Scene:
    """A machine on which all goes well that is not tried here."""
    release = Release(tmp_path / "releases" / "new")
    for module, name, does in (
        (examine, "before_building", lambda _: []),
        (examine, "before_switching", lambda _: []),
        (examine, "scene_of", lambda *_: replace(scene, release=release)),
        (releases, "version_of", lambda _: release.version),
        (releases, "build", lambda *_, **__: release),
        (settings_files, "install", lambda *_, **__: []),
        (redis_access, "install", lambda *_, **__: []),
        (deployment, "prepare_host", lambda *_: None),
        (deployment, "activate", lambda *_: None),
        (ledger, "note", lambda *_, **__: ""),
    ):
        monkeypatch.setattr(module, name, does)
    return scene


def test_a_deploy_that_fails_after_it_starts_them_again(built: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ran before is what ran before they were stopped for the account."""
    reverted: list[Before] = []
    monkeypatch.setattr(deployment, "activate", fail)
    monkeypatch.setattr(deployment, "revert", lambda _, before, __: reverted.append(before))
    said: list[str] = []
    wanted = Wanted(built.places.opt, mode="paper", reset_account=True)
    assert deploy(built.places, wanted, said.append) == FAILED
    assert "failed: broken on purpose" in said
    (before,) = reverted
    assert {unit.short for unit in before.active} >= TRADERS


def test_what_cannot_be_tidied_up_undoes_nothing(built: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new release runs and is proven: that is what the operator hears, and what is left over."""
    monkeypatch.setattr(releases, "prune", fail)
    said: list[str] = []
    assert deploy(built.places, Wanted(built.places.opt, mode="paper"), said.append) == DONE
    assert said[-2:] == [
        "deploy done: release new runs in mode paper",
        "note: not all was tidied up: broken on purpose",
    ]
