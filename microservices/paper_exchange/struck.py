"""What faults do to an answer, whatever was asked: they delay it, put another in its place, or break the connection."""

import asyncio
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from aiohttp import web

from microservices.paper_exchange.errors import (
    TEXTS,
    UNAVAILABLE_TEXT,
    UNKNOWN_EXECUTION_TEXT,
    ApiError,
    api_error,
)
from microservices.paper_exchange.faults import (
    AcceptLate,
    Drop,
    Error,
    Html,
    Latency,
    Refuse,
    Stage,
    SwallowReply,
    Taken,
    Unavailable,
    UnknownExecution,
)
from microservices.paper_exchange.venue import Answer, Call, refusal

_PROXY_PAGE = (
    b"<html>\r\n<head><title>%d %s</title></head>\r\n<body>\r\n<center><h1>%d %s</h1></center>\r\n"
    b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_PROXY_WORDS = MappingProxyType({502: b"Bad Gateway", 503: b"Service Temporarily Unavailable", 403: b"Forbidden"})


class NoAnswer(Exception):
    """The connection is to be broken."""


def instead(call: Call) -> Answer | None:
    """Give the answer of a fault in whose case nothing is executed."""
    html, refuse, error = call.faults.first(Html), call.faults.first(Refuse), call.faults.first(Error)
    unknown = call.faults.first(UnknownExecution)
    if html is not None:
        word = _PROXY_WORDS.get(html.status, b"Error")
        page = _PROXY_PAGE % (html.status, word, html.status, word)
        return Answer(page, html.status, {"Content-Type": "text/html"})
    if refuse is not None:
        headers = {} if refuse.retry_after_s is None else {"Retry-After": str(refuse.retry_after_s)}
        text = TEXTS.get(refuse.code, "") if refuse.msg is None else refuse.msg
        return refusal(ApiError(refuse.code, text, status=refuse.status, headers=headers))
    if call.faults.first(Unavailable):
        return refusal(ApiError(-1001, UNAVAILABLE_TEXT, status=503))
    if unknown is not None and not unknown.executed:
        return refusal(ApiError(-1000, UNKNOWN_EXECUTION_TEXT, status=503))
    return _coded(error, call) if error is not None else None


def _coded(fault: Error, call: Call) -> Answer | None:
    """Give the refusal of a code; orders that take risk off are exempt from the system's throttling."""
    if fault.code == -1008 and call.parameters.get("reduceOnly", "").lower() == "true":
        return None
    usual = api_error(fault.code) if fault.code in TEXTS else ApiError(fault.code, "")
    return refusal(usual if fault.msg is None else ApiError(fault.code, fault.msg, status=usual.status))


async def before_reply(faults: Taken, answer: Answer) -> None:
    """Wait, or break off, as the faults say that the exchange does after it has done its work.

    Raises:
        NoAnswer: the answer is lost.
    """
    await delay(faults, "reply")
    swallow, late = faults.first(SwallowReply), faults.first(AcceptLate)
    if swallow is not None:
        await asyncio.sleep(swallow.seconds)
        raise NoAnswer
    if late is not None and answer.status == 503 and late.reply != "unknown":
        await asyncio.sleep(late.seconds if late.reply == "hang" else 0)
        raise NoAnswer


async def delay(faults: Taken, stage: Stage) -> None:
    """Wait, or break off, as the faults of this stage say.

    Raises:
        NoAnswer: the connection is to be broken.
    """
    for fault in faults:
        if isinstance(fault, Latency) and fault.at == stage:
            await asyncio.sleep(fault.seconds)
    for fault in faults:
        if isinstance(fault, Drop) and fault.at == stage:
            raise NoAnswer


def names(faults: Taken) -> Iterator[str]:
    """Name the faults as they were posted."""
    return (str(type(fault).__struct_config__.tag) for fault in faults)


def as_response(answer: Answer, headers: Mapping[str, str] | None = None) -> web.Response:
    """Send an answer, which may have headers of its own, as JSON unless it says otherwise."""
    kind = {"Content-Type": "application/json;charset=UTF-8"}
    return web.Response(body=answer.body, status=answer.status, headers={**kind, **(headers or {}), **answer.headers})


def break_off(request: web.Request) -> None:
    """Close the connection, whatever is still to come on it."""
    if request.transport is not None:
        request.transport.close()
