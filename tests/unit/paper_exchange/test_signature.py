"""Who is let in: key, signature and timestamp, against the example that the exchange publishes."""

import pytest

from microservices.paper_exchange.errors import ApiError
from microservices.paper_exchange.signature import Credentials, check_timestamp

# https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info, examples 1 to 3
KEY = "dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83"
SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
WHOLE = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943"
)
WHOLE_SIGNATURE = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
MIXED_QUERY = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC"
MIXED_BODY = "quantity=1&price=9000&recvWindow=5000&timestamp= 1591702613943"  # the page signs this blank too
MIXED_SIGNATURE = "f9d0ae5e813ef6ccf15c2b5a434047a0181cb5a342b903b367ca6d27a66e36f2"


def check(query: str, body: str, signature: str, key: str | None = KEY) -> None:
    """Check one request against the published key pair."""
    Credentials(KEY, SECRET).check(key, query, body, {"signature": signature} if signature else {})


@pytest.mark.parametrize(
    ("query", "body", "signature"),
    [
        (f"{WHOLE}&signature={WHOLE_SIGNATURE}", "", WHOLE_SIGNATURE),
        ("", f"{WHOLE}&signature={WHOLE_SIGNATURE}", WHOLE_SIGNATURE),
        (MIXED_QUERY, f"{MIXED_BODY}&signature={MIXED_SIGNATURE}", MIXED_SIGNATURE),
        (f"{WHOLE}&signature={WHOLE_SIGNATURE.upper()}", "", WHOLE_SIGNATURE.upper()),
    ],
    ids=["query", "body", "mixed", "upper case"],
)
def test_the_published_examples_pass(query: str, body: str, signature: str) -> None:
    """The exchange's own three examples verify, in either case of the hex digits."""
    check(query, body, signature)


@pytest.mark.parametrize(
    ("query", "signature", "key", "code", "status"),
    [
        (WHOLE, WHOLE_SIGNATURE, None, -2014, 401),
        (WHOLE, WHOLE_SIGNATURE, "another", -2015, 401),
        (WHOLE, "", KEY, -1102, 400),
        (WHOLE, "00", KEY, -1022, 400),
        (WHOLE.replace("quantity=1", "quantity=2"), WHOLE_SIGNATURE, KEY, -1022, 400),
        (WHOLE, "ä", KEY, -1022, 400),
    ],
    ids=["no key", "other key", "no signature", "wrong", "changed", "not hex"],
)
def test_whoever_cannot_sign_is_refused(query: str, signature: str, key: str | None, code: int, status: int) -> None:
    """Each way of not being the account's owner has the exchange's code and status."""
    with pytest.raises(ApiError) as caught:
        check(query, "", signature, key)
    assert (caught.value.code, caught.value.status) == (code, status)


NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    "parameters",
    [
        {"timestamp": str(NOW_MS)},
        {"timestamp": str(NOW_MS - 5_000)},
        {"timestamp": str(NOW_MS + 999)},
        {"timestamp": str(NOW_MS - 60_000), "recvWindow": "60000"},
    ],
)
def test_a_request_made_just_now_is_in_time(parameters: dict[str, str]) -> None:
    """Within recvWindow behind, and less than a second ahead."""
    check_timestamp(parameters, NOW_MS)


@pytest.mark.parametrize(
    ("parameters", "code", "word"),
    [
        ({"timestamp": str(NOW_MS - 5_001)}, -1021, "outside of the recvWindow"),
        ({"timestamp": str(NOW_MS - 2_001), "recvWindow": "2000"}, -1021, "outside of the recvWindow"),
        ({"timestamp": str(NOW_MS + 1_000)}, -1021, "1000ms ahead"),
        ({}, -1102, "'timestamp'"),
        ({"timestamp": "now"}, -1102, "'timestamp'"),
        ({"timestamp": "-1"}, -1102, "'timestamp'"),
        ({"timestamp": str(NOW_MS), "recvWindow": "1e4"}, -1102, "'recvWindow'"),
    ],
)
def test_a_request_of_another_time_is_refused(parameters: dict[str, str], code: int, word: str) -> None:
    """Too old, too far ahead, or without a time, each with its code and text."""
    with pytest.raises(ApiError, match=word) as caught:
        check_timestamp(parameters, NOW_MS)
    assert caught.value.code == code
