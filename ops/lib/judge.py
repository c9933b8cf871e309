"""Run one of the proofs for its shell script: `python3 -I judge.py NAME [options] -- REDIS-CLI…`.

Only Python's standard library is used, and jq is not: one way to read JSON works on every machine that runs the suite.
"""

import os
import sys
import time
from argparse import ArgumentParser, Namespace
from importlib import import_module
from pathlib import Path
from types import ModuleType

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ops.lib.redis_cli import CannotTell, RedisCli  # noqa: E402 - the path above is how they are found
from ops.lib.report import PROVEN, Verdict, cannot_tell  # noqa: E402

PROOFS = {
    "universe": "universe_proof",
    "order": "order_proof",
    "permits": "permit_audit",
    "why": "why",
    "p33-universe": "p33_universe_proof",
    "p33-source": "p33_source_proof",
    "market-state": "market_state_proof",
    "decisions": "decisions_proof",
}
LOOK_AGAIN_S = 1.0


def main(argv: list[str]) -> int:
    """Look, judge, print; return the exit code."""
    split = argv.index("--") if "--" in argv else len(argv)
    parser = ArgumentParser(allow_abbrev=False)
    parser.add_argument("proof", choices=[*PROOFS, "cannot-tell"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--colour", action="store_true")
    parser.add_argument("--why", default="")
    parser.add_argument("--wait", type=int, default=0)
    name = argv[0] if argv else ""
    module = import_module(f"ops.lib.{PROOFS[name]}") if name in PROOFS else None
    if module is not None:
        module.add_arguments(parser)
    arguments = parser.parse_args(argv[:split])
    deadline_s = time.monotonic() + arguments.wait
    try:
        verdict = _verdict(module, argv[split + 1 :], arguments)
        while verdict.exit_code != PROVEN and time.monotonic() + LOOK_AGAIN_S <= deadline_s:
            time.sleep(LOOK_AGAIN_S)
            verdict = _verdict(module, argv[split + 1 :], arguments)
    except KeyboardInterrupt:
        return 130
    try:
        _print(verdict, as_json=arguments.json, colour=arguments.colour)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough; the verdict stands
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return verdict.exit_code


def _verdict(module: ModuleType | None, command: list[str], arguments: Namespace) -> Verdict:
    """Look once."""
    if module is None:
        return cannot_tell(arguments.why)
    try:
        with RedisCli(command) as cli:
            verdict: Verdict = module.prove(cli, arguments)
    except CannotTell as fault:
        return cannot_tell(str(fault))
    return verdict


def _print(verdict: Verdict, *, as_json: bool, colour: bool) -> None:
    if as_json:
        print(verdict.as_json())
    elif verdict.lines:
        print(verdict.as_text(colour=colour))
    else:
        print(*(f"cannot tell: {problem}" for problem in verdict.problems), sep="\n", file=sys.stderr)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr] # text in a process
    sys.exit(main(sys.argv[1:]))
