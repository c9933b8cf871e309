"""From the bytes of an exchangeInfo answer to the tradeable symbols and every perpetual's rules, or to a refusal.

The answer's fields: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Exchange-Information
"""

import re
from collections import Counter
from collections.abc import Iterable

import msgspec

from microservices.contracts import universe
from microservices.contracts.fields import Unreadable, shown, unsigned_decimal
from microservices.contracts.universe import Instrument

UNUSABLE_MAX_SHARE = 0.05
"""Above this share of entries without usable fields the answer is not trusted as a whole."""

FUTURES_TYPE = "U_MARGINED"
_NAMED_AT_MOST = 5


class AnswerRejected(ValueError):
    """The answer is not one to publish a list from; the message is the sentence for `error`."""


class Selection(msgspec.Struct, frozen=True):
    """What one answer says: the list to publish, the rules of every perpetual, and what was left out."""

    symbols: tuple[str, ...]
    """Sorted: PERPETUAL, TRADING, ASCII, fits the pattern, usable rules."""
    instruments: dict[str, Instrument]
    outside_pattern: tuple[str, ...]
    """Sorted: traded perpetuals that do not fit the pattern or are not ASCII."""
    unusable: tuple[str, ...]
    """Sorted, one `SYMBOL: why` each: perpetuals without usable rules, and entries that cannot be told apart."""
    unusable_kept: int
    """How many of `unusable` would have been in the list."""

    @property
    def dropped(self) -> int:
        """How many traded perpetuals are not in the list."""
        return len(self.outside_pattern) + self.unusable_kept


class _Answer(msgspec.Struct):
    symbols: list[msgspec.Raw]
    futures_type: str = msgspec.field(name="futuresType", default=FUTURES_TYPE)


class _Head(msgspec.Struct):
    """What tells entries apart; required, so that another market's entries do not pass for ours."""

    symbol: str
    contract_type: str = msgspec.field(name="contractType")
    status: str


class _Filter(msgspec.Struct):
    kind: str = msgspec.field(name="filterType")
    tick_size: str = msgspec.field(name="tickSize", default="")
    step_size: str = msgspec.field(name="stepSize", default="")
    min_qty: str = msgspec.field(name="minQty", default="")
    max_qty: str = msgspec.field(name="maxQty", default="")
    notional: str = ""


class _Rules(msgspec.Struct):
    filters: list[_Filter]
    onboard_ms: int = msgspec.field(name="onboardDate")
    delivery_ms: int = msgspec.field(name="deliveryDate")


class _Sorting:
    """The entries of one answer, told apart."""

    def __init__(self) -> None:
        self.shapeless: list[str] = []
        self.traded: set[str] = set()
        self.instruments: dict[str, Instrument] = {}
        self.without_rules: dict[str, str] = {}


def select(body: bytes, *, pattern: re.Pattern[str], max_symbols: int, asof_epoch: int) -> Selection:
    """Read an exchangeInfo answer.

    Args:
        body: the answer as it came.
        pattern: what a tradeable symbol has to fit, matched whole.
        max_symbols: a longer list is refused; nothing is ever cut off.
        asof_epoch: when the answer was asked for, epoch seconds; every instrument in it is seen then.

    Raises:
        AnswerRejected: it is not JSON, another market's answer, or no list to trade on; says exactly why.
    """
    sorting = _sort(_entries(body), asof_epoch)
    kept = {symbol for symbol in sorting.traded if symbol.isascii() and pattern.fullmatch(symbol)}
    unusable_kept = sorted(symbol for symbol in kept if symbol in sorting.without_rules)
    _refuse_if_too_many_unusable(sorting, kept, unusable_kept)
    symbols = tuple(sorted(kept.difference(unusable_kept)))
    if not symbols:
        raise AnswerRejected(_none_left(sorting, pattern))
    if len(symbols) > max_symbols:
        raise AnswerRejected(f"{len(symbols)} symbols are more than UNIVERSE_MAX={max_symbols}; nothing is cut off")
    named = [f"{symbol}: {why}" for symbol, why in sorting.without_rules.items()]
    return Selection(
        symbols,
        sorting.instruments,
        tuple(sorted(sorting.traded - kept)),
        tuple(sorted([*sorting.shapeless, *named])),
        len(unusable_kept),
    )


