"""More symbols than the built-in 30, for the large simulated market: names, filters and prices, always the same.

Among the first of them are names that are not ASCII, as the exchange has had them since October 2025:
https://developers.binance.com/docs/derivatives/change-log
"""

from collections.abc import Iterator
from decimal import Decimal
from itertools import count, islice, product
from math import floor, log10

import numpy as np

from microservices.paper_exchange.noise import stream_key, uniforms

_FOREIGN = ("币安人生", "龙虾", "我踏马来了", "测试")
_FIRST = ("KA", "LO", "ZE", "TRI", "VO", "NU", "QUA", "BRE", "SI", "OR", "MY", "FLU", "DA", "PHO", "GI", "EX")
_LAST = ("NA", "X", "RA", "LIS", "TO", "VEX", "MA", "CHI", "DO", "PE", "RUM", "SY", "BIT", "GON", "FI", "LA", "UM")
_KEY = stream_key(0, "simulated symbols")


def simulated_rows(number: int) -> list[str]:
    """Give so many rows in the form of the built-in market's table: symbol, price, tick, step, largest, notional."""
    return [_row(name, i) for i, name in enumerate(islice(_names(), number))]


def _names() -> Iterator[str]:
    """Name base assets for ever, none twice."""
    yield from _FOREIGN
    for lap in count():
        for first, last in product(_FIRST, _LAST):
            yield f"{'1000' * (lap % 2)}{first}{last}{lap // 2 or ''}"


def _row(base_asset: str, number: int) -> str:
    """Choose a price between 0.0002 and 200 USDT, a tick of its fourth digit, and steps worth a fraction of a USDT."""
    draw = float(uniforms(_KEY, np.array([number]))[0])
    magnitude = floor(log10(0.0002) + 6 * draw)
    price = Decimal(1 + floor(9 * ((6 * draw) % 1))).scaleb(magnitude)
    tick = Decimal(1).scaleb(magnitude - 3)
    step = Decimal(1).scaleb(min(max(-magnitude - 1, -3), 0))
    largest = (200_000 / price).quantize(Decimal(1)) + 1
    return f"{base_asset}USDT {price:f} {tick:f} {step:f} {largest:f} 5"
