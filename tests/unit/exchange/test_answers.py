"""Every answer ends as a body or as the one error that says whether the exchange may have acted."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.exchange import (
    BadAnswer,
    ExchangeError,
    Rejected,
    ServerFault,
    Throttled,
    Unreachable,
)
from microservices.exchange.answers import CUT_LATE, Answer, body_or_error, decode, used_weight

NOW_S = 1_800_000_000.0
CLOUDFRONT = (
    b'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">\n<HTML><HEAD>\n<TITLE>ERROR</TITLE></HEAD>'
    b"<BODY>\n<H1>403 ERROR</H1>Request blocked.</BODY></HTML>"
)
NGINX = b"<html>\n<head><title>502 Bad Gateway</title></head>\n<body>nginx</body>\n</html>"


def error_of(status: int, body: bytes = b"", cut: str = "", **headers: str) -> ExchangeError:
    """Return the error an answer means."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with pytest.raises(ExchangeError) as raised:
        body_or_error("POST /fapi/v1/order", Answer(status, named, body, cut), now_s=NOW_S)
    return raised.value


INTERNAL = b"Internal error; unable to process your request. Please try again."


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "not_executed"),
    [
        (400, b'{"code":-2019,"msg":"Margin is insufficient."}', Rejected, -2019, True),
        (400, b'{"code":-1111,"msg":"Precision is over the maximum."}', Rejected, -1111, True),
        (400, b'{"code":-2022,"msg":"ReduceOnly Order is rejected."}', Rejected, -2022, True),
        (400, b'{"code":-1021,"msg":"Timestamp outside of recvWindow."}', Rejected, -1021, True),
        (401, b'{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action"}', Rejected, -2015, True),
        (403, CLOUDFRONT, Rejected, None, True),
        (404, NGINX, Rejected, None, True),
        (451, b'{\n  "code": 0,\n  "msg": "Service unavailable from a restricted location"\n}', Rejected, 0, True),
        (400, b'{"code":-1007,"msg":"Timeout waiting for response."}', ServerFault, -1007, False),
        (400, b'{"code":-1006,"msg":"An unexpected response was received."}', ServerFault, -1006, False),
        (400, b'{"code":-1000,"msg":"An unknown error occurred."}', ServerFault, -1000, False),
        (408, b"", ServerFault, None, False),
        (500, b"", ServerFault, None, False),
        (502, NGINX, ServerFault, None, False),
        (503, b'{"code":-1001,"msg":"Service Unavailable."}', ServerFault, -1001, True),
        (503, b'{"code":-1001,"msg":"%s"}' % INTERNAL, ServerFault, -1001, True),
        (503, b'{"code":-1000,"msg":"%s"}' % INTERNAL, ServerFault, -1000, False),
        (500, b'{"code":-1001,"msg":"%s"}' % INTERNAL, ServerFault, -1001, False),
        (400, b'{"code":-1001,"msg":"%s"}' % INTERNAL, ServerFault, -1001, False),
        (503, b'{"code":-1001,"msg":"Internal error; unable to process your request."}', ServerFault, -1001, False),
        (503, b'{"code":-1001,"msg":""}', ServerFault, -1001, False),
        (503, b'{"code":-1000,"msg":"Service Unavailable."}', ServerFault, -1000, False),
        (503, b'{"code":-1006,"msg":"Service Unavailable."}', ServerFault, -1006, False),
        (503, b'{"code":-1007,"msg":"Service Unavailable."}', ServerFault, -1007, False),
        (
            503,
            b'{"code":-1001,"msg":"Unknown error, please check your request or try again later."}',
            ServerFault,
            -1001,
            False,
        ),
        (503, b"Service Unavailable", ServerFault, None, False),
        (503, b"service unavailable.", ServerFault, None, False),
        (503, b'{"msg":"Unknown error, please check your request or try again later."}', ServerFault, None, False),
        (503, b'{"code":-1000,"msg":"Unknown error, please check your request"}', ServerFault, -1000, False),
        (503, b"Service Unavailable.", ServerFault, None, True),
        (503, b'{"code":-1,"msg":"Service Unavailable."}', ServerFault, -1, True),
        (502, b"Service Unavailable.", ServerFault, None, False),
        (503, b"<html><title>Service Unavailable</title></html>", ServerFault, None, False),
        (503, b'{"code":-1008,"msg":"Request throttled by system-level protection."}', ServerFault, -1008, True),
        (302, b"", BadAnswer, None, False),
        (101, b"", BadAnswer, None, False),
        (600, b"", ServerFault, None, False),
    ],
)
def test_kind_and_outcome_of_an_error(
    status: int, body: bytes, kind: type[ExchangeError], code: int | None, not_executed: bool
) -> None:
    """I-40, I-43: only a documented refusal counts as not executed; every doubt leaves the outcome open."""
    error = error_of(status, body)
    assert type(error) is kind
    assert getattr(error, "code", None) == code
    assert error.not_executed is not_executed
    assert "\n" not in str(error)
    assert "<" not in str(error)


