"""`sent.log`: every order that was about to be sent, on disk before it was, whatever Redis remembers.

One JSON object a line: a `sent` line before the POST, an `end` line after the result. A line is on the disk (fsync)
before `append` returns. A last line without its newline is what a crash cut off while it was written: its POST cannot
have been made, and it is dropped.
"""

import logging
import os
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec

from microservices.contracts.plan import Action, Side
from microservices.runtime import Refused

logger = logging.getLogger(__name__)

FILE_NAME = "sent.log"
OLD_SHARE_MIN = 0.1
"""Less is not worth writing the file anew, for which every order waits: a busy log has something old each minute."""


class SentOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order as it was about to be sent; `sent_at_ms` is its timestamp, exchange time."""

    plan_id: str
    plan_entry_id: str
    symbol: str
    action: Action
    side: Side
    quantity: Decimal
    reduce_only: bool
    client_order_id: str
    sent_at_ms: int
    source: str = ""
    wait_ms: int = 0


class OrderEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How the order of a plan ended: the result as it was written, and its id."""

    plan_id: str
    result_id: str
    fields: dict[str, str]
    """Empty where the result could not be found any more."""


class LoggedOrder(msgspec.Struct, frozen=True):
    """An order with its end; `end` is None while it is not known."""

    sent: SentOrder
    end: OrderEnd | None = None


class _Line(msgspec.Struct, omit_defaults=True):
    sent: SentOrder | None = None
    end: OrderEnd | None = None


class NotLogged(Exception):
    """The line is not safely on the disk, so that no order may be sent for it."""


class SentLog:
    """The log of one state directory; may be used by several threads.

    Args:
        directory: where the file is; made where it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._lock = threading.Lock()
        self._orders: dict[str, LoggedOrder] = {}
        self._file: int | None = None
        self._size = 0

    def open(self) -> None:
        """Read the file and drop a line that a crash cut off; may be called again.

        Raises:
            Refused: a line in the midst of the file cannot be read, so that it is not known what was sent.
            OSError: the file cannot be read or written.
        """
        with self._lock:
            self._close()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            raw = self._path.read_bytes() if self._path.exists() else b""
            whole = raw[: raw.rfind(b"\n") + 1]
            self._orders = _read(self._path, whole)
            self._size = len(whole)
            self._handle()
            if len(whole) < len(raw):
                logger.warning("%s: dropped a line of %d bytes without an end", self._path, len(raw) - len(whole))

    def find(self, plan_id: str) -> LoggedOrder | None:
        """Give the order of a plan, or None where none was ever about to be sent."""
        with self._lock:
            return self._orders.get(plan_id)

    def append(self, order: SentOrder) -> None:
        """Put an order on the disk before it is sent.

        Raises:
            NotLogged: it is not on the disk for certain, or the plan has a line already: it must not be sent.
        """
        with self._lock:
            if order.plan_id in self._orders:
                raise NotLogged(f"{self._path} has a line for plan {order.plan_id} already")
            try:
                self._write(_Line(sent=order), to_disk=True)
            except OSError as error:
                self._take_back()
                raise NotLogged(f"{self._path}: {error.strerror or error}") from error
            self._orders[order.plan_id] = LoggedOrder(order)

    def end(self, end: OrderEnd) -> None:
        """Note how an order ended; nothing happens where the plan has no order here.

        A line that cannot be written, or does not survive a power cut, is no harm: the next start finds the result.
        """
        with self._lock:
            if not _put_end(self._orders, end):
                return
            try:
                self._write(_Line(end=end), to_disk=False)
            except OSError as error:
                self._take_back()
                logger.error("The end of plan %s is not in %s: %s", end.plan_id, self._path, error)  # noqa: TRY400

    def unended(self) -> list[SentOrder]:
        """List the orders whose end is not known, oldest first."""
        with self._lock:
            return [logged.sent for logged in self._orders.values() if logged.end is None]

    def ended_newest_first(self) -> Iterator[OrderEnd]:
        """Give the ends that are known, the newest first: an order may have been asked for for long."""
        with self._lock:
            orders = list(self._orders.values())
        return (logged.end for logged in reversed(orders) if logged.end is not None)

    def drop_ended_before(self, before_ms: int) -> int:
        """Forget the ended orders that were sent before a time, in memory and on the disk; return how many.

        Nothing is done where they are fewer than a tenth of all.

        Raises:
            OSError: the new file could not be written; the old one stays.
        """
        with self._lock:
            kept = {name: logged for name, logged in self._orders.items() if not _is_old(logged, before_ms)}
            dropped = len(self._orders) - len(kept)
            if dropped == 0 or dropped < OLD_SHARE_MIN * len(self._orders):
                return 0
            self._rewrite(kept)
            return dropped

    def close(self) -> None:
        """Close the file; it is opened again by `open`."""
        with self._lock:
            self._close()

    def _handle(self) -> int:
        """Give the open file; one that is opened is first cut to what is known to be good in it."""
        if self._file is None:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._file = file
            os.ftruncate(file, self._size)
            os.fsync(file)
            _sync_directory(self._path.parent)
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, line: _Line, *, to_disk: bool) -> None:
        file = self._handle()
        raw = msgspec.json.encode(line) + b"\n"
        written = os.write(file, raw)
        if written != len(raw):
            raise OSError(f"only {written} of {len(raw)} bytes were written")
        if to_disk:
            os.fdatasync(file)
        self._size += len(raw)

    def _take_back(self) -> None:
        """Close the file after a failed write: the next write opens it anew and cuts off what that one left."""
        self._close()

    def _rewrite(self, kept: dict[str, LoggedOrder]) -> None:
        lines = (line for logged in kept.values() for line in _lines(logged))
        raw = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        new = self._path.with_suffix(".new")
        with open(new, "wb", opener=_private) as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        self._close()
        self._size = len(raw)
        self._orders = kept
        self._handle()


def _read(path: Path, whole: bytes) -> dict[str, LoggedOrder]:
    orders: dict[str, LoggedOrder] = {}
    for number, raw in enumerate(whole.splitlines(), start=1):
        try:
            line = msgspec.json.decode(raw, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            why = f"{path} line {number} cannot be read ({error}): it is not known which orders were sent"
            raise Refused(f"{why}; compare with the exchange, then move the file away") from None
        if line.sent is not None:
            orders[line.sent.plan_id] = LoggedOrder(line.sent)
        elif line.end is not None:
            _put_end(orders, line.end)
    return orders


def _put_end(orders: dict[str, LoggedOrder], end: OrderEnd) -> bool:
    """Add an end to its order and move both to the end, so that ends stand in their own order; tell if there is one."""
    logged = orders.pop(end.plan_id, None)
    if logged is None:
        return False
    orders[end.plan_id] = LoggedOrder(logged.sent, end)
    return True


def _lines(logged: LoggedOrder) -> Iterator[_Line]:
    yield _Line(sent=logged.sent)
    if logged.end is not None:
        yield _Line(end=logged.end)


def _is_old(logged: LoggedOrder, before_ms: int) -> bool:
    return logged.end is not None and logged.sent.sent_at_ms < before_ms


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner may read."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _sync_directory(directory: Path) -> None:
    """Put the file's name itself on the disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
