"""Run the position-state brain: `python -m microservices.position_state_brain.main`."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: its own folder must not shadow what others import
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from microservices.position_state_brain.service import UNIT, build
from microservices.position_state_brain.settings import Settings
from microservices.runtime import run


def main() -> int:
    """Run until stopped; return the exit code."""
    return run(UNIT, Settings, build)


if __name__ == "__main__":
    sys.exit(main())
