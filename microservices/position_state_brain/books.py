"""Read what the account is compared with: ledger rows, open claims, holds and requests, at one moment."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from redis import Redis
from redis.exceptions import ResponseError

from microservices.contracts import claim, control, position, result, universe
from microservices.contracts.fields import Unreadable, integer, stream_id, text
from microservices.contracts.position import Baseline, LedgerRow
from microservices.contracts.universe import Instrument

SCAN_PATTERN = "quantum:[pr]*:[lih]*:*"
"""Covers the three prefixes in one pass over the keys; whatever else it covers is sorted out by prefix."""
SCAN_COUNT = 5_000


class BookedRow(msgspec.Struct, frozen=True):
    """A symbol's ledger row as it was read."""

    row: LedgerRow | Unreadable | None
    seen: tuple[bytes, bytes] = (b"", b"")
    """Amount and last result id as they stood there: what a script compares before it writes."""

    @property
    def readable(self) -> LedgerRow | None:
        """The row, None where there is none that can be read."""
        return None if isinstance(self.row, Unreadable) else self.row

    @property
    def amount(self) -> Decimal:
        """What our own fills add up to; 0 without a row."""
        return Decimal(0) if self.readable is None else self.readable.position_amt


NO_ROW = BookedRow(None)


class Books(msgspec.Struct, frozen=True):
    """What Redis says of the account at one moment."""

    baseline: Baseline | Unreadable | None
    has_unread_result: bool
    claimed: frozenset[str] | None
    """Symbols with an open claim; None where that cannot be read, and every symbol may have one."""
    ledger: Mapping[str, BookedRow]
    holds: Mapping[str, object]
    """Raw, by symbol."""
    requests: Mapping[str, str]
    """Adoptions that an operator asks for, by symbol, with who asks."""
    request_all: str | None

    @property
    def has_baseline(self) -> bool:
        """Tell whether the account was adopted; a baseline that cannot be read is none."""
        return isinstance(self.baseline, Baseline)

    def has_open_claim(self, symbol: str) -> bool:
        """Tell whether a claim of this symbol is open, or may be."""
        return self.claimed is None or symbol in self.claimed

    @property
    def rows(self) -> dict[str, LedgerRow]:
        """What our own fills add up to, where there is a row that can be read."""
        return {symbol: booked.readable for symbol, booked in self.ledger.items() if booked.readable is not None}


def read_books(redis: Redis, symbols: Iterable[str], askable: Iterable[str]) -> Books:
    """Read the books.

    Args:
        redis: a client whose answers are bytes.
        symbols: whose ledger and hold are wanted.
        askable: for which symbols an operator may ask for an adoption.

    Raises:
        redis.exceptions.RedisError: Redis did not answer.
    """
    ordered, asked = sorted(symbols), sorted(askable)
    pipeline = redis.pipeline(transaction=True)
    pipeline.hgetall(position.BASELINE_KEY)
    pipeline.get(position.LEDGER_CURSOR_KEY)
    pipeline.xrevrange(result.STREAM, count=1)
    pipeline.hgetall(claim.OPEN_KEY)
    pipeline.mget([control.ADOPT_ALL_KEY, *(control.adopt_key(symbol) for symbol in asked)])
    for symbol in ordered:
        pipeline.hgetall(position.ledger_key(symbol))
    for symbol in ordered:
        pipeline.get(control.hold_key(symbol))
    baseline, cursor, newest, claims, requests, *rows = pipeline.execute(raise_on_error=False)
    request_all, *by_symbol = requests
    return Books(
        baseline=read_baseline(baseline),
        has_unread_result=_has_unread(cursor, newest),
        claimed=_claimed(claims),
        ledger={symbol: booked_row(raw, symbol) for symbol, raw in zip(ordered, rows[: len(ordered)], strict=True)},
        holds=dict(zip(ordered, rows[len(ordered) :], strict=True)),
        requests={symbol: _who(raw) for symbol, raw in zip(asked, by_symbol, strict=True) if raw is not None},
        request_all=None if request_all is None else _who(request_all),
    )


def booked_row(raw: Any, symbol: str) -> BookedRow:  # noqa: ANN401 - redis-py's answer to HGETALL, or its error
    """Read a symbol's ledger row."""
    if isinstance(raw, ResponseError):
        return BookedRow(Unreadable(position.ledger_key(symbol), str(raw)))
    seen = (raw.get(b"position_amt", b""), raw.get(b"last_result_id", b""))
    try:
        return BookedRow(position.decode_ledger(raw, symbol), seen)
    except Unreadable as fault:
        return BookedRow(fault, seen)


