"""Reason texts in the wild brought to one code each, the exchange's answers included."""

import re

from microservices.contracts import reason
from microservices.contracts.decision import NO_REASON

EXCHANGE_ERROR = "exchange_error"

_BODY = re.compile(
    r"""\s* (?: \{ \s* ["'}] | \[ \s* [\[{"'0-9\]]      # JSON, also as Python prints it
             | < [a-z!/?]                               # HTML
             | HTTP\b | APIError\b | BinanceAPIException\b # a status line; the exceptions of python-binance
             | [^:{]* \{ \s* ["']code["'] )              # words of introduction, then JSON
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""How an answer of the exchange begins where somebody wrote it down whole."""
_ERROR_CODE = re.compile(r"[\"']code[\"']\s*:\s*[\"']?(-?[0-9]{1,10})\b|\bcode=(-?[0-9]{1,10})\b", re.ASCII)
_HTTP_STATUS = re.compile(r"\s*HTTP(?:/[0-9.]+)?[ :]+([1-5][0-9]{2})\b|<title>\s*([1-5][0-9]{2})\b", re.IGNORECASE)
_LOOKED_AT_CHARACTERS = 4_096


def code_of(text: str) -> str:
    """Bring a reason text to its code.

    What follows the first `:` is detail; an HTTP or JSON body becomes `exchange_error_<code>` where it carries a code
    (Binance's own before the HTTP status), else `exchange_error`.

    Returns:
        The code; an empty string where nothing is left of the text.
    """
    head = text[:_LOOKED_AT_CHARACTERS]
    if _BODY.match(head) is None:
        return reason.normalised(head)
    found = _ERROR_CODE.search(head) or _HTTP_STATUS.search(head)
    if found is None:
        return EXCHANGE_ERROR
    return reason.exchange_error(int(found[1] or found[2]))


def is_reason(code: str) -> bool:
    """Tell whether a code says anything: `none` is what stands where nobody gave a reason."""
    return code not in ("", NO_REASON)
