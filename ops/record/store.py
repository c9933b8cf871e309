"""Change a file so that a crash leaves the old one or the new one, and many writers one after the other."""

import fcntl
import os
import signal
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

LOCK_WAIT_S = 60.0


class LedgerFault(Exception):
    """The ledger cannot be read or written; the message is one line."""


def ledger_path(root: Path, environment: Mapping[str, str]) -> Path:
    """Say where the ledger is: OPS_LEDGER_FILE, else docs/OPS_CHANGELOG.md of the repository."""
    return Path(environment.get("OPS_LEDGER_FILE") or root / "docs" / "OPS_CHANGELOG.md")


def content(path: Path) -> bytes:
    """Read the file; empty where there is none.

    Raises:
        LedgerFault: something else than a file is there.
        OSError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise LedgerFault(f"{path} is no regular file")
        return file.read()


def update(path: Path, change: Callable[[bytes], bytes | None]) -> None:
    """Replace a file's content by what `change` makes of it, alone among all who do so; None leaves it.

    Temporary file beside it, fsync, rename, fsync of the folder. Mode and owner stay; a symbolic link
    stays one, and one that somebody else made is not followed: it may lead anywhere.

    Raises:
        LedgerFault: no regular file, or another writer held it for too long.
        OSError: it cannot be read or written; it is then as it was.
    """
    if path.is_symlink() and path.lstat().st_uid not in (0, os.geteuid()):
        raise LedgerFault(f"{path} is a link of another user's")
    path = Path(os.path.realpath(path))
    with _alone_in(path.parent) as folder:
        changed = change(content(path))
        if changed is None:
            return
        # One name for all: under the lock there is one writer, and what a crash left is replaced by the next.
        temporary = path.with_name(f".{path.name}.new")
        temporary.unlink(missing_ok=True)
        try:
            _write(temporary, changed, like=path)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        os.fsync(folder)


def _write(path: Path, data: bytes, like: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        if like.exists():
            was = like.stat()
            os.fchmod(descriptor, stat.S_IMODE(was.st_mode))
            if (was.st_uid, was.st_gid) != (os.geteuid(), os.getegid()) and os.geteuid() == 0:
                os.fchown(descriptor, was.st_uid, was.st_gid)
        os.fsync(descriptor)


@contextmanager
def _alone_in(folder: Path) -> Iterator[int]:
    """Lock a folder, which leaves no lock file behind and ends with the process, however that ends."""

    def too_long(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise LedgerFault(f"another writer has held {folder} for {LOCK_WAIT_S:g} s")

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    before = signal.signal(signal.SIGALRM, too_long)
    try:
        signal.setitimer(signal.ITIMER_REAL, LOCK_WAIT_S)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        signal.setitimer(signal.ITIMER_REAL, 0)
        yield descriptor
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os.close(descriptor)
