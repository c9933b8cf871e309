"""How large the heaviest tests are: as written in `make test`, ten times larger in `make soak`."""

import os

VARIABLE = "QUANTUM_SOAK"


def scaled(count: int) -> int:
    """Multiply a count of kills, messages or rounds by what the environment says, 1 where it says nothing."""
    return max(1, round(count * float(os.environ.get(VARIABLE, "1"))))
