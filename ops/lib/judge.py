"""Run one of the proofs for its shell script: `python3 -I judge.py NAME [options] -- REDIS-CLI…`.

Only Python's standard library is used, and jq is not: one way to read JSON works on every machine that runs the suite.
"""

import os
import sys
from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ops.lib.redis_cli import CannotTell, RedisCli  # noqa: E402 - the path above is how they are found
from ops.lib.report import Verdict, cannot_tell  # noqa: E402

PROOFS = {"universe": "universe_proof", "order": "order_proof", "permits": "permit_audit", "why": "why"}


def main(argv: list[str]) -> int:
    """Look, judge, print; return the exit code."""
    split = argv.index("--") if "--" in argv else len(argv)
    parser = ArgumentParser(allow_abbrev=False)
    parser.add_argument("proof", choices=[*PROOFS, "cannot-tell"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--colour", action="store_true")
    parser.add_argument("--why", default="")
    name = argv[0] if argv else ""
    module = import_module(f"ops.lib.{PROOFS[name]}") if name in PROOFS else None
    if module is not None:
        module.add_arguments(parser)
    arguments = parser.parse_args(argv[:split])
    try:
        verdict: Verdict = (
            cannot_tell(arguments.why) if module is None else module.prove(RedisCli(argv[split + 1 :]), arguments)
        )
    except CannotTell as fault:
        verdict = cannot_tell(str(fault))
    except KeyboardInterrupt:
        return 130
    try:
        _print(verdict, as_json=arguments.json, colour=arguments.colour)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough; the verdict stands
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return verdict.exit_code


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
