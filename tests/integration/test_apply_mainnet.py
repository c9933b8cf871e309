"""What is different with real money, over an exchange that is none: nothing here leaves the machine."""

import logging
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from redis import Redis

from microservices.apply_layer.settings import Settings
from microservices.contracts import permit
from microservices.contracts.account import AccountBinding
from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Decision
from microservices.exchange import Order, OrderRequest, SignedClient
from microservices.runtime import Refused, load_settings
from tests.support.apply_world import ACCOUNT, World, running
from tests.unit.apply_layer.plans import ORDER

HOST = "fapi.binance.com"


class NoExchange:
    """Fills every order at once, in memory."""

    def __init__(self) -> None:
        self.orders: list[OrderRequest] = []

    def account_alias(self) -> str:
        """Name the account."""
        return ACCOUNT

    def sync_time(self) -> None:
        """Need no measurement."""

    def exchange_time_ms(self) -> int:
        """Stand still."""
        return 1_800_000_000_000

    def new_order(self, order: OrderRequest, sent_at_ms: int, *, timeout_s: float | None = None) -> Order:
        """Fill it."""
        self.orders.append(order)
        return msgspec.structs.replace(
            ORDER, client_order_id=order.client_order_id, symbol=order.symbol, executed_qty=order.quantity
        )

    def close(self) -> None:
        """Hold nothing open."""


def mainnet(directory: Path, **variables: str) -> Settings:
    """Give settings for real money."""
    given = {
        "STATE_DIRECTORY": str(directory), "TRADING_MODE": "mainnet", "APPLY_MODE": "mainnet",
        "APPLY_CONFIRM_MAINNET": "I_UNDERSTAND", "BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s",
    }  # fmt: skip
    return load_settings(Settings, given | variables)


@pytest.fixture
def world(redis_client: Redis) -> World:
    """A Redis that was bound to the mainnet account by its operator."""
    made = World(redis_client, AccountBinding(Mode.MAINNET, HOST, ACCOUNT))
    made.set_up()
    return made


def run(redis: Redis, settings: Settings, exchange: NoExchange) -> Any:
    """Run the layer over an exchange that is none."""
    return running(redis, settings, cast("SignedClient", exchange))


def test_it_says_in_one_line_what_it_is_about_to_be_able_to_do(
    redis_client: Redis, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Account, host and limits, as a warning."""
    with run(redis_client, mainnet(tmp_path), NoExchange()):
        (line,) = [record for record in caplog.records if "real money" in record.message]
    assert line.levelno == logging.WARNING
    for said in (ACCOUNT, HOST, "200 USDT", "10 positions"):
        assert said in line.message


def test_an_open_needs_all_three_gates_to_be_configured(redis_client: Redis, world: World, tmp_path: Path) -> None:
    """With one left out each open ends at once, and names what is missing; exits go on."""
    exchange = NoExchange()
    with run(redis_client, mainnet(tmp_path, APPLY_GATES_OPEN="p33"), exchange):
        opening = world.add_open()
        world.permit(opening)
        end = world.await_result(opening)
        assert (end.decision, end.error, end.gate) == (Decision.BLOCKED, "gate_not_configured", "governor,p26")
        assert not end.retryable
        assert world.redis.exists(permit.key(Gate.P33, end.plan_id))
        exiting = world.add()
        world.permit(exiting)
        assert world.await_result(exiting).executed
        assert [order.reduce_only for order in exchange.orders] == [True]


def test_an_open_with_all_three_permits_is_sent(redis_client: Redis, world: World, tmp_path: Path) -> None:
    """The smallest of the three quantities."""
    exchange = NoExchange()
    with run(redis_client, mainnet(tmp_path), exchange):
        entry_id = world.add_open()
        for gate, safe_qty in zip(Gate, ("0.002", "0.0015", "0.003"), strict=True):
            world.permit(entry_id, gate, safe_qty=safe_qty)
        assert world.await_result(entry_id).executed
        assert [order.quantity for order in exchange.orders] == [Decimal("0.0015")]
        assert world.results()[0].mode is Mode.MAINNET


def test_an_unbound_redis_is_refused_and_the_command_named(redis_client: Redis, tmp_path: Path) -> None:
    """Only paper binds by itself."""
    with (
        pytest.raises(Refused, match=r"run ops/set_account\.sh --mode mainnet first"),
        run(redis_client, mainnet(tmp_path), NoExchange()),
    ):
        pass
