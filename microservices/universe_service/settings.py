"""The universe service's settings (universe-service.env)."""

import re
from typing import Annotated

from msgspec import Meta

from microservices.contracts.control import Mode
from microservices.exchange import base_url, check_host
from microservices.runtime import CommonSettings, SettingError


class Settings(CommonSettings, frozen=True, kw_only=True):
    """What the universe service can be told."""

    universe_mode: Annotated[Mode, Meta(description="Which exchange the list is of")] = Mode.TESTNET
    universe_refresh_sec: Annotated[float, Meta(ge=10, description="Seconds between two fetches")] = 60.0
    universe_max: Annotated[int, Meta(ge=1, le=2000, description="More symbols than this are refused")] = 800
    universe_symbol_regex: Annotated[str, Meta(description="What a symbol has to fit, matched whole")] = (
        "^[A-Z0-9]{3,20}USDT$"
    )
    universe_min_ratio: Annotated[
        float, Meta(ge=0, le=1, description="Share of the last good list that a new one must have; 0 is no guard")
    ] = 0.5
    http_timeout_sec: Annotated[float, Meta(gt=0, description="Seconds for one whole answer")] = 10.0
    binance_futures_base_url: Annotated[str, Meta(description="Empty: by mode")] = ""
    universe_metrics_port: Annotated[int, Meta(ge=0, le=65535, description="0 is no metrics")] = 0

    def __post_init__(self) -> None:
        """Refuse a pattern that is none, and a host that belongs to another mode."""
        try:
            re.compile(self.universe_symbol_regex)
        except re.error as fault:
            raise SettingError(
                "UNIVERSE_SYMBOL_REGEX", self.universe_symbol_regex, f"a valid regular expression ({fault})"
            ) from None
        try:
            check_host(self.universe_mode, self.base_url)
        except ValueError as fault:
            raise SettingError(
                "BINANCE_FUTURES_BASE_URL",
                self.binance_futures_base_url,
                f"a URL of mode {self.universe_mode} ({fault})",
            ) from None

    @property
    def base_url(self) -> str:
        """Where the exchange is asked."""
        return self.binance_futures_base_url or base_url(self.universe_mode)

    @property
    def pattern(self) -> re.Pattern[str]:
        """What a symbol has to fit, matched whole."""
        return re.compile(self.universe_symbol_regex)

    @property
    def metrics_port(self) -> int | None:
        """Port of the metrics on 127.0.0.1; 0 is none."""
        return self.universe_metrics_port