def test_throttled_by_header() -> None:
    """I-24: 429 and 418 carry the seconds the exchange asked for, and only 418 is a ban."""
    slow = error_of(429, b'{"code":-1003,"msg":"Too many requests."}', Retry_After="17")
    banned = error_of(418, b"", Retry_After="7200")
    assert isinstance(slow, Throttled)
    assert isinstance(banned, Throttled)
    assert (slow.retry_after_s, slow.banned, slow.code) == (17.0, False, -1003)
    assert (banned.retry_after_s, banned.banned, banned.not_executed) == (7200.0, True, True)


@pytest.mark.parametrize(
    ("said", "body", "wait_s"),
    [
        ("", b"", 60.0),
        ("soon", b"", 60.0),
        ("-5", b"", 60.0),
        ("0", b"", 1.0),
        ("99999999", b"", 3 * 86_400.0),
        ("9" * 400, b"", 60.0),
        ("", b'{"code":-1003,"msg":"Way too many requests; IP banned until 1800000090000."}', 90.0),
        ("", b'{"code":-1003,"msg":"Way too many requests; IP banned until 1500000000000."}', 1.0),
    ],
)
def test_retry_after_is_bounded(said: str, body: bytes, wait_s: float) -> None:
    """A missing, odd or absurd Retry-After neither hammers nor blocks for ever; a ban's text stands in for it."""
    error = error_of(418, body, Retry_After=said)
    assert isinstance(error, Throttled)
    assert error.retry_after_s == wait_s


def test_throttled_even_where_the_body_is_cut() -> None:
    """The status of a limit counts also where its body does not arrive."""
    assert isinstance(error_of(429, b'{"code":-10', cut="truncated after 11 bytes"), Throttled)


def test_a_cut_rejection_is_no_rejection() -> None:
    """A 4xx whose code did not arrive may be one that leaves the outcome open."""
    error = error_of(400, b'{"code":-10', cut="truncated after 11 bytes")
    assert type(error) is BadAnswer
    assert not error.not_executed


@pytest.mark.parametrize(
    ("body", "cut", "says"),
    [
        (NGINX, "", "HTML"),
        (b"  <html>", "", "HTML"),
        (b"", "", "not JSON"),
        (b"null", "", "not JSON"),
        (b"OK", "", "not JSON"),
        (b'{"serverTime":1', "truncated after 15 bytes", "truncated"),
        (b"", "over 33554432 bytes", "over 33554432"),
        (b'{"code":-1102,"msg":"Mandatory parameter \'timestamp\' was not sent."}', "", "-1102"),
    ],
)
def test_a_success_that_is_none(body: bytes, cut: str, says: str) -> None:
    """HTML, emptiness, a cut body and an error body under status 200 are bad answers."""
    error = error_of(200, body, cut)
    assert type(error) is BadAnswer
    assert says in str(error)


def test_a_late_body_is_unreachable() -> None:
    """A body that did not come in time leaves the outcome open."""
    error = error_of(200, b'{"orderId":', CUT_LATE)
    assert type(error) is Unreachable
    assert not error.not_executed


def test_a_success_is_its_body() -> None:
    """A success is handed on as it came; code 200 is how Binance says yes in some answers."""
    for body in (b"{}", b"[]", b' {"code":200,"msg":"success"}', b'[{"code":-1}]'):
        assert body_or_error("GET /x", Answer(200, {}, body), now_s=NOW_S) == body


@given(st.integers(100, 999), st.binary(max_size=80), st.text(max_size=10))
def test_any_answer_is_a_body_or_an_exchange_error(status: int, body: bytes, retry_after: str) -> None:
    """No answer whatever ends in another exception, and every message is one printable line."""
    try:
        body_or_error("GET /x", Answer(status, {"Retry-After": retry_after}, body), now_s=NOW_S)
    except ExchangeError as error:
        assert str(error).isprintable()


class _Row(msgspec.Struct):
    amount: Decimal
    more: int = 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"amount":NaN}',
        b'{"amount":Infinity}',
        b'{"amount":"1","more":1.5}',
        b'{"amount":"1"',
        b'{"more":1}',
        b'{"amount":"one"}',
        b'{"amount":"1\xff"}',
        b'{"amount":"1"} trailing',
        b'{"other":' + b"[" * 100_000,
    ],
)
def test_decode_is_strict(body: bytes) -> None:
    """Bare NaN and Infinity, a missing or wrong field, bad UTF-8 and bottomless nesting are bad answers."""
    with pytest.raises(BadAnswer, match=r"\AGET /x: "):
        decode("GET /x", body, _Row)


@pytest.mark.parametrize(
    ("said", "weight"), [("1", 1), ("2400", 2400), ("", None), ("-1", None), ("1e3", None), ("9" * 99, None)]
)
def test_used_weight(said: str, weight: int | None) -> None:
    """The weight header counts only where it is a number."""
    assert used_weight({"X-MBX-USED-WEIGHT-1M": said}) == weight
