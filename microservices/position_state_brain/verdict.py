"""What the evaluation says of a plan: allow, deny, or wait for a fresher snapshot."""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from decimal import Decimal
from typing import Any, Final, final

from microservices.contracts.plan import Plan
from microservices.contracts.reason import Reason

Context = Mapping[str, Any]
"""The figures a verdict was made on, with their ages: what JSON can hold, quantities as text."""

EVALUATION_ALONE: Final = object()
"""Whoever makes an `Allow` must show this; only `evaluation` may."""


@final
@dataclass(frozen=True, slots=True)
class Allow:
    """Every check passed. Only the evaluation can make one: a permit that lets an order through starts here.

    Args:
        plan: what may be done.
        safe_qty: how much of it, in units of the base asset; above 0.
        context: on what figures.
        made_by: `EVALUATION_ALONE`.

    Raises:
        TypeError: somebody else tries.
        ValueError: the quantity is not above 0.
    """

    plan: Plan
    safe_qty: Decimal
    context: Context
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not EVALUATION_ALONE:
            raise TypeError("only the evaluation can allow a plan")
        if not self.safe_qty > 0:
            raise ValueError(f"safe_qty is {self.safe_qty}, expected above 0")

    @property
    def reason(self) -> Reason:
        """Always `allowed`."""
        return Reason.ALLOWED


@final
@dataclass(frozen=True, slots=True)
class Deny:
    """A check failed: which, and on what figures."""

    reason: Reason
    context: Context


@final
@dataclass(frozen=True, slots=True)
class Wait:
    """Only a fresher snapshot can decide: one requested at or after `requested_from_ms`, on Redis's clock.

    `otherwise` holds where none comes in time.
    """

    requested_from_ms: int
    otherwise: Deny


Verdict = Allow | Deny | Wait
