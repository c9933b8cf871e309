"""What services leave behind for the operator's proofs, by their own contracts: a test then spoils one thing."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from redis import Redis

from microservices.contracts import hashes, market_state, permit, position, result, universe
from microservices.contracts.control import Mode
from microservices.contracts.market_state import MarketStateRow, PublisherStatus, Regime, Source
from microservices.contracts.permit import Gate, PermitEvent
from microservices.contracts.plan import Decision
from microservices.contracts.position import BrainStatus
from microservices.contracts.result import Result
from microservices.contracts.universe import UniverseDocument, UniverseMeta
from microservices.decision_intelligence.service import DecisionIntelligence
from microservices.decision_intelligence.settings import Settings
from microservices.runtime import SystemClock
from tests.support.ops import put_tool

SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT")


def publish(redis: Redis, *, age_s: float = 40, symbols: tuple[str, ...] = SYMBOLS, **meta: Any) -> None:
    """Put a universe there as its service does, with changes to what is said of it."""
    asof = int(time.time() - age_s)
    document = UniverseDocument(asof, universe.SOURCE, Mode.PAPER, symbols, universe.FILTERS)
    said: dict[str, Any] = {
        "asof_epoch": asof,
        "last_ok_epoch": asof,
        "count": len(symbols),
        "stale": 0,
        "mode": "paper",
        "dropped": 7,
    }
    redis.set(universe.ACTIVE_KEY, universe.encode_document(document))
    redis.set(universe.LAST_OK_KEY, universe.encode_document(document))
    redis.hset(universe.META_KEY, mapping=hashes.encode(UniverseMeta(**said | {"last_attempt_epoch": asof} | meta)))


def beat(redis: Redis, *, age_s: float = 2, source: str = "universe", count: int = 3, **change: Any) -> None:
    """Write the brain's heartbeat."""
    status = BrainStatus(int(time.time() - age_s), Mode.PAPER, "test", source, count, 900)
    redis.hset(position.STATUS_KEY, mapping=hashes.encode(msgspec.structs.replace(status, **change)))


def decided(redis: Redis, symbol: str = "BTCUSDT", **change: Any) -> None:
    """Write a permit event of the brain's."""
    event = PermitEvent(
        gate=Gate.P33,
        plan_id=f"plan-{symbol}",
        plan_entry_id="1-1",
        symbol=symbol,
        allow=True,
        safe_qty="0.01",
        reason="allowed",
        context="{}",
        issued_at_ms=int(time.time() * 1000),
    )
    redis.xadd(permit.EVENTS, hashes.encode(msgspec.structs.replace(event, **change)))


def brain_metrics(source: str = "universe", count: int = 3, age_s: float = 40) -> bytes:
    """Write what the brain's metrics say of its allowlist."""
    tiers = ("universe", "last_ok", "env", "none")
    lines = [f'p33_allowlist_source{{source="{tier}"}} {float(tier == source)}' for tier in tiers]
    lines += [f"p33_allowlist_count {float(count)}", f"p33_allowlist_age_seconds {float(age_s)}"]
    return built("quantum-position-state-brain", *lines)


def built(service: str, *lines: str) -> bytes:
    """Write a service's metrics: whose they are, and these lines."""
    build = f'quantum_build_info{{commit="abc",service="{service}",version="1"}} 1.0'
    return "\n".join(["# HELP quantum_build_info Always 1", build, *lines, ""]).encode()


def state_row(age_s: float = 5, **change: Any) -> MarketStateRow:
    """Make one symbol's market state, published so many seconds ago."""
    now_s = int(time.time() - age_s)
    given: dict[str, Any] = {
        "sigma": 0.000216,
        "mu": -0.0001,
        "ts": 0.464,
        "p_trend": 0.47,
        "p_mr": 0.2,
        "p_chop": 0.33,
        "dp": 0.1,
        "vr": 1.1,
        "spike_proxy": 0.4,
        "ts_timestamp": now_s,
        "buffer_size": 300,
        "regime": Regime.TREND,
        "source": Source.CANDLES,
        "candle_close_epoch": now_s - 30,
    }
    return MarketStateRow(**given | change)


def publish_states(redis: Redis, symbols: Iterable[str] = SYMBOLS, *, age_s: float = 5, **change: Any) -> None:
    """Write market state of symbols, and the publisher's status, as one cycle so many seconds ago does."""
    count = 0
    for count, symbol in enumerate(symbols, 1):  # noqa: B007 - how many there were is what the status says
        row = state_row(age_s, **change)
        redis.hset(market_state.key(symbol), mapping=market_state.encode(row))
        redis.expire(market_state.key(symbol), 600)
        redis.xadd(market_state.STREAM, market_state.encode_event(symbol, row))
    cycle(redis, published=count, age_s=age_s)


def cycle(redis: Redis, *, published: int = 3, skipped: int = 0, reasons: str = "{}", age_s: float = 5) -> None:
    """Write the publisher's status hash."""
    status = PublisherStatus(published, skipped, reasons, 12, int(time.time() - age_s))
    redis.hset(market_state.STATUS_KEY, mapping=hashes.encode(status))


def counting_service(redis: Redis) -> DecisionIntelligence:
    """Make decision intelligence itself, its group and its first windows; nothing of it runs by itself."""
    service = DecisionIntelligence(Settings(p35_block_ms=1), redis, SystemClock(), "test")
    service.prepare()
    service.consume()
    service.snapshot()
    return service


def end_plans(redis: Redis, count: int = 1, **change: Any) -> None:
    """Write results, as the apply layer does."""
    ended = Result(
        plan_id="p1", plan_entry_id="1-1", symbol="BTCUSDT", decision=Decision.BLOCKED, executed=False,
        error="kill_switch", mode=Mode.PAPER, timestamp=int(time.time()),
    )  # fmt: skip
    for _ in range(count):
        redis.xadd(result.STREAM, result.encode(msgspec.structs.replace(ended, **change)))


def put_unit(directory: Path, state: str, loaded: str = "loaded") -> None:
    """Put a systemctl there that knows one unit in one state."""
    code = "" if state == "active" else "exit 3"
    put_tool(directory, "systemctl", f"case $1 in show) echo {loaded} ;; is-active) echo '{state}'; {code} ;; esac")


def put_journal(directory: Path, *lines: str) -> None:
    """Put a journalctl there that has these lines."""
    (directory / "journal").write_text("".join(f"{line}\n" for line in lines))
    put_tool(
        directory, "journalctl", f"while IFS= read -r line; do printf '%s\\n' \"$line\"; done <'{directory}/journal'"
    )
