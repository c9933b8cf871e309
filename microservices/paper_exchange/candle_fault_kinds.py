"""Faults in candles, until `{"fault": "clear"}`; corrections stay."""

from typing import Annotated, Literal

from msgspec import Meta

from microservices.paper_exchange.changing_faults import Changing

Where = Literal["both", "klines", "stream"]
"""Whether the answers of `GET /fapi/v1/klines` are told wrong, the stream, or both."""


class StopCandles(Changing, frozen=True, kw_only=True, tag="stop_candles"):
    """No candle later than the last minute closed by now is told; prices go on."""

    symbol: str | None = None
    where: Where = "both"


class SkipCandles(Changing, frozen=True, kw_only=True, tag="skip_candles"):
    """The `count` closed candles that end `ago` minutes back are missing; with -count the next ones will be."""

    symbol: str | None = None
    count: Annotated[int, Meta(ge=1, le=1500)] = 1
    ago: Annotated[int, Meta(ge=-1500, le=1500)] = 0
    where: Where = "both"


class RepeatCandle(Changing, frozen=True, kw_only=True, tag="repeat_candle"):
    """The newest closed candle of every answer comes twice, and so does every closed candle of the stream."""

    symbol: str | None = None
    where: Where = "both"


class CorrectCandles(Changing, frozen=True, kw_only=True, tag="correct_candles"):
    """The `count` closed candles that end `ago` minutes back get other values: the close moves by this share.

    `klines`: answered from now on; `stream`: told once more, closed; `both`: as when the exchange corrects itself.
    """

    symbol: str | None = None
    count: Annotated[int, Meta(ge=1, le=1500)] = 1
    ago: Annotated[int, Meta(ge=0, le=1500)] = 0
    share: Annotated[float, Meta(gt=-1, le=10)] = 0.001
    where: Where = "both"
