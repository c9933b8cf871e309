"""What every service does alike: run by its module's name or as a file, once, with its settings checked."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.daemon import Daemon

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
PACKAGES = [target.split(".")[1] for target in PYPROJECT["project"]["scripts"].values()]
WITHOUT_REDIS = "paper_exchange"
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[(DEBUG|INFO|WARNING|ERROR)\] .+")
KEY, SECRET = "the-key-itself", "the-secret-itself"


def environment(state: Path, **more: str) -> dict[str, str]:
    """What the most demanding of them needs to start at all."""
    keys = {"BINANCE_API_KEY": KEY, "BINANCE_API_SECRET": SECRET, "PAPER_API_KEY": KEY, "PAPER_API_SECRET": SECRET}
    return keys | {"STATE_DIRECTORY": str(state)} | more


def test_all_seven_are_asked() -> None:
    """A service without a console script would be passed over here."""
    assert len(set(PACKAGES)) == 7


@pytest.mark.parametrize("package", PACKAGES)
def test_as_a_file_its_settings_are_shown_without_secrets(package: str, tmp_path: Path) -> None:
    """`python …/main.py --check-config`, from another folder: sorted NAME=value lines, exit 0, nothing started."""
    run = Daemon(package, "--check-config", environment=environment(tmp_path), as_file=True).run()
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines == sorted(lines)
    assert all(re.fullmatch(r"[A-Z0-9_]+=.*", line) for line in lines)
    assert "LOG_LEVEL=INFO" in lines
    assert not any(word in run.stdout + run.stderr for word in (KEY, SECRET))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wrong_setting_is_one_line_and_78(package: str, tmp_path: Path) -> None:
    """Name, value, what is allowed; whatever else it was asked to do."""
    run = Daemon(package, "--once", environment=environment(tmp_path, LOG_LEVEL="LOUD")).run()
    assert (run.returncode, run.stdout) == (78, "")
    assert run.stderr == "LOG_LEVEL='LOUD': allowed is one of: DEBUG, INFO, WARNING, ERROR\n"


@pytest.mark.parametrize("package", [package for package in PACKAGES if package != WITHOUT_REDIS])
def test_once_without_redis_fails_with_a_line(package: str, tmp_path: Path) -> None:
    """Exit 1, every line in the format of the logs, the last one says what is away, and no traceback."""
    run = Daemon(package, "--once", environment=environment(tmp_path, REDIS_PORT="1")).run()
    assert run.returncode == 1
    lines = run.stderr.splitlines()
    assert all(LOG_LINE.fullmatch(line) for line in lines), run.stderr
    assert "[ERROR] ConnectionError: " in lines[-1]
