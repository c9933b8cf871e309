"""The apply layer's settings (apply-layer.env)."""

from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate
from microservices.exchange import base_url, check_host
from microservices.runtime import CommonSettings, Secret, SettingError

CONFIRMATION = "I_UNDERSTAND"
STATE_DIRECTORY_DEFAULT = Path(".local/state/quantum-apply-layer")
"""Under the user's home; systemd gives a unit its own."""


class ApplyMode(StrEnum):
    """What is done with a permitted plan: nothing, or an order in the mode of this name."""

    DRY_RUN = "dry_run"
    PAPER = "paper"
    TESTNET = "testnet"
    MAINNET = "mainnet"


class Settings(CommonSettings, frozen=True, kw_only=True):
    """What the apply layer can be told."""

    binance_api_key: Annotated[Secret, Meta(description="The account's key")]
    binance_api_secret: Annotated[Secret, Meta(description="The key's secret")]
    state_directory: Annotated[Path | None, Meta(description="Holds the lock file and sent.log")] = None
    trading_mode: Annotated[Mode, Meta(description="Which exchange this is")] = Mode.TESTNET
    binance_futures_base_url: Annotated[str, Meta(description="Empty: by mode")] = ""
    apply_mode: Annotated[ApplyMode, Meta(description="dry_run, or the same as TRADING_MODE")] = ApplyMode.DRY_RUN
    apply_confirm_mainnet: Annotated[str, Meta(description=f"{CONFIRMATION} where APPLY_MODE is mainnet")] = ""
    apply_gates_open: Annotated[tuple[Gate, ...], Meta(description="Whose permits an OPEN needs")] = (
        Gate.GOVERNOR, Gate.P26, Gate.P33,
    )  # fmt: skip
    apply_gates_exit: Annotated[tuple[Gate, ...], Meta(description="Whose permits an exit needs")] = (Gate.P33,)
    apply_max_notional_usdt: Annotated[Decimal, Meta(description="Largest OPEN, whatever the gates say")] = Decimal(200)
    apply_max_positions: Annotated[int, Meta(ge=1, le=1000, description="Most positions, whatever the gates say")] = 10
    apply_permit_wait_ms: Annotated[int, Meta(ge=1, le=60_000, description="How long an OPEN waits for permits")] = 1200
    apply_exit_wait_ms: Annotated[int, Meta(ge=1, le=60_000, description="How long an exit waits for permits")] = 15_000
    apply_plan_max_age_s: Annotated[int, Meta(ge=1, le=3600, description="Older plans are not executed")] = 60
    apply_workers: Annotated[int, Meta(ge=1, le=32, description="Orders on their way at once")] = 8
    apply_order_timeout_ms: Annotated[int, Meta(ge=100, le=20_000, description="Deadline of one order")] = 10_000
    apply_stream_keep_h: Annotated[int, Meta(ge=1, le=168, description="Plans and results are kept this long")] = 48
    apply_metrics_port: Annotated[int, Meta(ge=0, le=65535, description="0 is no metrics")] = 8043

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        for name in ("binance_api_key", "binance_api_secret"):
            if not getattr(self, name):
                raise SettingError(name.upper(), "", "any text (a secret)")
        if self.apply_max_notional_usdt <= 0:
            raise SettingError("APPLY_MAX_NOTIONAL_USDT", self.apply_max_notional_usdt, "an amount above 0")
        if self.apply_mode not in (ApplyMode.DRY_RUN, self.trading_mode):
            raise SettingError("APPLY_MODE", self.apply_mode, f"dry_run, or TRADING_MODE, which is {self.trading_mode}")
        if self.apply_mode is ApplyMode.MAINNET and self.apply_confirm_mainnet != CONFIRMATION:
            allowed = f"{CONFIRMATION} where APPLY_MODE is mainnet: orders are for real money"
            raise SettingError("APPLY_CONFIRM_MAINNET", self.apply_confirm_mainnet, allowed)
        if Gate.P33 not in self.apply_gates_exit:
            allowed = "a list of governor, p26 and p33 with p33 in it: only p33 knows how much may be closed"
            raise SettingError("APPLY_GATES_EXIT", self.apply_gates_exit, allowed)
        try:
            check_host(self.trading_mode, self.base_url)
        except ValueError as fault:
            allowed = f"a URL of mode {self.trading_mode} ({fault})"
            raise SettingError("BINANCE_FUTURES_BASE_URL", self.binance_futures_base_url, allowed) from None

    @property
    def base_url(self) -> str:
        """Where the exchange is asked."""
        return self.binance_futures_base_url or base_url(self.trading_mode)

    @property
    def state_path(self) -> Path:
        """Where the lock file and sent.log are."""
        return self.state_directory or Path.home() / STATE_DIRECTORY_DEFAULT

    @property
    def is_dry_run(self) -> bool:
        """Whether no order is ever sent."""
        return self.apply_mode is ApplyMode.DRY_RUN

    @property
    def metrics_port(self) -> int | None:
        """Port of the metrics on 127.0.0.1; 0 is none."""
        return self.apply_metrics_port
