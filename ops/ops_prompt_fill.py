#!/usr/bin/env python3
"""Fill the ops governor's template, so that whoever does the operation gets a bounded, verifiable, reversible task.

With --ledger it prints a ledger entry instead. It changes nothing. Python's standard library is all it needs, and it
runs from any folder.
"""

import os
import re
import sys
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = Path(__file__).resolve().with_name("ops_prompt_template_v1.txt")
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT))

from ops.record.append import Operation, entry, form_fault  # noqa: E402 - the path above is how they are found
from ops.record.arguments import (  # noqa: E402
    Options,
    breaks_a_line,
    one_line,
    print_anything,
    take_declaration,
)
from ops.record.book import newest_hash, next_id, recorded  # noqa: E402
from ops.record.entry import ID_FORM, OUTCOMES  # noqa: E402
from ops.record.evidence import commit_and_branch, hostname, invoker  # noqa: E402
from ops.record.store import LedgerFault, content, ledger_path  # noqa: E402
from ops.record.yaml_text import Value  # noqa: E402

DECLARATIONS = ("operation", "objective", "risk_class", "blast_radius", "rollback_strategy")
LISTS = ("allowed_paths", "allowed_services")
LEDGER_ONLY = ("changes_summary", "notes", "operation_id", "requested_by", "approved_by", "outcome")
SEVERAL_LINES = ("changes_summary", "notes")
SCOPE = {
    "READ_ONLY": "READ_ONLY: paths may be read, not written; services may be looked at (systemctl is-active, systemctl "
    "status, journalctl), not restarted, started, stopped, reloaded or reconfigured.",
    "LOW_RISK_CONFIG": "LOW_RISK_CONFIG: configuration under the allowed paths may be changed, after a copy of it was "
    "made; an allowed service may be reloaded or restarted where the change needs it to take effect.",
    "SERVICE_RESTART": "SERVICE_RESTART: the allowed services may be stopped, started and restarted, one after the "
    "other; the allowed paths may be changed as far as the restart needs it.",
    "FILESYSTEM_WRITE": "FILESYSTEM_WRITE: files under the allowed paths may be created, changed and deleted, after a "
    "copy of what is there was made; an allowed service may be restarted where that needs it.",
}
FAILED = 1


def options() -> Options:
    """Name the options."""
    parser = Options(
        "ops_prompt_fill.py",
        "%(prog)s --operation TEXT --objective TEXT … [--ledger --changes_summary TEXT …]",
        "Fill the ops governor's template; with --ledger print a ledger entry instead.",
    )
    take_declaration(parser)
    parser.one("rollback_strategy", "how it is undone")
    parser.several("allowed_paths", "what may be touched: absolute paths; with --ledger also relative ones")
    parser.several("allowed_services", "which services may be touched; with READ_ONLY, looked at")
    parser.heading("a ledger entry instead")
    parser.flag("ledger", "print it; ops_ledger_append.py records one")
    parser.one("changes_summary", "what was changed; required")
    parser.one("notes", "anything else")
    parser.one("operation_id", "OPS-YYYY-MM-DD-NNN; the ledger's next free one where not given")
    parser.one("requested_by", "who wanted it; who runs this where not given")
    parser.one("approved_by", "who approved it")
    parser.one("outcome", "what became of it", choices=OUTCOMES)
    return parser


def main(argv: list[str]) -> int:
    """Print the filled template, or the entry; return the exit code."""
    print_anything()
    parser = options()
    given = parser.read(argv)
    check(parser, given)
    try:
        text = ledger_entry(given) if given.ledger else filled(TEMPLATE.read_text(encoding="utf-8"), given)
    except (OSError, LedgerFault) as fault:
        print(f"{parser.prog}: {one_line(str(fault))}", file=sys.stderr)
        return FAILED
    print(text, end="")
    return 0


def check(parser: Options, given: Namespace) -> None:
    """Refuse, with one line, what would leave the task without a bound."""
    parser.need(given, *DECLARATIONS, *LISTS, *(["changes_summary"] if given.ledger else []))
    optional = [name for name in LEDGER_ONLY if getattr(given, name) is not None]
    if optional and not given.ledger:
        parser.error(f"--{optional[0]} belongs to --ledger")
    parser.need(given, *optional)
    for name in (*DECLARATIONS, *LISTS, *optional):
        values = getattr(given, name)
        for value in [values] if isinstance(values, str) else values:
            if name not in SEVERAL_LINES and breaks_a_line(value):
                parser.error(f"--{name} {value!a}: must be one line without control characters")
    if given.operation_id is not None and not ID_FORM.fullmatch(given.operation_id):
        parser.error(f"--operation_id {given.operation_id!a}: must be of the form OPS-YYYY-MM-DD-NNN")
    for path in given.allowed_paths:
        if fault := path_fault(path, relative_is_fine=given.ledger):
            parser.error(f"--allowed_paths {path!a}: {fault}")


def path_fault(path: str, *, relative_is_fine: bool) -> str:
    """Say why a path bounds nothing; empty where it does."""
    if ".." in path:
        return "must not contain `..`"
    if re.fullmatch(r"/[/.*?]*", path):
        return "is everything there is"
    if not path.startswith("/") and (not relative_is_fine or path.startswith("~")):
        return "must be absolute"
    return ""


def filled(template: str, given: Namespace) -> str:
    """Put the values in the template's places, in one pass: a place named inside a value stays text."""
    places = {name.upper(): getattr(given, name) for name in DECLARATIONS}
    places["SCOPE_OF_THE_RISK_CLASS"] = SCOPE[given.risk_class]
    for name in LISTS:
        values = getattr(given, name)
        places[name.upper()] = "\n".join(f"- {value}" for value in values)
        places[f"{name.upper()}_COUNT"] = str(len(values))
    return re.sub("<([A-Z_]+)>", lambda found: str(places[found[1]]), template)


def ledger_entry(given: Namespace) -> str:
    """Write the entry that the ledger would get now, without evidence of the machine's state.

    Raises:
        LedgerFault: the ledger is no file.
        OSError: it cannot be read.
    """
    now = datetime.now(UTC)
    data = content(ledger_path(ROOT, os.environ))
    commit, branch = commit_and_branch(ROOT)
    values: dict[str, Value] = {
        "operation_name": given.operation,
        "requested_by": given.requested_by or invoker(),
        "approved_by": given.approved_by,
        "git_commit": commit,
        "git_branch": branch,
        "hostname": hostname(),
        "risk_class": given.risk_class,
        "blast_radius": given.blast_radius,
        "changes_summary": given.changes_summary,
        "objective": given.objective,
        "outcome": given.outcome or OUTCOMES[0],
        "rollback_of": None,
        "allowed_paths": given.allowed_paths,
        "allowed_services": given.allowed_services,
        "services_status": {},
        "services_log": None,
        "proof_file": None,
        "metrics_snapshot": None,
        "redis_snapshot": None,
        "notes": given.notes,
    }
    operation = Operation(values, given.operation_id or next_id(f"{now:%Y-%m-%d}", recorded(data).ids))
    for fault in form_fault(operation):
        print(f"WARNING: ERROR: {fault} (of ops_ledger_append.py, which records it)", file=sys.stderr)
    return entry(operation, operation.operation_id, now, newest_hash(data)).decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
