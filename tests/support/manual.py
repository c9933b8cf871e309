"""The commands that a manual shows, so that a test can run each of them and hold its output against what is printed."""

import re
from pathlib import Path
from typing import NamedTuple


class Command(NamedTuple):
    """One command of a manual: its line, the exit code it is said to have, and the output that follows it."""

    line: str
    code: int
    output: str


def commands_of(page: Path) -> list[Command]:
    """Read the commands of all `sh` blocks; a block without a language behind one is what its last command prints."""
    found: list[Command] = []
    last_end = -1
    for block in re.finditer(r"^```(\w*)\n(.*?)^```\n", page.read_text(), re.MULTILINE | re.DOTALL):
        language, body = block.groups()
        if language == "sh":
            for line in body.splitlines():
                said = re.search(r"# exit (\d+)$", line)
                found.append(Command(line, int(said[1]) if said else 0, ""))
        elif not language and block.start() == last_end:
            found[-1] = found[-1]._replace(output=body)
        last_end = block.end()
    return found


def blocks_of(page: Path, language: str) -> list[str]:
    """Read all blocks of a language, whole."""
    return re.findall(rf"^```{language}\n(.*?)^```\n", page.read_text(), re.MULTILINE | re.DOTALL)
