"""Which units the suite consists of, and what each needs: the one table behind unit files, settings and deploys."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

TARGET: Final = "quantum.target"
MODES: Final = ("paper", "testnet", "mainnet")
KEY_NAMES: Final = ("BINANCE_API_KEY", "BINANCE_API_SECRET")
PAPER_KEY_NAMES: Final = ("PAPER_API_KEY", "PAPER_API_SECRET")


@dataclass(frozen=True)
class Unit:
    """One service as systemd knows it.

    Args:
        short: the name of its settings file without `.env`; `quantum-` before it is the unit's name.
        package: its folder in `microservices`.
        says: what it is, for `systemctl status`.
        port_variable: the variable that names the port it listens on.
        port: that port by default; 0 where it listens nowhere by default.
        usual_port: the port that is its own where it listens.
        stage: units of a lower stage are started before, and are stopped after, those of a higher one.
        mode_variable: the variable that names its mode; empty where it has none.
        proof: the script that proves it, in `ops/`; empty where there is none.
        keys: the credentials it reads.
        reaches_out: whether it talks to the exchange, which is not always on this machine.
        has_state: whether it keeps files of its own.
        memory_mb: where the kernel ends it.
        cpu_percent: share of one processor.
    """

    short: str
    package: str
    says: str
    port_variable: str
    port: int
    usual_port: int
    stage: int
    mode_variable: str = "TRADING_MODE"
    proof: str = ""
    keys: tuple[str, ...] = ()
    reaches_out: bool = False
    has_state: bool = False
    memory_mb: int = 512
    cpu_percent: int = 50

    @property
    def name(self) -> str:
        """The unit's name without `.service`."""
        return f"quantum-{self.short}"

    @property
    def service(self) -> str:
        """The unit's whole name."""
        return f"{self.name}.service"

    @property
    def settings_file(self) -> str:
        """The name of its settings in /etc/quantum."""
        return f"{self.short}.env"

    @property
    def template(self) -> str:
        """The name of its template in `config/`."""
        return f"{self.short}.env.template"


PAPER_EXCHANGE: Final = Unit(
    "paper-exchange", "paper_exchange", "paper exchange", "PAPER_PORT", 8060, 8060, 0, mode_variable="",
    keys=PAPER_KEY_NAMES, has_state=True,
)  # fmt: skip
UNITS: Final = (
    PAPER_EXCHANGE,
    Unit("universe-service", "universe_service", "universe of tradeable symbols", "UNIVERSE_METRICS_PORT", 0, 8040, 1,
         mode_variable="UNIVERSE_MODE", proof="proof_universe.sh", reaches_out=True),
    Unit("candle-feed", "candle_feed", "candle feed", "CANDLES_METRICS_PORT", 8042, 8042, 1, reaches_out=True),
    Unit("marketstate", "market_state_publisher", "market-state publisher", "MARKETSTATE_METRICS_PORT", 0, 8041, 1,
         proof="verify_marketstate_metrics.sh"),
    Unit("p35-decision-intelligence", "decision_intelligence", "P3.5 decision intelligence", "P35_METRICS_PORT",
         8049, 8049, 1, mode_variable="", proof="proof_p35_decision_intelligence.sh", memory_mb=256, cpu_percent=20),
    Unit("position-state-brain", "position_state_brain", "P3.3 position-state brain", "P33_METRICS_PORT", 8045, 8045, 2,
         proof="proof_p33_universe.sh", keys=KEY_NAMES, reaches_out=True, has_state=True),
    Unit("apply-layer", "apply_layer", "apply layer, the only executor", "APPLY_METRICS_PORT", 8043, 8043, 3,
         keys=KEY_NAMES, reaches_out=True, has_state=True),
)  # fmt: skip


def units_of(mode: str) -> tuple[Unit, ...]:
    """Give the units that run in a mode, in the order of their start."""
    return tuple(unit for unit in UNITS if mode == "paper" or unit is not PAPER_EXCHANGE)


def named(names: Iterable[str], units: Sequence[Unit]) -> tuple[Unit, ...]:
    """Pick units by name (`apply-layer`, `quantum-apply-layer` or with `.service`), in the order of their start.

    Raises:
        KeyError: a name that is none of theirs.
    """
    wanted = {name.removesuffix(".service").removeprefix("quantum-") for name in names if name}
    if unknown := sorted(wanted - {unit.short for unit in units}):
        raise KeyError(unknown[0])
    return tuple(unit for unit in units if unit.short in wanted)


def stages(units: Iterable[Unit]) -> list[list[Unit]]:
    """Group units that may start together, first things first."""
    by_stage: dict[int, list[Unit]] = {}
    for unit in units:
        by_stage.setdefault(unit.stage, []).append(unit)
    return [by_stage[stage] for stage in sorted(by_stage)]
