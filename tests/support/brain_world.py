"""A whole brain on a real Redis beside an exchange that a test directs: no process, no socket, time moved by hand."""

import json
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import cast

import msgspec
import pytest
from redis import Redis

from microservices.contracts import control, permit, plan, position, result, universe
from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate, PermitDocument, PermitEvent
from microservices.contracts.position import AccountRow, InflightMark, LedgerRow, SnapshotRow
from microservices.contracts.universe import Instrument, UniverseDocument, UniverseMeta
from microservices.exchange import ExchangeError, PositionRow, PremiumIndex, SignedClient
from microservices.exchange.answers import Answer, body_or_error
from microservices.exchange.transport import Transport
from microservices.position_state_brain import ledger_loop, permits
from microservices.position_state_brain.service import Brain
from microservices.position_state_brain.settings import Settings
from microservices.runtime import Secret
from microservices.runtime.streams import entries_after
from tests.support.brain import INSTRUMENT, SYMBOL, exit_fields, plan_fields, position_row, result_of
from tests.support.clock import FakeClock

POSITIONS_PATH = "/fapi/v2/positionRisk"
PRICES_PATH = "/fapi/v1/premiumIndex"
MODE_PATH = "/fapi/v1/positionSide/dual"
BALANCE_PATH = "/fapi/v2/balance"
ACCOUNT = "TestAlias"
BASE_URL = "http://127.0.0.1:1"
PRICE = Decimal(60_000)


class DirectedExchange:
    """Answers as the test says; what is an error is raised instead."""

    def __init__(self) -> None:
        self.positions: dict[str, Decimal | str] = {SYMBOL: "0", "ETHUSDT": "0"}
        self.rows: list[PositionRow] | None = None
        """The answer as it is, in place of `positions`."""
        self.error: ExchangeError | None = None
        self.price_error: ExchangeError | None = None
        self.mode_error: ExchangeError | None = None
        self.alias_error: ExchangeError | None = None
        self.hedge = False
        self.alias = ACCOUNT
        self.deadlines_s: list[float | None] = []

    @property
    def asked(self) -> int:
        """How often the account was asked for."""
        return len(self.deadlines_s)

    def position_risk(self, *, timeout_s: float | None = None) -> Sequence[PositionRow]:
        """Give the positions."""
        self.deadlines_s.append(timeout_s)
        if self.error is not None:
            raise self.error
        if self.rows is not None:
            return self.rows
        return [position_row(symbol, amount, mark_price=PRICE) for symbol, amount in self.positions.items()]

    def premium_index(self, symbol: str | None = None, *, timeout_s: float | None = None) -> list[PremiumIndex]:
        """Give the mark prices of all symbols."""
        if self.price_error is not None:
            raise self.price_error
        return [PremiumIndex(symbol=name, mark_price=PRICE, time=0) for name in self.positions]

    def hedge_mode(self) -> bool:
        """Give the position mode."""
        if self.mode_error is not None:
            raise self.mode_error
        return self.hedge

    def account_alias(self) -> str:
        """Name the account."""
        if self.alias_error is not None:
            raise self.alias_error
        return self.alias

    def close(self) -> None:
        """Close nothing."""


class ReadExchange(DirectedExchange):
    """Is read by the suite's own client, as the exchange is.

    Args:
        client: reads it.
    """

    def __init__(self, client: SignedClient) -> None:
        super().__init__()
        self.client = client

    def position_risk(self, *, timeout_s: float | None = None) -> Sequence[PositionRow]:
        """Read the positions."""
        self.deadlines_s.append(timeout_s)
        return self.client.position_risk(timeout_s=timeout_s)

    def premium_index(self, symbol: str | None = None, *, timeout_s: float | None = None) -> list[PremiumIndex]:
        """Read the mark prices."""
        return self.client.premium_index(symbol, timeout_s=timeout_s)

    def hedge_mode(self) -> bool:
        """Read the position mode."""
        return self.client.hedge_mode()

    def account_alias(self) -> str:
        """Read the account."""
        return self.client.account_alias()


