"""Write the pages of docs/ that the code is the source of. A test fails where a page and the code disagree.

Usage: python -m ops.generate_docs          writes the pages
       python -m ops.generate_docs --check  exits 1 and names the pages that are not as the code says
"""

import sys
from pathlib import Path

from microservices.contracts.reason import Reason

ROOT = Path(__file__).parents[1]


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


def pages() -> dict[Path, str]:
    """Give every generated page with its content."""
    return {ROOT / "docs" / "reasons.md": reasons_page()}


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
