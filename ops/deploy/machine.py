"""The machine that is deployed to: where things are on it, commands that are run there, and one way to fail."""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

COMMAND_S = 60.0


class Fault(Exception):
    """What a deploy cannot go on with; its text is one line that names the cause."""


class Finding(NamedTuple):
    """One thing that is wrong, and how to mend it.

    Args:
        name: one word or two, the same on every machine.
        what: what was seen, and what was expected.
        fix: what the operator does about it.
        stops: whether a deploy ends over it; what does not is told all the same.
    """

    name: str
    what: str
    fix: str
    stops: bool = True

    def __str__(self) -> str:
        """Write it as one line."""
        return f"{self.name}: {self.what}"


@dataclass(frozen=True)
class Places:
    """Where things are on a machine."""

    opt: Path = Path("/opt/quantum")
    etc: Path = Path("/etc/quantum")
    units: Path = Path("/etc/systemd/system")
    sysusers: Path = Path("/etc/sysusers.d")
    tmpfiles: Path = Path("/etc/tmpfiles.d")
    state: Path = Path("/var/lib/quantum")
    redis: Path = Path("/etc/redis")
    profile: Path = Path("/etc/profile.d")
    python: Path = Path("/usr/bin/python3")
    lock: Path = Path("/run/quantum-deploy.lock")

    @property
    def releases(self) -> Path:
        """Holds a folder per release."""
        return self.opt / "releases"

    @property
    def current(self) -> Path:
        """The link to the release that runs."""
        return self.opt / "current"

    @property
    def previous(self) -> Path:
        """The link to the release that ran before."""
        return self.opt / "previous"

    @property
    def credentials(self) -> Path:
        """Holds a file per credential."""
        return self.etc / "credentials"

    @property
    def logins(self) -> Path:
        """Holds a file per user of this machine's Redis, with its password."""
        return self.etc / "redis"

    @property
    def ledger(self) -> Path:
        """The ledger of operations."""
        return Path(os.environ.get("OPS_LEDGER_FILE") or self.state / "OPS_CHANGELOG.md")


def run(
    *command: str | Path, timeout_s: float = COMMAND_S, environment: Mapping[str, str] | None = None, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command and give how it ended; what it prints is kept.

    Args:
        command: the program and its arguments.
        timeout_s: after which it is ended.
        environment: added to this process's own.
        text: what it reads on its standard input.

    Raises:
        Fault: it is not installed, or did not end in time.
    """
    try:
        return subprocess.run(
            [str(word) for word in command],
            input=text,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=timeout_s,
            check=False,
            env=os.environ | dict(environment or {}),
        )
    except (FileNotFoundError, PermissionError) as error:
        raise Fault(f"{command[0]} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Fault(f"{command[0]} did not end within {timeout_s:g} s") from None


def must(*command: str | Path, what: str, timeout_s: float = COMMAND_S, **environment: str) -> str:
    """Run a command that has to succeed; give what it printed.

    Raises:
        Fault: it failed; its last line of complaint is in the text, after `what`.
    """
    done = run(*command, timeout_s=timeout_s, environment=environment)
    if done.returncode:
        raise Fault(f"{what}: {last_line(done.stderr or done.stdout) or f'exit {done.returncode}'}")
    return done.stdout


def last_line(text: str) -> str:
    """Give the last line that says anything, printable and bounded."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else ""


def one_line(text: object) -> str:
    """Write anything as one printable line of bounded length."""
    line = " ".join(str(text).split())
    printable = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in line)
    return printable if len(printable) <= 300 else f"{printable[:300]}…"


def write_whole(path: Path, content: str, mode: int, group: int = 0) -> None:
    """Write a file so that it is never seen in part, owned by root and a group.

    Raises:
        OSError: it cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
            os.fchown(file.fileno(), 0, group)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def switch_link(link: Path, target: Path) -> None:
    """Let a link point at another folder, in one step: there is no moment without it."""
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)
