"""The market-state publisher's settings (marketstate.env)."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ai_engine.market_state import MarketState
from microservices.contracts.control import Mode
from microservices.contracts.market_state import Source
from microservices.runtime import CommonSettings, LogLevel, SettingError

UNIVERSE = "universe"
"""In place of symbols: every symbol of the universe."""

_OWN_REDIS = ("host", "port", "db")


class Settings(CommonSettings, frozen=True, kw_only=True):
    """What the publisher can be told."""

    marketstate_symbols: Annotated[tuple[str, ...], Meta(min_length=1, description="Symbols, or universe")] = (
        "BTCUSDT",
        "ETHUSDT",
        "SOLUSDT",
    )
    marketstate_publish_interval: Annotated[float, Meta(ge=1, description="Seconds between two cycles")] = 60.0
    marketstate_window_size: Annotated[int, Meta(le=1_500, description="Newest candles read of each symbol")] = 300
    marketstate_source: Annotated[Source, Meta(description="candles, or synthetic for proof runs")] = Source.CANDLES
    marketstate_max_age_sec: Annotated[
        float, Meta(gt=0, description="A newest candle that closed longer ago is stale")
    ] = 180.0
    marketstate_theta_override: Annotated[str, Meta(description="JSON, merged over the locked parameters")] = "{}"
    marketstate_mu_confidence: Annotated[
        float, Meta(ge=0, lt=1, description="Confidence of the published bounds of mu; 0 is no bounds")
    ] = 0.0
    trading_mode: Annotated[Mode, Meta(description="Whose universe counts, with MARKETSTATE_SYMBOLS=universe")] = (
        Mode.TESTNET
    )
    marketstate_redis_host: Annotated[str | None, Meta(description="Unset: REDIS_HOST")] = None
    marketstate_redis_port: Annotated[int | None, Meta(ge=1, le=65535, description="Unset: REDIS_PORT")] = None
    marketstate_redis_db: Annotated[int | None, Meta(ge=0, description="Unset: REDIS_DB")] = None
    marketstate_log_level: Annotated[LogLevel | None, Meta(description="Unset: LOG_LEVEL")] = None
    marketstate_metrics_port: Annotated[int, Meta(ge=0, le=65535, description="0 is no metrics")] = 0

    def __post_init__(self) -> None:
        """Refuse what contradicts itself or the parameters, and let the publisher's own Redis and level count."""
        self._check_symbols()
        needed = self._market_state().min_prices
        if self.marketstate_window_size < needed:
            raise SettingError(
                "MARKETSTATE_WINDOW_SIZE", str(self.marketstate_window_size), f"{needed} or more, what one state needs"
            )
        self._apply_own_redis()
        if self.marketstate_log_level is not None:
            msgspec.structs.force_setattr(self, "log_level", self.marketstate_log_level)

    @property
    def metrics_port(self) -> int | None:
        """Where metrics are served; 0 for nowhere."""
        return self.marketstate_metrics_port

    @property
    def follows_universe(self) -> bool:
        """Whether the symbols are the universe's."""
        return self.marketstate_symbols == (UNIVERSE,)

    @property
    def theta(self) -> dict[str, Any]:
        """The parameters to change."""
        try:
            override: dict[str, Any] = msgspec.json.decode(self.marketstate_theta_override, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise SettingError(
                "MARKETSTATE_THETA_OVERRIDE", self.marketstate_theta_override, f"a JSON object ({error})"
            ) from None
        return override

    def _market_state(self) -> MarketState:
        try:
            return MarketState(self.theta)
        except ValueError as error:
            raise SettingError(
                "MARKETSTATE_THETA_OVERRIDE", self.marketstate_theta_override, f"parameters that can be: {error}"
            ) from None

    def _check_symbols(self) -> None:
        symbols = self.marketstate_symbols
        if UNIVERSE in symbols and not self.follows_universe:
            raise SettingError("MARKETSTATE_SYMBOLS", ",".join(symbols), f"symbols, or {UNIVERSE} alone")

    def _apply_own_redis(self) -> None:
        own = {part: value for part in _OWN_REDIS if (value := getattr(self, f"marketstate_redis_{part}")) is not None}
        if own and self.redis_url and "host" not in own:
            name, value = next(iter(own.items()))
            raise SettingError(
                f"MARKETSTATE_REDIS_{name.upper()}",
                str(value),
                "set together with MARKETSTATE_REDIS_HOST, or unset, where REDIS_URL is set",
            )
        if "host" in own:
            msgspec.structs.force_setattr(self, "redis_url", "")
        for part, value in own.items():
            msgspec.structs.force_setattr(self, f"redis_{part}", value)
