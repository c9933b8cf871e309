"""Query strings and their signatures.

Every parameter of every method goes into the query string, and the body stays empty: a parameter sent in the body of
an endpoint that reads the query is ignored without a word, and the query wins where both carry it
(https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info).
"""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote


def query_string(parameters: Mapping[str, str]) -> str:
    """Encode parameters in their order; what is signed is, byte for byte, what is sent."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters.items())


def signature(secret: str, query: str) -> str:
    """Return the hex HMAC-SHA256 of the query string."""
    return hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()


def signed_query(parameters: Mapping[str, str], secret: str, *, timestamp_ms: int, recv_window_ms: int) -> str:
    """Add timestamp and recvWindow, encode, and sign; the signature comes last, as Binance wants it.

    Raises:
        ValueError: a parameter has the name of one of the three that are added here.
    """
    for name in ("recvWindow", "timestamp", "signature"):
        if name in parameters:
            raise ValueError(f"parameter {name} is added by signing")
    timed = {**parameters, "recvWindow": str(recv_window_ms), "timestamp": str(timestamp_ms)}
    query = query_string(timed)
    return f"{query}&signature={signature(secret, query)}"
