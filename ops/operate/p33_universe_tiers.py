"""Try P3.3's four tiers of the allowlist with the real service on a private Redis beside the paper exchange.

Usage: ops/test_p33_universe_integration.py

A fresh list, a stale one, one that is too old, and none at all: each time the service must use the right tier, say so
in its log and in its metrics, judge plans by it, and its proof must end with the right code. No other Redis is touched.
Exit: 0 all four are right; 1 not, or it could not be tried.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from redis import Redis

from microservices.contracts import control, hashes, permit, plan, position, universe
from microservices.contracts.control import KillSwitch, Mode
from microservices.contracts.fields import Unreadable
from microservices.contracts.plan import Action, Decision, Side
from microservices.contracts.reason import Reason
from microservices.contracts.universe import UniverseDocument, UniverseMeta
from microservices.contracts.universe_reader import Tier
from microservices.runtime import streams
from ops.operate.common import CANNOT_TELL, DONE, guarded
from ops.suite.private_run import ROOT, NotInTime, PrivateRun

NAME = "test_p33_universe_integration.py"
SERVICE = "position-state-brain"
PROOF = ("bash", str(ROOT / "ops" / "proof_p33_universe_source.sh"), "--no-unit")
PROOF_TIMEOUT_S = 30
WITHIN_S = 30.0
SYMBOLS = ("BTCUSDT", "ETHUSDT")
ALLOWED_BY_ENV, LISTED, NOT_LISTED = "BTCUSDT", "ETHUSDT", "NOSUCHUSDT"
TOO_OLD_S = 400
EVENTS_LOOKED_AT = 100
ALLOWLIST_REASONS = frozenset({Reason.NOT_IN_ALLOWLIST.value, Reason.NO_ALLOWLIST.value})


@dataclass(frozen=True)
class World:
    """What the universe is like, and what P3.3 must make of it."""

    name: str
    tier: Tier
    age_s: int | None
    """How old both lists are; None where there are none."""
    stale: int
    log_line: str
    proof_code: int
    denied: dict[str, str]
    """By symbol, why an OPEN of it must be denied; empty where it passes the allowlist."""


WORLDS = (
    World(
        "fresh", Tier.UNIVERSE, 0, 0, "P3.3 allowlist source=universe stale=0 count=2 ", 0,
        {LISTED: "", NOT_LISTED: "not_in_allowlist"},
    ),
    World(
        "stale", Tier.LAST_OK, 60, 1, "P3.3 allowlist source=last_ok stale=1 count=2 ", 2,
        {LISTED: "", NOT_LISTED: "not_in_allowlist"},
    ),
    World(
        "too old", Tier.ENV, TOO_OLD_S, 0, "P3.3 allowlist source=env stale=env count=1 asof_epoch=static age_s=0", 2,
        {ALLOWED_BY_ENV: "", LISTED: "not_in_allowlist"},
    ),
    World(
        "missing", Tier.NONE, None, 0, "P3.3 allowlist source=none stale=? count=0 asof_epoch=? age_s=?", 3,
        {LISTED: "no_allowlist"},
    ),
)  # fmt: skip


class Wrong(Exception):
    """A tier is not as it must be; the message says what was seen and expected."""


def work(argv: Sequence[str]) -> int:
    """Go through the four worlds; the first that is wrong ends it.

    Raises:
        redis.exceptions.RedisError: the private Redis did not answer.
    """
    if argv in (["-h"], ["--help"]):
        print(__doc__)
        return DONE
    if argv:
        print(__doc__, file=sys.stderr)
        return CANNOT_TELL
    with PrivateRun("paper-exchange") as run:
        try:
            _go_through(run)
        except (Wrong, NotInTime, Unreadable) as fault:
            print(run.log(SERVICE), file=sys.stderr, flush=True)
            print(f"❌ {' '.join(str(fault).split())}", flush=True)
            return CANNOT_TELL
    print("✅ P3.3 USES ALL FOUR TIERS AS IT MUST")
    return DONE


def _go_through(run: PrivateRun) -> None:
    run.redis.set(control.KILL_SWITCH_KEY, KillSwitch.OFF.value)
    *listed, missing = WORLDS
    _publish(run.redis, listed[0])
    run.start(SERVICE, {"P33_ALLOWLIST": ALLOWED_BY_ENV})
    for world in listed:
        _publish(run.redis, world)
        _check(run, world)
    if run.stop(SERVICE) != 0:
        raise Wrong(f"{SERVICE} did not end with 0 when asked to")
    _publish(run.redis, missing)
    run.start(SERVICE)
    _check(run, missing)


def _publish(redis: Redis, world: World) -> None:
    """Put the universe there as its service does, in one transaction."""
    unit = redis.pipeline(transaction=True)
    unit.delete(universe.ACTIVE_KEY, universe.LAST_OK_KEY, universe.META_KEY)
    if world.age_s is not None:
        asof = int(time.time()) - world.age_s
        document = UniverseDocument(asof, universe.SOURCE, Mode.PAPER, SYMBOLS, universe.FILTERS)
        meta = UniverseMeta(asof, asof, len(SYMBOLS), world.stale, mode=Mode.PAPER, last_attempt_epoch=asof)
        unit.set(universe.ACTIVE_KEY, universe.encode_document(document))
        unit.set(universe.LAST_OK_KEY, universe.encode_document(document))
        unit.hset(universe.META_KEY, mapping=hashes.encode(meta))
    unit.execute()


def _check(run: PrivateRun, world: World) -> None:
    reasons = []
    for symbol, expected in world.denied.items():
        reason = _judged(run, world, symbol)
        by_allowlist = reason if reason in ALLOWLIST_REASONS else ""
        if by_allowlist != expected:
            raise Wrong(
                f"{world.name}: an OPEN of {symbol} is {reason}, expected {expected or 'to pass the allowlist'}"
            )
        reasons.append(f"{symbol} {by_allowlist or 'passes'}")
    run.wait_for(lambda: _status_tier(run.redis) == world.tier, WITHIN_S, f"{world.name}: tier {world.tier}")
    if world.log_line not in run.log(SERVICE):
        raise Wrong(f"{world.name}: the log lacks {world.log_line!r}")
    environment = run.layout.proofs_environment
    done = subprocess.run(PROOF, env=environment, capture_output=True, text=True, timeout=PROOF_TIMEOUT_S, check=False)
    if done.returncode != world.proof_code:
        raise Wrong(f"{world.name}: its proof ended with {done.returncode}, expected {world.proof_code}: {done.stdout}")
    said = f"proof exit {done.returncode}; OPEN {', '.join(reasons)}"
    print(f"✅ {world.name:8} source={world.tier:8} {said}", flush=True)


def _judged(run: PrivateRun, world: World, symbol: str) -> str:
    """Add a plan and give what the brain says of it."""
    fields = plan.encode(
        {
            "plan_id": f"verify-{world.tier}-{symbol}",
            "symbol": symbol,
            "side": Side.BUY,
            "decision": Decision.EXECUTE,
            "action": Action.OPEN,
            "reduceOnly": False,
            "qty": "1",
            "source": "verify",
            "timestamp": f"{time.time():.3f}",
        }
    )
    entry_id = run.redis.xadd(plan.STREAM, fields)
    said: list[str] = []

    def is_answered() -> bool:
        for entry in streams.newest_entries(run.redis, permit.EVENTS, count=EVENTS_LOOKED_AT):
            event = permit.decode_event(entry.fields or {}, permit.EVENTS)
            if isinstance(entry_id, bytes) and event.plan_entry_id == entry_id.decode():
                said.append(event.reason)
        return bool(said)

    run.wait_for(is_answered, WITHIN_S, f"{world.name}: an answer to a plan of {symbol}")
    return said[0]


def _status_tier(redis: Redis) -> str:
    status = position.decode_status(redis.hgetall(position.STATUS_KEY))
    return "" if status is None else status.allowlist_source


if __name__ == "__main__":
    sys.exit(guarded(NAME, work, sys.argv[1:]))
