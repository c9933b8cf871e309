"""A service that does nothing but show how the runtime keeps one: run as `python -m tests.support.tiny_service`."""

import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from microservices.runtime import (
    CommonSettings,
    Context,
    Loop,
    Refused,
    Secret,
    SettingError,
    SingleInstance,
    StreamConsumer,
    run,
)

STREAM = "quantum:stream:tiny"
COUNTER = "quantum:tiny:count"
GROUP = "tiny"
LEASE = "quantum:tiny:lease"


class Behaviour(StrEnum):
    """What the service does wrong."""

    GOOD = "good"
    REFUSES = "refuses"
    REFUSES_LATER = "refuses_later"
    WRONG_SETTING = "wrong_setting"
    HANGS = "hangs"
    SPINS = "spins"
    DEADLOCKS = "deadlocks"
    HANGS_AT_CLOSE = "hangs_at_close"
    FAILS_AT_CLOSE = "fails_at_close"
    LEAVES_A_POOL = "leaves_a_pool"
    DIES = "dies"
    HAS_A_BUG = "has_a_bug"
    FALLS_SHORT = "falls_short"


class Settings(CommonSettings, frozen=True, kw_only=True):
    """Its settings."""

    tiny_block_ms: Annotated[int, Meta(ge=0, le=2000)] = 2000
    tiny_behaviour: Behaviour = Behaviour.GOOD
    tiny_metrics_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    tiny_max_tick_s: float = 25.0
    tiny_key: Secret = Secret()
    state_directory: Path | None = None

    @property
    def metrics_port(self) -> int | None:
        return self.tiny_metrics_port


class TinyService:
    """Count the entries of a stream in Redis; misbehave as told."""

    def __init__(self, context: Context[Settings]) -> None:
        self._context = context
        self._behaviour = context.settings.tiny_behaviour
        self._counted = 0
        self._consumer = StreamConsumer(
            context.redis,
            STREAM,
            GROUP,
            "me",
            batch=100,
            block_ms=context.settings.tiny_block_ms,
            start_id=lambda: "0",
        )
        directory = context.settings.state_directory
        self._instance = SingleInstance(context.redis, directory, LEASE, context.clock) if directory else None

    def prepare(self) -> None:
        if self._behaviour is Behaviour.REFUSES:
            raise Refused("the account is another one")
        if self._instance is not None:
            self._instance.acquire()

    def loops(self) -> Sequence[Loop]:
        bound_s = self._context.settings.tiny_max_tick_s
        return [
            Loop("read", self._read, max_tick_s=bound_s),
            Loop("misbehave", self._misbehave, max_tick_s=bound_s, shortfall=self._shortfall),
        ]

    def status_line(self) -> str:
        return f"{self._counted} counted"

    def close(self) -> None:
        if self._behaviour is Behaviour.HANGS_AT_CLOSE:
            threading.Event().wait()
        if self._behaviour is Behaviour.FAILS_AT_CLOSE:
            raise ValueError("nothing to close")
        if self._instance is not None:
            self._instance.release()

    def _read(self) -> float:
        with self._consumer.batch() as entries, self._context.redis.pipeline() as pipeline:
            for entry in entries:
                pipeline.incr(COUNTER)
                pipeline.xack(STREAM, GROUP, entry.id)
            pipeline.execute()
        self._counted += len(entries)
        return 0.0

    def _misbehave(self) -> float:
        match self._behaviour:
            case Behaviour.REFUSES_LATER:
                raise Refused("the account has changed")
            case Behaviour.WRONG_SETTING:
                raise SettingError("TINY_KEY", Secret("x"), "another key")
            case Behaviour.HANGS | Behaviour.SPINS | Behaviour.DEADLOCKS:
                self._never_return()
            case Behaviour.LEAVES_A_POOL:
                ThreadPoolExecutor(1).submit(threading.Event().wait)
                return 3600.0
            case Behaviour.DIES:
                raise SystemExit(7)
            case Behaviour.HAS_A_BUG:
                raise KeyError("symbol")
        return 3600.0

    def _never_return(self) -> None:
        lock = threading.Lock()
        while self._behaviour is Behaviour.SPINS:
            pass
        with lock:
            (lock.acquire if self._behaviour is Behaviour.DEADLOCKS else threading.Event().wait)()

    def _shortfall(self) -> str:
        return "the answer was refused" if self._behaviour is Behaviour.FALLS_SHORT else ""


if __name__ == "__main__":
    sys.exit(run("quantum-tiny", Settings, TinyService))
