"""Request weights: the published figures, the limit of a minute, and the ban of who goes on."""

import pytest

from microservices.paper_exchange.errors import ApiError
from microservices.paper_exchange.weights import (
    FIRST_BAN_MS,
    IGNORED_BEFORE_BAN,
    OrderLimit,
    WeightLimit,
    Window,
    weight_of,
)

MINUTE = 1_800_000_000_000


@pytest.mark.parametrize(
    ("method", "path", "parameters", "weight"),
    [
        ("GET", "/fapi/v1/ping", {}, 1),
        ("GET", "/fapi/v1/exchangeInfo", {}, 1),
        ("GET", "/fapi/v1/klines", {"limit": "99"}, 1),
        ("GET", "/fapi/v1/klines", {"limit": "100"}, 2),
        ("GET", "/fapi/v1/klines", {"limit": "499"}, 2),
        ("GET", "/fapi/v1/klines", {}, 5),
        ("GET", "/fapi/v1/klines", {"limit": "1000"}, 5),
        ("GET", "/fapi/v1/klines", {"limit": "1500"}, 10),
        ("GET", "/fapi/v1/premiumIndex", {"symbol": "BTCUSDT"}, 1),
        ("GET", "/fapi/v1/premiumIndex", {}, 10),
        ("GET", "/fapi/v2/positionRisk", {}, 5),
        ("GET", "/fapi/v2/account", {}, 5),
        ("GET", "/fapi/v2/balance", {}, 5),
        ("GET", "/fapi/v1/positionSide/dual", {}, 30),
        ("POST", "/fapi/v1/order", {}, 0),
        ("GET", "/fapi/v1/order", {}, 1),
        ("DELETE", "/fapi/v1/order", {}, 1),
    ],
)
def test_weights_are_those_published(method: str, path: str, parameters: dict[str, str], weight: int) -> None:
    """A client that keeps within the figures of the documentation keeps within these."""
    assert weight_of(method, path, parameters) == weight


def refused(limit: WeightLimit, weight: int, now_ms: int) -> ApiError:
    """Charge what must be refused."""
    with pytest.raises(ApiError) as caught:
        limit.charge(weight, now_ms)
    return caught.value


def test_over_the_limit_comes_429_until_the_minute_ends() -> None:
    """The refusal names the limit and how long to wait; the next minute begins at 0."""
    limit = WeightLimit(100)
    limit.charge(100, MINUTE + 15_000)
    error = refused(limit, 1, MINUTE + 15_500)
    assert (error.status, error.code, error.headers) == (429, -1003, {"Retry-After": "45"})
    assert "current limit is 100 requests per minute" in error.msg
    limit.charge(1, MINUTE + 60_000)
    assert limit.used == 1


def test_who_goes_on_after_429_is_banned_and_longer_each_time() -> None:
    """418 says until when; nothing passes before; the second ban lasts twice as long."""
    limit = WeightLimit(1)
    for number, ban_ms in enumerate((FIRST_BAN_MS, 2 * FIRST_BAN_MS)):
        now_ms = MINUTE + number * 10 * 60_000
        limit.charge(1, now_ms)
        statuses = [refused(limit, 1, now_ms + i).status for i in range(IGNORED_BEFORE_BAN + 1)]
        assert statuses == [429] * IGNORED_BEFORE_BAN + [418]
        error = refused(limit, 1, now_ms + 60_000)
        assert error.status == 418
        assert f"IP banned until {now_ms + IGNORED_BEFORE_BAN + ban_ms}" in error.msg
        assert int(error.headers["Retry-After"]) == -(-(ban_ms + IGNORED_BEFORE_BAN - 60_000) // 1000)
        limit.charge(1, now_ms + ban_ms + 60_000)


def test_no_limit_counts_and_refuses_nothing() -> None:
    """With the limit lifted the header still tells what was used."""
    limit = WeightLimit(0)
    for _ in range(5):
        limit.charge(1_000_000, MINUTE)
    assert limit.used == 5_000_000


def test_orders_are_counted_for_ten_seconds_and_for_a_minute() -> None:
    """Both counts go out as headers; one order too many is refused with -1015 and what to wait."""
    limit = OrderLimit(per_10s=2, per_min=3)
    assert limit.charge(MINUTE) == {"X-MBX-ORDER-COUNT-10S": "1", "X-MBX-ORDER-COUNT-1M": "1"}
    limit.charge(MINUTE + 1)
    with pytest.raises(ApiError, match="2 orders per 10 SECOND") as caught:
        limit.charge(MINUTE + 4_000)
    assert (caught.value.status, caught.value.code, caught.value.headers["Retry-After"]) == (429, -1015, "6")
    assert limit.charge(MINUTE + 10_000)["X-MBX-ORDER-COUNT-10S"] == "1"


def test_a_window_begins_with_the_clock_not_with_the_first_request() -> None:
    """As the exchange's do: a request at the end of a minute counts for that minute."""
    window = Window(60_000)
    assert window.add(5, MINUTE + 59_999) == 5
    assert window.add(5, MINUTE + 60_000) == 5
    assert window.left_ms(MINUTE + 59_999) == 1
