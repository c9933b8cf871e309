"""Reason texts as they were found, and the codes that they count as."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.decision_intelligence.reason_code import code_of, is_reason

HTML_502 = "<html>\n<head><title>502 Bad Gateway</title></head>\n<body>\n<h1>502 Bad Gateway</h1></body></html>"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("duplicate_plan", "duplicate_plan"),
        ("symbol_not_in_allowlist:WAVESUSDT", "symbol_not_in_allowlist"),
        ("p33_permit_denied:no_exchange_snapshot", "p33_permit_denied"),
        ("FEE_PROTECTION_net_R=-0.0 (gross=0.0)", "fee_protection_net_r_-0.0__gross_0.0_"),
        ("Missing Required Fields", "missing_required_fields"),
        ("", ""),
        (":", ""),
        ("é", "_"),
        ("x" * 200, "x" * 64),
        ('{"code":-2019,"msg":"Margin is insufficient."}', "exchange_error_2019"),
        ("{'code': -2022, 'msg': 'ReduceOnly Order is rejected.'}", "exchange_error_2022"),
        ('{\n  "code": 0,\n  "msg": "Service unavailable from a restricted location"}', "exchange_error_0"),
        ('{"code":-1003,"msg":"Too many req', "exchange_error_1003"),
        ('binance {"code":-4061,"msg":"Order\'s position side"}', "exchange_error_4061"),
        ("APIError(code=-1111): Precision is over the maximum", "exchange_error_1111"),
        ("HTTP/1.1 429 Too Many Requests", "exchange_error_429"),
        ("HTTP 418", "exchange_error_418"),
        (HTML_502, "exchange_error_502"),
        ("<!DOCTYPE HTML><TITLE>ERROR: The request could not be satisfied</TITLE>", "exchange_error"),
        ('{"msg":"no code"}', "exchange_error"),
        ("[{}]", "exchange_error"),
        ("[retry] later", "_retry__later"),
        ("http_timeout", "http_timeout"),
        ('order_rejected:{"code":-2019}', "order_rejected"),
    ],
)
def test_a_text_counts_as_its_code(text: str, code: str) -> None:
    """Detail behind the colon is cut, an answer of the exchange is named by its code."""
    assert code_of(text) == code


@given(st.text(max_size=300))
def test_a_code_is_short_and_plain(text: str) -> None:
    """Whatever was written, the field of a bucket stays within its letters and its length, and is its own code."""
    code = code_of(text)
    assert re.fullmatch(r"[a-z0-9_.-]{0,64}", code)
    assert code_of(code) == code


def test_none_is_no_reason() -> None:
    """A producer that writes Python's None has given no reason."""
    assert not is_reason(code_of("None"))
    assert not is_reason("")
    assert is_reason("duplicate_plan")
