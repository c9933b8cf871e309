"""docs/redis.md: every command works as it stands, on a Redis with the list and a sentinel beside it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from microservices.contracts import control
from tests.support.daemon import ROOT
from tests.support.ops import put_tool
from tests.support.pages import Command, commands
from tests.support.sentinels import Sentinels

PAGE = ROOT / "docs" / "redis.md"
LOGINS = "/etc/quantum/redis"
ALL = commands(PAGE)
TOOL = """\
words=()
for word in "$@"; do
  [[ $word != 26379 ]] || word={sentinel}
  [[ $word != 6379 ]] || word={port}
  words+=("$word")
done
exec {redis_cli} --user reader -p {port} "${{words[@]}}"
"""


class Shell:
    """A shell on a machine whose Redis is guarded: its passwords lie where the page says, but for the root folder.

    Args:
        folder: for its tools and passwords.
        sentinels: the Redis.
    """

    def __init__(self, folder: Path, sentinels: Sentinels) -> None:
        self._logins = folder / "logins"
        self._logins.mkdir()
        for user, password in sentinels.passwords.items():
            (self._logins / user).write_text(password)
        self._primary, self._sentinel = str(sentinels.primary()[1]), str(sentinels.sentinels[0][1])
        self._folder = folder / "tools"
        self._folder.mkdir()
        put_tool(
            self._folder,
            "redis-cli",
            TOOL.format(sentinel=self._sentinel, port=self._primary, redis_cli="/usr/bin/redis-cli"),
        )

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line of the page; the scripts' own folder of passwords is this shell's."""
        here = line.replace(LOGINS, str(self._logins)).replace(":26379", f":{self._sentinel}")
        return subprocess.run(
            ["bash", "-c", here],
            env={
                "PATH": f"{self._folder}:{os.environ['PATH']}",
                "REDISCLI_AUTH": (self._logins / "reader").read_text(),
                "QUANTUM_REDIS_LOGINS": str(self._logins),
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """One shell for the page, on which each command finds what the ones above it left."""
    with Sentinels(tmp_path_factory.mktemp("sentinels")) as sentinels:
        with sentinels.nodes[sentinels.primary()[1]].client() as admin:
            admin.set(control.KILL_SWITCH_KEY, "off")
        yield Shell(tmp_path_factory.mktemp("shell"), sentinels)


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.line[:50])
def test_a_command_of_the_page_does_what_it_says(shell: Shell, command: Command) -> None:
    """It ends with the code that is said; what is refused is refused by Redis itself."""
    done = shell.run(command.line)
    assert done.returncode == command.code, done.stdout + done.stderr
    assert ("NOPERM" in done.stdout + done.stderr) is (command.code == 1)
    assert "WARNING" not in done.stderr


def test_the_page_has_commands() -> None:
    """The reading of the page itself works."""
    assert len(ALL) == 11
