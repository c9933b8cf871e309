"""What the exchange answers when it refuses: HTTP status, code and text, as clients see them on the wire.

Codes and texts: https://developers.binance.com/docs/derivatives/usds-margined-futures/error-code
Statuses and the texts of 503: https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info
"""

from collections.abc import Mapping
from types import MappingProxyType


class ApiError(Exception):
    """A refusal with its HTTP status, the exchange's code and text, and extra headers."""

    def __init__(self, code: int, msg: str, *, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code}: {msg}")
        self.code = code
        self.msg = msg
        self.status = status
        self.headers = dict(headers or {})


# One text for each code that a fault may name; a rule that has figures in its text makes its own.
TEXTS: Mapping[int, str] = MappingProxyType(
    {
        -1000: "An unknown error occurred while processing the request.",
        -1001: "Internal error; unable to process your request. Please try again.",
        -1003: "Too many requests; please use the websocket for live updates to avoid polling the API.",
        -1006: "An unexpected response was received from the message bus. Execution status unknown.",
        -1007: "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
        -1008: "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. "
        "Please try again.",
        -1015: "Too many new orders.",
        -1016: "This service is no longer available.",
        -1021: "Timestamp for this request is outside of the recvWindow.",
        -1022: "Signature for this request is not valid.",
        -1023: "Start time is greater than end time.",
        -1111: "Precision is over the maximum defined for this asset.",
        -1115: "Invalid timeInForce.",
        -1116: "Invalid orderType.",
        -1117: "Invalid side.",
        -1120: "Invalid interval.",
        -1121: "Invalid symbol.",
        -1136: "Invalid newOrderRespType.",
        -2010: "NEW_ORDER_REJECTED",
        -2011: "Unknown order sent.",
        -2013: "Order does not exist.",
        -2014: "API-key format invalid.",
        -2015: "Invalid API-key, IP, or permissions for action.",
        -2018: "Balance is insufficient.",
        -2019: "Margin is insufficient.",
        -2020: "Unable to fill.",
        -2021: "Order would immediately trigger.",
        -2022: "ReduceOnly Order is rejected.",
        -2023: "User in liquidation mode now.",
        -2027: "Exceeded the maximum allowable position at current leverage.",
        -4003: "Quantity less than or equal to zero.",
        -4005: "Quantity greater than max quantity.",
        -4014: "Price not increased by tick size.",
        -4015: "Client order id is not valid.",
        -4061: "Order's position side does not match user's setting.",
        -4087: "User can only place reduce only order",
        -4088: "User can not place order currently",
        -4116: "ClientOrderId is duplicated.",
        -4131: "The counterparty's best price does not meet the PERCENT_PRICE filter limit",
        -4140: "Invalid symbol status for opening position.",
        -4141: "Symbol is closed.",
        -5028: "Timestamp for this request is outside of the ME recvWindow.",
    }
)
STATUSES: Mapping[int, int] = MappingProxyType(
    {-1000: 500, -1001: 503, -1003: 429, -1007: 408, -1008: 503, -1015: 429, -1016: 503, -2014: 401, -2015: 401}
)

UNKNOWN_EXECUTION_TEXT = "Unknown error, please check your request or try again later."
"""The 503 whose order may have been executed."""

UNAVAILABLE_TEXT = "Service Unavailable."
"""The 503 whose request certainly failed."""

AHEAD_TEXT = "Timestamp for this request was 1000ms ahead of the server's time."


def api_error(code: int) -> ApiError:
    """Make the refusal of a code with its usual text and HTTP status (400 where none is special)."""
    return ApiError(code, TEXTS[code], status=STATUSES.get(code, 400))


def missing(parameter: str) -> ApiError:
    """A mandatory parameter is absent, empty or malformed."""
    return ApiError(-1102, f"Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed.")


def illegal(parameter: str, legal_range: str) -> ApiError:
    """A parameter has characters that its pattern does not allow."""
    return ApiError(-1100, f"Illegal characters found in parameter '{parameter}'; legal range is '{legal_range}'.")


def invalid(parameter: str) -> ApiError:
    """A parameter's value is not one of those allowed."""
    return ApiError(-1130, f"Data sent for parameter '{parameter}' is not valid.")


def below_min_notional(minimum: str) -> ApiError:
    """An opening order is worth less than the symbol's minimum."""
    return ApiError(-4164, f"Order's notional must be no smaller than {minimum} (unless you choose reduce only).")


def filter_failure(name: str) -> ApiError:
    """A quantity misses the minimum or the step of a filter."""
    return ApiError(-1013, f"Filter failure: {name}")
