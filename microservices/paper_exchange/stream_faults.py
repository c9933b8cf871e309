"""Faults of the WebSocket streams, until `{"fault": "clear"}`."""

from typing import Annotated, Literal

from msgspec import Meta

from microservices.paper_exchange.changing_faults import Changing
from microservices.paper_exchange.faults import Seconds


class DropStreams(Changing, frozen=True, kw_only=True, tag="drop_streams"):
    """All connections end now: broken off (`abort`), or closed with a close frame (`close`); new ones are taken."""

    how: Literal["abort", "close"] = "abort"


class RefuseStreams(Changing, frozen=True, kw_only=True, tag="refuse_streams"):
    """New connections are answered this status for so many seconds; those open stay."""

    seconds: Seconds
    status: Annotated[int, Meta(ge=400, le=599)] = 503


class SilenceStreams(Changing, frozen=True, kw_only=True, tag="silence_streams"):
    """Connections stay open and are pinged, but no event and no reply is sent; what is missed does not come later."""

    seconds: Seconds | None = None


class DelayStreams(Changing, frozen=True, kw_only=True, tag="delay_streams"):
    """Every event comes so much later."""

    seconds: Seconds


class GarbleStreams(Changing, frozen=True, kw_only=True, tag="garble_streams"):
    """So many events are spoilt, for every connection: cut in half, text that is no JSON, a proxy's page, bytes that
    are no UTF-8 in a binary frame, JSON of another shape, or a candle whose close is no number.
    """

    how: Literal["truncate", "text", "html", "binary", "shape", "number"] = "truncate"
    times: Annotated[int, Meta(ge=1, le=100_000)] = 1
    closed_only: bool = True


class RoutedStreams(Changing, frozen=True, kw_only=True, tag="routed_streams"):
    """Klines come under `/market` alone; the other paths take connections and subscriptions, and stay silent.

    So the exchange has it since its streams moved:
    https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Important-WebSocket-Change-Notice
    """


class StreamRules(Changing, frozen=True, kw_only=True, tag="stream_rules"):
    """Other limits than the exchange's; the defaults are its own.

    A connection lives 24 hours, is pinged every 3 minutes and closed without a pong for 10, listens to at most 1,024
    streams (200 in older versions of the page), and sends at most 10 messages a second:
    https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
    Its seconds are this machine's own, whatever the exchange's clock does.
    """

    life_s: Annotated[float, Meta(gt=0, le=86_400)] = 86_400.0
    ping_s: Annotated[float, Meta(gt=0, le=86_400)] = 180.0
    pong_s: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
    streams: Annotated[int, Meta(ge=1, le=1024)] = 1024
    messages_per_s: Annotated[int, Meta(ge=1, le=1000)] = 10
