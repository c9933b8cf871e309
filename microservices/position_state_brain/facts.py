"""What a plan is evaluated on, all of it read at one moment. Absent and unreadable are two things."""

from decimal import Decimal
from typing import TypeVar

import msgspec

from microservices.contracts import control
from microservices.contracts.claim import OpenClaim
from microservices.contracts.control import KillSwitch
from microservices.contracts.fields import Unreadable, shown
from microservices.contracts.position import Baseline, InflightMark, LedgerRow, VerdictRow
from microservices.contracts.universe import Instrument
from microservices.contracts.universe_reader import Allowlist
from microservices.position_state_brain.snapshot import AccountView

T = TypeVar("T")


class Hold(msgspec.Struct, frozen=True):
    """A reconcile hold as it stands in Redis; `raw` is None where there is none."""

    raw: object = None

    def stops(self, *, is_exit: bool) -> bool:
        """Tell whether it stops this kind of plan."""
        return control.hold_stops(self.raw, is_exit=is_exit)

    @property
    def text(self) -> str:
        """What it says, for a person."""
        return shown(self.raw)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides on one plan. An `Unreadable` in place of a value: it is there and says nothing."""

    now_ms: int
    """Redis's clock."""
    allowlist: Allowlist
    account: AccountView
    kill_switch: KillSwitch = KillSwitch.NO_NEW_RISK
    hold: Hold = Hold()
    verdict: VerdictRow | Unreadable | None = None
    has_claim: bool = False
    """Of another entry under the same plan id, or of nobody knows which."""
    mark: InflightMark | Unreadable | None = None
    open_claims: tuple[OpenClaim, ...] | Unreadable = ()
    """The symbol's."""
    ledger: LedgerRow | Unreadable | None = None
    baseline: Baseline | Unreadable | None = None
    instrument: Instrument | Unreadable | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings say about evaluation."""

    plan_max_age_ms: int = 60_000
    snapshot_max_age_ms: int = 10_000
    cooldown_ms: int = 15_000
    qty_tolerance_pct: Decimal = Decimal(1)
    exit_without_allowlist: bool = False


def readable(value: T | Unreadable | None) -> T | None:
    """Give a value, or None where it is absent or unreadable."""
    return None if isinstance(value, Unreadable) else value
