"""What a stream connection listens to, and the frames by which a client changes it.

Frames and errors: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Live-Subscribing-Unsubscribing-to-streams
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

_METHODS = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"
_MAX_ID = 2**64


class TooManyStreams(Exception):
    """The connection would listen to more than it may, and is to be closed."""


class FrameError(Exception):
    """A frame that is answered by an error.

    Args:
        code: 0 unknown property, 1 wrong type of value, 2 invalid request, 3 not JSON.
        msg: the exchange's text.
    """

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg


class Subscriptions:
    """The streams of one connection, in the order of subscription.

    Any name is taken, as the exchange does: one that nothing is sent on stays silent.

    Args:
        streams: those of the URL.
        combined: whether events come wrapped with the stream's name.
        limit: how many there may be.

    Raises:
        TooManyStreams: more than `limit`.
    """

    def __init__(self, streams: list[str], *, combined: bool, limit: int) -> None:
        self.names: dict[str, None] = {}
        self.combined = combined
        self._limit = limit
        self._add(streams)

    def answer(self, frame: str) -> bytes:
        """Do what a frame asks, and answer it.

        Raises:
            TooManyStreams: it subscribes to more than there may be.
        """
        request_id: Any = None
        try:
            request = _read(frame)
            request_id = request.get("id")
            method = _method(request)
            if not _is_id(request_id):
                request_id = None
                raise FrameError(2, "Invalid request: request ID must be an unsigned integer")
            result = _ACTIONS[method](self, request.get("params", []))
        except FrameError as error:
            told: dict[str, Any] = {"error": {"code": error.code, "msg": error.msg}}
            return msgspec.json.encode(told | {"id": request_id} if _is_id(request_id) else told)
        return msgspec.json.encode({"result": result, "id": request_id})

    def _add(self, streams: list[str]) -> None:
        self.names.update(dict.fromkeys(streams))
        if len(self.names) > self._limit:
            raise TooManyStreams

    def subscribe(self, params: object) -> None:
        """Listen to more streams."""
        self._add(_names(params))

    def unsubscribe(self, params: object) -> None:
        """Listen to fewer streams; those not listened to are passed over."""
        for name in _names(params):
            self.names.pop(name, None)

    def listed(self, _params: object) -> list[str]:
        """List the streams."""
        return list(self.names)

    def set_property(self, params: object) -> None:
        """Have events wrapped or not."""
        combined = _property(params, 2)
        if not isinstance(combined, bool):
            raise FrameError(1, "Invalid value type: expected Boolean")
        self.combined = combined

    def get_property(self, params: object) -> bool:
        """Tell whether events come wrapped."""
        _property(params, 1)
        return self.combined


_ACTIONS: Mapping[str, Callable[[Subscriptions, object], object]] = MappingProxyType(
    {
        "SUBSCRIBE": Subscriptions.subscribe,
        "UNSUBSCRIBE": Subscriptions.unsubscribe,
        "LIST_SUBSCRIPTIONS": Subscriptions.listed,
        "SET_PROPERTY": Subscriptions.set_property,
        "GET_PROPERTY": Subscriptions.get_property,
    }
)


def _read(frame: str) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(frame)
    except msgspec.DecodeError:
        raise FrameError(3, "Invalid JSON: expected value at line 1 column 1") from None
    if not isinstance(request, dict):
        raise FrameError(2, "Invalid request: expected an object at line 1 column 1")
    return request


def _method(request: dict[str, Any]) -> str:
    method = request.get("method")
    if method is None:
        raise FrameError(2, "Invalid request: missing field `method` at line 1 column 1")
    if not isinstance(method, str) or method not in _ACTIONS:
        raise FrameError(
            2, f"Invalid request: unknown variant `{method}`, expected one of {_METHODS} at line 1 column 1"
        )
    return method


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_ID


def _names(params: object) -> list[str]:
    if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
        raise FrameError(2, "Invalid request: params must be a list of stream names")
    return params


def _property(params: object, count: int) -> object:
    """Check that `count` parameters begin with the one property there is, and give the last of them."""
    if not isinstance(params, list) or not params or not isinstance(params[0], str):
        raise FrameError(2, "Invalid request: property name must be a string")
    if len(params) > count:
        raise FrameError(2, "Invalid request: too many parameters")
    if params[0] != "combined":
        raise FrameError(0, "Unknown property")
    return params[-1]
