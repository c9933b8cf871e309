"""Account, positions and orders as the wire shows them.

Shapes: https://developers.binance.com/docs/derivatives/usds-margined-futures/trade/rest-api/Position-Information-V2,
…/account/rest-api/Account-Information-V2, …/account/rest-api/Futures-Account-Balance-V2, …/trade/rest-api/New-Order,
…/trade/rest-api/Query-Order, …/market-data/rest-api/Mark-Price
"""

from decimal import Decimal
from typing import Any

from microservices.paper_exchange.account import LEVERAGE, MAINTENANCE_RATE, Margins, Position
from microservices.paper_exchange.instruments import Instrument
from microservices.paper_exchange.orders import Order

EIGHT_HOURS_MS = 8 * 3_600_000
MAX_NOTIONAL = "5000000"
_MIN_AVERAGE_DECIMALS = 5

Row = dict[str, Any]


def plain(number: Decimal) -> str:
    """Write a number in plain digits without trailing zeros."""
    return f"{number.normalize():f}" if number else "0"


def money_text(number: Decimal) -> str:
    """Write an amount with eight decimals."""
    return f"{number:.8f}"


def position_risk_row(instrument: Instrument, position: Position, mark: Decimal) -> Row:
    """Make a symbol's row of `positionRisk`.

    A symbol that was never traded (`updateTime` 0) has a mark price of 0 in it, as on the exchange, where recorded
    answers show `"markPrice":"0.00000000"` for such rows; `premiumIndex` has the mark price of every symbol.
    """
    amount, touched = position.amount, position.updated_ms > 0
    entry = plain(position.entry) if amount else "0.0"
    return {
        "symbol": instrument.symbol,
        "positionAmt": f"{amount:.{instrument.quantity_decimals}f}",
        "entryPrice": entry,
        "breakEvenPrice": entry,
        "markPrice": money_text(mark if touched else Decimal(0)),
        "unRealizedProfit": money_text(amount * (mark - position.entry)),
        "liquidationPrice": "0",
        "leverage": str(LEVERAGE),
        "maxNotionalValue": MAX_NOTIONAL,
        "marginType": "cross",
        "isolatedMargin": "0.00000000",
        "isAutoAddMargin": "false",
        "positionSide": "BOTH",
        "notional": plain(amount * mark),
        "isolatedWallet": "0",
        "updateTime": position.updated_ms,
        "isolated": False,
        "adlQuantile": 0,
    }


def hedge_rows(row: Row) -> list[Row]:
    """Show a one-way row as a hedge-mode account would: LONG and SHORT, one of them flat."""
    flat = {**row, "positionAmt": "0", "entryPrice": "0.0", "breakEvenPrice": "0.0", "unRealizedProfit": "0.00000000",
            "notional": "0"}  # fmt: skip
    short = row["positionAmt"].startswith("-")
    return [
        {**(flat if short else row), "positionSide": "LONG"},
        {**(row if short else flat), "positionSide": "SHORT"},
    ]


def account_answer(
    margins: Margins, assets: list[str], positions: list[tuple[Instrument, Position, Decimal]], updated_ms: int
) -> Row:
    """Make the answer of `GET /fapi/v2/account`; positions come with their mark prices."""
    totals = _asset_totals(margins)
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
        "totalInitialMargin": totals["initialMargin"],
        "totalMaintMargin": totals["maintMargin"],
        "totalWalletBalance": totals["walletBalance"],
        "totalUnrealizedProfit": totals["unrealizedProfit"],
        "totalMarginBalance": totals["marginBalance"],
        "totalPositionInitialMargin": totals["positionInitialMargin"],
        "totalOpenOrderInitialMargin": "0.00000000",
        "totalCrossWalletBalance": totals["crossWalletBalance"],
        "totalCrossUnPnl": totals["crossUnPnl"],
        "availableBalance": totals["availableBalance"],
        "maxWithdrawAmount": totals["maxWithdrawAmount"],
        "assets": [
            {"asset": asset, **(totals if asset == "USDT" else _asset_totals(_EMPTY)), "marginAvailable": True,
             "updateTime": updated_ms if asset == "USDT" else 0}
            for asset in assets
        ],
        "positions": [_account_position(*row) for row in positions],
    }  # fmt: skip


def balance_answer(alias: str, margins: Margins, assets: list[str], updated_ms: int) -> list[Row]:
    """Make the answer of `GET /fapi/v2/balance`: a row an asset, only USDT's not empty."""
    return [_balance_row(alias, asset, margins if asset == "USDT" else _EMPTY, updated_ms) for asset in assets]


