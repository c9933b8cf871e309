"""From an HTTP answer to its body, or to the error it means. Pure: status, headers and bytes in."""

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import msgspec

from microservices.exchange import codes
from microservices.exchange.errors import (
    BadAnswer,
    ExchangeError,
    Rejected,
    ServerFault,
    Throttled,
    Unreachable,
    clean_text,
)

USED_WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"

RETRY_AFTER_DEFAULT_S = 60.0
# "IP bans are tracked and scale in duration for repeat offenders, from 2 minutes to 3 days":
# https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info
RETRY_AFTER_MAX_S = 3 * 86_400.0

CUT_LATE = "not complete before the deadline"

_BANNED_UNTIL = re.compile(r"banned until ([0-9]{13})\b")

T = TypeVar("T")


class Answer(NamedTuple):
    """A whole HTTP answer.

    Args:
        status: HTTP status.
        headers: names are compared without case by whoever made the mapping.
        body: decompressed; what came of it where `cut` is set.
        cut: why the body is not there in full, empty where it is.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: str = ""


class _ErrorBody(msgspec.Struct):
    code: int
    msg: str = ""


def used_weight(headers: Mapping[str, str]) -> int | None:
    """Read the request weight this IP address has used in the running minute; None where it is not said."""
    said = headers.get(USED_WEIGHT_HEADER, "")
    return int(said) if said.isascii() and said.isdigit() and len(said) <= 9 else None


def body_or_error(request: str, answer: Answer, *, now_s: float) -> bytes:
    """Return the body of a success.

    Args:
        request: method and path, for the error.
        answer: what came.
        now_s: wall time, against which a "banned until" is measured.

    Raises:
        Throttled: 429 or 418.
        ServerFault: 5xx, 408, or a code that leaves the outcome open.
        Rejected: another 4xx.
        Unreachable: the body did not come in time.
        BadAnswer: a redirect, or a body that is cut, HTML, or an error under a status of success.
    """
    if 200 <= answer.status < 300:
        return _checked(request, answer)
    raise _error(request, answer, now_s)


def decode(request: str, body: bytes, kind: type[T]) -> T:
    """Read a JSON body strictly into a type; unknown fields are ignored.

    Raises:
        BadAnswer: not JSON (bare NaN and Infinity included), a field is missing, or of a wrong type or value.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        why = clean_text(str(fault))
    raise BadAnswer(request, why)


def _checked(request: str, answer: Answer) -> bytes:
    if answer.cut == CUT_LATE:
        raise Unreachable(request, f"HTTP {answer.status}, body {answer.cut}", sent=True)
    if answer.cut:
        raise BadAnswer(request, f"HTTP {answer.status}, body {answer.cut}")
    start = answer.body.lstrip()[:1]
    if start == b"<":
        raise BadAnswer(request, f"HTTP {answer.status} with HTML instead of JSON")
    if start not in (b"{", b"["):
        raise BadAnswer(request, f"HTTP {answer.status} with {len(answer.body)} bytes that are not JSON")
    if len(answer.body) < 1_000:
        code, msg = _code_and_text(answer.body)
        if code is not None and code < 0:
            raise BadAnswer(request, f"HTTP {answer.status} with an error as its body: {code} {msg}")
    return answer.body


def _error(request: str, answer: Answer, now_s: float) -> ExchangeError:
    status = answer.status
    code, msg = _code_and_text(answer.body)
    if status in (418, 429):
        return Throttled(request, status, _retry_after_s(answer.headers, msg, now_s), code, msg)
    if 300 <= status < 400:
        return BadAnswer(request, f"HTTP {status}, a redirect, which is never followed")
    if status >= 500 or status == 408 or code in codes.OUTCOME_UNKNOWN:
        return ServerFault(request, status, code, msg or answer.cut)
    if answer.cut:
        return BadAnswer(request, f"HTTP {status}, body {answer.cut}")
    if 400 <= status < 500:
        return Rejected(request, status, code, msg)
    return BadAnswer(request, f"HTTP {status}, which no endpoint gives")


def _code_and_text(body: bytes) -> tuple[int | None, str]:
    """Read `code` and `msg` where the body is Binance's error object, else no code and the body's beginning."""
    try:
        said = msgspec.json.decode(body, type=_ErrorBody)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = clean_text(body[:1_000].decode("utf-8", "replace"))
        return None, "an HTML page" if text.startswith("<") else text
    return said.code, clean_text(said.msg)


def _retry_after_s(headers: Mapping[str, str], msg: str, now_s: float) -> float:
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit() and len(said) <= 9:
        wait_s = float(said)
    elif until := _BANNED_UNTIL.search(msg):
        wait_s = int(until[1]) / 1000 - now_s
    else:
        wait_s = RETRY_AFTER_DEFAULT_S
    return min(max(wait_s, 1.0), RETRY_AFTER_MAX_S)
