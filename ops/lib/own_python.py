"""Go on under the suite's own Python, whichever Python a tool was started with."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / "bin" / "python"


def run(module: str, arguments: Sequence[str]) -> NoReturn:
    """Become `ops/operate/<module>.py` with these arguments; exit with 1 where the suite's Python is not there."""
    if not os.access(PYTHON, os.X_OK):
        print(f"the suite's Python is not at {PYTHON}: run ops/setup.sh run first", file=sys.stderr)
        sys.exit(1)
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-B", "-m", f"ops.operate.{module}", *arguments])  # noqa: S606 - no shell is wanted
