"""How much may be ordered: in Decimal, floored to the instrument's market step, never above the position."""

from decimal import Decimal

import msgspec

from microservices.contracts.fields import exact
from microservices.contracts.plan import Action
from microservices.contracts.universe import Instrument, floor_to_step


class MarketRules(msgspec.Struct, frozen=True):
    """An instrument's rules for market orders, in units of the base asset; `min_notional` in USDT."""

    step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    min_notional: Decimal


class Quantity(msgspec.Struct, frozen=True):
    """A quantity to order, 0 where nothing can be, and whether the exchange's maximum cut it."""

    qty: Decimal
    clamped_to_max_qty: bool


def rules_of(instrument: Instrument) -> MarketRules:
    """Read an instrument's rules as numbers."""
    return MarketRules(
        Decimal(instrument.step_size),
        Decimal(instrument.min_qty),
        Decimal(instrument.max_qty),
        Decimal(instrument.min_notional),
    )


def open_quantity(wanted: Decimal, rules: MarketRules) -> Quantity:
    """Cut the quantity of an OPEN to the step and the exchange's maximum."""
    return _cut(wanted, rules)


def close_quantity(position_amt: Decimal, action: Action, bound: Decimal, rules: MarketRules) -> Quantity:
    """Tell how much of a position an exit may close.

    Args:
        position_amt: the exchange's position, signed.
        action: which share of it is to be closed.
        bound: the plan's own upper bound; 0 for none.
        rules: the instrument's.

    Returns:
        The share, bounded, floored to the step and cut to the maximum; never above the position. A partial that would
        leave less than the minimum quantity closes all, where the bound allows it.
    """
    held = abs(position_amt)
    with exact():
        share = held * action.closed_fraction
        wanted = min(share, bound) if bound else share
        quantity = _cut(wanted, rules)
        rest = held - quantity.qty
        if share < held and 0 < rest < rules.min_qty and (not bound or bound >= held):
            return _cut(held, rules)
    return quantity


def _cut(wanted: Decimal, rules: MarketRules) -> Quantity:
    clamped = wanted > rules.max_qty
    return Quantity(floor_to_step(rules.max_qty if clamped else wanted, rules.step), clamped)
