"""Run the whole suite on the paper exchange in one window (`make run`).

On a terminal it shows a live board, elsewhere a summary every 10 s. With --for it ends by itself, runs the proof
scripts and exits 0 only if everything worked. Ctrl-C stops all; only the log folder stays.
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from ops.suite.conductor import Conductor
from ops.suite.layout import make_layout, processes
from ops.suite.supervisor import Supervisor

WIDTH = 118


def main() -> int:
    """Run until ended; 0 if everything worked, 1 if not, 2 for usage."""
    arguments = _arguments()
    logs = arguments.logs / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
    logs.mkdir(parents=True)
    # Keys and reasons come from outside: nothing in them is markup.
    console = Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, highlight=False)
    scratch = Path(tempfile.mkdtemp(prefix="quantum-run-"))
    try:
        layout = make_layout(scratch, arguments.exchange_info, arguments.klines)
        supervisor = Supervisor(processes(layout), logs)
        conductor = Conductor(layout, console, supervisor, arguments.run_for)
        console.print(
            f"Quantum Trader, paper mode: logs in {logs}/, Redis on 127.0.0.1:{layout.redis_port}", soft_wrap=True
        )
        watching = threading.Thread(target=conductor.run, name="conductor", daemon=True)
        watching.start()
        fault = supervisor.run()
        watching.join()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    fault = fault or conductor.fault
    if fault:
        console.print(f"FAIL  {fault}; see {logs}/", style="bold red", soft_wrap=True)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--for", dest="run_for", type=_positive, metavar="SECONDS", help="end by itself, with proofs")
    parser.add_argument("--exchange-info", type=_existing, metavar="FILE", help="a recorded exchangeInfo answer")
    parser.add_argument("--klines", type=_existing, metavar="DIR", help="recorded candles")
    parser.add_argument(
        "--logs", type=Path, default=Path(".run"), metavar="DIR", help="where the log folder is made (.run)"
    )
    return parser.parse_args()


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return seconds


def _existing(text: str) -> Path:
    path = Path(text).resolve()
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text} does not exist")
    return path


if __name__ == "__main__":
    sys.exit(main())
