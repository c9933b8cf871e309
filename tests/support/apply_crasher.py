"""Run the apply layer and have it kill or stop itself after a step, or note all steps.

Usage: python -m tests.support.apply_crasher STEP SIGKILL|SIGSTOP NAME …
       python -m tests.support.apply_crasher FILE note NAME …

A step is whatever leaves the process for a plan: a command or script to Redis, a request to the exchange, a write to
the disk. `on_every_door` sees all of them, listed here or not, and a test compares what it sees with `STEPS`. The names
are the plan's id, entry id, order name and symbol: what names one of them is done for the plan.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis import Redis
from redis.client import Pipeline

from microservices.apply_layer.assembly import UNIT
from microservices.apply_layer.service import build
from microservices.apply_layer.settings import Settings
from microservices.exchange.transport import Transport
from microservices.runtime import LuaScript, run

ORDER = (
    "HGET", "write sent", "fdatasync", "mark_sent.lua", "POST /fapi/v1/order", "finish.lua", "write end",
)  # fmt: skip
"""From the claim to the end, as a worker does it."""

STEPS: dict[str, tuple[str, ...]] = {
    "order": ("XREADGROUP", "MGET", "consume.lua", *ORDER),
    "unanswered": ("XREADGROUP", "MGET", "consume.lua", *ORDER, "GET /fapi/v1/order"),
    "denied": ("XREADGROUP", "MGET", "consume.lua", "finish.lua"),
    "skipped": ("XREADGROUP", "finish.lua"),
    "duplicate": ("XREADGROUP", "MGET", "consume.lua", "answer.lua"),
    "claimed": ("HGETALL", "XRANGE", "XREADGROUP", *ORDER),
    "sent": ("restore_sent.lua", "HGETALL", "XREADGROUP", "GET /fapi/v1/order", "finish.lua", "write end"),
    "lost": ("finish.lua", "write end"),
}
"""Every step of a plan by what becomes of it, or by what a crash before has left of it."""

BESIDE = frozenset({"heartbeat", "clock", "trim", "wakeups"})
"""Loops that do nothing for any one plan: permit events are a wake-up only."""

Patch = Callable[[object, str, Any], None]


def on_every_door(patch: Patch, names: tuple[str, ...], passed: Callable[[str], None]) -> None:
    """Tell of everything that leaves this process for a plan, as soon as it is done, whether or not it succeeded.

    Args:
        patch: sets an attribute.
        names: what names the plan.
        passed: called with the step, in the thread that made it.
    """
    armed = threading.Event()

    def door(owner: Any, name: str, label: Callable[..., str], said: Callable[..., object]) -> None:
        original = getattr(owner, name)

        def through(*args: Any, **kwargs: Any) -> Any:
            step, what, answer = label(*args), repr(said(*args)), None
            try:
                answer = original(*args, **kwargs)
                return answer
            finally:
                is_named = any(word in what or word in repr(answer) for word in names)
                if threading.current_thread().name in BESIDE:
                    step = ""
                elif is_named:
                    armed.set()
                if step and (is_named or (step in ON_DISK and armed.is_set())):
                    passed(step)

        patch(owner, name, through)

    door(LuaScript, "__call__", lambda script, *_: script.name, lambda _, __, *keys: keys)
    door(Redis, "execute_command", _command, lambda _, *args: args)
    door(Pipeline, "execute", lambda pipeline, *_: _of_pipeline(pipeline), lambda pipeline, *_: pipeline.command_stack)
    door(Transport, "send", lambda _, method, path, *__: f"{method} {path}", lambda _, *args: args)
    door(os, "write", lambda _, data: "write end" if data.startswith(b'{"end"') else "write sent", lambda *_: ())
    for name in ("fdatasync", "fsync", "ftruncate", "replace"):
        door(os, name, lambda *_, name=name: name, lambda *_: ())


ON_DISK = frozenset({"write sent", "write end", "fdatasync", "fsync", "ftruncate", "replace"})


def _command(_redis: object, command: str, *_: object) -> str:
    """Name a command by its first word; a script is named by itself."""
    return "" if command.startswith("EVAL") else command.split(maxsplit=1)[0]


def _of_pipeline(pipeline: Any) -> str:
    return "/".join(str(args[0]) for args, _ in pipeline.command_stack)


def signal_after(step: str, how: signal.Signals) -> Callable[[str], None]:
    """Have this process send itself a signal when the step has been done for the first time."""
    first = threading.Lock()

    def passed(seen: str) -> None:
        if seen == step and first.acquire(blocking=False):
            # To this very thread: one to the process may be taken by another, and this one go on meanwhile.
            signal.pthread_kill(threading.get_ident(), how)

    return passed


def note(file: Path) -> Callable[[str], None]:
    """Have each step noted, a line each."""

    def passed(seen: str) -> None:
        with file.open("a") as lines:
            lines.write(f"{seen}\n")

    return passed


if __name__ == "__main__":
    given, what, *words = sys.argv[1:]
    on_every_door(
        setattr, tuple(words), note(Path(given)) if what == "note" else signal_after(given, signal.Signals[what])
    )
    sys.exit(run(UNIT, Settings, build, []))
