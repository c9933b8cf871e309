"""HTTP in front of the venue: reads requests, lets faults strike, and sends what is answered."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from aiohttp import web

from microservices.paper_exchange import routes_account, routes_market, routes_order, routes_paper
from microservices.paper_exchange.errors import UNKNOWN_EXECUTION_TEXT, ApiError
from microservices.paper_exchange.faults import Truncate, UnknownExecution
from microservices.paper_exchange.journal import Journal
from microservices.paper_exchange.signature import API_KEY_HEADER
from microservices.paper_exchange.stream_gateway import add_streams
from microservices.paper_exchange.stream_hub import StreamHub
from microservices.paper_exchange.struck import NoAnswer, as_response, before_reply, break_off, delay, instead, names
from microservices.paper_exchange.venue import Answer, Call, Venue, read_call, refusal

WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"
MAX_BODY_BYTES = 65_536

Endpoint = Callable[[Venue, Call], Answer]

# Path and method: the endpoint, and whether it is signed.
ENDPOINTS: Mapping[tuple[str, str], tuple[Endpoint, bool]] = MappingProxyType(
    {
        ("GET", "/fapi/v1/ping"): (routes_market.ping, False),
        ("GET", "/fapi/v1/time"): (routes_market.time, False),
        ("GET", "/fapi/v1/exchangeInfo"): (routes_market.exchange_info, False),
        ("GET", "/fapi/v1/klines"): (routes_market.klines, False),
        ("GET", "/fapi/v1/premiumIndex"): (routes_market.premium_index, False),
        ("GET", "/fapi/v2/positionRisk"): (routes_account.position_risk, True),
        ("GET", "/fapi/v2/account"): (routes_account.account, True),
        ("GET", "/fapi/v2/balance"): (routes_account.balance, True),
        ("GET", "/fapi/v1/positionSide/dual"): (routes_account.position_mode, True),
        ("POST", "/fapi/v1/order"): (routes_order.new_order, True),
        ("GET", "/fapi/v1/order"): (routes_order.query_order, True),
        ("DELETE", "/fapi/v1/order"): (routes_order.cancel_order, True),
    }
)


def make_app(venue: Venue, journal: Journal, hub: StreamHub) -> web.Application:
    """Build the web application: the exchange's endpoints and streams, and what is under `/paper`."""

    async def exchange(request: web.Request) -> web.StreamResponse:
        return await serve(request, venue, journal)

    async def post_faults(request: web.Request) -> web.Response:
        return as_response(routes_paper.post_faults(venue, hub, await request.read()))

    async def get_faults(_request: web.Request) -> web.Response:
        return as_response(routes_paper.get_faults(venue, hub))

    async def delete_faults(_request: web.Request) -> web.Response:
        return as_response(routes_paper.delete_faults(venue, hub))

    async def get_requests(request: web.Request) -> web.Response:
        return as_response(routes_paper.get_requests(journal, request.query))

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_route("*", "/fapi/{rest:.*}", exchange)
    add_streams(app, venue, journal, hub)
    app.router.add_post("/paper/faults", post_faults)
    app.router.add_get("/paper/faults", get_faults)
    app.router.add_delete("/paper/faults", delete_faults)
    app.router.add_get("/paper/requests", get_requests)
    return app


async def serve(request: web.Request, venue: Venue, journal: Journal) -> web.StreamResponse:
    """Answer one request of the exchange's own, or break its connection where a fault says so."""
    began = time.perf_counter()
    body = (await request.read()).decode(errors="replace") if request.body_exists else ""
    try:
        call = read_call(request.method, request.raw_path, body, request.headers.get(API_KEY_HEADER), venue.faults)
    except ApiError as error:
        return as_response(refusal(error))
    entry = journal.arrive(venue.now_ms(), call.method, call.path, call.parameters, names(call.faults))
    try:
        await delay(call.faults, "arrival")
        answer = respond(venue, call)
        await before_reply(call.faults, answer)
    except NoAnswer:
        break_off(request)
        return web.Response()
    headers = {WEIGHT_HEADER: str(venue.weights.used)}
    entry.status, entry.took_ms = answer.status, (time.perf_counter() - began) * 1000
    truncate = call.faults.first(Truncate)
    if truncate is not None:
        return await _send_part(request, answer, truncate)
    return as_response(answer, headers)


def respond(venue: Venue, call: Call) -> Answer:
    """Work out the answer to a call, with the faults that decide it."""
    struck = instead(call)
    if struck is not None:
        return struck
    endpoint = ENDPOINTS.get((call.method, call.path))
    try:
        venue.admit(call, signed=endpoint is not None and endpoint[1])
        if endpoint is None:
            raise ApiError(-5000, f"Path {call.path}, Method {call.method} is invalid", status=404)
        answer = endpoint[0](venue, call)
    except ApiError as error:
        return refusal(error)
    if call.faults.first(UnknownExecution):
        return refusal(ApiError(-1000, UNKNOWN_EXECUTION_TEXT, status=503))
    return answer


async def _send_part(request: web.Request, answer: Answer, fault: Truncate) -> web.StreamResponse:
    """Send a share of the body, then break the connection or, with an honest length, end as if that were all."""
    part = answer.body[: int(len(answer.body) * fault.keep)]
    if fault.honest_length:
        return as_response(Answer(part, answer.status, answer.headers))
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json;charset=UTF-8"})
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(part)
    break_off(request)
    return response
