"""The page about monitoring: its commands run where they can be, its table is the rules', its files are there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.integration.test_monitoring_files import OF_REDIS
from tests.support.access import ADMIN, new_passwords, write_acl
from tests.support.daemon import ROOT
from tests.support.metrics import scraped
from tests.support.pages import Command, commands
from tests.support.ports import free_port
from tests.support.prometheus import Program
from tests.support.promql import needs_prometheus
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

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


@needs_prometheus
def test_the_exporter_is_let_in_with_the_lines_of_the_page(tmp_path: Path) -> None:
    """By a Redis that has the access list: it says that Redis is up, and how much memory it has."""
    passwords = new_passwords()
    acl = write_acl(tmp_path / "users.acl", passwords)
    lines = dict(re.findall(r"^ +(REDIS_\w+)=(.*)$", PAGE.read_text(), re.MULTILINE))
    assert [lines.pop("REDIS_ADDR"), lines.pop("REDIS_PASSWORD")] == ["redis://127.0.0.1:6379", "the password"]
    password = passwords[PAGE.read_text().split("`/etc/quantum/redis/")[1].split("`")[0]]
    options = ["--aclfile", str(acl), "--maxmemory", "2gb"]
    with RedisServer(options=options, login=(ADMIN, passwords[ADMIN])) as redis:
        port = free_port()
        given = lines | {"REDIS_ADDR": f"redis://127.0.0.1:{redis.port}", "REDIS_PASSWORD": password}
        variables = [f"{name}={value}" for name, value in given.items()]
        listen = f"-web.listen-address=127.0.0.1:{port}"
        with Program(tmp_path, "env", *variables, "prometheus-redis-exporter", listen) as exporter:
            said = wait_until(lambda: _scraped(port), 30, what="the exporter to answer", every_s=0.1)
            assert re.findall(r"^redis_up (\d)$", said, re.MULTILINE) == ["1"], exporter.log()
    assert set(re.findall(r"^(redis_\w+)", said, re.MULTILINE)) >= OF_REDIS
    assert "redis_memory_max_bytes 2.147483648e+09" in said


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


def _scraped(port: int) -> str:
    try:
        return scraped(port)
    except OSError:  # it does not listen yet
        return ""


def _expanded(path: str) -> list[str]:
    """Write out the shell's braces."""
    match = re.search(r"\{([^}]*)\}", path)
    return [path.replace(match[0], word) for word in match[1].split(",")] if match else [path]
