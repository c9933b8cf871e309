"""The table of alerts, read from the rules that Prometheus reads."""

import re
from pathlib import Path

RULES = Path(__file__).parents[2] / "deployment" / "prometheus" / "quantum_rules.yml"
_RULE = re.compile(
    r"      - alert: (?P<name>\w+)\n"
    r"        expr: (?P<expression>.*?)\n"
    r"(?:        for: (?P<wait>\w+)\n)?"
    r"        labels:\n          severity: (?P<severity>\w+)\n"
    r".*?/docs/runbooks/(?P<page>[\w-]+)\.md",
    re.DOTALL,
)


def alerts_table() -> str:
    """Write each alert with what it asks and its page.

    The file is our own, in one fixed shape, so that the suite needs no YAML library to run; a test compares the names
    with those that such a library finds.
    """
    rows = [
        f"| [{rule['name']}](runbooks/{rule['page']}.md) | {rule['severity']} | {rule['wait'] or 'at once'} "
        f"| `{_on_one_line(rule['expression'])}` |"
        for rule in _RULE.finditer(RULES.read_text(encoding="utf-8"))
    ]
    return "\n".join(("| alert | severity | for | asks |", "|---|---|---|---|", *rows))


def _on_one_line(expression: str) -> str:
    return " ".join(expression.removeprefix("|-").split()).replace("|", "\\|")
