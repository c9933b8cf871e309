"""A redis-cli that stays: to start it anew for every question takes longer than the answers do."""

import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence

CHUNK_BYTES = 65_536


class RunningRedisCli:
    """A redis-cli at work: it says one line for each that it is told, and complains on its standard error.

    Args:
        command: redis-cli and its options.
        environment: its whole environment; None is this process's own.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, env=environment)
        ends = self._process.stdin, self._process.stdout, self._process.stderr
        self._told, self._said, self._complained = (end.fileno() for end in ends if end is not None)
        os.set_blocking(self._told, False)

    def exchange(self, told: bytes, count: int, timeout_s: float) -> tuple[bytes, bytes | None]:
        """Tell it so many lines, and give what it says to them.

        Returns:
            Its lines, and None where it can be told more; else, where it complained, ended or said what nobody had
            asked: all it said until it ended, and its complaint.

        Raises:
            TimeoutError: that took too long.
        """
        until_s = time.monotonic() + timeout_s
        poll, heard = select.poll(), {self._said: bytearray(), self._complained: bytearray()}
        for end in heard:
            poll.register(end, select.POLLIN)
        is_last = bool(poll.poll(0))
        poll.register(self._told, select.POLLOUT)
        open_ends = {*heard, self._told}
        while not open_ends.isdisjoint(heard) and (is_last or told or heard[self._said].count(b"\n") < count):
            for end in _ready(poll, until_s):
                if end == self._told:
                    told = self._tell(told)
                    is_open = bool(told)
                else:
                    chunk = os.read(end, CHUNK_BYTES)
                    heard[end] += chunk
                    is_open = bool(chunk)
                if not is_open:
                    poll.unregister(end)
                    open_ends.remove(end)
            is_last = is_last or bool(heard[self._complained]) or not open_ends.issuperset(heard)
            if is_last and not told and self._process.stdin is not None:
                self._process.stdin.close()  # it does what it was told, and ends
        said, complaint = bytes(heard[self._said]), bytes(heard[self._complained])
        is_last = is_last or said[-1:] not in (b"", b"\n")
        return said, complaint if is_last else None

    def end(self) -> None:
        """End it, whatever it does."""
        with self._process:
            self._process.kill()

    def _tell(self, told: bytes) -> bytes:
        """Tell it as much as it takes; give what is left."""
        try:
            return told[os.write(self._told, told[:CHUNK_BYTES]) :]
        except BrokenPipeError:
            return b""


def _ready(poll: select.poll, until_s: float) -> list[int]:
    left_s = until_s - time.monotonic()
    ready = poll.poll(left_s * 1_000) if left_s > 0 else []
    if not ready:
        raise TimeoutError
    return [end for end, _ in ready]
