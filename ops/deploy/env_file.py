"""Settings files: read as systemd reads them, and made from a template."""

import re
from collections.abc import Mapping
from typing import NamedTuple

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EnvFile(NamedTuple):
    """What a settings file says.

    Args:
        values: its variables; the last line of a name counts.
        unreadable: its lines that systemd would pass over, as (number, text).
    """

    values: dict[str, str]
    unreadable: list[tuple[int, str]]


def parse(text: str) -> EnvFile:
    """Read NAME=value lines: `#` and `;` begin comments, quotes around a whole value are taken off.

    Continuation lines and backslash escapes, which systemd knows as well, are none of ours: such a line is given as
    unreadable, so that nobody reads it otherwise than systemd does.
    """
    values: dict[str, str] = {}
    unreadable = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.partition("=")
        bare = _unquoted(value.strip())
        if not equals or not _NAME.fullmatch(name) or bare is None:
            unreadable.append((number, line))
        else:
            values[name] = bare
    return EnvFile(values, unreadable)


def filled(template: str, values: Mapping[str, str]) -> str:
    """Set variables in a template: the line of each, commented out or not, becomes `NAME=value`.

    Raises:
        KeyError: a variable has no line.
    """
    lines = template.split("\n")
    for name, value in values.items():
        at = [index for index, line in enumerate(lines) if line.removeprefix("#").startswith(f"{name}=")]
        if not at:
            raise KeyError(name)
        lines[at[0]] = f"{name}={value}"
    return "\n".join(lines)


def _unquoted(value: str) -> str | None:
    """Take the quotes off; None where systemd's fuller grammar would read something else."""
    if "\\" in value:
        return None
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        inner = value[1:-1]
        return inner if value[0] not in inner else None
    return None if '"' in value or "'" in value else value