class WireExchange(ReadExchange):
    """Answers in bytes; `bodies` puts any bytes in place of what `positions` and `hedge` say."""

    def __init__(self) -> None:
        super().__init__(SignedClient(BASE_URL, Secret("k"), Secret("s"), clock=FakeClock()))
        self.bodies: dict[str, bytes] = {}
        self.client._transport = cast("Transport", self)

    def send(
        self, method: str, path: str, query: str = "", *, api_key: str = "", timeout_s: float | None = None
    ) -> bytes:
        """Answer a request with status 200."""
        answer = Answer(200, {}, self.bodies.get(path, self._well(path)))
        return body_or_error(f"{method} {path}", answer, now_s=0.0)

    def position_rows(self) -> list[dict[str, object]]:
        """What it says of the account where all is well."""
        return [
            {
                "symbol": symbol, "positionAmt": str(amount), "entryPrice": "60000", "markPrice": str(PRICE),
                "unRealizedProfit": "0", "leverage": "20", "positionSide": "BOTH", "updateTime": 0,
            }
            for symbol, amount in self.positions.items()
        ]  # fmt: skip

    def price_rows(self) -> list[dict[str, object]]:
        """What it says of mark prices where all is well."""
        return [{"symbol": symbol, "markPrice": str(PRICE), "time": 0} for symbol in self.positions]

    def _well(self, path: str) -> bytes:
        said = {
            POSITIONS_PATH: self.position_rows(),
            PRICES_PATH: self.price_rows(),
            MODE_PATH: {"dualSidePosition": self.hedge},
            BALANCE_PATH: [{"accountAlias": self.alias, "asset": "USDT", "balance": "1", "availableBalance": "1"}],
        }
        return json.dumps(said.get(path, {"serverTime": 0})).encode()


def brain_settings(state_directory: Path, **changes: object) -> Settings:
    """Settings of a paper brain."""
    given: dict[str, object] = {
        "binance_api_key": Secret("k"),
        "binance_api_secret": Secret("s"),
        "trading_mode": Mode.PAPER,
        "binance_futures_base_url": BASE_URL,
        "state_directory": state_directory,
    }
    return Settings(**(given | changes))  # type: ignore[arg-type] # a test names the fields


