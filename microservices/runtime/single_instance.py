"""Exactly one instance: a lock file on this host, and a lease in Redis that every commit checks."""

import fcntl
import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Final

from redis import Redis

from microservices.runtime.clock import Clock
from microservices.runtime.errors import LeaseHeld, Refused
from microservices.runtime.lua import LuaScript

LEASE_MS: Final = 10_000
RENEW_EVERY_S: Final = 3.0  # three tries before it runs out
_LOCK_ID: Final = re.compile(r"[0-9a-f]{32}")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

ACQUIRE: Final = LuaScript.load(__package__, "lease_acquire.lua")
RENEW: Final = LuaScript.load(__package__, "lease_renew.lua")
RELEASE: Final = LuaScript.load(__package__, "lease_release.lua")


class SingleInstance:
    """Hold the lock file and the lease of one service.

    The instance id is `<lock id>:<random>`. Whoever holds the lock file knows that a former holder of the same file is
    dead, and takes over its lease at once; a lease of any other is waited for. The lock id also stands for the
    machine's boot and the file's inode: a copy of the file, or of the whole machine, is another lock.

    Args:
        redis: where the lease is.
        state_directory: the service's own directory; made where it is missing.
        lease_key: the lease's key.
        clock: tells when the lease was last known to be held.

    Attributes:
        instance_id: what the lease holds, and every commit compares; empty before the first `acquire`.
    """

    def __init__(self, redis: Redis, state_directory: Path, lease_key: str, clock: Clock) -> None:
        self.instance_id = ""
        self._redis = redis
        self._path = state_directory / "lock"
        self._key = lease_key
        self._clock = clock
        self._file: int | None = None
        self._lock_id = ""
        self._was_held = False
        self._held_until = float("-inf")

    def acquire(self) -> None:
        """Take lock file and lease; may be called again after the lease was lost.

        Raises:
            Refused: another process holds the lock file, or it cannot be used, or a copy of this very lock is in use.
            LeaseHeld: another instance holds the lease; try again, it ends 10 s after that instance's last renewal.
        """
        self._lock()
        asked_at = self._clock.monotonic()
        # Only a first call can find the lease of a dead holder of this lock; later it would be somebody living.
        superseded = "" if self._was_held else self._lock_id
        holder = ACQUIRE(self._redis, [self._key], [self.instance_id, superseded, LEASE_MS])
        if holder is not None:
            self._held_until = float("-inf")
            raise LeaseHeld(f"lease {self._key} held by {holder.decode('utf-8', 'replace')}")
        self._was_held = True
        self._held_until = asked_at + LEASE_MS / 1000

    def renew(self) -> bool:
        """Renew the lease, to be done every `RENEW_EVERY_S` seconds.

        False says that it is lost, and that nothing may be done before `acquire` succeeds again.
        """
        asked_at = self._clock.monotonic()
        if not self.instance_id or not RENEW(self._redis, [self._key], [self.instance_id, LEASE_MS]):
            self._held_until = float("-inf")
            return False
        self._held_until = asked_at + LEASE_MS / 1000
        return True

    def holds(self) -> bool:
        """Tell from memory whether the lease was taken or renewed less than its 10 s ago.

        True is no promise to act on: the commits ask Redis itself. False is certain.
        """
        return self._clock.monotonic() < self._held_until

    def is_ours(self) -> bool:
        """Ask Redis whether the lease is ours at this moment: to be asked before taking what another would then miss.

        Raises:
            redis.exceptions.RedisError: Redis did not answer.
        """
        return bool(self.instance_id) and self._redis.get(self._key) == self.instance_id.encode()

    def release(self) -> None:
        """Give the lease up where it is ours, and the lock file; the file itself stays."""
        self._held_until = float("-inf")
        try:
            if self.instance_id:
                RELEASE(self._redis, [self._key], [self.instance_id])
        finally:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _lock(self) -> None:
        if self._file is not None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Refused(f"lock file {self._path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._lock_id = _lock_id(file)
        except BlockingIOError as error:
            os.close(file)
            raise Refused(f"another process holds {self._path}: this service runs already") from error
        except OSError as error:
            os.close(file)
            raise Refused(f"lock file {self._path} cannot be used: {error.strerror}") from error
        self._file = file
        self.instance_id = f"{self._lock_id}:{secrets.token_hex(8)}"


def _lock_id(file: int) -> str:
    """Name this lock: the file's own random text, made once, with its inode and this boot."""
    own = os.pread(file, 64, 0).decode("ascii", "replace").strip()
    if not _LOCK_ID.fullmatch(own):
        own = secrets.token_hex(16)
        os.ftruncate(file, 0)
        os.pwrite(file, f"{own}\n".encode(), 0)
        os.fsync(file)
    status = os.fstat(file)
    boot = _BOOT_ID.read_text(encoding="ascii") if _BOOT_ID.exists() else ""
    return hashlib.sha256(f"{own} {status.st_dev} {status.st_ino} {boot}".encode()).hexdigest()[:16]
