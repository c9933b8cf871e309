"""Operators' switches: trading mode, kill switch, reconcile holds, adoption requests, the exchange's back-off."""

from enum import StrEnum

from microservices.contracts.fields import Unreadable, shown, text

KILL_SWITCH_KEY = "quantum:kill_switch"
BACKOFF_KEY = "quantum:exchange:backoff"
ADOPT_ALL_KEY = "quantum:position:adopt:all"
ADOPT_TTL_S = 60
HOLD_OF_BRAIN_PREFIX = "brain:"
HOLD_EXITS_TOO_PREFIX = "all:"


class Mode(StrEnum):
    """What the exchange is: the whole suite over one Redis works in one mode."""

    TESTNET = "testnet"
    MAINNET = "mainnet"
    PAPER = "paper"


class KillSwitch(StrEnum):
    """What the operator lets through."""

    OFF = "off"
    NO_NEW_RISK = "no_new_risk"
    FULL_STOP = "full_stop"

    @property
    def stops_opens(self) -> bool:
        """Whether a position may not be opened."""
        return self is not KillSwitch.OFF

    @property
    def stops_exits(self) -> bool:
        """Whether even an exit is stopped."""
        return self is KillSwitch.FULL_STOP


def decode_kill_switch(raw: object | None) -> tuple[KillSwitch, str]:
    """Read the kill switch: trimmed, lower-cased; absent is `no_new_risk`, anything unknown is `full_stop`.

    Only ASCII is trimmed and lower-cased, as the apply layer's scripts do it in Redis: no value lets more through here.

    Returns:
        The state in force and, for a value that is not one of the three, a sentence to raise an alarm with.
    """
    if raw is None:
        return KillSwitch.NO_NEW_RISK, ""
    try:
        return KillSwitch(text(raw, KILL_SWITCH_KEY).encode().strip().lower().decode()), ""
    except (Unreadable, ValueError):
        allowed = ", ".join(KillSwitch)
        return KillSwitch.FULL_STOP, f"{KILL_SWITCH_KEY} is {shown(raw)}, expected one of {allowed}: everything stops"


def hold_key(symbol: str) -> str:
    """Name the reconcile hold of a symbol."""
    return f"quantum:reconcile:hold:{symbol}"


def adopt_key(symbol: str) -> str:
    """Name the request to adopt the exchange's position of a symbol."""
    return f"quantum:position:adopt:{symbol}"


def hold_stops(raw: object | None, *, is_exit: bool) -> bool:
    """Tell whether a hold stops the plan: any hold stops opens, one that begins with `all:` also exits.

    A hold that cannot be read as text stops both: what an operator meant by it is unknown.
    """
    if raw is None:
        return False
    if not is_exit:
        return True
    try:
        return text(raw, "hold").startswith(HOLD_EXITS_TOO_PREFIX)
    except Unreadable:
        return True
