#!/usr/bin/env python3
"""Record an operation in the ledger, with its evidence; or check the whole ledger (--verify).

Python's standard library is all it needs, and it runs from any folder, in a checkout and in a release.
"""

import os
import re
import sys
from argparse import Namespace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT))

from ops.record.append import Complain, Done, Operation, append, form_fault  # noqa: E402 - the path above finds them
from ops.record.arguments import Options, one_line, print_anything, take_declaration  # noqa: E402
from ops.record.entry import OUTCOMES, UNAVAILABLE  # noqa: E402
from ops.record.evidence import (  # noqa: E402
    commit_and_branch,
    hostname,
    invoker,
    proof_of,
    service_state,
    services_log,
)
from ops.record.masking import fit  # noqa: E402
from ops.record.snapshots import metrics_snapshot, redis_snapshot, refused_command, refused_url  # noqa: E402
from ops.record.store import LedgerFault, content, ledger_path  # noqa: E402
from ops.record.verify import verified  # noqa: E402
from ops.record.yaml_text import Value  # noqa: E402

REQUIRED = ("operation", "objective", "risk_class", "blast_radius", "changes_summary")
FAILED = 1
EPILOG = """Exit: 0 recorded, or recorded before; 2 wrong arguments. What else goes wrong is a warning and exit 0, with
--strict an error and exit 1. --verify: 0 sound, 1 the first bad entry is named. The ledger is OPS_LEDGER_FILE, else
docs/OPS_CHANGELOG.md beside this script's folder. Redis as for every service: REDIS_URL, or REDIS_HOST and so on."""


def options() -> Options:
    """Name the options."""
    parser = Options(
        "ops_ledger_append.py",
        "%(prog)s --operation TEXT --objective TEXT … [options]\n       %(prog)s --verify",
        "Record an operation in the ledger, with its evidence; or check the whole ledger.",
        EPILOG,
    )
    take_declaration(parser)
    parser.one("changes_summary", "what was changed")
    parser.heading("what may be said besides")
    parser.one("operation_id", "OPS-YYYY-MM-DD-NNN; the next free one of the UTC day where not given")
    parser.several("allowed_paths", "what might be written")
    parser.one("outcome", "what became of it", choices=OUTCOMES, default="SUCCESS")
    parser.one("rollback_of", "the operation that was rolled back")
    parser.one("notes", "anything else")
    parser.one("requested_by", "who wanted it; who runs this where not given")
    parser.one("approved_by", "who approved it")
    parser.one("idempotency_key", "a second entry under this key is not made")
    parser.heading("evidence")
    parser.several("allowed_services", "services concerned: their state and newest log lines are recorded")
    parser.one("proof_path", "a file that proves it: hash, size and time are recorded")
    parser.several("metrics_urls", "metrics to look at")
    parser.several("metrics_grep", "regular expressions: which lines of them")
    parser.several("redis_cmds", "Redis commands to run, each one argument; only such as read")
    parser.heading("how")
    parser.flag("strict", "what goes wrong is an error; also STRICT_LEDGER=true")
    parser.flag("verify", "check the whole ledger and change nothing")
    return parser


def main(argv: list[str]) -> int:
    """Record, or verify; return the exit code."""
    print_anything()
    parser = options()
    given = parser.read(argv)
    strict = given.strict or _strict_by_environment(parser)
    path = ledger_path(ROOT, os.environ)

    def complain(why: str) -> None:
        if strict:
            raise LedgerFault(why)
        _say(f"WARNING: ERROR: {why} (continuing in non-strict mode)")

    if given.verify:
        return verify(path)
    patterns = _checked(parser, given)
    try:
        operation = declared(given)
        for fault in form_fault(operation):
            complain(fault)
        operation = operation._replace(values={**operation.values, **evidence(given, patterns, complain)})
        done = append(path, operation, complain)
    except (LedgerFault, OSError) as fault:
        if strict:
            _say(f"ERROR: {fault}; nothing was recorded")
            return FAILED
        _say(f"WARNING: ERROR: {fault}; nothing was recorded (continuing in non-strict mode)")
        return 0
    report(path, operation, done)
    return 0


