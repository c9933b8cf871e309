"""Who is asking: API key, HMAC signature and timestamp of signed requests.

https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info#signed-trade-and-user_data-endpoint-security
"""

import hashlib
import hmac
from collections.abc import Mapping

from microservices.paper_exchange.errors import AHEAD_TEXT, ApiError, api_error, missing

API_KEY_HEADER = "X-MBX-APIKEY"
DEFAULT_RECV_WINDOW_MS = 5_000
AHEAD_LIMIT_MS = 1_000


class Credentials:
    """The one key pair the exchange knows.

    Args:
        key: what clients send in the header.
        secret: what they sign with.
    """

    def __init__(self, key: str, secret: str) -> None:
        self.key = key
        self._secret = secret.encode()

    def check(self, key: str | None, query: str, body: str, parameters: Mapping[str, str]) -> None:
        """Check key and signature; what is signed is the query string followed by the body, without the signature.

        Raises:
            ApiError: -2014 without a key, -2015 with another's, -1102 without a signature, -1022 with a wrong one.
        """
        if not key:
            raise api_error(-2014)
        if not hmac.compare_digest(key.encode(), self.key.encode()):
            raise api_error(-2015)
        given = parameters.get("signature")
        if not given:
            raise missing("signature")
        payload = _without_signature(query) + _without_signature(body)
        expected = hmac.new(self._secret, payload.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), given.lower().encode()):
            raise api_error(-1022)


def check_timestamp(parameters: Mapping[str, str], now_ms: int) -> None:
    """Check that a signed request was made just now, by the exchange's own clock.

    Raises:
        ApiError: -1102 without a usable timestamp or recvWindow; -1021 where the request is older than its recvWindow
            or more than a second ahead.
    """
    timestamp = _milliseconds(parameters, "timestamp")
    window = _milliseconds(parameters, "recvWindow") if "recvWindow" in parameters else DEFAULT_RECV_WINDOW_MS
    if timestamp >= now_ms + AHEAD_LIMIT_MS:
        raise ApiError(-1021, AHEAD_TEXT)
    if now_ms - timestamp > window:
        raise api_error(-1021)


def _milliseconds(parameters: Mapping[str, str], name: str) -> int:
    text = parameters.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise missing(name)
    return int(text)


def _without_signature(encoded: str) -> str:
    return "&".join(pair for pair in encoded.split("&") if not pair.startswith("signature="))
