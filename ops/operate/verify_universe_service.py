"""Run the universe service on a private Redis against the paper exchange, and check all that it leaves there."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from redis import Redis

from microservices.contracts import universe
from microservices.contracts.control import Mode
from microservices.contracts.fields import Unreadable
from ops.operate.common import CANNOT_TELL, DONE, guarded
from ops.suite.private_run import ROOT, NotInTime, PrivateRun

NAME = "verify_universe_service.sh"
SERVICE = "universe-service"
PACKAGE = ROOT / "microservices" / "universe_service"
PROOF = ("bash", str(ROOT / "ops" / "proof_universe.sh"))
PROOF_TIMEOUT_S = 30
STARTED_WITHIN_S = 30.0


class Wrong(Exception):
    """Something is not as it must be; the message says what was seen and expected."""


def work(argv: Sequence[str]) -> int:
    """Do every step; the first that fails ends it.

    Raises:
        redis.exceptions.RedisError: the private Redis did not answer.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--seconds", type=int, required=True)
    seconds = parser.parse_args(argv).seconds
    try:
        _step("compiles", lambda: compiled(PACKAGE))
        with PrivateRun("paper-exchange") as run:
            _step(f"runs for {seconds} s on a private Redis, port {run.layout.redis_port}", lambda: _ran(run, seconds))
            _step("its keys are whole and agree", lambda: checked_keys(run.redis))
            _step("its proof", lambda: _proven(run))
            _step("stops when asked", lambda: _stopped(run))
    except (Wrong, NotInTime, Unreadable) as fault:
        print(f"❌ {' '.join(str(fault).split())}", flush=True)
        return CANNOT_TELL
    print("✅ UNIVERSE SERVICE VERIFIED")
    return DONE


def _step(what: str, do: Callable[[], str]) -> None:
    print(f"✅ {what}: {do()}", flush=True)


def compiled(package: Path) -> str:
    """Compile every file of a package, and write nothing.

    Raises:
        Wrong: one does not compile, or there is none.
    """
    files = sorted(package.glob("*.py"))
    for file in files:
        try:
            compile(file.read_bytes(), str(file), "exec")
        except (SyntaxError, ValueError) as fault:
            raise Wrong(f"{file}: {fault}, expected Python that compiles") from None
    if not files:
        raise Wrong(f"{package} holds no Python, expected the service")
    return f"{len(files)} files"


def _ran(run: PrivateRun, seconds: int) -> str:
    began_s = time.monotonic()
    run.start(SERVICE)

    def is_published() -> bool:
        meta = universe.decode_meta(run.redis.hgetall(universe.META_KEY))
        return meta is not None and meta.stale == 0

    try:
        run.wait_for(is_published, STARTED_WITHIN_S, "its first list")
        first_s = time.monotonic() - began_s
        time.sleep(max(0.0, seconds - first_s))
        if run.has_ended(SERVICE):
            raise Wrong("it has ended by itself, expected it to run")
    except (NotInTime, Wrong):
        print(run.log(SERVICE), file=sys.stderr, flush=True)
        raise
    return f"first list after {first_s:.1f} s"


def checked_keys(redis: Redis) -> str:
    """Read all that the service wrote, and hold it against each other.

    Raises:
        Wrong: something contradicts.
        Unreadable: a key is not as the schema says.
    """
    active = universe.decode_document(redis.get(universe.ACTIVE_KEY), universe.ACTIVE_KEY)
    last_ok = universe.decode_document(redis.get(universe.LAST_OK_KEY), universe.LAST_OK_KEY)
    meta = universe.decode_meta(redis.hgetall(universe.META_KEY))
    if active != last_ok:
        raise Wrong(f"{universe.ACTIVE_KEY} and {universe.LAST_OK_KEY} differ, expected the same document")
    if active.mode is not Mode.PAPER:
        raise Wrong(f"{universe.ACTIVE_KEY} mode is {active.mode}, expected paper")
    if meta is None or meta.count != len(active.symbols) or meta.error:
        raise Wrong(f"{universe.META_KEY} is {meta}, expected count {len(active.symbols)} and no error")
    rows = 0
    for symbol in active.symbols:
        row = universe.decode_instrument(redis.hget(universe.INSTRUMENTS_KEY, symbol), symbol)
        if not row.is_trading or row.seen_epoch != active.asof_epoch:
            raise Wrong(f"{universe.INSTRUMENTS_KEY} {symbol} is {row}, expected TRADING, seen at {active.asof_epoch}")
        rows += 1
    return f"{rows} symbols, each with its instrument"


def _proven(run: PrivateRun) -> str:
    done = subprocess.run(
        PROOF, env=run.layout.base_environment, capture_output=True, text=True, timeout=PROOF_TIMEOUT_S, check=False
    )
    if done.returncode != DONE:
        raise Wrong(f"the proof ended with {done.returncode}, expected 0:\n{done.stdout}{done.stderr}")
    return "exit 0\n" + "".join(f"   {line}\n" for line in done.stdout.splitlines()).rstrip()


def _stopped(run: PrivateRun) -> str:
    began_s = time.monotonic()
    code = run.stop(SERVICE)
    if code != 0:
        raise Wrong(f"it ended with {code}, expected 0 within 5 s")
    return f"exit 0 after {time.monotonic() - began_s:.1f} s"


if __name__ == "__main__":
    sys.exit(guarded(NAME, work, sys.argv[1:]))
