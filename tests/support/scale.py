"""How large the heaviest tests are: as written in `make test`, ten times larger in `make soak`."""

import os

from hypothesis import HealthCheck, settings

VARIABLE = "QUANTUM_SOAK"
_TIMES = float(os.environ.get(VARIABLE, "1"))


def is_scaled() -> bool:
    """Tell whether this is a larger run, which also draws anew what the suite draws the same each time."""
    return _TIMES > 1


def scaled(count: int) -> int:
    """Multiply a count of kills, messages or rounds by what the environment says, 1 where it says nothing."""
    return max(1, round(count * _TIMES))


def model_settings(*, examples: int, steps: int) -> settings:
    """Make the settings of a model test: the same runs each time in the suite, others where it is scaled.

    Args:
        examples: runs in the suite.
        steps: at most so many rules in a run of a state machine.
    """
    return settings(
        max_examples=scaled(examples),
        stateful_step_count=steps,
        derandomize=not is_scaled(),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
