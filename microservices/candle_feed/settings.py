"""The candle feed's settings (candle-feed.env)."""

from typing import Annotated

from msgspec import Meta

from microservices.contracts.candles import KEPT_DEFAULT
from microservices.contracts.control import Mode
from microservices.exchange import (
    WEIGHT_LIMIT_PER_MIN,
    base_url,
    check_host,
    check_websocket_host,
    market_stream_url,
)
from microservices.runtime import CommonSettings, SettingError


class Settings(CommonSettings, frozen=True, kw_only=True):
    """What the candle feed can be told."""

    candles_symbols: Annotated[tuple[str, ...], Meta(description="Symbols to follow; empty: the universe's")] = ()
    candles_keep: Annotated[int, Meta(ge=300, le=10_000, description="Candles kept of each symbol")] = KEPT_DEFAULT
    candles_weight_per_min: Annotated[
        int, Meta(ge=10, description="Request weight used in any 60 seconds, at most; the exchange allows 2400")
    ] = 1200
    trading_mode: Annotated[Mode, Meta(description="Which exchange the candles are of")] = Mode.TESTNET
    binance_futures_base_url: Annotated[str, Meta(description="Empty: by mode")] = ""
    binance_futures_ws_url: Annotated[
        str, Meta(description="Base of the streams, with /market or in the old form without; empty: by mode")
    ] = ""
    candles_metrics_port: Annotated[int, Meta(ge=0, le=65535, description="0 is no metrics")] = 8042

    def __post_init__(self) -> None:
        """Refuse a host of another mode, and a weight that the real exchange would answer with a ban."""
        try:
            check_host(self.trading_mode, self.base_url)
        except ValueError as fault:
            allowed = f"a URL of mode {self.trading_mode} ({fault})"
            raise SettingError("BINANCE_FUTURES_BASE_URL", self.binance_futures_base_url, allowed) from None
        try:
            check_websocket_host(self.trading_mode, self.stream_url)
        except ValueError as fault:
            allowed = f"a stream base of mode {self.trading_mode} ({fault})"
            raise SettingError("BINANCE_FUTURES_WS_URL", self.binance_futures_ws_url, allowed) from None
        if self.trading_mode is not Mode.PAPER and self.candles_weight_per_min > WEIGHT_LIMIT_PER_MIN:
            raise SettingError(
                "CANDLES_WEIGHT_PER_MIN",
                self.candles_weight_per_min,
                f"at most {WEIGHT_LIMIT_PER_MIN} in mode {self.trading_mode}",
            )

    @property
    def base_url(self) -> str:
        """Where the exchange is asked."""
        return self.binance_futures_base_url or base_url(self.trading_mode)

    @property
    def stream_url(self) -> str:
        """Where live candles come from."""
        return self.binance_futures_ws_url or market_stream_url(self.trading_mode)

    @property
    def metrics_port(self) -> int | None:
        """Port of the metrics on 127.0.0.1; 0 is none."""
        return self.candles_metrics_port
