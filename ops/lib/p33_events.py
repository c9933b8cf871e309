"""What the position-state brain has decided lately: its entries of the permit events' stream."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.lib.redis_cli import CannotTell, RedisCli, instead, pairs, text
from ops.lib.report import shown

STREAM = "quantum:stream:permit.events"
GATE = "p33"
LOOKED_AT = 2_000
NOT_LISTED = "not_in_allowlist"
SETTLED_S = 5.0
"""A plan that was judged while a list was being published may have been judged by the one before."""


@dataclass(frozen=True)
class Event:
    """One verdict."""

    at_s: float
    age_s: float
    fields: Mapping[str, str]

    @property
    def symbol(self) -> str:
        """Whose."""
        return self.fields.get("symbol", "")

    @property
    def reason(self) -> str:
        """Why."""
        return self.fields.get("reason", "")

    @property
    def verdict(self) -> str:
        """`allow`, `deny`, or what stands there instead."""
        said = self.fields.get("allow", "")
        return {"true": "allow", "false": "deny"}.get(said, shown(said) or "nothing")

    def says_not_listed_since(self, epoch_s: float) -> bool:
        """Whether it refused a symbol as not listed, surely after that moment."""
        return self.reason == NOT_LISTED and self.at_s > epoch_s + SETTLED_S

    def row(self) -> str:
        """Show it as a row of a table."""
        cells = (f"{self.age_s:5.0f}s ago", f"{self.verdict:5}", f"{shown(self.symbol):12}", f"{shown(self.reason):22}")
        return f"{'  '.join(cells)}  {shown(self.fields.get('plan_id', ''))}"

    def facts(self) -> dict[str, Any]:
        """Give the same for a program."""
        named = {name: self.fields.get(name, "") for name in ("plan_id", "symbol", "reason")}
        return {"age_s": self.age_s, "verdict": self.verdict} | named

    def __str__(self) -> str:
        """Say it in the middle of a line."""
        return (
            f"{self.verdict} {shown(self.reason)}, plan {shown(self.fields.get('plan_id', ''))}, {self.age_s:.0f}s ago"
        )


def read(cli: RedisCli, now_s: float) -> tuple[Event, ...]:
    """Give the brain's verdicts among the newest entries, newest first; what it says of no plan is none.

    Raises:
        CannotTell: Redis did not answer, or the key is no stream.
    """
    [answer] = cli.ask(("XREVRANGE", STREAM, "+", "-", "COUNT", LOOKED_AT))
    if not isinstance(answer, list):
        raise CannotTell(f"{STREAM}: {instead(answer)}, expected a stream")
    found = []
    for entry in answer:
        entry_id, raw = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
        fields = pairs(raw)
        if fields.get("gate") == GATE and fields.get("plan_id"):
            at_s = int(text(entry_id).partition("-")[0]) / 1000
            found.append(Event(at_s, round(now_s - at_s, 3), fields))
    return tuple(found)