def order_answer(order: Order, instrument: Instrument, *, acknowledged_only: bool = False) -> Row:
    """Make an order's answer.

    Args:
        order: the order.
        instrument: of its symbol, for the decimals.
        acknowledged_only: show it as just taken, nothing filled yet, as `newOrderRespType=ACK` does.
    """
    decimals = instrument.quantity_decimals
    executed = Decimal(0) if acknowledged_only else order.executed
    average = Decimal(0) if acknowledged_only else order.average
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": "NEW" if acknowledged_only else str(order.status),
        "clientOrderId": order.client_order_id,
        "price": plain(order.price),
        "avgPrice": f"{average:.{max(instrument.price_decimals, _MIN_AVERAGE_DECIMALS)}f}",
        "origQty": f"{order.quantity:.{decimals}f}",
        "executedQty": f"{executed:.{decimals}f}",
        "cumQty": f"{executed:.{decimals}f}",
        "cumQuote": plain(executed * average),
        "timeInForce": order.time_in_force,
        "type": str(order.type),
        "reduceOnly": order.reduce_only,
        "closePosition": False,
        "side": str(order.side),
        "positionSide": "BOTH",
        "stopPrice": "0",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": str(order.type),
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": 0,
        "updateTime": order.updated_ms,
    }


def queried_order_answer(order: Order, instrument: Instrument) -> Row:
    """Make the answer of `GET /fapi/v1/order`: with the time of the order, without the sum that a new one carries."""
    answer = order_answer(order, instrument)
    del answer["cumQty"]
    return {**answer, "time": order.created_ms}


def premium_index_row(symbol: str, mark: Decimal, now_ms: int) -> Row:
    """Make a row of `GET /fapi/v1/premiumIndex`; no funding is paid here, and it says so."""
    price = money_text(mark)
    return {
        "symbol": symbol,
        "markPrice": price,
        "indexPrice": price,
        "estimatedSettlePrice": price,
        "lastFundingRate": "0.00000000",
        "interestRate": "0.00000000",
        "nextFundingTime": (now_ms // EIGHT_HOURS_MS + 1) * EIGHT_HOURS_MS,
        "time": now_ms,
    }


_EMPTY = Margins(Decimal(0), Decimal(0), Decimal(0), Decimal(0))


def _asset_totals(margins: Margins) -> dict[str, str]:
    initial, available = money_text(margins.initial), money_text(margins.available)
    wallet, unrealized = money_text(margins.wallet), money_text(margins.unrealized)
    return {
        "walletBalance": wallet,
        "unrealizedProfit": unrealized,
        "marginBalance": money_text(margins.balance),
        "maintMargin": money_text(margins.maintenance),
        "initialMargin": initial,
        "positionInitialMargin": initial,
        "openOrderInitialMargin": "0.00000000",
        "crossWalletBalance": wallet,
        "crossUnPnl": unrealized,
        "availableBalance": available,
        "maxWithdrawAmount": available,
    }


def _balance_row(alias: str, asset: str, margins: Margins, updated_ms: int) -> Row:
    totals = _asset_totals(margins)
    return {
        "accountAlias": alias,
        "asset": asset,
        "balance": totals["walletBalance"],
        "crossWalletBalance": totals["crossWalletBalance"],
        "crossUnPnl": totals["crossUnPnl"],
        "availableBalance": totals["availableBalance"],
        "maxWithdrawAmount": totals["maxWithdrawAmount"],
        "marginAvailable": True,
        "updateTime": updated_ms,
    }


def _account_position(instrument: Instrument, position: Position, mark: Decimal) -> Row:
    notional = abs(position.amount) * mark
    margin = plain(notional / LEVERAGE)
    return {
        "symbol": instrument.symbol,
        "initialMargin": margin,
        "maintMargin": plain(notional * MAINTENANCE_RATE),
        "unrealizedProfit": money_text(position.amount * (mark - position.entry)),
        "positionInitialMargin": margin,
        "openOrderInitialMargin": "0",
        "leverage": str(LEVERAGE),
        "isolated": False,
        "entryPrice": plain(position.entry) if position.amount else "0.0",
        "breakEvenPrice": plain(position.entry) if position.amount else "0.0",
        "maxNotional": MAX_NOTIONAL,
        "bidNotional": "0",
        "askNotional": "0",
        "positionSide": "BOTH",
        "positionAmt": f"{position.amount:.{instrument.quantity_decimals}f}",
        "updateTime": position.updated_ms,
    }
