"""Faults that change the exchange until `{"fault": "clear"}`; what is done to positions and symbols stays done."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from microservices.paper_exchange.faults import Share


class Changing(msgspec.Struct, frozen=True, kw_only=True, tag_field="fault", forbid_unknown_fields=True):
    """A fault that changes the exchange itself."""


class Clear(Changing, frozen=True, kw_only=True, tag="clear"):
    """End all faults."""


class SkewClock(Changing, frozen=True, kw_only=True, tag="skew_clock"):
    """The exchange's clock is ahead by `seconds` (behind where negative): time, timestamps and candles."""

    seconds: Annotated[float, Meta(ge=-86_400, le=86_400)]


class PositionLag(Changing, frozen=True, kw_only=True, tag="position_lag"):
    """positionRisk and account show positions as they stood `seconds` ago."""

    seconds: Annotated[float, Meta(ge=0, le=600)]


class HedgeMode(Changing, frozen=True, kw_only=True, tag="hedge_mode"):
    """The account is in hedge mode: LONG and SHORT rows, and orders without a position side are refused (-4061).

    `rows_only`: just the rows; the question for the mode is still answered with one-way, and orders are taken.
    """

    rows_only: bool = False


class ForcedClose(Changing, frozen=True, kw_only=True, tag="liquidate"):
    """A part of a position, or all of it, is closed by the exchange: by liquidation or by auto-deleveraging."""

    symbol: str
    share: Share = 1.0
    by: Literal["liquidation", "adl"] = "liquidation"


class DropConnections(Changing, frozen=True, kw_only=True, tag="drop_connections"):
    """Every connection that is open is broken off, of requests and of streams, whatever is under way on it.

    The one that this was posted on comes last, a moment after its answer.
    """


class SymbolStatus(Changing, frozen=True, kw_only=True, tag="symbol_status"):
    """A symbol's status changes, or with null it leaves exchangeInfo; a later one lists it again.

    In a closed status it has no more candles; in another one but TRADING its price stands and nothing is traded.
    """

    symbol: str
    status: str | None


class MovePrice(Changing, frozen=True, kw_only=True, tag="move_price"):
    """The price moves by this share over so many minutes, from the next minute on, and stays there."""

    symbol: str | None = None
    share: Annotated[float, Meta(gt=-1, le=10)]
    minutes: Annotated[int, Meta(ge=1, le=1440)] = 5
