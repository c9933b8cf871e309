"""What an entry says of the machine by itself: code, host, services, proof file. What is not there is `unavailable`."""

import getpass
import hashlib
import os
import re
import socket
import stat
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ops.record.entry import UNAVAILABLE
from ops.record.store import LedgerFault

TIMEOUT_S = 10
LOG_LINES = 30
_JOURNAL = ("journalctl", "--no-pager", "--quiet", "--utc", "--output=short-iso")
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]{0,254}")
_STATE = re.compile("[a-z][a-z-]{2,30}")


def now_text(now: datetime) -> str:
    """Write a time as the ledger does."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ran(*command: str, at: Path | None = None) -> subprocess.CompletedProcess[str] | None:
    """Run a tool; None where it is missing or does not end in time."""
    # git's variables would make it speak of another repository than the one that is asked about.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(
            command,
            cwd=at,
            env=environment | {"LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def commit_and_branch(root: Path) -> tuple[str, str]:
    """Say what code this is: of a checkout by git, else by the RELEASE file that a deploy leaves in its folder."""
    if not (root / ".git").exists():
        return _of_release(root / "RELEASE")
    # root looks after a checkout that is another user's, and only reads in it.
    git = ("git", "-c", f"safe.directory={root}")
    commit = ran(*git, "rev-parse", "--verify", "--quiet", "HEAD", at=root)
    branch = ran(*git, "symbolic-ref", "--short", "--quiet", "HEAD", at=root)
    detached = "detached" if branch is not None and branch.returncode == 1 else UNAVAILABLE
    return _said(commit)[:8] or UNAVAILABLE, _said(branch) or detached


def _said(done: subprocess.CompletedProcess[str] | None) -> str:
    return done.stdout.strip() if done is not None and done.returncode == 0 else ""


def _of_release(path: Path) -> tuple[str, str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return UNAVAILABLE, UNAVAILABLE
    # `commit=…`, `commit: …` or JSON's `"commit": "…"`, one a line.
    found = dict(re.findall(r"""^[\s{]*["']?(\w+)["']?\s*[=:]\s*["']?([^"'\s,}]+)""", text, re.MULTILINE))
    commit = str(found.get("commit", ""))
    return commit[:8] or UNAVAILABLE, str(found.get("branch", "")) or UNAVAILABLE


def hostname() -> str:
    """Name this machine."""
    return socket.gethostname() or UNAVAILABLE


def invoker() -> str:
    """Name who runs this, behind sudo too."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user id without a name; which of the two, Python's version says
        return str(os.getuid())


def service_state(service: str) -> str:
    """Say what systemd calls a service."""
    if not _UNIT.fullmatch(service):
        return "unknown"
    done = ran("systemctl", "is-active", "--", service)
    word = done.stdout.partition("\n")[0].strip() if done is not None else ""
    return word if _STATE.fullmatch(word) else UNAVAILABLE


def services_log(services: Sequence[str]) -> str:
    """Give the newest journal lines of each service, headed by what was asked."""
    return "\n".join(f"# journalctl -u {service} -n {LOG_LINES}\n{_journal(service)}" for service in services)


def _journal(service: str) -> str:
    if not _UNIT.fullmatch(service):
        return UNAVAILABLE
    done = ran(*_JOURNAL, f"--lines={LOG_LINES}", f"--unit={service}")
    if done is None or done.returncode != 0:
        return UNAVAILABLE
    return done.stdout.strip() or "(no lines)"


def proof_of(path: Path) -> dict[str, str | int]:
    """Describe a proof file.

    Raises:
        LedgerFault: it is no regular file.
        OSError: it cannot be read.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise LedgerFault(f"the proof {path} is no regular file")
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    changed = now_text(datetime.fromtimestamp(status.st_mtime, UTC))
    return {"sha256": sha256[:16], "size_bytes": status.st_size, "mtime_utc": changed}
