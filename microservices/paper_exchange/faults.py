"""Faults on demand: what a test or a drill can make go wrong with requests, and which ones it strikes.

Each is a JSON object with `fault`, its name, posted to `/paper/faults` (one, or a list). Those here strike requests:
`method`, `path` (a prefix), `symbol` and `client_order_id` say which (all that fit where left out), `after` how many
are let through first, `times` how many are struck (all, until cleared, where left out). A `path` of the streams strikes
their handshakes. Those that change the exchange
itself are in `changing_faults`, `candle_fault_kinds` and `stream_faults`.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeVar

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0, le=3600)]
Share = Annotated[float, Meta(ge=0, le=1)]
Stage = Literal["arrival", "reply"]
ORDER_PATH = "/fapi/v1/order"

F = TypeVar("F", bound="Striking")


class Striking(msgspec.Struct, frozen=True, kw_only=True, tag_field="fault", forbid_unknown_fields=True):
    """A fault that strikes requests.

    `arrival` is before the exchange has done anything, `reply` is after it has done everything.
    """

    default_method: ClassVar[str | None] = None
    default_path: ClassVar[str] = "/fapi"

    method: str | None = None
    path: str | None = None
    symbol: str | None = None
    client_order_id: str | None = None
    after: Annotated[int, Meta(ge=0)] = 0
    times: Annotated[int, Meta(ge=1)] | None = None

    def fits(self, method: str, path: str, parameters: Mapping[str, str]) -> bool:
        """Tell whether a request is one of those meant."""
        wanted_method = self.method or self.default_method
        if wanted_method is not None and method != wanted_method:
            return False
        if not path.startswith(self.path or self.default_path):
            return False
        if self.symbol is not None and parameters.get("symbol") != self.symbol:
            return False
        ids = (parameters.get("newClientOrderId"), parameters.get("origClientOrderId"))
        return self.client_order_id is None or self.client_order_id in ids


class Latency(Striking, frozen=True, kw_only=True, tag="latency"):
    """The request, or its reply, takes `seconds` longer; a signed request that arrives late may be too old."""

    seconds: Seconds
    at: Stage = "reply"


class Drop(Striking, frozen=True, kw_only=True, tag="drop"):
    """The connection breaks without an answer."""

    at: Stage = "arrival"


class Truncate(Striking, frozen=True, kw_only=True, tag="truncate"):
    """Only a share of the body is sent; the length announced is the whole body's unless `honest_length`."""

    keep: Share = 0.5
    honest_length: bool = False


class Html(Striking, frozen=True, kw_only=True, tag="html"):
    """A page of a proxy comes instead of JSON, and the request was not executed."""

    status: Annotated[int, Meta(ge=200, le=599)] = 502


class Refuse(Striking, frozen=True, kw_only=True, tag="status"):
    """An HTTP status with a refusal in JSON; the request was not executed."""

    status: Annotated[int, Meta(ge=400, le=599)]
    code: int = -1003
    msg: str | None = None
    retry_after_s: Annotated[int, Meta(ge=0)] | None = None


class Error(Striking, frozen=True, kw_only=True, tag="error"):
    """The refusal of a code (-1021, -5028, -1008, -1007, …) with its usual text and status; not executed.

    Reduce-only orders are exempt from -1008, as on the exchange.
    """

    code: int
    msg: str | None = None


class Unavailable(Striking, frozen=True, kw_only=True, tag="service_unavailable"):
    """503 `Service Unavailable.`: certainly not executed."""


class UnknownExecution(Striking, frozen=True, kw_only=True, tag="unknown_execution"):
    """503 `Unknown error, please check your request or try again later.`: executed or not."""

    executed: bool = True


class SwallowReply(Striking, frozen=True, kw_only=True, tag="swallow_reply"):
    """The order is executed; its reply never comes, and the connection breaks after `seconds`."""

    default_method = "POST"
    default_path = ORDER_PATH
    seconds: Seconds = 0.0


class AcceptLate(Striking, frozen=True, kw_only=True, tag="accept_late"):
    """The order is executed only `seconds` later; until then queries answer -2013. The client gets no result.

    `reply` is what it gets: the connection breaks (`drop`), 503 with the unknown outcome (`unknown`), or nothing for
    as long as the order takes (`hang`).
    """

    default_method = "POST"
    default_path = ORDER_PATH
    seconds: Seconds
    reply: Literal["drop", "unknown", "hang"] = "drop"


class HideOrder(Striking, frozen=True, kw_only=True, tag="hide_order"):
    """The order is executed and answered as ever, but for `seconds` queries answer -2013."""

    default_method = "POST"
    default_path = ORDER_PATH
    seconds: Seconds


class ExpirePartial(Striking, frozen=True, kw_only=True, tag="expire_partial"):
    """A market order ends EXPIRED with a share filled, cut to the step."""

    default_method = "POST"
    default_path = ORDER_PATH
    share: Share = 0.5


class EmptyAccount(Striking, frozen=True, kw_only=True, tag="empty_account"):
    """positionRisk, account and balance answer without one row."""

    default_method = "GET"
    default_path = "/fapi/v2/"


class PartialAccount(Striking, frozen=True, kw_only=True, tag="partial_account"):
    """positionRisk and account lack the rows of `without`, and of the others all but a share from the front."""

    default_method = "GET"
    default_path = "/fapi/v2/"
    without: tuple[str, ...] = ()
    keep: Share = 1.0


class DuplicateRows(Striking, frozen=True, kw_only=True, tag="duplicate_rows"):
    """positionRisk names every symbol twice."""

    default_method = "GET"
    default_path = "/fapi/v2/positionRisk"


class Taken(tuple[Striking, ...]):
    """The faults that strike one request."""

    __slots__ = ()

    def first(self, kind: type[F]) -> F | None:
        """Give the first fault of a kind."""
        return next((fault for fault in self if isinstance(fault, kind)), None)


class FaultBox:
    """The faults that strike requests, with what each has left."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def add(self, fault: Striking) -> None:
        """Have a fault strike from now on."""
        self._entries.append(_Entry(fault, fault.after, fault.times))

    def clear(self) -> None:
        """Drop them all."""
        self._entries.clear()

    def active(self) -> list[Striking]:
        """List those that can still strike."""
        return [entry.fault for entry in self._entries]

    def take(self, method: str, path: str, parameters: Mapping[str, str]) -> Taken:
        """Take what strikes a request; each that fits is used once."""
        if not self._entries:
            return NONE_TAKEN
        struck = []
        for entry in self._entries:
            if not entry.fault.fits(method, path, parameters):
                continue
            if entry.to_pass > 0:
                entry.to_pass -= 1
                continue
            struck.append(entry.fault)
            if entry.left is not None:
                entry.left -= 1
        self._entries = [entry for entry in self._entries if entry.left != 0]
        return Taken(struck)


class _Entry(msgspec.Struct):
    fault: Striking
    to_pass: int
    left: int | None


NONE_TAKEN = Taken()
