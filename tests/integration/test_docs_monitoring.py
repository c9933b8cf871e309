"""The page about monitoring: its commands run where they can be, its table is the rules', its files are there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.daemon import ROOT
from tests.support.pages import Command, commands
from tests.support.promql import needs_prometheus

PAGE = ROOT / "docs" / "monitoring.md"
COMMANDS = commands(PAGE)


@needs_prometheus
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.line[:40])
def test_a_command_of_the_page_does_what_it_says(command: Command) -> None:
    """From the checkout, with the exit code that is said."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command.line], cwd=ROOT, env={"PATH": path}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == command.code, done.stdout + done.stderr


def test_the_page_has_commands() -> None:
    """The reading of the page works: three that try the files, one that compares what is generated."""
    assert len(COMMANDS) == 4


def test_the_table_names_every_alert() -> None:
    """As a YAML library reads the rules, in their order."""
    groups = yaml.safe_load((ROOT / "deployment" / "prometheus" / "quantum_rules.yml").read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"]]
    assert re.findall(r"^\| \[(\w+)\]\(runbooks/[\w-]+\.md\) \|", PAGE.read_text(), re.MULTILINE) == alerts


def test_what_the_page_names_is_there() -> None:
    """Files and folders of the repository, those that commands install included; deploy.sh has a page of its own."""
    named = set(re.findall(r"(?:deployment|docs|ops/generators)/[\w./{},*-]*[\w}*/]", PAGE.read_text()))
    for path in named:
        for one in _expanded(path):
            assert list(ROOT.glob(one)), one


def _expanded(path: str) -> list[str]:
    """Write out the shell's braces."""
    match = re.search(r"\{([^}]*)\}", path)
    return [path.replace(match[0], word) for word in match[1].split(",")] if match else [path]
