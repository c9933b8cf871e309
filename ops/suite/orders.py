"""What became of orders, for the board: how many were filled, what is open, how long permits were waited for."""

from collections.abc import Sequence
from dataclasses import dataclass

from microservices.contracts.claim import ApplyStatus
from microservices.contracts.control import KillSwitch
from microservices.contracts.plan import Decision
from microservices.contracts.result import Result


@dataclass(frozen=True)
class OrdersLine:
    """The executor's recent results and what it says of itself."""

    filled: int
    failed: int
    """Ended as ERROR."""
    waits_ms: tuple[int, int] | None
    """Median and 99th percentile of how long executed plans had waited for their permits; None without any."""
    unresolved: int | None
    """None where the executor says nothing."""
    held_up: str
    kill_switch: str

    @property
    def is_well(self) -> bool:
        """Whether nothing keeps orders from going out and every one is answered for."""
        return self.unresolved == 0 and not self.held_up and self.kill_switch == KillSwitch.OFF

    def __str__(self) -> str:
        """Write it as one line for the board."""
        parts = [f"{self.filled} filled", f"{self.failed} failed"]
        parts.append("? unresolved" if self.unresolved is None else f"{self.unresolved} unresolved")
        if self.waits_ms is not None:
            parts.append("permits after {} ms, 99 % within {} ms".format(*self.waits_ms))
        if self.held_up:
            parts.append(f"HELD UP {self.held_up}")
        if self.kill_switch != KillSwitch.OFF:
            parts.append(f"kill switch {self.kill_switch or '?'}")
        return ", ".join(parts)


def orders_line(results: Sequence[Result], status: ApplyStatus | None) -> OrdersLine:
    """Sum up the results of the last minutes, and what the executor's heartbeat says."""
    executed = [end for end in results if end.executed]
    waits = sorted(end.wait_ms for end in executed)
    return OrdersLine(
        filled=len(executed),
        failed=sum(end.decision is Decision.ERROR for end in results),
        waits_ms=(waits[len(waits) // 2], waits[len(waits) * 99 // 100]) if waits else None,
        unresolved=None if status is None else status.unresolved,
        held_up="" if status is None else status.held_up,
        kill_switch="" if status is None else status.kill_switch,
    )
