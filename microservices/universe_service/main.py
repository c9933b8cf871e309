"""Run the universe service: `python -m microservices.universe_service.main`."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: its own folder must not shadow what others import
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from microservices.runtime import run
from microservices.universe_service.service import UNIT, build
from microservices.universe_service.settings import Settings


def main() -> int:
    """Run until stopped; return the exit code."""
    return run(UNIT, Settings, build)


if __name__ == "__main__":
    sys.exit(main())
