"""Environment variables of the paper exchange (`paper-exchange.env`)."""

from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from microservices.paper_exchange.builtin_market import BUILTIN_SYMBOLS, MAX_SYMBOLS
from microservices.runtime import CommonSettings, Secret, SettingError


class Settings(CommonSettings, frozen=True, kw_only=True):
    """Where it listens, whose key it takes, and what market it shows."""

    paper_api_key: Annotated[Secret, Meta(description="The one API key it knows")]
    paper_api_secret: Annotated[Secret, Meta(description="What requests are signed with")]
    paper_host: Annotated[str, Meta(description="Address to listen on, loopback alone")] = "127.0.0.1"
    paper_port: Annotated[int, Meta(ge=1, le=65535, description="Port to listen on")] = 8060
    paper_seed: Annotated[int, Meta(ge=0, description="Another seed is another simulated market")] = 1
    paper_symbols: Annotated[
        int, Meta(ge=1, le=MAX_SYMBOLS, description="How many symbols the simulated market has")
    ] = BUILTIN_SYMBOLS
    paper_exchange_info: Annotated[
        Path | None, Meta(description="A recorded exchangeInfo answer, also .gz; empty: the built-in market")
    ] = None
    paper_klines_dir: Annotated[
        Path | None, Meta(description="Recorded 1-minute candles; empty: all prices are simulated")
    ] = None
    paper_replay_minutes: Annotated[
        int,
        Meta(ge=0, le=10_080, description="Newest minutes of recordings that are still to come"),
    ] = 0
    paper_state_file: Annotated[
        Path | None, Meta(description="Where the account is kept; empty: it ends with the process")
    ] = None
    paper_balance_usdt: Annotated[Decimal, Meta(description="What a new account begins with")] = Decimal(10_000)
    paper_update_ms: Annotated[
        int,
        Meta(ge=100, le=60_000, description="How often streams tell the running candle"),
    ] = 1000
    paper_speed: Annotated[
        int, Meta(ge=1, le=3600, description="How many times faster than this machine's its clock runs, from its start")
    ] = 1
    paper_weight_per_min: Annotated[
        int | None, Meta(ge=0, description="Request weight a minute; empty: what exchangeInfo says; 0: no limit")
    ] = None

    def __post_init__(self) -> None:
        """Refuse a host that another machine could reach (the faults are for this machine alone), two
        markets at once, and an empty wallet.

        Raises:
            SettingError: PAPER_HOST, PAPER_SYMBOLS or PAPER_BALANCE_USDT is not allowed.
        """
        if not _is_loopback(self.paper_host):
            raise SettingError("PAPER_HOST", self.paper_host, "a loopback address, such as 127.0.0.1 or ::1")
        if self.paper_exchange_info is not None and self.paper_symbols != BUILTIN_SYMBOLS:
            raise SettingError("PAPER_SYMBOLS", self.paper_symbols, "unset where PAPER_EXCHANGE_INFO names the symbols")
        if self.paper_balance_usdt <= 0:
            raise SettingError("PAPER_BALANCE_USDT", self.paper_balance_usdt, "an amount above 0")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
