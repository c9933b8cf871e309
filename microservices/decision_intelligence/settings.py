"""What decision intelligence can be told by its environment."""

from typing import Annotated

from msgspec import Meta

from microservices.runtime import CommonSettings


class Settings(CommonSettings, frozen=True, kw_only=True):
    """The variables of `p35-decision-intelligence.env`."""

    enable_symbol_breakdown: Annotated[bool, Meta(description="Count reasons by symbol too")] = True
    p35_batch_size: Annotated[int, Meta(ge=1, le=10_000, description="Messages per read")] = 1_000
    p35_block_ms: Annotated[int, Meta(ge=1, le=2_000, description="How long a read waits for messages")] = 1_000
    p35_snapshot_interval_sec: Annotated[float, Meta(ge=1, le=3_600, description="Between two window snapshots")] = 60.0
    p35_claim_idle_ms: Annotated[
        int, Meta(ge=100, le=86_400_000, description="Idle time after which another's message is taken over")
    ] = 60_000
    p35_max_reasons: Annotated[int, Meta(ge=1, le=10_000, description="Reason codes per bucket")] = 100
    p35_max_symbol_reasons: Annotated[int, Meta(ge=1, le=10_000, description="Symbol breakdowns per bucket")] = 400
    p35_metrics_port: Annotated[int, Meta(ge=0, le=65_535, description="0 is off")] = 8_049
    p35_instance: Annotated[
        str, Meta(pattern="^[A-Za-z0-9_.-]{0,32}$", description="Part of the consumer's name, for several on one host")
    ] = ""

    @property
    def metrics_port(self) -> int:
        """Port of the metrics on 127.0.0.1; 0 is none."""
        return self.p35_metrics_port
