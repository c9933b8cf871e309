"""Entry point of the paper exchange: `python -m microservices.paper_exchange.main`."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file: its own folder must not shadow what others import
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from microservices.paper_exchange.service import PaperService
from microservices.paper_exchange.settings import Settings
from microservices.runtime import run


def main() -> int:
    """Run the daemon; it needs no Redis."""
    return run("quantum-paper-exchange", Settings, PaperService, needs_redis=False)


if __name__ == "__main__":
    sys.exit(main())
