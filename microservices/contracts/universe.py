"""The universe's keys: the tradeable list, its last good copy, what is said of them, and every instrument's rules."""

from decimal import Decimal
from typing import Annotated

import msgspec

from microservices.contracts import hashes
from microservices.contracts.control import Mode
from microservices.contracts.fields import RawHash, Unreadable, exact, from_json, shown, unsigned_decimal

ACTIVE_KEY = "quantum:cfg:universe:active"
LAST_OK_KEY = "quantum:cfg:universe:last_ok"
META_KEY = "quantum:cfg:universe:meta"
INSTRUMENTS_KEY = "quantum:cfg:universe:instruments"
SOURCE = "binance_futures_exchangeInfo"
CONTRACT_TYPE = "PERPETUAL"
STATUS_TRADING = "TRADING"
FILTERS = {"contractType": CONTRACT_TYPE, "status": STATUS_TRADING}
MAX_AGE_S = 300
"""How old a list may be for a reader that sets no limit of its own."""

_Epoch = Annotated[int, msgspec.Meta(ge=0, le=99_999_999_999)]
"""Epoch seconds; a larger number is no time, and the largest could not even be compared with one."""


class UniverseDocument(msgspec.Struct, frozen=True):
    """The document under `active` and `last_ok`; `symbols` is sorted."""

    asof_epoch: _Epoch
    source: str
    mode: Mode
    symbols: tuple[str, ...]
    filters: dict[str, str]


class UniverseMeta(msgspec.Struct, frozen=True):
    """What the service says of the list under `active`."""

    asof_epoch: int
    last_ok_epoch: int
    count: int
    stale: int
    """0 fresh, 1 not."""
    error: str = ""
    mode: str = ""
    dropped: int = 0
    last_attempt_epoch: int = 0


class Instrument(msgspec.Struct, frozen=True):
    """A perpetual's rules; step and quantities are those of market orders, in decimal text."""

    status: str
    seen_epoch: _Epoch
    tick_size: str
    step_size: str
    min_qty: str
    max_qty: str
    min_notional: str
    onboard_epoch: int
    delivery_epoch: int

    @property
    def is_trading(self) -> bool:
        """Whether the exchange trades it now."""
        return self.status == STATUS_TRADING

    def floored(self, quantity: Decimal) -> Decimal:
        """Cut a quantity down to what may be ordered: a multiple of the step, 0 where that is below the minimum."""
        cut = floor_to_step(quantity, Decimal(self.step_size))
        return cut if cut >= Decimal(self.min_qty) else Decimal(0)


def floor_to_step(quantity: Decimal, step: Decimal) -> Decimal:
    """Cut a quantity that is not negative down to a multiple of the step, exactly."""
    with exact():
        return quantity // step * step


def encode_document(document: UniverseDocument) -> bytes:
    """Write the document of `active` or `last_ok`."""
    return msgspec.json.encode(document)


def decode_document(raw: object, key: str) -> UniverseDocument:
    """Read the document of `active` or `last_ok`.

    Raises:
        Unreadable: not JSON of that shape, of another source, or with a symbol that is empty or doubled.
    """
    document = from_json(raw, UniverseDocument, key)
    if document.source != SOURCE:
        raise Unreadable(key, f"source is {shown(document.source)}, expected {SOURCE}")
    if not all(document.symbols) or len(set(document.symbols)) != len(document.symbols):
        raise Unreadable(key, "symbols holds an empty or doubled name")
    return document


def decode_meta(raw: RawHash) -> UniverseMeta | None:
    """Read the meta hash; an empty answer is absence.

    Raises:
        Unreadable: a field is missing or not a number, or `stale` is neither 0 nor 1.
    """
    meta = hashes.decode_or_absent(raw, UniverseMeta, META_KEY)
    if meta is not None and meta.stale not in (0, 1):
        raise Unreadable(META_KEY, f"stale is {meta.stale}, expected 0 or 1")
    return meta


def encode_instrument(instrument: Instrument) -> bytes:
    """Write one field of the instruments hash."""
    return msgspec.json.encode(instrument)


def decode_instrument(raw: object, symbol: str) -> Instrument:
    """Read one field of the instruments hash.

    Raises:
        Unreadable: not JSON of that shape, or a rule is no plain decimal, or the step or minimum is not above 0.
    """
    what = f"{INSTRUMENTS_KEY} {symbol}"
    instrument = from_json(raw, Instrument, what)
    for name in ("tick_size", "step_size", "min_qty", "max_qty", "min_notional"):
        amount = unsigned_decimal(getattr(instrument, name), f"{what} {name}")
        if name != "min_notional" and amount <= Decimal(0):
            raise Unreadable(what, f"{name} is {amount}, expected above 0")
    return instrument
