"""Which gates a plan needs, and which of those the settings leave out."""

from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Plan

REQUIRED_ON_MAINNET = (Gate.GOVERNOR, Gate.P26, Gate.P33)
REQUIRED_ALWAYS = (Gate.P33,)
"""Its permit says how much is safe, and only it marks the symbol: without it nothing can be executed."""


class GatePolicy:
    """The gates of opens and exits, as they are configured.

    Args:
        mode: what the exchange is; on mainnet an OPEN needs all three.
        opens: whose permits an OPEN needs.
        exits: whose permits an exit needs.
    """

    def __init__(self, mode: Mode, opens: tuple[Gate, ...], exits: tuple[Gate, ...]) -> None:
        self._mode = mode
        self._opens = tuple(dict.fromkeys(opens))
        self._exits = tuple(dict.fromkeys(exits))

    def needed(self, plan: Plan) -> tuple[Gate, ...]:
        """Name the gates whose permits the plan waits for, each once."""
        return self._exits if plan.is_exit else self._opens

    def not_configured(self, plan: Plan) -> tuple[Gate, ...]:
        """Name the gates that the plan may not do without and that the settings leave out."""
        on_mainnet = self._mode is Mode.MAINNET and not plan.is_exit
        required = REQUIRED_ON_MAINNET if on_mainnet else REQUIRED_ALWAYS
        return tuple(gate for gate in required if gate not in self.needed(plan))
