"""Environment variables of the paper exchange (`paper-exchange.env`)."""

from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from microservices.runtime import CommonSettings, Secret, SettingError


class Settings(CommonSettings, frozen=True, kw_only=True):
    """Where it listens, whose key it takes, and what market it shows."""

    paper_api_key: Secret
    paper_api_secret: Secret
    paper_host: str = "127.0.0.1"
    paper_port: Annotated[int, Meta(ge=1, le=65535)] = 8060
    paper_seed: Annotated[int, Meta(ge=0)] = 1
    paper_exchange_info: Path | None = None
    paper_klines_dir: Path | None = None
    paper_state_file: Path | None = None
    paper_balance_usdt: Decimal = Decimal(10_000)
    # Request weight a minute; unset: what the exchangeInfo answer says (2,400 in the built-in market); 0: no limit.
    paper_weight_per_min: Annotated[int, Meta(ge=0)] | None = None

    def __post_init__(self) -> None:
        """Refuse a host that another machine could reach (the faults are for this machine alone) and an empty wallet.

        Raises:
            SettingError: PAPER_HOST or PAPER_BALANCE_USDT is not allowed.
        """
        if not _is_loopback(self.paper_host):
            raise SettingError("PAPER_HOST", self.paper_host, "a loopback address, such as 127.0.0.1 or ::1")
        if self.paper_balance_usdt <= 0:
            raise SettingError("PAPER_BALANCE_USDT", self.paper_balance_usdt, "an amount above 0")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
