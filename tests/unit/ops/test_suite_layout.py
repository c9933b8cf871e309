"""The suite's processes: each has its own settings, none has another's secrets, and all stay on loopback."""

import os
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest

from ops.suite import ports
from ops.suite.layout import Layout, Process, make_layout, processes

ROOT = Path(__file__).parents[3]
TRADERS = {"position-state-brain", "apply-layer"}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A layout without recorded input."""
    return make_layout(tmp_path, None, None)


def by_name(layout: Layout) -> dict[str, Process]:
    """The processes of a layout."""
    return {process.name: process for process in processes(layout)}


def test_only_who_trades_has_the_key(layout: Layout) -> None:
    """The key pair stands in the environments of brain and apply layer, and under other names in the exchange's."""
    holders = {name for name, process in by_name(layout).items() if layout.api_secret in process.environment.values()}
    assert holders == TRADERS | {"paper-exchange"}


def test_no_secret_stands_on_a_command_line(layout: Layout) -> None:
    """Other users of the machine can read command lines."""
    for process in by_name(layout).values():
        assert not any(secret in part for part in process.command for secret in (layout.api_key, layout.api_secret))


def test_a_layout_does_not_show_its_secrets(layout: Layout) -> None:
    """A traceback that prints it gives nothing away."""
    assert layout.api_secret not in repr(layout)
    assert layout.api_secret not in repr(by_name(layout)["apply-layer"])


def test_nothing_of_the_callers_environment_leaks_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mainnet key in the operator's shell reaches no process of a paper run."""
    monkeypatch.setenv("BINANCE_API_KEY", "real")
    monkeypatch.setenv("TRADING_MODE", "mainnet")
    monkeypatch.setenv("REDIS_URL", "redis://production:6379")
    for process in processes(make_layout(tmp_path, None, None)):
        assert "real" not in process.environment.values()
        assert "mainnet" not in process.environment.values()
        assert "REDIS_URL" not in process.environment


def test_ports_and_state_folders_are_each_ones_own(layout: Layout) -> None:
    """No two processes share a port or a folder."""
    used = [layout.redis_port, layout.paper_port, *layout.metrics_ports]
    assert len(set(used)) == len(used)
    folders = [p.environment["STATE_DIRECTORY"] for p in by_name(layout).values() if "STATE_DIRECTORY" in p.environment]
    assert len(set(folders)) == len(folders) > 0


def test_no_outgoing_connection_can_take_a_port_first(layout: Layout) -> None:
    """Services look for Redis before it listens: the ports are none of those the system gives to clients."""
    assert max(layout.redis_port, layout.paper_port, *layout.metrics_ports) < 32_768


def test_a_port_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody listens on is not handed out, and where there are too few that is said."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "_PORTS", range(port, port + 1))
        with pytest.raises(OSError, match="no 1 free ports"):
            ports.free_ports(1)


def test_no_two_processes_are_given_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens on one for seconds after it was chosen: until then it is the one's who was given it."""
    few = range(19_800, 19_840)
    monkeypatch.setattr(ports, "_PORTS", few)
    ours = ports.free_ports(5) + ports.free_ports(4)
    code = f"from ops.suite import ports; ports._PORTS = {few}; print(*ports.free_ports(9))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len({*ours, *map(int, done.stdout.split())}) == 18


def test_no_more_claims_are_kept_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are given up: whoever chooses ports all day long runs out of neither ports nor file descriptors."""
    monkeypatch.setattr(ports, "_claims", deque())
    monkeypatch.setattr(ports, "_CLAIMS_KEPT", 2)
    monkeypatch.setattr(ports, "_PORTS", range(19_840, 19_850))
    for _ in range(30):
        ports.free_ports(1)
    kept = ports._claims
    assert len(kept) == 2
    for claim in kept:
        os.close(claim)


def test_redis_is_started_last(layout: Layout) -> None:
    """When Redis answers, every other process has been started."""
    assert processes(layout)[-1].name == "redis"


def test_every_service_runs_as_a_module_of_its_own(layout: Layout) -> None:
    """Six daemons, the paper exchange and Redis, each by its main module, which exists."""
    modules = [process.command[2] for process in by_name(layout).values() if "-m" in process.command]
    assert len(modules) == 8
    assert all((ROOT / f"{module.replace('.', os.sep)}.py").is_file() for module in modules)