def verify(path: Path) -> int:
    """Check the whole ledger; print what was found and return the exit code."""
    try:
        if not path.exists():
            raise LedgerFault("there is no such file")
        sound, newest, fault = verified(content(path))
    except (LedgerFault, OSError) as failed:
        _say(f"❌ {path}: {failed}")
        return FAILED
    if fault:
        print(one_line(f"❌ {path}: {fault}; entries above it that are sound: {sound}"))
        return FAILED
    print(one_line(f"✅ {path}: {sound} entries, all as they were recorded" + (f"; newest {newest}" if newest else "")))
    return 0


def declared(given: Namespace) -> Operation:
    """Take what the arguments say of the operation."""
    values: dict[str, Value] = {
        "operation_name": given.operation,
        "requested_by": given.requested_by or invoker(),
        "approved_by": given.approved_by or None,
        "risk_class": given.risk_class,
        "blast_radius": given.blast_radius,
        "changes_summary": given.changes_summary,
        "objective": given.objective,
        "outcome": given.outcome,
        "rollback_of": given.rollback_of,
        "allowed_paths": given.allowed_paths,
        "allowed_services": given.allowed_services,
        "notes": given.notes,
    }
    return Operation(values, given.operation_id or "", given.idempotency_key or "")


def evidence(given: Namespace, patterns: list[re.Pattern[str]], complain: Complain) -> dict[str, Value]:
    """Look at code, host, services, proof, metrics and Redis."""
    commit, branch = commit_and_branch(ROOT)
    services = list(dict.fromkeys(given.allowed_services))
    proof: dict[str, str | int] | None = None
    if given.proof_path is not None:
        try:
            proof = proof_of(Path(given.proof_path))
        except (OSError, LedgerFault) as fault:
            complain(f"--proof_path: {fault}")
            proof = dict.fromkeys(("sha256", "size_bytes", "mtime_utc"), UNAVAILABLE)
    redis = redis_snapshot(given.redis_cmds) if given.redis_cmds else None
    metrics = metrics_snapshot(given.metrics_urls, patterns) if given.metrics_urls else None
    log = services_log(services) if services else None
    collected = {"services_log": log, "metrics_snapshot": metrics, "redis_snapshot": redis}
    return {
        "git_commit": commit,
        "git_branch": branch,
        "hostname": hostname(),
        "services_status": {service: service_state(service) for service in services},
        "proof_file": proof,
        **{name: None if text is None else fit(text, os.environ) for name, text in collected.items()},
    }


def report(path: Path, operation: Operation, done: Done) -> None:
    """Say what was recorded, and what was seen."""
    if not done.sha256:
        print(f"already recorded: {one_line(done.operation_id)} in {one_line(str(path))}, nothing changed")
        return
    if not operation.operation_id:
        print(f"Auto-generated operation_id: {done.operation_id}")
    print(one_line(f"✅ recorded in {path}"))
    proof, services = operation.values["proof_file"], operation.values["services_status"]
    seen = [("code", f"{operation.values['git_commit']} {operation.values['git_branch']}")]
    if isinstance(services, dict):
        seen += [("service", f"{service}: {state}") for service, state in services.items()]
    if isinstance(proof, dict):
        seen.append(("proof", f"{proof['sha256']}, {proof['size_bytes']} bytes, of {proof['mtime_utc']}"))
    for name, text in [*seen, ("sha256", done.sha256)]:
        print(f"   {name:8} {one_line(text)}")


def _checked(parser: Options, given: Namespace) -> list[re.Pattern[str]]:
    """Refuse arguments that are no good; give the patterns."""
    parser.need(given, *REQUIRED)
    for fault in [*map(refused_command, given.redis_cmds), *map(refused_url, given.metrics_urls)]:
        if fault:
            parser.error(fault)
    if given.metrics_grep and not given.metrics_urls:
        parser.error("--metrics_grep needs --metrics_urls")
    try:
        return [re.compile(pattern) for pattern in given.metrics_grep]
    except re.error as fault:
        parser.error(f"--metrics_grep {fault.pattern!a}: {fault}")


def _strict_by_environment(parser: Options) -> bool:
    word = os.environ.get("STRICT_LEDGER", "").strip().lower()
    if word not in ("true", "false", ""):
        parser.error(f"STRICT_LEDGER={word!a}: allowed is true or false")
    return word == "true"


def _say(text: str) -> None:
    print(one_line(text), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
