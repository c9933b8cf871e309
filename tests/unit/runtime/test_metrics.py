"""What is shown of a counter that is kept elsewhere."""

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY, generate_latest

from microservices.runtime.metrics import Reported

NAME = "quantum_kept_elsewhere_total"


@pytest.fixture
def counter() -> Iterator[Reported]:
    """One that nothing was read for yet."""
    made = Reported(NAME, "Things that others count")
    yield made
    REGISTRY.unregister(made)


def test_nothing_is_shown_before_the_first_reading(counter: Reported) -> None:
    """After a restart a zero, and then the true figure, would be an increase that raises an alarm."""
    assert REGISTRY.get_sample_value(NAME) is None
    counter.set(37)
    assert REGISTRY.get_sample_value(NAME) == 37


def test_it_is_a_counter_to_prometheus(counter: Reported) -> None:
    """Its kind and its meaning are served, under the name that it was given."""
    counter.set(1)
    served = generate_latest().decode()
    assert f"# HELP {NAME} Things that others count\n# TYPE {NAME} counter\n{NAME} 1.0\n" in served