def _entries(body: bytes) -> list[msgspec.Raw]:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.ValidationError as fault:
        raise AnswerRejected(
            f"not an object with a symbols list: {fault}; the answer begins {shown(body[:80])}"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise AnswerRejected(f"not JSON: {fault}; the answer begins {shown(body[:80])}") from None
    if answer.futures_type != FUTURES_TYPE:
        said = shown(answer.futures_type)
        raise AnswerRejected(f"another market's answer: futuresType is {said}, expected {FUTURES_TYPE}")
    return answer.symbols


def _sort(entries: list[msgspec.Raw], asof_epoch: int) -> _Sorting:
    sorting = _Sorting()
    names: Counter[str] = Counter()
    for number, raw in enumerate(entries):
        try:
            head = msgspec.json.decode(raw, type=_Head)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            sorting.shapeless.append(f"entry {number}: {fault}")
            continue
        names[head.symbol] += 1
        if head.contract_type == universe.CONTRACT_TYPE:
            _sort_perpetual(sorting, head, raw, asof_epoch)
    for symbol in (name for name, times in names.items() if times > 1):
        # Two entries of one name contradict each other: neither is believed.
        if sorting.instruments.pop(symbol, None) is not None or symbol in sorting.without_rules:
            sorting.without_rules[symbol] = f"is in the answer {names[symbol]} times"
    return sorting


def _sort_perpetual(sorting: _Sorting, head: _Head, raw: msgspec.Raw, asof_epoch: int) -> None:
    if head.status == universe.STATUS_TRADING:
        sorting.traded.add(head.symbol)
    try:
        sorting.instruments[head.symbol] = _instrument(head, raw, asof_epoch)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Unreadable) as fault:
        where = f"{universe.INSTRUMENTS_KEY} "
        sorting.without_rules[head.symbol] = str(fault).removeprefix(where).removeprefix(head.symbol).lstrip(": ")


def _instrument(head: _Head, raw: msgspec.Raw, asof_epoch: int) -> Instrument:
    """Read a perpetual's rules.

    Raises:
        msgspec.DecodeError: a field is missing or of a wrong type.
        Unreadable: a filter is missing or doubled, or a rule is no number that can be traded by.
    """
    if not head.symbol.strip():
        raise Unreadable(head.symbol, "symbol is empty")
    rules = msgspec.json.decode(raw, type=_Rules)
    lot = _one_filter(rules.filters, "MARKET_LOT_SIZE", head.symbol)
    instrument = Instrument(
        status=head.status,
        seen_epoch=asof_epoch,
        tick_size=_one_filter(rules.filters, "PRICE_FILTER", head.symbol).tick_size,
        step_size=lot.step_size,
        min_qty=_smallest_order(lot, head.symbol),
        max_qty=lot.max_qty,
        min_notional=_one_filter(rules.filters, "MIN_NOTIONAL", head.symbol).notional,
        onboard_epoch=rules.onboard_ms // 1000,
        delivery_epoch=rules.delivery_ms // 1000,
    )
    # Whoever reads it back judges it by this: what the contract would refuse is not written.
    universe.decode_instrument(universe.encode_instrument(instrument), head.symbol)
    if unsigned_decimal(instrument.max_qty, "maxQty") < unsigned_decimal(instrument.min_qty, "minQty"):
        raise Unreadable(head.symbol, f"maxQty {lot.max_qty} is below minQty {instrument.min_qty}")
    return instrument


def _one_filter(filters: Iterable[_Filter], kind: str, symbol: str) -> _Filter:
    found = [each for each in filters if each.kind == kind]
    if len(found) != 1:
        raise Unreadable(symbol, f"has {len(found)} {kind} filters, expected 1")
    return found[0]


def _smallest_order(lot: _Filter, symbol: str) -> str:
    """Return the smallest quantity above 0: some perpetuals state minQty 0, and none can trade less than a step."""
    least, step = (unsigned_decimal(text, f"{symbol} MARKET_LOT_SIZE") for text in (lot.min_qty, lot.step_size))
    return lot.min_qty if least >= step else lot.step_size


def _refuse_if_too_many_unusable(sorting: _Sorting, kept: set[str], unusable_kept: list[str]) -> None:
    of = len(sorting.shapeless) + len(kept)
    bad = len(sorting.shapeless) + len(unusable_kept)
    if bad > UNUSABLE_MAX_SHARE * of:
        examples = [*(f"{symbol}: {sorting.without_rules[symbol]}" for symbol in unusable_kept), *sorting.shapeless]
        raise AnswerRejected(
            f"{bad} of {of} entries without usable fields or filters, at most {UNUSABLE_MAX_SHARE:.0%} are dropped: "
            + first_of(examples)
        )


def _none_left(sorting: _Sorting, pattern: re.Pattern[str]) -> str:
    return (
        f"no symbol left: {len(sorting.traded)} of the answer's perpetuals are {universe.STATUS_TRADING}, "
        f"none fits UNIVERSE_SYMBOL_REGEX={pattern.pattern}"
    )


def first_of(names: Iterable[str], at_most: int = _NAMED_AT_MOST) -> str:
    """Join the first few names for a message, each bounded, and say how many there are besides."""
    listed = list(names)
    more = f" and {len(listed) - at_most} more" if len(listed) > at_most else ""
    return ", ".join(shown(name)[1:-1] for name in listed[:at_most]) + more
