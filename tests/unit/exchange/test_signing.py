"""What is signed is what is sent."""

import hashlib
import hmac
from urllib.parse import parse_qsl

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from microservices.exchange.signing import query_string, signature, signed_query

_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


def test_signature_is_the_documented_example() -> None:
    """The example of Binance's page (SIGNED endpoint examples for POST /fapi/v1/order) gives its signature."""
    query = (
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
        "&recvWindow=5000&timestamp=1591702613943"
    )
    secret = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
    assert signature(secret, query) == "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"


@given(st.dictionaries(_TEXT.filter(lambda name: name not in ("recvWindow", "timestamp", "signature")), _TEXT))
def test_every_parameter_is_under_the_signature(parameters: dict[str, str]) -> None:
    """Every parameter arrives decoded as it was given, and the signature covers all that stands before it."""
    query = signed_query(parameters, "secret", timestamp_ms=1_800_000_000_000, recv_window_ms=2_000)
    signed, _, mac = query.rpartition("&signature=")
    assert mac == hmac.new(b"secret", signed.encode(), hashlib.sha256).hexdigest()
    assert dict(parse_qsl(signed, keep_blank_values=True)) == {
        **parameters,
        "recvWindow": "2000",
        "timestamp": "1800000000000",
    }


@given(st.dictionaries(_TEXT, _TEXT, min_size=1))
def test_the_http_library_leaves_the_query_alone(parameters: dict[str, str]) -> None:
    """The library's own normalising of URLs does not change a byte of what was signed."""
    query = query_string(parameters)
    prepared = requests.Request("POST", f"http://127.0.0.1/fapi/v1/order?{query}").prepare()
    assert str(prepared.url).partition("?")[2] == query


@pytest.mark.parametrize("name", ["recvWindow", "timestamp", "signature"])
def test_signing_owns_its_parameters(name: str) -> None:
    """A caller cannot send a timestamp, window or signature beside the ones that are signed."""
    with pytest.raises(ValueError, match=name):
        signed_query({name: "1"}, "secret", timestamp_ms=1, recv_window_ms=1)
