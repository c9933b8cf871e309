"""Where a deploy finds Redis and as whom, which mode it takes, and whose keys it lets through."""

from pathlib import Path

import pytest

from ops.deploy.catalog import KEY_NAMES, PAPER_KEY_NAMES, units_of
from ops.deploy.checks_settings import check_credentials
from ops.deploy.env_file import EnvFile
from ops.deploy.examine import mode_of
from ops.deploy.machine import Fault, Places
from ops.deploy.scene import Scene, operator_environment, redis_environment

BRAIN = "position-state-brain"


@pytest.fixture(autouse=True)
def _no_redis_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD", "REDISCLI_AUTH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(etc=tmp_path / "etc")
    found.credentials.mkdir(parents=True)
    return found


def test_a_deploy_goes_where_the_services_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever Redis the operator's shell is set to, the binding is written where the services read it."""
    files = {BRAIN: EnvFile({"REDIS_PORT": "7000", "REDIS_PASSWORD": "theirs", "P33_POLL_SEC": "5"}, [])}
    monkeypatch.setenv("REDIS_PORT", "6379")
    assert operator_environment(files) == {"REDIS_PORT": "7000", "REDIS_PASSWORD": "theirs"}
    monkeypatch.setenv("REDIS_USERNAME", "operator")
    monkeypatch.setenv("REDIS_PASSWORD", "ours")
    assert operator_environment(files) == {"REDIS_PORT": "7000", "REDIS_USERNAME": "operator", "REDIS_PASSWORD": "ours"}


def test_a_shell_s_password_is_the_operator_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """With REDISCLI_AUTH the service's own login is left out: it would be another user's name with this password."""
    files = {BRAIN: EnvFile({"REDIS_HOST": "h", "REDIS_USERNAME": "brain", "REDIS_PASSWORD": "theirs"}, [])}
    monkeypatch.setenv("REDISCLI_AUTH", "ours")
    assert operator_environment(files) == {"REDIS_HOST": "h"}


def test_a_guarded_redis_is_written_as_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the brain's password is one that a deploy made, the operator's lies beside it; an own login comes first."""
    logins = "/etc/quantum/redis"
    files = {BRAIN: EnvFile({"REDIS_USERNAME": BRAIN, "REDIS_PASSWORD_FILE": f"{logins}/{BRAIN}"}, [])}
    theirs = {"REDIS_USERNAME": "operator", "REDIS_PASSWORD_FILE": f"{logins}/operator"}
    assert operator_environment(files) == theirs
    monkeypatch.setenv("REDISCLI_AUTH", "only for reading")
    assert operator_environment(files) == theirs
    monkeypatch.setenv("REDIS_USERNAME", "admin")
    assert operator_environment(files) == {"REDIS_USERNAME": "admin"}


def test_the_publisher_s_own_redis_counts() -> None:
    """As it does for the service itself: a host of its own sets REDIS_URL aside."""
    values = {"REDIS_URL": "redis://a", "MARKETSTATE_REDIS_HOST": "b", "MARKETSTATE_REDIS_PORT": "7"}
    assert redis_environment(values) == {"REDIS_HOST": "b", "REDIS_PORT": "7"}


def test_the_mode_is_the_one_wanted_else_the_settings_else_paper(places: Places) -> None:
    """Settings of several modes name none."""
    assert mode_of(places, "") == "paper"
    (places.etc / "candle-feed.env").write_text("TRADING_MODE=mainnet\n")
    assert mode_of(places, "") == "mainnet"
    assert mode_of(places, "testnet") == "testnet"
    (places.etc / "universe-service.env").write_text("UNIVERSE_MODE=paper\n")
    with pytest.raises(Fault, match=r"several modes: candle-feed\.env mainnet, universe-service\.env paper"):
        mode_of(places, "")


@pytest.mark.parametrize(("mode", "names"), [("paper", []), ("testnet", ["credential-mode"] * 2)])
def test_the_paper_exchange_s_key_is_good_for_paper_alone(places: Places, mode: str, names: list[str]) -> None:
    """A machine that goes from paper to real money must not take the play key along."""
    for name in (*KEY_NAMES, *PAPER_KEY_NAMES):
        (places.credentials / name).write_text("key\n")
        (places.credentials / name).chmod(0o600)
    found = [each.name for each in check_credentials(Scene(places, mode, units_of(mode), {}))]
    assert [name for name in found if name != "credential-open"] == names  # whoever runs this test may not be root
