"""The commands that a manual shows, so that a test can run each of them and hold its output against what is printed."""

import re
from pathlib import Path
from typing import NamedTuple

NOT_RUN = re.compile(r"# (interactive|remote)\b")


class Command(NamedTuple):
    """One command of a manual: its text, the exit code it is said to have, and the output that follows it."""

    line: str
    code: int
    output: str


def commands_of(page: Path) -> list[Command]:
    """Read the commands of all `sh` blocks, but for those that a test cannot run.

    A block without a language behind one is what its last command prints. A command is a line, but for a block with a
    here-document, which is one as a whole.
    """
    found: list[Command] = []
    last_end = -1
    for block in re.finditer(r"^```(\w*)\n(.*?)^```\n", page.read_text(), re.MULTILINE | re.DOTALL):
        language, body = block.groups()
        if language == "sh":
            for text in [body] if "<<" in body else body.splitlines():
                said = re.search(r"# exit (\d+)$", text, re.MULTILINE)
                if not NOT_RUN.search(text):
                    found.append(Command(text, int(said[1]) if said else 0, ""))
        elif not language and block.start() == last_end:
            found[-1] = found[-1]._replace(output=body)
        last_end = block.end()
    return found


def blocks_of(page: Path, language: str) -> list[str]:
    """Read all blocks of a language, whole."""
    return re.findall(rf"^```{language}\n(.*?)^```\n", page.read_text(), re.MULTILINE | re.DOTALL)
