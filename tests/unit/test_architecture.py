"""The house rules that a reader relies on, checked: who imports whom, the rooms of a service, the size of a file."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = sorted(
    path.name
    for path in (ROOT / "microservices").iterdir()
    if (path / "__init__.py").exists() and path.name not in {"contracts", "runtime", "exchange"}
)
FOUNDATIONS = {"contracts": set[str](), "runtime": set[str](), "exchange": {"runtime"}}
MAY_IMPORT = FOUNDATIONS | {service: {"contracts", "runtime", "exchange", "ai_engine"} for service in SERVICES}
SOURCE = sorted([*(ROOT / "ai_engine").rglob("*.py"), *(ROOT / "microservices").rglob("*.py")])
MAIN_MAX_LINES = 40
SOURCE_MAX_LINES = 350
TEST_MAX_LINES = 600
BROAD = {"Exception", "BaseException"}
NOT_FOR_THE_CALCULATOR = {"redis", "requests", "websockets", "aiohttp", "scipy", "prometheus_client", "socket", "time"}


def imported(path: Path) -> set[str]:
    """Every module a file imports, dotted."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_used(path: Path) -> set[str]:
    """Which of our own packages a file imports: ai_engine, or the folder under microservices."""
    used = set()
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "ai_engine":
            used.add("ai_engine")
        elif parts[0] == "microservices" and len(parts) > 1:
            used.add(parts[1])
    return used


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_keep_to_the_architecture(room: str) -> None:
    """A foundation imports only what is beneath it, and a service never another service."""
    for path in (ROOT / "microservices" / room).rglob("*.py"):
        assert rooms_used(path) - {room} <= MAY_IMPORT[room], path


def test_the_calculator_imports_nothing_that_reaches_outside() -> None:
    """ai_engine is pure numbers: none of ours, no Redis, no HTTP, no clock, and no scipy at run time."""
    for path in (ROOT / "ai_engine").rglob("*.py"):
        assert rooms_used(path) <= {"ai_engine"}, path
        assert not {name.split(".")[0] for name in imported(path)} & NOT_FOR_THE_CALCULATOR, path


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_same_rooms_as_every_other(service: str) -> None:
    """Whoever knows one service's folder knows all of them."""
    folder = ROOT / "microservices" / service
    for room in ("settings.py", "service.py", "main.py"):
        assert (folder / room).is_file(), f"{service} has no {room}"
    assert len((folder / "main.py").read_text().splitlines()) <= MAIN_MAX_LINES


def test_only_the_daemon_catches_everything() -> None:
    """A broad except is a place where a bug turns into silence: there is one, at the loop's edge."""
    broad = {
        str(path.relative_to(ROOT))
        for path in SOURCE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} & BROAD)
    }
    assert broad == {"microservices/runtime/daemon.py"}


def test_no_file_is_too_long_to_read() -> None:
    """A file that outgrows its limit does two jobs."""
    limits = dict.fromkeys([*SOURCE, *(ROOT / "ops").rglob("*.py")], SOURCE_MAX_LINES)
    limits |= dict.fromkeys((ROOT / "tests").rglob("*.py"), TEST_MAX_LINES)
    assert [str(path) for path, limit in limits.items() if len(path.read_text().splitlines()) > limit] == []


@pytest.mark.parametrize("script", sorted((ROOT / "microservices").rglob("*.lua")), ids=lambda path: path.name)
def test_every_script_states_its_contract(script: Path) -> None:
    """A Lua script begins with what its KEYS and ARGV are and what it guarantees."""
    head = "\n".join(line for line in script.read_text().splitlines()[:40] if line.startswith("--"))
    assert re.search(r"KEYS", head), script
    assert re.search(r"ARGV", head), script
