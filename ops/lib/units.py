"""What systemd says of a unit on this machine. Where it says nothing, services are judged by what they leave behind."""

from ops.lib import host_tool

ACTIVE = "active"
NOT_INSTALLED = "not installed"
NOT_ASKED = "not asked"
"""The operator said that the unit is not what runs (`--no-unit`)."""


def state(unit: str) -> str:
    """Give systemd's word for a unit's state.

    Returns:
        What `systemctl is-active` says; for a unit that cannot be loaded (masked, bad-setting, error) that word;
        `not installed` where systemd does not know the unit or is not here itself.
    """
    loaded = _said("show", "--property=LoadState", "--value", "--", f"{unit}.service")
    if loaded in ("", "not-found"):
        return NOT_INSTALLED
    if loaded != "loaded":
        return loaded
    return _said("is-active", "--", f"{unit}.service") or "unknown"


def _said(*words: str) -> str:
    """Give the first line of systemctl's answer; empty where there is none."""
    return host_tool.said(["systemctl", *words]).strip().partition("\n")[0]
