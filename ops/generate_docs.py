"""Write the pages of docs/ that the code is the source of. A test fails where a page and the code disagree.

Usage: python -m ops.generate_docs          writes the pages
       python -m ops.generate_docs --check  exits 1 and names the pages that are not as the code says
"""

import sys
from importlib import import_module
from pathlib import Path

from microservices.contracts.reason import Reason
from microservices.runtime.settings import settings_help

ROOT = Path(__file__).parents[1]
SERVICES = {
    "universe_service": "quantum-universe-service",
    "candle_feed": "quantum-candle-feed",
    "market_state_publisher": "quantum-marketstate",
    "position_state_brain": "quantum-position-state-brain",
    "apply_layer": "quantum-apply-layer",
    "decision_intelligence": "quantum-p35-decision-intelligence",
    "paper_exchange": "quantum-paper-exchange",
}


def reasons_page() -> str:
    """Write the table of reason codes."""
    rows = "\n".join(f"| `{reason.value}` | {reason.line} |" for reason in Reason)
    return f"""# Reason codes

Generated from `microservices/contracts/reason.py` by `python -m ops.generate_docs`.

What stands in `reason` of a permit event and in `error` of a result. Besides these an order that the exchange refused
ends as `exchange_error_<digits>`, with the exchange's own code, and a plan that came as SKIP, BLOCKED or ERROR keeps
its own first reason.

| code | what it means |
|---|---|
{rows}
"""


def settings_page() -> str:
    """Write every service's variables, defaults and bounds, from the settings types themselves."""
    sections = []
    for package, unit in SERVICES.items():
        settings = import_module(f"microservices.{package}.settings").Settings
        lines = "\n".join(f"- `{line.partition(' ')[0]}` {line.partition(' ')[2]}" for line in settings_help(settings))
        sections.append(f"## {unit}\n\n{lines}\n")
    return f"""# Settings

Generated from each service's `settings.py` by `python -m ops.generate_docs`.

A service reads its settings from its environment at start: an empty variable is an unset one. A value that is not
allowed stops it with one line (exit 78); a variable that looks like a slip of one of these is warned of. Secrets are
read first from a file of the variable's name in `CREDENTIALS_DIRECTORY`. `--check-config` prints what is in force.

{chr(10).join(sections)}"""


def pages() -> dict[Path, str]:
    """Give every generated page with its content."""
    return {ROOT / "docs" / "reasons.md": reasons_page(), ROOT / "docs" / "settings.md": settings_page()}


def main() -> int:
    """Write or check the pages."""
    differing = [path for path, content in pages().items() if not path.exists() or path.read_text() != content]
    if "--check" in sys.argv[1:]:
        for path in differing:
            print(f"{path.relative_to(ROOT)} is not as the code says: run python -m ops.generate_docs", file=sys.stderr)
        return 1 if differing else 0
    for path in differing:
        path.write_text(pages()[path])
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
