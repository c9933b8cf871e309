"""Run a deploy, a rollback or the doctor for its shell script: `python3 -I ops/deploy/__main__.py VERB [options]`."""

import fcntl
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ops.deploy import examine  # noqa: E402 - the path above is how they are found
from ops.deploy.catalog import MODES  # noqa: E402
from ops.deploy.deployment import FAILED, Stopped, Wanted, deploy  # noqa: E402
from ops.deploy.doctor import doctor  # noqa: E402
from ops.deploy.machine import Fault, Places  # noqa: E402
from ops.deploy.rollback import roll_back  # noqa: E402
from ops.deploy.scene import PROVE_WITHIN_S  # noqa: E402


def main(argv: list[str]) -> int:
    """Do what the verb says; give the exit code."""
    arguments = _arguments(argv)
    places = Places()
    if arguments.verb == "doctor":
        return doctor(places, as_json=arguments.json)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    os.umask(0o022)
    try:
        with _alone(places):
            if arguments.verb == "rollback":
                return roll_back(places, arguments.version, say)
            return deploy(places, _wanted(arguments), say)
    except Stopped as stopped:
        for finding in stopped.findings:
            print(f"{finding}\n    fix: {finding.fix}", file=sys.stderr)
    except (Fault, OSError) as fault:
        print(" ".join(str(fault).split()), file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    print("ended before anything that runs was touched", file=sys.stderr)
    return FAILED


def say(line: str) -> None:
    """Tell the operator of a step, as it happens."""
    print(line, flush=True)


@contextmanager
def _alone(places: Places) -> Iterator[None]:
    """Hold the lock that two deploys at once cannot both have."""
    try:
        handle = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise Fault("not-root: a deploy writes to /opt and /etc, and this is not root; fix: run it with sudo") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Fault(f"another deploy is at work: it holds {places.lock}") from None
        yield
    finally:
        os.close(handle)


def _wanted(arguments: Namespace) -> Wanted:
    return Wanted(
        source=examine.checkout(arguments.source),
        services=tuple(arguments.services.replace(",", " ").split()),
        mode=arguments.mode,
        metrics=arguments.metrics,
        reset_account=arguments.reset_account,
        guard_redis=arguments.guard_redis,
        wheels=Path(arguments.wheels).resolve() if arguments.wheels else None,
        fresh=arguments.fresh,
        prove_within_s=arguments.prove_within,
        dry_run=arguments.dry_run,
    )


def _arguments(argv: list[str]) -> Namespace:
    parser = ArgumentParser(prog="ops.deploy", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True)
    deploying = verbs.add_parser("deploy", allow_abbrev=False)
    deploying.add_argument("--from", dest="source", default="")
    deploying.add_argument("--services", default="")
    deploying.add_argument("--mode", choices=["", *MODES], default="")
    deploying.add_argument("--wheels", default="")
    deploying.add_argument("--prove-within", type=float, default=PROVE_WITHIN_S)
    for flag in ("--fresh", "--metrics", "--reset-account", "--guard-redis", "--dry-run"):
        deploying.add_argument(flag, action="store_true")
    verbs.add_parser("rollback", allow_abbrev=False).add_argument("version", nargs="?", default="")
    verbs.add_parser("doctor", allow_abbrev=False).add_argument("--json", action="store_true")
    return parser.parse_args(argv)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
