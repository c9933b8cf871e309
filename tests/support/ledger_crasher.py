"""Append to a ledger and be killed, as kill -9 does: `python -m tests.support.ledger_crasher LEDGER STEP`.

STEP is a number of microseconds after which an appending process is killed, over and over until standard input ends;
or the name of a step of one append, after which the process kills itself.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ops.record import store
from ops.record.append import append
from tests.support.ledger import operation

STEPS: dict[str, tuple[Any, str]] = {
    "locked": (store, "content"),
    "half_written": (os, "fdopen"),
    "synced": (os, "fsync"),
    "renamed": (Path, "replace"),
}
"""Every step between taking the lock and being done, in their order; the first fsync is that of the file."""


def die_after(step: str) -> None:
    """Have this process kill itself as soon as the step has been done."""
    owner, name = STEPS[step]
    original: Callable[..., Any] = getattr(owner, name)

    def fatal(*args: Any, **kwargs: Any) -> Any:
        answer = original(*args, **kwargs)
        if step == "half_written" and "wb" in args:
            answer.write(b"half")
            answer.flush()
        elif step == "half_written":
            return answer
        os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, fatal)


def append_until_killed(path: Path, after_us: int) -> None:
    """Fork a process that appends without end, and kill it at a time after its first append."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        append(path, operation(), complain=_fail)
        os.write(writing, b"1")
        while True:
            append(path, operation(), complain=_fail)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    time.sleep(after_us / 1e6)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _fail(why: str) -> None:
    raise AssertionError(why)


def main(ledger: str, step: str) -> None:
    """Kill as asked; answer each line of standard input with one of its own."""
    path = Path(ledger)
    if step in STEPS:
        die_after(step)
        append(path, operation(), complain=_fail)
        return
    for line in sys.stdin:
        append_until_killed(path, int(line))
        sys.stdout.write("killed\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
