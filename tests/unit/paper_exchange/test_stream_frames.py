"""Frames of the streams: every refusal that the exchange's page lists, and what a connection may listen to."""

import msgspec
import pytest

from microservices.paper_exchange.stream_frames import Subscriptions, TooManyStreams
from microservices.paper_exchange.stream_gateway import requested


def subscriptions(*streams: str, limit: int = 3) -> Subscriptions:
    """A raw connection's."""
    return Subscriptions(list(streams), combined=False, limit=limit)


@pytest.mark.parametrize(
    ("frame", "code", "text"),
    [
        ('{"method":"SET_PROPERTY","params":["colour",true],"id":1}', 0, "Unknown property"),
        ('{"method":"GET_PROPERTY","params":["colour"],"id":1}', 0, "Unknown property"),
        ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}', 1, "Invalid value type: expected Boolean"),
        ('{"method":"SET_PROPERTY","params":["combined"],"id":1}', 1, "Invalid value type: expected Boolean"),
        ('{"method":"GET_PROPERTY","params":[1],"id":1}', 2, "property name must be a string"),
        ('{"method":"GET_PROPERTY","params":[],"id":1}', 2, "property name must be a string"),
        ('{"method":"GET_PROPERTY","params":["combined",1],"id":1}', 2, "too many parameters"),
        ('{"method":"LIST_SUBSCRIPTIONS"}', 2, "request ID must be an unsigned integer"),
        ('{"method":"LIST_SUBSCRIPTIONS","id":-1}', 2, "request ID must be an unsigned integer"),
        ('{"method":"LIST_SUBSCRIPTIONS","id":true}', 2, "request ID must be an unsigned integer"),
        ('{"method":"LIST_SUBSCRIPTIONS","id":"a"}', 2, "request ID must be an unsigned integer"),
        ('{"method":"SUBSCRIBED","params":[],"id":1}', 2, "unknown variant `SUBSCRIBED`"),
        ('{"id":1}', 2, "missing field `method`"),
        ('{"method":"SUBSCRIBE","params":"a","id":1}', 2, "params must be a list"),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2, "params must be a list"),
        ("[1]", 2, "expected an object"),
        ("what", 3, "Invalid JSON"),
        ("", 3, "Invalid JSON"),
    ],
)
def test_a_wrong_frame_is_answered_by_the_exchanges_error(frame: str, code: int, text: str) -> None:
    """Code and text of the page; nothing changes, and the id comes back where it is one."""
    listening = subscriptions("a@kline_1m")
    answer = msgspec.json.decode(listening.answer(frame))
    assert answer["error"]["code"] == code
    assert text in answer["error"]["msg"]
    assert answer.get("id") == (1 if '"id":1}' in frame else None)
    assert (list(listening.names), listening.combined) == (["a@kline_1m"], False)


def test_streams_are_kept_once_and_in_order() -> None:
    """Subscribing again changes nothing, and unsubscribing what is not there neither."""
    listening = subscriptions("b", "a", "b")
    listening.answer('{"method":"SUBSCRIBE","params":["c","a"],"id":1}')
    listening.answer('{"method":"UNSUBSCRIBE","params":["b","x"],"id":2}')
    listed = msgspec.json.decode(listening.answer('{"method":"LIST_SUBSCRIPTIONS","id":3}'))
    assert listed == {"result": ["a", "c"], "id": 3}


def test_more_streams_than_allowed_end_the_connection() -> None:
    """From the URL and by frame; as many as allowed are fine."""
    with pytest.raises(TooManyStreams):
        subscriptions("a", "b", "c", "d")
    full = subscriptions("a", "b", "c")
    with pytest.raises(TooManyStreams):
        full.answer('{"method":"SUBSCRIBE","params":["d"],"id":1}')


@pytest.mark.parametrize(
    ("target", "streams"),
    [
        ("/ws", []),
        ("/market/ws/", []),
        ("/ws/a@kline_1m", ["a@kline_1m"]),
        ("/private/ws/a@kline_1m/b@kline_1m", ["a@kline_1m", "b@kline_1m"]),
        ("/stream?streams=a%40kline_1m/b@kline_1m", ["a@kline_1m", "b@kline_1m"]),
        ("/stream?streams=a%2Fb", ["a", "b"]),
        ("/stream?x=1&streams=%E5%B8%81usdt@kline_1m", ["币usdt@kline_1m"]),
        ("/ws/%E5%B8%81usdt@kline_1m", ["币usdt@kline_1m"]),
        ("/stream", []),
    ],
)
def test_the_address_names_the_streams(target: str, streams: list[str]) -> None:
    """Both forms, percent-encoded or not."""
    assert requested(target) == streams
