"""What is counted: every result, under labels that nobody outside can make many of."""

import msgspec
import pytest

from microservices.apply_layer import metrics
from microservices.contracts.control import Mode
from microservices.contracts.plan import Decision
from microservices.contracts.result import Result

END = Result(plan_entry_id="1-0", decision=Decision.BLOCKED, executed=False, mode=Mode.PAPER, timestamp=1)


@pytest.mark.parametrize(
    ("error", "label"),
    [
        ("", ""),
        ("permit_timeout", "permit_timeout"),
        ("exchange_error_2019", "exchange_error_2019"),
        ("exchange_error_1234567", "own"),
        ("action_hold", "own"),
        ("anything_a_strategy_writes_17", "own"),
    ],
)
def test_the_codes_of_plans_do_not_become_labels(error: str, label: str) -> None:
    """A strategy that writes a number into its reason must not fill the memory."""
    counter = metrics.RESULTS.labels(decision="BLOCKED", error=label)
    before = counter._value.get(), metrics.ENDED._value.get()
    metrics.ended(msgspec.structs.replace(END, error=error))
    assert (counter._value.get(), metrics.ENDED._value.get()) == (before[0] + 1, before[1] + 1)
