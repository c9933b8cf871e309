"""The settings templates in config/: every variable of a service, commented out where it is the default."""

from importlib import import_module
from typing import Final

from microservices.runtime.settings import settings_help
from ops.deploy.catalog import UNITS, Unit

SET: Final = {
    "position-state-brain": {"P33_ALLOWLIST": "BTCUSDT"},
    "paper-exchange": {"PAPER_STATE_FILE": "/var/lib/quantum/paper-exchange/account.json"},
}
"""What a template sets because the default would be wrong on a machine of its own."""

NOT_HERE: Final = "never here: it is a file in /etc/quantum/credentials, given to the unit by LoadCredential"
_SPECIAL: Final = {
    "BINANCE_API_KEY": NOT_HERE,
    "BINANCE_API_SECRET": NOT_HERE,
    "PAPER_API_KEY": NOT_HERE,
    "PAPER_API_SECRET": NOT_HERE,
    "STATE_DIRECTORY": "set by systemd",
    "REDIS_PASSWORD": "better in REDIS_PASSWORD_FILE, a file that is root:qt 0640",
}


def template(unit: Unit) -> str:
    """Write one service's template."""
    settings = import_module(f"microservices.{unit.package}.settings").Settings
    parts = [_variable(unit, line) for line in settings_help(settings)]
    return f"""# Settings of {unit.name}, installed as /etc/quantum/{unit.settings_file} where there is none.
# Generated from microservices/{unit.package}/settings.py by `python -m ops.generate_docs`; a deploy never changes an
# installed file. A line that begins with # shows a default; `systemctl restart {unit.name}` takes a change up.

{chr(10).join(parts)}"""


def templates() -> dict[str, str]:
    """Give every template by file name."""
    return {unit.template: template(unit) for unit in UNITS}


def _variable(unit: Unit, line: str) -> str:
    head, _, said = line.partition(": ")
    name, _, default = head.partition(" ")
    value = default.removeprefix("(default ").removesuffix(")")
    value = "" if value in {"empty", "(required"} or default == "(required)" else value
    if name == unit.port_variable:
        value = str(unit.usual_port)
    note = f" ({_SPECIAL[name]})" if name in _SPECIAL else ""
    own = SET.get(unit.short, {})
    active = f"{name}={own[name]}" if name in own else f"#{name}={value}"
    return f"# {said}{note}\n{active}\n"