def read_baseline(raw: Any) -> Baseline | Unreadable | None:  # noqa: ANN401 - redis-py's answer to HGETALL, or its error
    """Read when and from what the account was adopted."""
    if isinstance(raw, ResponseError):
        return Unreadable(position.BASELINE_KEY, str(raw))
    try:
        return position.decode_baseline(raw)
    except Unreadable as fault:
        return fault


def find_symbols(redis: Redis) -> tuple[set[str], set[str], set[str]]:
    """Find the symbols that have a ledger row, a mark, or a hold, by a pass over all keys.

    Raises:
        redis.exceptions.RedisError: Redis did not answer.
    """
    prefixes = (position.ledger_key(""), position.inflight_key(""), control.hold_key(""))
    found: tuple[set[str], set[str], set[str]] = (set(), set(), set())
    for raw in redis.scan_iter(SCAN_PATTERN, count=SCAN_COUNT):
        key = bytes(raw).decode("utf-8", "replace")
        for prefix, symbols in zip(prefixes, found, strict=True):
            if key.startswith(prefix):
                symbols.add(key.removeprefix(prefix))
    return found


class InstrumentBook:
    """The instruments by symbol, parsed once per version of the universe.

    What was not in the newest list is not traded any more, whatever status it had when it was last seen: its row stays
    for days, so that a position can be closed.

    Args:
        redis: a client whose answers are bytes.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._version: object = None
        self._newest_epoch = 0
        self.instruments: Mapping[str, Instrument] = {}

    def refresh(self) -> None:
        """Read the instruments where the universe was published since; none where they cannot be read.

        Raises:
            redis.exceptions.RedisError: Redis did not answer.
        """
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hget(universe.META_KEY, "last_ok_epoch")
        pipeline.hlen(universe.INSTRUMENTS_KEY)
        newest, count = pipeline.execute(raise_on_error=False)
        version = (str(newest), str(count))
        if version == self._version:
            return
        pipeline.hgetall(universe.INSTRUMENTS_KEY)
        raw = pipeline.execute(raise_on_error=False)[0]
        self.instruments = {} if isinstance(raw, ResponseError) else _instruments(raw)
        self._newest_epoch = _epoch(newest)
        self._version = version

    @property
    def trading(self) -> frozenset[str]:
        """The symbols that are traded now; empty where nothing is known."""
        return frozenset(symbol for symbol, instrument in self.instruments.items() if self._is_traded(instrument))

    def is_delisted(self, symbol: str) -> bool:
        """Tell whether the instruments are known and this one is not traded any more."""
        instrument = self.instruments.get(symbol)
        return bool(self.instruments) and (instrument is None or not self._is_traded(instrument))

    def step(self, symbol: str) -> Decimal | None:
        """Give the market step of a symbol; None where it is not known."""
        instrument = self.instruments.get(symbol)
        return None if instrument is None else Decimal(instrument.step_size)

    def _is_traded(self, instrument: Instrument) -> bool:
        return instrument.is_trading and instrument.seen_epoch >= self._newest_epoch


def _epoch(raw: object) -> int:
    """Read when the newest list was fetched; 0 where nobody knows, and only the status tells what is traded."""
    try:
        return integer(text(raw, universe.META_KEY), universe.META_KEY)
    except Unreadable:
        return 0


def _instruments(raw: Mapping[bytes, bytes]) -> dict[str, Instrument]:
    readable = {}
    for name, document in raw.items():
        try:
            symbol = text(name, universe.INSTRUMENTS_KEY)
            readable[symbol] = universe.decode_instrument(document, symbol)
        except Unreadable:
            continue
    return readable


def _has_unread(cursor: object, newest: Any) -> bool:  # noqa: ANN401 - redis-py's answer
    """Tell whether the stream of results goes on behind the cursor; unreadable is yes."""
    if isinstance(newest, ResponseError):
        return True
    if not newest:
        return False
    try:
        read_to = (0, 0) if cursor is None else stream_id(text(cursor, position.LEDGER_CURSOR_KEY), "ledger cursor")
    except Unreadable:
        return True
    return stream_id(newest[0][0].decode(), "result id") > read_to


def _claimed(raw: Any) -> frozenset[str] | None:  # noqa: ANN401 - redis-py's answer
    if isinstance(raw, ResponseError):
        return None
    try:
        return frozenset(claim.decode_open(value, text(name, claim.OPEN_KEY)).symbol for name, value in raw.items())
    except Unreadable:
        return None


def _who(raw: object) -> str:
    try:
        return text(raw, "adoption request") or "operator"
    except Unreadable:
        return "operator"
