"""The position-state brain's settings (position-state-brain.env)."""

from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from microservices.contracts import permit, universe
from microservices.contracts.control import Mode
from microservices.exchange import base_url, check_host
from microservices.position_state_brain.facts import Limits
from microservices.runtime import CommonSettings, Secret, SettingError

STATE_DIRECTORY_DEFAULT = Path(".local/state/quantum-position-state-brain")
"""Under the user's home; systemd gives a unit its own."""


class AllowlistSource(StrEnum):
    """Which tiers count: all three, or the third alone."""

    UNIVERSE = "universe"
    ENV = "env"


class Settings(CommonSettings, frozen=True, kw_only=True):
    """What the brain can be told."""

    p33_allowlist_source: Annotated[AllowlistSource, Meta(description="env uses P33_ALLOWLIST alone")] = (
        AllowlistSource.UNIVERSE
    )
    p33_universe_key_active: Annotated[str, Meta(min_length=1)] = universe.ACTIVE_KEY
    p33_universe_key_last_ok: Annotated[str, Meta(min_length=1)] = universe.LAST_OK_KEY
    p33_universe_key_meta: Annotated[str, Meta(min_length=1)] = universe.META_KEY
    p33_universe_max_age_s: Annotated[float, Meta(gt=0, description="Older lists do not count")] = universe.MAX_AGE_S
    p33_allowlist_refresh_s: Annotated[
        float, Meta(ge=1, description="Seconds between two readings of the list; 1 while the source is not universe")
    ] = 60.0
    p33_allowlist: Annotated[tuple[str, ...], Meta(description="Symbols of the third tier")] = ()
    p33_exit_without_allowlist: Annotated[bool, Meta(description="Permit exits where no tier has a list")] = False
    p33_poll_sec: Annotated[float, Meta(ge=1, le=30, description="Seconds between two snapshots")] = 5.0
    p33_stale_threshold_sec: Annotated[float, Meta(gt=0, le=60, description="Older snapshots do not count")] = 10.0
    p33_cooldown_sec: Annotated[float, Meta(ge=0, description="Between an execution and the symbol's next open")] = 15.0
    p33_qty_tolerance_pct: Annotated[
        Decimal, Meta(description="Ledger and position agree within this share of the position")
    ] = Decimal("1.0")
    p33_permit_ttl: Annotated[float, Meta(ge=1, le=600, description="Seconds that a permit lives")] = permit.TTL_S
    p33_plan_max_age_s: Annotated[float, Meta(ge=1, le=3600, description="Older plans expire")] = 60.0
    p33_ondemand_snapshot: Annotated[bool, Meta(description="Ask the exchange at once for plans that wait")] = True
    p33_dry_run: Annotated[bool, Meta(description="Evaluate and log; no permit, mark or ledger")] = False
    binance_api_key: Secret
    binance_api_secret: Secret
    trading_mode: Annotated[Mode, Meta(description="Which exchange, and whose universe counts")] = Mode.TESTNET
    binance_futures_base_url: Annotated[str, Meta(description="Empty: by mode")] = ""
    p33_metrics_port: Annotated[int, Meta(ge=0, le=65535, description="0 is no metrics")] = 8045
    state_directory: Annotated[Path | None, Meta(description="Holds the lock file")] = None

    def __post_init__(self) -> None:
        """Refuse a host of another mode, and figures that contradict each other."""
        try:
            check_host(self.trading_mode, self.base_url)
        except ValueError as fault:
            raise SettingError(
                "BINANCE_FUTURES_BASE_URL",
                self.binance_futures_base_url,
                f"a URL of mode {self.trading_mode} ({fault})",
            ) from None
        if self.p33_poll_sec >= self.p33_stale_threshold_sec:
            raise SettingError(
                "P33_POLL_SEC",
                self.p33_poll_sec,
                f"below P33_STALE_THRESHOLD_SEC, which is {self.p33_stale_threshold_sec:g}",
            )
        if not 0 <= self.p33_qty_tolerance_pct <= 100:
            raise SettingError("P33_QTY_TOLERANCE_PCT", self.p33_qty_tolerance_pct, "a decimal number from 0 to 100")

    @property
    def base_url(self) -> str:
        """Where the exchange is asked."""
        return self.binance_futures_base_url or base_url(self.trading_mode)

    @property
    def metrics_port(self) -> int | None:
        """Port of the metrics on 127.0.0.1; 0 is none."""
        return self.p33_metrics_port

    @property
    def state_path(self) -> Path:
        """Where the lock file is."""
        return self.state_directory or Path.home() / STATE_DIRECTORY_DEFAULT

    @property
    def limits(self) -> Limits:
        """What the evaluation needs of the settings."""
        return Limits(
            plan_max_age_ms=round(self.p33_plan_max_age_s * 1000),
            snapshot_max_age_ms=round(self.p33_stale_threshold_sec * 1000),
            cooldown_ms=round(self.p33_cooldown_sec * 1000),
            qty_tolerance_pct=self.p33_qty_tolerance_pct,
            exit_without_allowlist=self.p33_exit_without_allowlist,
        )
