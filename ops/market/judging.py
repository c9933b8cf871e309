"""What the board's exit code says, and the same market as one document for a program."""

from typing import Any

import msgspec

from microservices.contracts import market_state
from microservices.contracts.market_state import PublisherStatus
from ops.lib.report import DEGRADED, MISSING, PROVEN, Verdict
from ops.market.view import Cell, Market, Sort, cells

_NAMED = 10
_STATUS = {PROVEN: "FRESH", DEGRADED: "DEGRADED", MISSING: "MISSING"}


def judge(market: Market, sort: Sort, max_age_s: float) -> Verdict:
    """Judge how complete and how young the market is.

    Args:
        market: what was read.
        sort: the order of the symbols in the document.
        max_age_s: a state published longer ago is not young any more.

    Returns:
        A verdict whose lines say what no tile shows, and whose facts are all that the board shows.
    """
    code, lines = PROVEN, list[str]()
    old = market.older_than(max_age_s)
    if not market.states:
        code = MISSING
        lines.append(f"no market state at all: expected {market_state.key('SYMBOL')} of the publisher")
    elif old or market.faults:
        code = DEGRADED
    if old:
        named = ", ".join(old[:_NAMED]) + (", …" if len(old) > _NAMED else "")
        lines.append(f"{len(old)} states are older than {max_age_s:g} s: {named}")
    return Verdict(code, _STATUS[code], lines, _facts(market, sort, max_age_s), [*lines, *market.faults])


def _facts(market: Market, sort: Sort, max_age_s: float) -> dict[str, Any]:
    return {
        "at": market.at,
        "max_age_s": max_age_s,
        "sort": sort.value,
        "publisher": _publisher(market.status),
        "moods": {mood.value: count for mood, count in market.moods().items()},
        "symbols": [_symbol(cell, market.at) for cell in cells(market.states, sort)],
    }


def _publisher(status: PublisherStatus | None) -> dict[str, Any] | None:
    if status is None:
        return None
    try:
        reasons = msgspec.json.decode(status.skipped_reasons, type=dict[str, int])
    except msgspec.DecodeError:
        reasons = None
    return {**msgspec.to_builtins(status), "skipped_reasons": reasons}


def _symbol(cell: Cell, at: float) -> dict[str, Any]:
    age_s = round(at - cell.row.ts_timestamp, 3)
    return {"symbol": cell.symbol, "mood": cell.mood.value, "age_s": age_s, **msgspec.to_builtins(cell.row)}
