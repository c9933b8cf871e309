"""Write the files that the code is the source of: pages, parts of others, units, settings, dashboards, Redis's list.

A test fails where a file and the code disagree. A part of a page stands between `<!-- generated:NAME -->` and
`<!-- /generated -->`.

Usage: python -m ops.generate_docs          writes the files
       python -m ops.generate_docs --check  exits 1 and names the files that are not as the code says
"""

import re
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from microservices.contracts.advice import ADVICE
from microservices.contracts.reason import Reason
from microservices.position_state_brain.evaluation import RULES
from microservices.runtime.settings import settings_help
from ops.generators.alerts_table import alerts_table
from ops.generators.dashboards import dashboards
from ops.generators.env_templates import templates
from ops.generators.metrics_page import metrics_page, metrics_table
from ops.generators.redis_access import acl_template
from ops.generators.unit_files import unit_files

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
    return f"""# Reason codes

Generated from `microservices/contracts/reason.py` and `advice.py` by `python -m ops.generate_docs`. `S` stands for the
symbol, `P` for the plan's id.

What stands in `reason` of a permit event and in `error` of a result. Besides these an order that the exchange refused
ends as `exchange_error_<digits>`, with the exchange's own code, and a plan that came as SKIP, BLOCKED or ERROR keeps
its own first reason.

{reasons_table(Reason)}
"""


def reasons_table(reasons: Iterable[Reason]) -> str:
    """Write reasons with their meaning and what an operator does about each."""
    rows = [f"| `{reason.value}` | {reason.line} | {ADVICE[reason]} |" for reason in reasons]
    return "\n".join(("| code | what it means | what to do |", "|---|---|---|", *rows))


def evaluation_table() -> str:
    """Write the order of the evaluation."""
    rows = ["| # | what must hold | for | else |", "|---|---|---|---|"]
    rows += ["| 1, 2 | plan id, symbol and decision are valid; of EXECUTE every field | all | `invalid_plan` |"]
    for rule in RULES:
        codes = " ".join(f"`{reason.value}`" for reason in rule.reasons)
        rows.append(f"| {rule.row} | {rule.demand} | {rule.whom.value} | {codes} |")
    return "\n".join(rows)


def brains_reasons() -> list[Reason]:
    """Name the reasons that the brain writes, in the order of its evaluation, each once."""
    of_rules = (reason for rule in RULES for reason in rule.reasons)
    besides = (Reason.ALLOWED, Reason.DISPLACED_BY_EXIT, Reason.PLAN_ENDED, Reason.LEDGER_ADOPTED)
    return list(dict.fromkeys((Reason.INVALID_PLAN, *of_rules, *besides)))


def permits_page() -> str:
    """Put the generated parts into the page that a person wrote."""
    parts = {
        "evaluation": evaluation_table(),
        "reasons": reasons_table(brains_reasons()),
        "metrics": metrics_table("position_state_brain"),
    }
    return with_parts((ROOT / "docs" / "permits.md").read_text(), parts)


def with_parts(page: str, parts: dict[str, str]) -> str:
    """Replace the generated parts of a page; one that the page lacks, or nobody writes, is an error.

    Raises:
        ValueError: the page's parts are not these.
    """
    found = re.findall(r"^<!-- generated:(\w+) -->$", page, re.MULTILINE)
    if sorted(found) != sorted(parts):
        raise ValueError(f"the page has the parts {', '.join(found)}, written are {', '.join(parts)}")

    def replaced(match: re.Match[str]) -> str:
        return f"{match[1]}\n{parts[match[2]]}\n{match[3]}"

    return re.sub(
        r"^(<!-- generated:(\w+) -->)\n.*?^(<!-- /generated -->)$", replaced, page, flags=re.MULTILINE | re.DOTALL
    )


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
    """Give every generated file with its content."""
    docs = ROOT / "docs"
    deployment = ROOT / "deployment"
    return {
        docs / "reasons.md": reasons_page(),
        docs / "settings.md": settings_page(),
        docs / "permits.md": permits_page(),
        docs / "metrics.md": metrics_page(),
        docs / "monitoring.md": with_parts((docs / "monitoring.md").read_text(), {"alerts": alerts_table()}),
        **{deployment / "systemd" / name: content for name, content in unit_files().items()},
        **{deployment / "grafana" / "dashboards" / name: content for name, content in dashboards().items()},
        **{ROOT / "config" / name: content for name, content in templates().items()},
        deployment / "redis" / "users.acl.template": acl_template(),
    }


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
