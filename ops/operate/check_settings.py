"""Judge settings as the services themselves would: for deploy and doctor, which have no types of the services' own.

Reads `{unit: {"package": …, "environment": {…}}}` as JSON and prints `{unit: {"values": {…}, "base_url": …,
"problem": …, "typos": […]}}`: the values in force with secrets masked, or the one line that the service would end with.
"""

import sys
from importlib import import_module
from typing import Any

import msgspec

from microservices.runtime import SettingError, load_settings
from microservices.runtime.redis_connection import describe
from microservices.runtime.settings import likely_typos, shown


class Asked(msgspec.Struct):
    """One service's settings."""

    package: str
    environment: dict[str, str]


def judged(asked: Asked) -> dict[str, Any]:
    """Load one service's settings; what it would refuse is the problem."""
    kind = import_module(f"microservices.{asked.package}.settings").Settings
    names = [field.name for field in msgspec.structs.fields(kind)]
    typos = likely_typos(asked.environment, [name.upper() for name in names])
    try:
        settings = load_settings(kind, asked.environment)
        place = describe(settings)
    except SettingError as refused:
        return {"values": {}, "base_url": "", "redis": "", "problem": str(refused), "typos": typos}
    values = {name.upper(): shown(getattr(settings, name)) for name in names}
    return {
        "values": values,
        "base_url": getattr(settings, "base_url", ""),
        "redis": place,
        "problem": "",
        "typos": typos,
    }


def main() -> int:
    """Judge what stands on standard input."""
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, Asked])
    answer = {unit: judged(each) for unit, each in asked.items()}
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
