"""Signed endpoints that read the account: positionRisk, account, balance, positionSide/dual."""

from decimal import Decimal
from typing import Any

from microservices.paper_exchange.account import Margins
from microservices.paper_exchange.answers import account_answer, balance_answer
from microservices.paper_exchange.faults import DuplicateRows, EmptyAccount, PartialAccount
from microservices.paper_exchange.venue import Answer, Call, Venue, answer_json


def position_risk(venue: Venue, call: Call) -> Answer:
    """Answer a row for every symbol, or for the one that is named."""
    symbol = venue.symbol_of(call, required=False)
    if call.faults.first(EmptyAccount):
        return Answer(b"[]")
    symbols = _kept(call, venue.symbols_with_rows() if symbol is None else [symbol])
    rows = venue.position_rows(symbols)
    if call.faults.first(DuplicateRows):
        rows += rows
    return Answer(b"[" + b",".join(rows) + b"]")


def account(venue: Venue, call: Call) -> Answer:
    """Answer totals, assets and positions of the account."""
    instruments, shown = venue.info.instruments, venue.positions_shown()
    margins = venue.account.margins(venue.mark)
    assets, symbols = venue.info.assets(), _kept(call, venue.symbols_with_rows())
    if call.faults.first(EmptyAccount):
        assets, symbols, margins = [], [], Margins(Decimal(0), Decimal(0), Decimal(0), Decimal(0))
    positions = []
    for symbol in symbols:
        position = shown.get(symbol) or venue.account.position(symbol)
        mark = venue.mark(symbol) if position.amount else Decimal(0)
        positions.append((instruments[symbol], position, mark))
    return answer_json(account_answer(margins, assets, positions, venue.account.updated_ms))


def balance(venue: Venue, call: Call) -> Answer:
    """Answer a row for every margin asset."""
    if call.faults.first(EmptyAccount):
        return Answer(b"[]")
    margins = venue.account.margins(venue.mark)
    return answer_json(balance_answer(venue.alias, margins, venue.info.assets(), venue.account.updated_ms))


def position_mode(venue: Venue, _call: Call) -> Answer:
    """Answer whether the account is in hedge mode."""
    document: dict[str, Any] = {"dualSidePosition": venue.hedge is not None and not venue.hedge.rows_only}
    return answer_json(document)


def _kept(call: Call, symbols: list[str]) -> list[str]:
    partial = call.faults.first(PartialAccount)
    if partial is None:
        return symbols
    left = [symbol for symbol in symbols if symbol not in partial.without]
    return left[: int(len(left) * partial.keep)]
