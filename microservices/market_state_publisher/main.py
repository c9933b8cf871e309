"""Run the market-state publisher: `python -m microservices.market_state_publisher.main`."""

import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from microservices.market_state_publisher.service import Publisher
from microservices.market_state_publisher.settings import Settings
from microservices.runtime import Context, run

UNIT = "quantum-marketstate"


def build(context: Context[Settings]) -> Publisher:
    """Put the service together."""
    return Publisher(context.settings, context.redis, context.clock)


def main() -> int:
    """Run until stopped."""
    return run(UNIT, Settings, build)


if __name__ == "__main__":
    raise SystemExit(main())
