"""The commands of docs/deploy.md, by the heading that they stand under; those marked interactive are left out."""

import re
from typing import Final

from tests.support.daemon import ROOT

PAGE: Final = ROOT / "docs" / "deploy.md"
INTERACTIVE: Final = "# interactive"


def sections() -> dict[str, list[str]]:
    """Give each section's commands as blocks, to be run each by one bash."""
    found: dict[str, list[str]] = {}
    for part in PAGE.read_text().split("\n## ")[1:]:
        heading, _, body = part.partition("\n")
        blocks = re.findall(r"^```sh\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
        found[heading] = [kept for block in blocks if (kept := _to_run(block))]
    return found


def _to_run(block: str) -> str:
    lines = [line for line in block.splitlines() if INTERACTIVE not in line]
    return "\n".join(lines) if any(not line.startswith("cd ") for line in lines) else ""
