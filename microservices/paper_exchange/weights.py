"""Request weights and order counts: what each call costs, and 429, then 418, when it is too much.

Limits: https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info#limits
Weights: each endpoint's page there.
"""

from collections.abc import Mapping
from types import MappingProxyType

from microservices.paper_exchange.errors import ApiError

MINUTE_MS = 60_000
TEN_SECONDS_MS = 10_000
IGNORED_BEFORE_BAN = 20
"""Requests sent on after a 429 within the same minute that earn a ban; the exchange does not publish its own figure."""

FIRST_BAN_MS = 2 * MINUTE_MS
LONGEST_BAN_MS = 3 * 24 * 60 * MINUTE_MS

_WEIGHTS: Mapping[tuple[str, str], int] = MappingProxyType(
    {
        ("GET", "/fapi/v2/positionRisk"): 5,
        ("GET", "/fapi/v2/account"): 5,
        ("GET", "/fapi/v2/balance"): 5,
        ("GET", "/fapi/v1/positionSide/dual"): 30,
        ("POST", "/fapi/v1/order"): 0,
    }
)


def weight_of(method: str, path: str, parameters: Mapping[str, str]) -> int:
    """Give the weight of a request."""
    if path == "/fapi/v1/klines":
        limit = parameters.get("limit", "500")
        return _klines_weight(int(limit) if limit.isdecimal() else 500)
    if path == "/fapi/v1/premiumIndex":
        return 1 if "symbol" in parameters else 10
    return _WEIGHTS.get((method, path), 1)


def _klines_weight(limit: int) -> int:
    """Source: the table of the klines page, by `limit`."""
    if limit < 100:
        return 1
    if limit < 500:
        return 2
    return 5 if limit <= 1000 else 10


class Window:
    """A count that begins anew with every full span of the clock, as the exchange's limits do."""

    def __init__(self, span_ms: int) -> None:
        self._span_ms = span_ms
        self._number = -1
        self.used = 0

    def add(self, amount: int, now_ms: int) -> int:
        """Count `amount` and give what this span has used."""
        number = now_ms // self._span_ms
        if number != self._number:
            self._number, self.used = number, 0
        self.used += amount
        return self.used

    def left_ms(self, now_ms: int) -> int:
        """Give how long the span of `now_ms` still lasts."""
        return self._span_ms - now_ms % self._span_ms


class WeightLimit:
    """Request weight of one client address a minute, and its ban.

    Args:
        per_min: what a minute may use; 0 counts and refuses nothing.
    """

    def __init__(self, per_min: int) -> None:
        self._per_min = per_min
        self._window = Window(MINUTE_MS)
        self._refused = Window(MINUTE_MS)
        self._ban_ms = FIRST_BAN_MS
        self._banned_until_ms = 0

    @property
    def used(self) -> int:
        """What the running minute has used."""
        return self._window.used

    def charge(self, weight: int, now_ms: int) -> None:
        """Count a request.

        Raises:
            ApiError: 429 where it is over the minute's limit; 418 with a ban, of two minutes at first and twice as
                long each time, where a client went on after that.
        """
        if now_ms < self._banned_until_ms:
            raise self._banned(now_ms)
        used = self._window.add(weight, now_ms)
        if not self._per_min or used <= self._per_min:
            return
        if self._refused.add(1, now_ms) > IGNORED_BEFORE_BAN:
            self._banned_until_ms = now_ms + self._ban_ms
            self._ban_ms = min(self._ban_ms * 2, LONGEST_BAN_MS)
            raise self._banned(now_ms)
        text = (
            f"Too many requests; current limit is {self._per_min} requests per minute. "
            "Please use the websocket for live updates to avoid polling the API."
        )
        raise ApiError(-1003, text, status=429, headers=retry_after(self._window.left_ms(now_ms)))

    def _banned(self, now_ms: int) -> ApiError:
        text = (
            f"Way too many requests; IP banned until {self._banned_until_ms}. "
            "Please use the websocket for live updates to avoid bans."
        )
        return ApiError(-1003, text, status=418, headers=retry_after(self._banned_until_ms - now_ms))


class OrderLimit:
    """Orders of the account in ten seconds and in a minute.

    Args:
        per_10s: how many in ten seconds.
        per_min: how many in a minute.
    """

    def __init__(self, per_10s: int, per_min: int) -> None:
        self._limits = (
            (Window(TEN_SECONDS_MS), per_10s, "10S", "10 SECOND"),
            (Window(MINUTE_MS), per_min, "1M", "1 MINUTE"),
        )

    def charge(self, now_ms: int) -> dict[str, str]:
        """Count an order and give the headers that say how many there were.

        Raises:
            ApiError: 429 with -1015 where it is one too many.
        """
        headers = {}
        for window, limit, letter, span in self._limits:
            used = window.add(1, now_ms)
            headers[f"X-MBX-ORDER-COUNT-{letter}"] = str(used)
            if used > limit:
                text = f"Too many new orders; current limit is {limit} orders per {span}."
                raise ApiError(-1015, text, status=429, headers=headers | retry_after(window.left_ms(now_ms)))
        return headers


def retry_after(wait_ms: int) -> dict[str, str]:
    """Make the header that says how many whole seconds to wait."""
    return {"Retry-After": str(-(-wait_ms // 1000))}