class World:
    """One brain, its Redis and its exchange. `begin` makes everything ready for a first plan.

    Args:
        redis: an empty Redis.
        state_directory: for the lock file.
        monkeypatch: takes the waits for empty streams away.
        exchange: by default one that takes no detour over bytes.
        settings: what differs from the defaults.
    """

    def __init__(
        self,
        redis: Redis,
        state_directory: Path,
        monkeypatch: pytest.MonkeyPatch,
        exchange: DirectedExchange | None = None,
        **settings: object,
    ) -> None:
        monkeypatch.setattr(permits, "IDLE_BLOCK_MS", 0)
        monkeypatch.setattr(ledger_loop, "BLOCK_MS", None)
        self.redis = redis
        self.clock = FakeClock(time.time())
        self.exchange = exchange or DirectedExchange()
        self.settings = brain_settings(state_directory, **settings)
        self.brain = self.another_brain()

    def another_brain(self) -> Brain:
        """Make a brain as a restart would."""
        return Brain(self.settings, self.redis, self.clock, "test", cast("SignedClient", self.exchange))

    def restart(self) -> None:
        """End the brain without a word, and start it anew."""
        self.brain.close()
        self.brain = self.another_brain()
        self.brain.prepare()

    def begin(self) -> "World":
        """Publish the universe, switch the kill switch off, start, and take the first snapshot."""
        self.publish_universe(age_s=20)
        self.redis.set(control.KILL_SWITCH_KEY, "off")
        self.brain.prepare()
        self.snapshot()
        return self

    def now_ms(self) -> int:
        """Redis's clock."""
        seconds, microseconds = self.redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def publish_universe(self, *symbols: str, age_s: int = 0, stale: int = 0, **rules: object) -> None:
        """Publish a list and its instruments, fetched so many seconds ago."""
        names, asof = tuple(sorted(symbols or (SYMBOL, "ETHUSDT"))), self.now_ms() // 1000 - age_s
        document = UniverseDocument(asof, universe.SOURCE, self.settings.trading_mode, names, universe.FILTERS)
        meta = UniverseMeta(asof, asof, len(names), stale)
        pipeline = self.redis.pipeline(transaction=True)
        pipeline.set(universe.ACTIVE_KEY, universe.encode_document(document))
        pipeline.set(universe.LAST_OK_KEY, universe.encode_document(document))
        pipeline.hset(
            universe.META_KEY, mapping={name: str(value) for name, value in msgspec.structs.asdict(meta).items()}
        )
        for name in names:
            instrument: Instrument = msgspec.structs.replace(INSTRUMENT, seen_epoch=asof, **rules)
            pipeline.hset(universe.INSTRUMENTS_KEY, name, universe.encode_instrument(instrument).decode())
        pipeline.execute()

    def snapshot(self, *, after_s: float = 5.0) -> None:
        """Let a poll's time pass and have the account asked for."""
        self.clock.advance(after_s)
        self.brain.snapshots.tick()

    def add(self, fields: dict[str, str]) -> str:
        """Add a plan as it is."""
        entry_id = self.redis.xadd(plan.STREAM, dict(fields.items()))
        assert isinstance(entry_id, bytes)
        return entry_id.decode()

    def open(self, plan_id: str = "p1", **changes: object) -> str:
        """Add an OPEN of this moment."""
        return self.add(plan_fields(plan_id=plan_id, timestamp=f"{self.now_ms() / 1000:.3f}", **changes))

    def close(self, plan_id: str = "p1", **changes: object) -> str:
        """Add an exit of this moment."""
        return self.add(exit_fields(plan_id=plan_id, timestamp=f"{self.now_ms() / 1000:.3f}", **changes))

    def answer(self) -> list[tuple[str, str]]:
        """Have the permit loop do one round; give what the events since say: plan id and reason."""
        before = len(self.events())
        self.brain.permits.tick()
        return [(event.plan_id, event.reason) for event in self.events()[before:]]

    def ended(self, entry_id: str, **changes: object) -> str:
        """Write how a plan ended just now, as the apply layer does; the ledger loop has not read it yet."""
        dated = {"timestamp": self.now_ms() // 1000} | changes
        fields = result.encode(result_of(plan_entry_id=entry_id, **dated))
        result_id = self.redis.xadd(result.STREAM, fields)
        assert isinstance(result_id, bytes)
        return result_id.decode()

    def events(self) -> list[PermitEvent]:
        """All permit events, oldest first."""
        entries = entries_after(self.redis, permit.EVENTS, "0-0", count=10_000)
        return [permit.decode_event(entry.fields or {}, "event") for entry in entries]

    def permit(self, plan_id: str) -> PermitDocument | None:
        """A plan's permit."""
        raw = self.redis.get(permit.key(Gate.P33, plan_id))
        return None if raw is None else permit.decode(raw, plan_id)

    def mark(self, symbol: str = SYMBOL) -> InflightMark | None:
        """A symbol's mark."""
        return position.decode_inflight(self.redis.hgetall(position.inflight_key(symbol)), symbol)

    def ledger(self, symbol: str = SYMBOL) -> LedgerRow | None:
        """A symbol's ledger row."""
        return position.decode_ledger(self.redis.hgetall(position.ledger_key(symbol)), symbol)

    def booked(self, symbol: str = SYMBOL) -> Decimal:
        """What the ledger says of a symbol; 0 without a row."""
        row = self.ledger(symbol)
        return Decimal(0) if row is None else row.position_amt

    def holding(self, amount: str = "0.5", symbol: str = SYMBOL) -> None:
        """Have a position that the ledger knows of; its fill is long past."""
        self.exchange.positions[symbol] = amount
        self.redis.hset(position.ledger_key(symbol), mapping={"position_amt": amount, "updated_at": "1"})
        self.brain._known.add(ledger={symbol})
        self.snapshot()

    def account(self) -> AccountRow | None:
        """The account's row."""
        return position.decode_account(self.redis.hgetall(position.ACCOUNT_KEY))

    def row(self, symbol: str = SYMBOL) -> SnapshotRow | None:
        """A symbol's snapshot."""
        return position.decode_snapshot(self.redis.hgetall(position.snapshot_key(symbol)), symbol)

    def hold(self, symbol: str = SYMBOL) -> str | None:
        """A symbol's hold."""
        raw = self.redis.get(control.hold_key(symbol))
        return raw.decode() if isinstance(raw, bytes) else None

    def has_baseline(self) -> bool:
        """Whether the account was adopted."""
        return bool(self.redis.exists(position.BASELINE_KEY))
