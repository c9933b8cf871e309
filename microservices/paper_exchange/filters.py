"""What an order's numbers must fit before it reaches the market.

Filters: https://developers.binance.com/docs/derivatives/usds-margined-futures/common-definition#filters
"""

import re
from decimal import Decimal

from microservices.paper_exchange.errors import api_error, below_min_notional, filter_failure, illegal, missing
from microservices.paper_exchange.instruments import Instrument

_DECIMAL = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
_DECIMAL_PATTERN = re.compile(_DECIMAL, re.ASCII)


def decimal_parameter(name: str, text: str | None) -> Decimal:
    """Read a decimal parameter: plain digits, no sign, no exponent.

    Raises:
        ApiError: -1102 absent or empty, -1100 anything else than a plain decimal.
    """
    if not text:
        raise missing(name)
    if not _DECIMAL_PATTERN.fullmatch(text):
        raise illegal(name, _DECIMAL)
    return Decimal(text)


def check_quantity(instrument: Instrument, quantity: Decimal, *, market: bool) -> None:
    """Hold a quantity to the precision and to the lot size of its order type.

    Raises:
        ApiError: -4003 not above zero, -1111 too many decimals, -4005 above the maximum, -1013 below the minimum or
            no multiple of the step.
    """
    if quantity <= 0:
        raise api_error(-4003)
    if _decimals(quantity) > instrument.quantity_decimals:
        raise api_error(-1111)
    largest = instrument.market_max if market else instrument.limit_max
    if quantity > largest:
        raise api_error(-4005)
    smallest = instrument.market_min if market else instrument.limit_min
    step = instrument.market_step if market else instrument.limit_step
    if quantity < smallest or quantity % step != 0:
        raise filter_failure("MARKET_LOT_SIZE" if market else "LOT_SIZE")


def check_price(instrument: Instrument, price: Decimal) -> None:
    """Hold a limit price to the price filter.

    Raises:
        ApiError: -1111 too many decimals, -1013 outside the filter's bounds, -4014 no multiple of the tick.
    """
    if _decimals(price) > instrument.price_decimals:
        raise api_error(-1111)
    if not instrument.min_price <= price <= instrument.max_price:
        raise filter_failure("PRICE_FILTER")
    if price % instrument.tick != 0:
        raise api_error(-4014)


def check_notional(instrument: Instrument, quantity: Decimal, price: Decimal) -> None:
    """Hold an order that is not reduce-only to the smallest notional; a market order is valued at the mark price.

    Raises:
        ApiError: -4164.
    """
    if quantity * price < instrument.min_notional:
        raise below_min_notional(f"{instrument.min_notional.normalize():f}")


def floor_to_step(quantity: Decimal, step: Decimal) -> Decimal:
    """Cut a quantity to a whole number of steps."""
    return quantity // step * step


def _decimals(number: Decimal) -> int:
    """Count the decimals that carry anything: 1 for 0.10."""
    exponent = number.normalize().as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0
